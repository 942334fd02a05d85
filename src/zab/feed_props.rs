use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Happens {
    Propose,
    Commit,
    Room(usize),
    Pump,
    Ping,
    Sync,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        3 => Just(Happens::Propose),
        3 => Just(Happens::Commit),
        3 => (0usize..400).prop_map(Happens::Room),
        4 => Just(Happens::Pump),
        1 => Just(Happens::Ping),
        1 => Just(Happens::Sync),
    ]
}

/// Where a learner of `recovered` may be, and where the ring begins.
fn places() -> impl Strategy<Value = (Zxid, Zxid)> {
    (0usize..7, 0usize..8).prop_map(|(learner, ring)| {
        let history = recovered();
        (history[learner], ring.checked_sub(1).map_or(Zxid::ZERO, |index| history[index]))
    })
}

fn kind() -> impl Strategy<Value = LearnerKind> {
    prop_oneof![Just(LearnerKind::Follower), Just(LearnerKind::Observer)]
}

proptest! {
    #[test]
    fn any_schedule_of_room_sends_the_same_packets(
        (after, ring_from) in places(),
        kind in kind(),
        outstanding in 0u32..6,
        rooms in prop::collection::vec(0usize..300, 0..80),
    ) {
        let diff = Decision::Diff { zxid: z(6, 3), after };
        let make = || {
            let mut bench = Bench::new(kind, diff, recovered(), ring_from);
            for counter in 1..=outstanding {
                bench.propose(counter);
            }
            bench.committed = if outstanding > 2 { z(7, outstanding - 2) } else { z(6, 3) };
            bench.feed.say(bench.committed, Note::UpToDate).unwrap();
            bench.feed.ping();
            bench
        };
        let mut at_once = make();
        at_once.run();
        let mut slowly = make();
        for room in rooms {
            slowly.feed.set_room(room);
            let before = slowly.bytes;
            while let Some(Wish::Log { after, bytes }) = slowly.pump() {
                slowly.read_log(after, bytes).unwrap();
            }
            prop_assert!(slowly.bytes <= before + room + 400, "one packet more at most");
        }
        slowly.feed.set_room(usize::MAX);
        slowly.run();
        prop_assert_eq!(slowly.heard, at_once.heard);
    }

    #[test]
    fn whatever_happens_a_learner_hears_a_legal_story(
        (after, ring_from) in places(),
        kind in kind(),
        story in prop::collection::vec(happens(), 0..120),
    ) {
        let diff = Decision::Diff { zxid: z(6, 3), after };
        let mut bench = Bench::new(kind, diff, recovered(), ring_from);
        let (mut proposed, mut committed) = (0, 0);
        bench.feed.set_room(0);
        for happens in story {
            match happens {
                Happens::Propose => {
                    proposed += 1;
                    bench.propose(proposed);
                }
                Happens::Commit if committed < proposed => {
                    committed += 1;
                    bench.commit(committed);
                }
                Happens::Commit => {}
                Happens::Room(room) => bench.feed.set_room(room),
                Happens::Pump => bench.run(),
                Happens::Ping => bench.feed.ping(),
                Happens::Sync if bench.feed.has_new_leader() => {
                    bench.feed.say(z(7, proposed), Note::Sync).unwrap();
                }
                Happens::Sync => {}
            }
        }
        bench.feed.set_room(usize::MAX);
        bench.run();
        let last = if kind == LearnerKind::Observer { committed } else { proposed };
        let of = |word: &str| -> Vec<&str> {
            bench.heard.iter().filter_map(|said| said.strip_prefix(word)).collect()
        };
        let names = |of: &mut dyn Iterator<Item = Zxid>| -> Vec<String> {
            of.map(|zxid| format!("{}.{}", zxid.epoch(), zxid.counter())).collect()
        };
        let missed = || recovered().into_iter().filter(move |zxid| *zxid > after);
        let mut txns = missed().chain((1..=last).map(|counter| z(7, counter)));
        let sent: Vec<&str> = bench.heard.iter().filter_map(|said| {
            said.strip_prefix("PROPOSAL ").or(said.strip_prefix("INFORM "))
        }).collect();
        prop_assert_eq!(sent, names(&mut txns));
        let is_follower = kind == LearnerKind::Follower;
        let live = if is_follower { committed } else { 0 };
        let mut commits = missed().chain((1..=live).map(|counter| z(7, counter)));
        prop_assert_eq!(of("COMMIT "), names(&mut commits));
        prop_assert_eq!(of("NEWLEADER").len(), 1);
        // Each commit behind its proposal, and NEWLEADER between the recovered and the new.
        let place = |said: &str| bench.heard.iter().position(|heard| heard == said);
        for zxid in of("COMMIT ") {
            let proposal = place(&format!("PROPOSAL {zxid}"));
            prop_assert!(proposal < place(&format!("COMMIT {zxid}")), "{}", zxid);
        }
        let new_leader = place("NEWLEADER 7.0");
        for said in bench.heard.iter().filter(|said| said.contains(' ')) {
            let is_new = said.contains(" 7.") && !said.starts_with("NEWLEADER");
            let is_old = !is_new && !said.starts_with("NEWLEADER");
            prop_assert!(!is_new || place(said) > new_leader, "{}", said);
            prop_assert!(!is_old || place(said) < new_leader, "{}", said);
        }
    }
}
