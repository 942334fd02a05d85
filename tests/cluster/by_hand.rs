//! Scripted by hand: disks that hang, clocks that jump, nodes that are reaped.

use zkd::base::{Instant, Now, WallMillis, Zxid};
use zkd::client::{Call, NewNode};
use zkd::config::Config;
use zkd::node::{Node, Start};
use zkd::state::{State, StateSettings};

use crate::hand::Hand;

const HOUR_MS: i64 = 3_600_000;

fn data(path: &str) -> Call<'_> {
    Call::GetData { path, watch: false }
}

/// A disk that does not answer: the server stays, reads and pings are answered, writes wait, and
/// it says so until the disk answers again.
#[test]
fn a_sync_that_hangs_holds_writes_and_nothing_else() {
    let mut hand = Hand::new(|config| {
        config.tick_time_ms = 1000;
        config.ensemble.sync_limit_ticks = 4;
    });
    let (writer, reader) = (hand.open(18_000), hand.open(18_000));
    hand.send(writer, 1, &Call::Create(NewNode::persistent("/a", b"")));
    let view = |hand: &Hand| hand.machine.node().expect("it is up").view();
    hand.machine.wait(3900);
    assert_eq!(view(&hand).hanging_sync_ms, None);
    // Its own time, not that of the next look at something else.
    let due = hand.machine.next_timeout().expect("something is due");
    assert!(due <= hand.machine.now.mono.plus_ms(100), "{due:?}");
    hand.machine.wait(200);
    assert!(view(&hand).hanging_sync_ms.is_some_and(|ms| ms >= 4000), "by itself, in time");
    // Half a minute: every session would have expired without its pings.
    for xid in 0..30 {
        hand.machine.wait(1000);
        hand.ping(reader);
        hand.send(reader, xid, &data("/a"));
        assert_eq!(hand.answers(reader), [(-2, 0), (xid, -101)], "a read of what is there");
        hand.ping(writer);
        let answers = hand.answers(writer);
        // A third of the timeout: behind that the client had better move away.
        let waited_ms = 4100 + 1000 * (xid as u64 + 1);
        assert_eq!(answers.is_empty(), waited_ms > 6000, "after {waited_ms} ms: {answers:?}");
    }
    assert!(hand.machine.fatal.is_none() && hand.is_open(writer) && hand.is_open(reader));
    assert!(view(&hand).hanging_sync_ms.is_some_and(|ms| ms >= 34_000));
    hand.settle();
    assert_eq!(view(&hand).hanging_sync_ms, None);
    let answers = hand.answers(writer);
    assert_eq!(answers.first(), Some(&(1, 0)), "the write, then the pings behind it");
    assert!(answers.len() > 20 && answers[1..].iter().all(|answer| *answer == (-2, 0)));
    hand.send(reader, 99, &data("/a"));
    assert_eq!(hand.answers(reader), [(99, 0)]);
}

/// Sessions live by the clock that only goes forward, whatever the wall says.
#[test]
fn sessions_do_not_care_how_the_wall_clock_jumps() {
    let mut hand = Hand::new(|_| ());
    let (lively, silent) = (hand.open(6000), hand.open(6000));
    let before = hand.machine.node().expect("up").view().sessions;
    for jump in [HOUR_MS, -2 * HOUR_MS, 24 * HOUR_MS, -HOUR_MS, 0] {
        hand.jump(jump);
        hand.machine.turn();
        hand.ping(lively);
        hand.ping(silent);
        assert_eq!((hand.answers(lively).len(), hand.answers(silent).len()), (1, 1));
        hand.pass(3000);
    }
    assert_eq!(hand.machine.node().expect("up").view().sessions, before);
    // Nor does a clock set back give anybody more time.
    hand.ping(lively);
    hand.jump(-HOUR_MS);
    for _ in 0..4 {
        hand.pass(2500);
        hand.ping(lively);
    }
    assert!(hand.is_open(lively) && !hand.is_open(silent));
}

/// Times of nodes are the wall's, and what lives for a time lives as long as the wall says.
#[test]
fn nodes_live_by_the_wall_clock() {
    let mut hand = Hand::new(|config| config.tree.containers.check_interval_ms = 1000);
    let conn = hand.open(40_000);
    let ctime = |hand: &Hand, path: &str| {
        let state = hand.machine.node().expect("up").state();
        state.node(state.find(path).expect("it is there")).node_stat().ctime
    };
    for (n, jump) in [0, HOUR_MS, -3 * HOUR_MS].into_iter().enumerate() {
        hand.jump(jump);
        let path = format!("/t{n}");
        let wall = hand.machine.now.wall.0;
        let ttl = Call::Create(NewNode::with_ttl(&path, b"", 60_000));
        hand.send(conn, n as i32, &ttl);
        hand.settle();
        assert_eq!(ctime(&hand, &path), wall);
    }
    // Two hours behind the first two: theirs is a long time, the third's is a minute.
    hand.ping(conn);
    hand.pass(30_000);
    hand.ping(conn);
    hand.pass(29_000);
    assert!(["/t0", "/t1", "/t2"].iter().all(|path| hand.has(path)), "nobody before its time");
    hand.ping(conn);
    hand.pass(3000);
    assert!(hand.has("/t0") && hand.has("/t1") && !hand.has("/t2"));
    hand.jump(2 * HOUR_MS);
    hand.pass(3000);
    assert!(!hand.has("/t0") && hand.has("/t1"), "an hour forward is an hour for the node");
    hand.jump(HOUR_MS);
    hand.pass(3000);
    assert!(!hand.has("/t1"));
}

