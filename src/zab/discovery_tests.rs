use super::*;

const ME: ServerId = ServerId(1);

fn at(current_epoch: i64, epoch: u32, counter: u32) -> Summary {
    Summary { current_epoch, last_zxid: Zxid::new(epoch, counter) }
}

fn of(voters: &[i64], ours: Summary, accepted_epoch: i64) -> Bench {
    let voters = Verifier::Majority { voters: voters.iter().map(|id| ServerId(*id)).collect() };
    Bench { discovery: Discovery::new(ME, voters, ours, accepted_epoch), last: Ticket(100) }
}

struct Bench {
    discovery: Discovery,
    last: Ticket,
}

impl Bench {
    /// What is to be written now, and its ticket.
    fn written(&mut self) -> Option<(EpochFile, i64, Ticket)> {
        self.discovery.next_command(&mut self.last).map(|command| match command {
            StorageCommand::WriteEpoch { ticket, file, epoch } => (file, epoch, ticket),
            other => panic!("{other:?}"),
        })
    }

    fn accept(&mut self, epoch: i64) {
        let (file, written, ticket) = self.written().expect("there is a quorum");
        assert_eq!((file, written), (EpochFile::Accepted, epoch));
        assert_eq!(self.discovery.on_durable(ticket), Some(Step::EpochAccepted));
    }
}

#[test]
fn the_new_epoch_is_one_more_than_any_that_was_accepted() {
    let mut bench = of(&[1, 2, 3, 4, 5], at(4, 4, 9), 6);
    assert_eq!(bench.written(), None, "nobody is there");
    bench.discovery.on_info(ServerId(2), 7);
    // An observer does not make a quorum, but may have promised more than anyone.
    bench.discovery.on_info(ServerId(77), 11);
    assert_eq!(bench.written(), None);
    bench.discovery.on_info(ServerId(5), 3);
    bench.accept(12);
    assert_eq!(bench.discovery.epoch(), Some(12));
}

#[test]
fn the_epoch_is_told_only_once_it_is_on_disk() {
    let mut bench = of(&[1, 2, 3], at(4, 4, 9), 4);
    bench.discovery.on_info(ServerId(2), 4);
    let (_, _, ticket) = bench.written().unwrap();
    assert_eq!(bench.written(), None, "it is written once");
    assert_eq!(bench.discovery.epoch(), None);
    assert_eq!(bench.discovery.on_durable(Ticket(ticket.0 - 1)), None);
    assert_eq!(bench.discovery.epoch(), None);
    // Who comes meanwhile has promised too much, and is told so by the epoch itself.
    bench.discovery.on_info(ServerId(3), 9);
    assert_eq!(bench.discovery.on_durable(Ticket(ticket.0 + 5)), Some(Step::EpochAccepted));
    assert_eq!(bench.discovery.epoch(), Some(5));
    assert!(!bench.discovery.is_agreed());
}

#[test]
fn a_voter_that_left_before_the_quorum_is_not_connected_but_outdone() {
    let mut bench = of(&[1, 2, 3], at(4, 4, 9), 4);
    bench.discovery.on_info(ServerId(2), 8);
    bench.discovery.on_left(ServerId(2));
    assert_eq!(bench.written(), None);
    bench.discovery.on_info(ServerId(3), 4);
    bench.accept(9);
}

#[test]
fn the_epoch_is_current_after_a_quorum_has_accepted_it() {
    let mut bench = of(&[1, 2, 3], at(4, 4, 9), 4);
    bench.discovery.on_info(ServerId(2), 4);
    bench.accept(5);
    assert_eq!(bench.written(), None);
    // It had accepted it before, from us: this is no second vote.
    assert_eq!(bench.discovery.on_ack_epoch(ServerId(2), None), Ok(()));
    // Its history is not to be trusted.
    let untrusted = Summary { current_epoch: 0, last_zxid: Zxid::NONE };
    assert_eq!(bench.discovery.on_ack_epoch(ServerId(3), Some(untrusted)), Ok(()));
    assert_eq!(bench.discovery.on_ack_epoch(ServerId(9), Some(at(4, 4, 9))), Ok(()));
    assert_eq!(bench.written(), None, "a stranger does not count");
    assert_eq!(bench.discovery.on_ack_epoch(ServerId(3), Some(at(4, 4, 9))), Ok(()));
    let (file, epoch, ticket) = bench.written().unwrap();
    assert_eq!((file, epoch), (EpochFile::Current, 5));
    assert!(bench.discovery.is_agreed() && !bench.discovery.is_done());
    assert_eq!(bench.discovery.on_durable(ticket), Some(Step::EpochCurrent));
    assert!(bench.discovery.is_done());
}

#[test]
fn whoever_is_ahead_before_the_quorum_says_so_and_after_it_is_not_asked() {
    let mut bench = of(&[1, 2, 3], at(4, 4, 9), 4);
    bench.discovery.on_info(ServerId(2), 4);
    bench.accept(5);
    for (theirs, is_ahead) in
        [(at(4, 4, 10), true), (at(5, 3, 1), true), (at(3, 9, 9), false), (at(4, 4, 8), false)]
    {
        let ahead = Ahead { theirs, ours: at(4, 4, 9) };
        let expected = if is_ahead { Err(ahead) } else { Ok(()) };
        assert_eq!(bench.discovery.on_ack_epoch(ServerId(77), Some(theirs)), expected);
    }
    bench.discovery.on_ack_epoch(ServerId(2), Some(at(4, 4, 9))).unwrap();
    bench.written().unwrap();
    assert_eq!(bench.discovery.on_ack_epoch(ServerId(3), Some(at(9, 9, 9))), Ok(()));
}

/// The promise holds though the link is gone: coming back, it could not make it again.
#[test]
fn a_promise_outlives_its_link() {
    let mut bench = of(&[1, 2, 3, 4, 5], at(4, 4, 9), 4);
    bench.discovery.on_info(ServerId(2), 4);
    bench.discovery.on_info(ServerId(3), 4);
    bench.accept(5);
    bench.discovery.on_ack_epoch(ServerId(2), Some(at(4, 4, 9))).unwrap();
    bench.discovery.on_left(ServerId(2));
    bench.discovery.on_ack_epoch(ServerId(2), None).unwrap();
    bench.discovery.on_ack_epoch(ServerId(3), Some(at(4, 4, 2))).unwrap();
    assert!(bench.written().is_some());
}

#[test]
fn a_lone_voter_agrees_with_itself() {
    let mut bench = of(&[1], at(0, 0, 7), 0);
    bench.accept(1);
    let (file, epoch, ticket) = bench.written().unwrap();
    assert_eq!((file, epoch), (EpochFile::Current, 1));
    assert_eq!(bench.discovery.on_durable(ticket), Some(Step::EpochCurrent));
}

#[test]
fn a_server_that_was_alone_may_have_counted_across_its_epoch() {
    let mut bench = of(&[1], at(4, 6, 0), 4);
    bench.accept(7);
}

#[test]
fn there_is_no_epoch_after_the_last() {
    let mut bench = of(&[1], at(4, 4, 9), LAST_EPOCH - 1);
    assert_eq!(bench.written(), None, "no learner would take it");
    let mut bench = of(&[1], at(4, 4, 9), LAST_EPOCH - 2);
    bench.accept(LAST_EPOCH - 1);
}
