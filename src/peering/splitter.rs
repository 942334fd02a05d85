//! Cuts the stream of a quorum link into packets. They have no length in front, so a packet's end
//! is found by going through its fields, each of them once.

use crate::base::Zxid;
use crate::base::limits::{QUORUM_DATA_BYTES, QUORUM_GREETING_BYTES, QUORUM_IDS_BYTES};

use super::auth_ids::AuthIds;
use super::foreign::{Foreign, StreamError};
use super::hold::Hold;
use super::packet::{Packet, PacketKind};

/// How much one packet may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketBytes {
    pub data: usize,
    /// All ids together, without their count.
    pub ids: usize,
}

impl PacketBytes {
    /// Before a peer was let in.
    pub const GREETING: PacketBytes = PacketBytes { data: QUORUM_GREETING_BYTES, ids: 0 };

    /// What Java's reader takes by `jute.maxbuffer` and `jute.maxbuffer.extrasize`, and no less
    /// than what this server proposes by the first alone.
    pub fn of_jute(max_buffer: usize, extra_size: usize) -> PacketBytes {
        let data = max_buffer.saturating_add(extra_size.max(max_buffer));
        PacketBytes { data: data.max(QUORUM_DATA_BYTES), ids: QUORUM_IDS_BYTES }
    }

    fn whole(self) -> usize {
        HEAD_BYTES + self.data + COUNT_BYTES + self.ids
    }
}

impl Default for PacketBytes {
    fn default() -> PacketBytes {
        PacketBytes::of_jute(0, 0)
    }
}

const KIND_BYTES: usize = 4;
/// Type, zxid, the length of the data.
const HEAD_BYTES: usize = 16;
/// The count of ids, or the length of one of their strings.
const COUNT_BYTES: usize = 4;
/// A scheme and an id.
const TEXTS_PER_ID: usize = 2;

/// What is known of a packet when its data begin.
#[derive(Clone, Copy, Debug)]
struct Head {
    kind: PacketKind,
    zxid: Zxid,
    data: Option<usize>,
}

/// Which field ends the bytes that are waited for.
#[derive(Clone, Copy, Debug)]
enum Await {
    Kind,
    Head(PacketKind),
    Count(Head),
    /// The length of a string, the first of those that are left.
    Text {
        head: Head,
        left: usize,
        ids_begin: usize,
    },
    /// The last string.
    End(Head),
}

/// What a field says: how far the next one reaches, or that it was the last.
enum Step {
    Next(Await, usize),
    Whole(Head),
}

/// One link's stream. After an error it is not to be asked again: nothing behind is understood.
#[derive(Debug)]
pub struct Splitter {
    most: PacketBytes,
    awaits: Await,
    wanted: usize,
    hold: Hold,
}

impl Splitter {
    pub fn new(most: PacketBytes) -> Splitter {
        Splitter { most, awaits: Await::Kind, wanted: KIND_BYTES, hold: Hold::default() }
    }

    /// Lets packets carry more than before.
    pub fn widen(&mut self, most: PacketBytes) {
        assert!(most.data >= self.most.data && most.ids >= self.most.ids, "bounds only widen");
        self.most = most;
    }

    /// The next packet, of which `input` is what came last. Takes from its front what it uses and
    /// no byte behind the packet: what follows SNAP there are no packets. `None` when all of
    /// `input` is taken and more must come.
    pub fn next<'p, 'i: 'p>(
        &'p mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Packet<'p>>, StreamError> {
        self.hold.forget();
        let head = loop {
            let whole = self.most.whole();
            let Some(seen) = self.hold.front(input, self.wanted, whole) else { return Ok(None) };
            match self.awaits.on_field(seen, self.most)? {
                Step::Next(awaits, wanted) => {
                    self.awaits = awaits;
                    self.wanted = wanted;
                }
                Step::Whole(head) => break head,
            }
        };
        let bytes = self.hold.take(input, self.wanted);
        self.awaits = Await::Kind;
        self.wanted = KIND_BYTES;
        Ok(Some(head.packet(bytes)))
    }

    /// Bytes of a packet that is not whole.
    pub fn held(&self) -> usize {
        self.hold.held()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.hold.capacity()
    }
}

impl Await {
    /// `seen` is the packet up to the field that was waited for. Looks at that field only.
    fn on_field(self, seen: &[u8], most: PacketBytes) -> Result<Step, StreamError> {
        let field = *seen.last_chunk().expect("no field is shorter than a number");
        let number = i32::from_be_bytes(field);
        match self {
            Await::Kind => {
                match PacketKind::from_number(number) {
                    Some(kind) => Ok(Step::Next(Await::Head(kind), HEAD_BYTES)),
                    None => Err(Foreign::look(field)
                        .map_or(StreamError::Kind(number), StreamError::Foreign)),
                }
            }
            Await::Head(kind) => {
                let data = length(number, most.data)?;
                let head = Head { kind, zxid: zxid(seen), data };
                let end = HEAD_BYTES + data.unwrap_or_default() + COUNT_BYTES;
                Ok(Step::Next(Await::Count(head), end))
            }
            Await::Count(head) => {
                // Null, or a negative count, which Java reads as none.
                let Ok(count) = usize::try_from(number) else { return Ok(Step::Whole(head)) };
                let left = count.saturating_mul(TEXTS_PER_ID);
                if left.saturating_mul(COUNT_BYTES) > most.ids {
                    return Err(StreamError::Ids(number));
                }
                if left == 0 {
                    return Ok(Step::Whole(head));
                }
                let awaits = Await::Text { head, left, ids_begin: seen.len() };
                Ok(Step::Next(awaits, seen.len() + COUNT_BYTES))
            }
            Await::Text { head, left, ids_begin } => {
                let text = length(number, most.data)?.unwrap_or_default();
                // The lengths of those behind it have come, or will.
                let least = (left - 1) * COUNT_BYTES;
                if seen.len() - ids_begin + text + least > most.ids {
                    return Err(StreamError::Ids(number));
                }
                let end = seen.len() + text;
                Ok(match left - 1 {
                    0 => Step::Next(Await::End(head), end),
                    left => Step::Next(Await::Text { head, left, ids_begin }, end + COUNT_BYTES),
                })
            }
            Await::End(head) => Ok(Step::Whole(head)),
        }
    }
}

impl Head {
    fn packet(self, bytes: &[u8]) -> Packet<'_> {
        let (data, ids) = bytes[HEAD_BYTES..].split_at(self.data.unwrap_or_default());
        Packet {
            kind: self.kind,
            zxid: self.zxid,
            data: self.data.map(|_| data),
            ids: AuthIds::looked_through(ids),
        }
    }
}

fn zxid(head: &[u8]) -> Zxid {
    let bytes = head[KIND_BYTES..].first_chunk().expect("a head has a zxid");
    Zxid(i64::from_be_bytes(*bytes))
}

/// The length of a buffer or string: `None` for null, and no more than Java reads.
fn length(number: i32, most: usize) -> Result<Option<usize>, StreamError> {
    if number == -1 {
        return Ok(None);
    }
    let bytes = usize::try_from(number).ok().filter(|bytes| *bytes <= most);
    bytes.map(Some).ok_or(StreamError::Length(number))
}