/// More to reap than one look finds in a turn, and a stall before it: removed at a bounded rate,
/// and nothing else with it.
#[test]
fn containers_go_at_a_bounded_rate_over_several_turns() {
    const COUNT: i32 = 6000;
    let mut hand = Hand::new(|config| config.tree.containers.max_per_minute = 60_000);
    let conn = hand.open(40_000);
    hand.send(conn, 0, &Call::Create(NewNode::container("/full", b"")));
    hand.send(conn, 0, &Call::Create(NewNode::persistent("/full/child", b"")));
    hand.send(conn, 0, &Call::Create(NewNode::container("/unused", b"")));
    for n in 0..COUNT {
        let (path, child) = (format!("/c{n}"), format!("/c{n}/child"));
        hand.queue(conn, n, &Call::Create(NewNode::container(&path, b"")));
        hand.queue(conn, n, &Call::Create(NewNode::persistent(&child, b"")));
        hand.queue(conn, n, &Call::Delete { path: &child, version: -1 });
        if n % 500 == 499 {
            hand.machine.turn();
            hand.settle();
        }
    }
    hand.settle();
    let nodes = |hand: &Hand| hand.machine.node().expect("up").view().node_count;
    let before = nodes(&hand);
    hand.take_appended();
    // A look that takes several turns; then an hour in which nothing ran, and one turn after
    // another in the same moment.
    hand.machine.advance(60_001);
    hand.settle();
    assert!(hand.take_appended() < 100, "they have only been found");
    hand.machine.advance(HOUR_MS as u64);
    let mut most = 0;
    for _ in 0..10 {
        hand.machine.turn();
        most = most.max(hand.take_appended());
    }
    assert!((1..=1100).contains(&most), "what a stall held up is not made up for: {most}");
    // The disk hangs: who was found before waits, and nobody is asked for twice.
    let mut meanwhile = 0;
    for _ in 0..100 {
        hand.machine.advance(3000);
        hand.machine.turn();
        meanwhile += hand.take_appended();
    }
    assert!(meanwhile <= COUNT as usize, "{meanwhile} removals of {COUNT}");
    let mut seconds = 0;
    while nodes(&hand) > before - COUNT as usize {
        hand.machine.advance(1000);
        hand.settle();
        seconds += 1;
        assert!(seconds < 200, "{} are left", nodes(&hand));
    }
    assert_eq!(nodes(&hand), before - COUNT as usize);
    assert!(hand.has("/full/child") && hand.has("/unused"));
}

/// What recovery found wrong is among what `mntr` shows; that prepare foresaw it is not asked.
#[test]
fn digests_that_recovery_found_wrong_are_counted() {
    let start = Start {
        state: State::new(&StateSettings::default()),
        tail: Vec::new(),
        last_logged: Zxid(0),
        replay_until: Zxid(0),
        wants_snapshot: false,
        mismatches: 3,
        behind: Default::default(),
        accepted_epoch: 0,
        current_epoch: 0,
        is_lost: false,
        snapshot: None,
        directory_kept_ms: u64::MAX,
    };
    let now = Now { mono: Instant(1_000_000_000), wall: WallMillis(1) };
    let mut node = Node::new(&Config::for_tests(), start, now, 1).expect("a good config");
    node.check();
    assert_eq!(node.metrics().digest_mismatches_count.0, 3);
    node.reset_stats();
    assert_eq!(node.view().digest_mismatches, 0);
}

/// The tokens that are missing after each handshake that was let through, as Apache counts.
#[test]
fn every_handshake_counts_the_tokens_that_are_missing() {
    let mut hand = Hand::new(|config| {
        config.limits.connection_throttle.tokens = 5;
        config.limits.connection_throttle.fill_time_ms = 1_000_000;
    });
    (0..3).for_each(|_| _ = hand.open(6000));
    let deficit = &hand.machine.node().expect("up").metrics().connection_token_deficit;
    assert_eq!((deficit.count(), deficit.sum(), deficit.max()), (3, 1 + 2 + 3, 3));
}
