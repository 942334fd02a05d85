//! What peers say to each other, overheard where it is written: for the counters, and for checks
//! of what a server promises.

use zkd::base::Zxid;
use zkd::peering::{
    ElectionReader, Heard, Notification, Packet, PacketBytes, PacketKind, Splitter, read_touches,
};

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// By a leader to a learner.
    Leads {
        kind: PacketKind,
        zxid: Zxid,
    },
    /// By a follower to an observer that it feeds.
    Feeds {
        kind: PacketKind,
        zxid: Zxid,
    },
    /// By a learner to its leader.
    Learns {
        kind: PacketKind,
        zxid: Zxid,
    },
    /// By a learner to its leader: whom it has heard.
    Touches(Vec<i64>),
    Votes(Notification),
}

/// Behind an image there are packets again.
const SIGNATURE: &[u8] = b"\x00\x00\x00\x0aBenWasHere";

#[derive(Debug)]
pub enum Tap {
    /// What whoever has dialled the election port says, and what it is answered.
    ElectionGreets(ElectionReader),
    ElectionAnswers(ElectionReader),
    Leader {
        splitter: Splitter,
        /// The last bytes of an image, while there is one.
        image: Option<Vec<u8>>,
        /// It follows another, and feeds observers.
        follows: bool,
        /// What its learner says.
        answers: Splitter,
    },
    Learner(Splitter),
}

impl Tap {
    pub fn greets() -> ElectionReader {
        ElectionReader::accepted()
    }

    pub fn answers() -> ElectionReader {
        ElectionReader::dialed()
    }

    pub fn leader() -> Tap {
        Tap::feeder(false)
    }

    pub fn master() -> Tap {
        Tap::feeder(true)
    }

    fn feeder(follows: bool) -> Tap {
        let splitter = || Splitter::new(PacketBytes::default());
        Tap::Leader { splitter: splitter(), image: None, follows, answers: splitter() }
    }

    pub fn learner() -> Tap {
        Tap::Learner(Splitter::new(PacketBytes::default()))
    }

    /// Takes what is written, and says what it says.
    pub fn hear(&mut self, bytes: &[u8], say: &mut dyn FnMut(Word)) {
        let mut input = bytes;
        match self {
            Tap::ElectionGreets(reader) | Tap::ElectionAnswers(reader) => {
                while let Some(heard) = reader.next(&mut input).expect("members write well") {
                    if let Heard::Message(body) = heard {
                        say(Word::Votes(Notification::read(body).expect("members write well")));
                    }
                }
            }
            Tap::Learner(splitter) => {
                while let Some(packet) = splitter.next(&mut input).expect("members write well") {
                    let Packet { kind, zxid, .. } = packet;
                    if let Some(touches) = touches_of(&packet) {
                        say(Word::Touches(touches));
                    }
                    say(Word::Learns { kind, zxid });
                }
            }
            Tap::Leader { splitter, image, follows, .. } => loop {
                if let Some(last) = image {
                    match behind_image(last, input) {
                        Some(rest) => (*image, input) = (None, rest),
                        None => return,
                    }
                }
                match splitter.next(&mut input).expect("members write well") {
                    None => return,
                    Some(Packet { kind, zxid, .. }) => {
                        if kind == PacketKind::Snap {
                            *image = Some(Vec::new());
                        }
                        say(match follows {
                            true => Word::Feeds { kind, zxid },
                            false => Word::Leads { kind, zxid },
                        });
                    }
                }
            },
        }
    }

    /// Takes what comes in: of interest is whom a learner has heard.
    pub fn listen(&mut self, bytes: &[u8], touched: &mut dyn FnMut(Vec<i64>)) {
        let Tap::Leader { answers, .. } = self else { return };
        let mut input = bytes;
        while let Ok(Some(packet)) = answers.next(&mut input) {
            touches_of(&packet).into_iter().for_each(&mut *touched);
        }
    }
}

/// The sessions that a learner's answer to a ping names.
fn touches_of(packet: &Packet<'_>) -> Option<Vec<i64>> {
    let data = packet.data.filter(|_| packet.kind == PacketKind::Ping)?;
    let touches = read_touches(data).ok()?;
    Some(touches.map(|touch| touch.session.0).collect())
}

/// What follows an image's signature, if that has come.
pub fn behind_image<'i>(last: &mut Vec<u8>, input: &'i [u8]) -> Option<&'i [u8]> {
    let before = last.len();
    last.extend_from_slice(input);
    let found = last.windows(SIGNATURE.len()).position(|bytes| bytes == SIGNATURE);
    if let Some(at) = found {
        return Some(&input[at + SIGNATURE.len() - before..]);
    }
    let kept = last.len().min(SIGNATURE.len() - 1);
    last.drain(..last.len() - kept);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(pieces: &[&[u8]]) -> Vec<Word> {
        let mut tap = Tap::leader();
        let mut words = Vec::new();
        pieces.iter().for_each(|piece| tap.hear(piece, &mut |word| words.push(word)));
        words
    }

    #[test]
    fn packets_behind_an_image_are_heard_wherever_the_stream_is_cut() {
        let mut bytes = Vec::new();
        let packet = |kind, zxid, out: &mut Vec<u8>| Packet::new(kind, Zxid(zxid), None).write(out);
        packet(PacketKind::Snap, 5, &mut bytes);
        bytes.extend_from_slice(b"\x00\x00\x00\x02an image BenWas");
        bytes.extend_from_slice(SIGNATURE);
        packet(PacketKind::NewLeader, 6, &mut bytes);
        for cut in 0..bytes.len() {
            let (one, two) = bytes.split_at(cut);
            let words = heard(&[one, two]);
            let kinds: Vec<i64> = words
                .iter()
                .map(|word| match word {
                    Word::Leads { zxid, .. } => zxid.0,
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(kinds, [5, 6], "cut at {cut}");
        }
    }
}
