//! Whole roles at random: how the bytes are cut, when the disk answers and what is wrong with the
//! bytes must not matter.

use proptest::prelude::*;

use crate::base::{Ticket, Zxid};
use crate::history::{ChoreCommand, SnapshotItem};
use crate::peering::{PacketBytes, Splitter};
use crate::zab::{
    LearnerInput, LearnerOutput, LearnerRole, LearnerSettings, LearnerStorage, LearnerTurn, Reads,
    Tail,
};

use super::bench::{Bench, standing};
use super::disk::{Disk, records};
use super::failures::survives;
use super::wire::Wire;
use super::{at, follower_settings, observer_settings, z, zs};

/// How a sync begins, for a learner of 4:1 to 4:9.
#[derive(Clone, Copy, Debug)]
enum First {
    Diff,
    Trunc(u32),
    Snap(u32),
}

/// A leader of epoch 6, and what it has for its learner.
#[derive(Clone, Debug)]
struct Script {
    is_observer: bool,
    first: First,
    /// Txns of epoch 5 in its history.
    history: u32,
    /// Of epoch 6: proposed before NEWLEADER, between it and UPTODATE, behind that.
    outstanding: u32,
    between: u32,
    behind: u32,
    hold_back: usize,
}

impl Script {
    fn settings(&self) -> LearnerSettings {
        let settings = if self.is_observer { observer_settings() } else { follower_settings() };
        LearnerSettings { hold_back: self.hold_back, ..settings }
    }

    fn base(&self) -> Vec<Zxid> {
        match self.first {
            First::Diff => zs(4, 1, 9),
            First::Trunc(counter) | First::Snap(counter) => zs(4, 1, counter),
        }
    }

    /// What came before NEWLEADER, and all.
    fn histories(&self) -> (Vec<Zxid>, Vec<Zxid>) {
        let begin = [self.base(), zs(5, 1, self.history)].concat();
        let (early, all) = (self.outstanding, self.outstanding + self.between + self.behind);
        let early = if self.is_observer { 0 } else { early };
        ([begin.clone(), zs(6, 1, early)].concat(), [begin, zs(6, 1, all)].concat())
    }

    /// What an established leader cannot send before it has the ACK of NEWLEADER, and the rest.
    fn wires(&self) -> (Vec<u8>, Vec<u8>) {
        let last = *self.base().last().expect("there is one");
        let wire = match self.first {
            First::Diff => Wire::new().diff(last),
            First::Trunc(_) => Wire::new().trunc(last),
            First::Snap(_) => Wire::new().snap(last),
        };
        let wire = wire.history(&zs(5, 1, self.history)).ping(last);
        let (outstanding, between) = (self.outstanding, self.outstanding + self.between);
        let all = between + self.behind;
        if self.is_observer {
            let begin = wire.new_leader(6).informs(&zs(6, 1, between));
            let end = Wire::new().up_to_date().informs(&zs(6, between + 1, all));
            return (begin.bytes, end.ping(last).bytes);
        }
        let begin = wire.proposals(&zs(6, 1, outstanding)).new_leader(6);
        let begin = begin.proposals(&zs(6, outstanding + 1, between)).ping(last);
        let begin = begin.commits(&zs(6, 1, outstanding));
        let end = Wire::new().up_to_date().commits(&zs(6, outstanding + 1, between));
        let end = zs(6, between + 1, all)
            .into_iter()
            .fold(end, |end, zxid| end.proposal(zxid).ping(zxid).commit(zxid));
        (begin.bytes, end.bytes)
    }

    fn bench(&self) -> Bench {
        let mut bench = Bench::linked(self.settings(), Disk::of(&zs(4, 1, 9)));
        bench.image_of = self.base();
        bench.feed(&Wire::of_epoch(6).bytes);
        bench.settle();
        bench
    }
}

fn scripts() -> impl Strategy<Value = Script> {
    let first = prop_oneof![
        Just(First::Diff),
        (1u32..10).prop_map(First::Trunc),
        (1u32..13).prop_map(First::Snap)
    ];
    let counts = (0u32..6, 0u32..4, 0u32..4, 0u32..5);
    (any::<bool>(), first, counts, 0usize..8).prop_map(|(is_observer, first, counts, hold_back)| {
        let (history, outstanding, between, behind) = counts;
        Script { is_observer, first, history, outstanding, between, behind, hold_back }
    })
}

/// What was asked for, kind by kind, whatever the turns were.
#[derive(Debug, Default, PartialEq, Eq)]
struct Gist {
    sent: Vec<LearnerOutput>,
    storage: Vec<String>,
    image: Vec<u8>,
    rest: Vec<LearnerOutput>,
    applied: Vec<(Zxid, bool)>,
}

fn gist(bench: &Bench) -> Gist {
    let mut gist = Gist { applied: bench.applied.clone(), ..Gist::default() };
    for output in &bench.asked {
        match output {
            LearnerOutput::Send(_) => gist.sent.push(output.clone()),
            LearnerOutput::Storage(LearnerStorage::Append { bytes, roll, .. }) => {
                gist.storage.extend(roll.then(|| "roll".to_owned()));
                let each = records(bytes).into_iter().map(|zxid| format!("append {zxid:x}"));
                gist.storage.extend(each);
            }
            LearnerOutput::Storage(command) => {
                let text = format!("{command:?}");
                gist.storage.push(text.replace(&format!("{:?}", command.ticket()), ""));
            }
            LearnerOutput::Chore(ChoreCommand::SnapshotChunk { bytes }) => {
                gist.image.extend_from_slice(bytes);
            }
            other => gist.rest.push(other.clone()),
        }
    }
    gist
}

/// Feeds in pieces; the disk answers only where nothing goes on without it.
fn feed_in_pieces(bench: &mut Bench, bytes: &[u8], cuts: &[usize]) {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    for pair in cuts.windows(2) {
        bench.feed(&bytes[pair[0]..pair[1]]);
        if bench.role.reads() == Reads::Nothing {
            bench.settle();
        }
    }
    bench.settle();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn how_the_bytes_are_cut_into_turns_does_not_matter(
        script in scripts(),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let (begin, end) = script.wires();
        let run = |cuts: &[usize]| {
            let mut bench = script.bench();
            feed_in_pieces(&mut bench, &begin, cuts);
            feed_in_pieces(&mut bench, &end, cuts);
            bench
        };
        let (whole, cut) = (run(&[]), run(&cuts));
        prop_assert_eq!(&whole.ended, &None);
        prop_assert_eq!(gist(&whole), gist(&cut));
        let (_, all) = script.histories();
        prop_assert_eq!(&whole.state, &all);
        prop_assert_eq!(cut.disk().history(), all);
    }

    #[test]
    fn whenever_the_disk_answers_the_order_stays(
        script in scripts(),
        steps in prop::collection::vec((0u8..4, 1usize..80), 0..200),
    ) {
        let mut bench = script.bench();
        let (begin, end) = script.wires();
        for bytes in [begin, end] {
            let mut rest = &bytes[..];
            for (step, length) in &steps {
                match step {
                    0 | 1 => {
                        let (piece, behind) = rest.split_at(rest.len().min(*length));
                        rest = behind;
                        bench.feed(piece);
                    }
                    2 => {
                        bench.disk_step();
                    }
                    _ => {
                        bench.chore_step();
                    }
                }
            }
            bench.feed(rest);
            bench.settle();
        }
        let (synced, all) = script.histories();
        prop_assert_eq!(&bench.ended, &None);
        prop_assert_eq!(&bench.state, &all);
        prop_assert_eq!(bench.disk().history(), all.clone());
        survives(&bench, &all, synced.len(), 6);
        let acks: Vec<Zxid> = bench.acks().into_iter().filter(|z| z.counter() > 0).collect();
        let expected = if script.is_observer { vec![] } else {
            zs(6, 1, script.outstanding + script.between + script.behind)
        };
        prop_assert_eq!(acks, expected);
    }

    #[test]
    fn a_crash_at_any_point_leaves_what_can_be_joined_again(
        script in scripts(),
        executed in 0usize..12,
    ) {
        let mut bench = script.bench();
        let (begin, _) = script.wires();
        bench.feed(&begin);
        for _ in 0..executed {
            if !bench.disk_step() {
                bench.chore_step();
            }
        }
        // The power goes; what was executed is there.
        let disk = bench.disk().clone();
        let mut again = Bench::linked(script.settings(), disk.clone());
        let (_, all) = script.histories();
        again.feed(&Wire::of_epoch(7).bytes);
        again.settle();
        // The next leader has everything, of which the learner has its own beginning or not.
        let ours = disk.history();
        let wire = match all.starts_with(&ours) {
            true => Wire::new().diff(*all.last().expect("some")).history(&all[ours.len()..]),
            false => {
                again.image_of = all.clone();
                Wire::new().snap(*all.last().expect("some"))
            }
        };
        again.feed(&wire.new_leader(7).bytes);
        again.settle();
        again.feed(&Wire::new().up_to_date().bytes);
        prop_assert_eq!(&again.ended, &None);
        prop_assert_eq!(&again.state, &all);
        prop_assert_eq!(again.disk().history(), all);
    }

    #[test]
    fn no_bytes_of_a_leader_break_the_house(
        script in scripts(),
        hits in prop::collection::vec((any::<usize>(), any::<u8>()), 0..6),
        answers in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let (begin, end) = script.wires();
        let mut bytes = [Wire::of_epoch(6).bytes, begin, end].concat();
        for (at, value) in hits {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        Careless::new(&script).run(&bytes, &answers);
    }
}

/// A node that says whatever a disk may say, and has no disk.
struct Careless {
    role: LearnerRole<u32>,
    last_ticket: Ticket,
    out: Vec<LearnerOutput>,
    unanswered: Vec<LearnerInput<'static>>,
}

impl Careless {
    fn new(script: &Script) -> Careless {
        let (mut last_ticket, mut out) = (Ticket(0), Vec::new());
        let turn = &mut LearnerTurn { now: at(0), last_ticket: &mut last_ticket, out: &mut out };
        let standing = standing(&Disk::of(&zs(4, 1, 9)));
        let mut role = LearnerRole::new(script.settings(), standing, 1, turn);
        role.handle(LearnerInput::Dialed { address: 0 }, turn).expect("a link");
        Careless { role, last_ticket, out, unanswered: Vec::new() }
    }

    fn run(mut self, bytes: &[u8], answers: &[u8]) {
        let mut splitter = Splitter::new(PacketBytes::default());
        let mut input = bytes;
        for answer in answers.iter().cycle().take(2000) {
            let Careless { role, last_ticket, out, .. } = &mut self;
            let turn = &mut LearnerTurn { now: at(0), last_ticket, out };
            let length = input.len().min(usize::from(*answer) + 1);
            let mut piece = &input[..length];
            let handled = match role.reads() {
                Reads::Nothing => Ok(()),
                Reads::Packets => match splitter.next(&mut piece) {
                    Ok(Some(packet)) => role.handle(LearnerInput::Packet(packet), turn),
                    Ok(None) => Ok(()),
                    Err(_) => return self.leave(),
                },
                Reads::Image => {
                    let mut sink = |_: SnapshotItem<'_>| Ok(());
                    let used = role.handle_image(piece, &mut sink, turn);
                    used.map(|used| piece = &piece[used..])
                }
            };
            input = &input[length - piece.len()..];
            if handled.is_err() {
                return self.leave();
            }
            role.check();
            role.end_turn(turn);
            while role.next_ready().is_some() {}
            if self.answer(*answer).is_err() {
                return self.leave();
            }
            self.role.check();
        }
        self.leave();
    }

    fn answer(&mut self, answer: u8) -> Result<(), ()> {
        for output in std::mem::take(&mut self.out) {
            self.owe(&output, answer);
        }
        if answer < 100 || self.unanswered.is_empty() {
            return Ok(());
        }
        let said = self.unanswered.remove(0);
        let Careless { role, last_ticket, out, .. } = self;
        let turn = &mut LearnerTurn { now: at(0), last_ticket, out };
        role.handle(said, turn).map_err(|_| ())
    }

    fn owe(&mut self, output: &LearnerOutput, answer: u8) {
        match output {
            LearnerOutput::Storage(command) => {
                let ticket = command.ticket();
                match command {
                    LearnerStorage::Truncate { .. } if answer > 200 => {
                        self.unanswered.push(LearnerInput::CutRefused(ticket));
                    }
                    LearnerStorage::CutAbove { zxid, sent, .. } => {
                        let count = usize::from(answer) % (sent.len() + 1);
                        let kept = sent[..count].last().copied().unwrap_or(*zxid);
                        self.unanswered.push(LearnerInput::CutAt { ticket, kept });
                    }
                    _ => {}
                }
                self.unanswered.push(LearnerInput::Durable(ticket));
            }
            LearnerOutput::FinishImage { zxid } => {
                self.unanswered.push(LearnerInput::ImageWritten { zxid: *zxid });
            }
            LearnerOutput::Reload => {
                let tail = Tail::new(z(4, u32::from(answer)), Vec::new(), Zxid::ZERO);
                self.unanswered.push(LearnerInput::Reloaded(tail));
            }
            _ => {}
        }
    }

    fn leave(mut self) {
        let turn =
            &mut LearnerTurn { now: at(0), last_ticket: &mut self.last_ticket, out: &mut self.out };
        self.role.leave(turn);
    }
}
