//! The desk beside a real node, turn by turn.

use super::*;
use crate::base::{WallMillis, Zxid};
use crate::config::Words;
use crate::history::ChoreCommand;
use crate::node::Start;
use crate::state::{State, StateSettings};

const CONN: ConnId = ConnId { index: 0, generation: 1 };

struct Bench {
    attended: Attended,
    out: Effects,
    now: Now,
}

impl Bench {
    fn new() -> Bench {
        let mut config = Config::for_tests();
        config.admin.words = Words::All;
        let start = Start {
            state: State::new(&StateSettings::default()),
            tail: Vec::new(),
            last_logged: Zxid::ZERO,
            replay_until: Zxid::ZERO,
            wants_snapshot: false,
            mismatches: 0,
            behind: Default::default(),
            accepted_epoch: 0,
            current_epoch: 0,
            is_lost: false,
            snapshot: None,
            directory_kept_ms: u64::MAX,
        };
        let now = Now { mono: Instant(1_000_000_000), wall: WallMillis(1) };
        let node = Node::new(&config, start, now, 7).expect("a node");
        let attended = Attended::new(node, Ports { plain: Some(2181), secure: None });
        let mut bench = Bench { attended, out: Effects::default(), now };
        let peer = "127.0.0.1:9".parse().expect("an address");
        bench.turn(
            &[Event::Accepted { conn: CONN, peer, local: peer, secure: false, subject: None }],
            &[],
        );
        bench
    }

    fn turn(&mut self, events: &[Event<'_>], words: &[Asked]) {
        self.out.clear();
        self.attended.turn(self.now, events, &mut self.out);
        let news = NetNews { connections: 1, ..NetNews::default() };
        self.attended.attend(self.now, words, &news, &mut self.out);
    }

    fn ask(&mut self, word: &[u8; 4]) {
        self.turn(&[], &[Asked { conn: CONN, word: *word, argument: None }]);
    }

    fn says(&self) -> String {
        String::from_utf8_lossy(&self.out.arena).into_owned()
    }

    fn closes(&self, after_flush: bool) -> bool {
        self.out.list.contains(&Effect::Close { conn: CONN, after_flush })
    }
}

#[test]
fn an_answer_with_sizes_waits_for_their_measurement() {
    let mut bench = Bench::new();
    bench.ask(b"dirs");
    assert_eq!(bench.says(), "");
    assert!(bench.out.list.contains(&Effect::Chore(ChoreCommand::MeasureDirs)));
    assert!(!bench.attended.wants_turn(), "it waits without turning");
    bench.turn(&[Event::Storage(StorageEvent::DirSizes { data: 5, log: 6 })], &[]);
    assert_eq!(bench.says(), "datadir_size: 5\nlogdir_size: 6\n");
    assert!(bench.closes(true));
}

#[test]
fn a_disk_that_hangs_does_not_hold_an_answer_back_for_long() {
    let mut bench = Bench::new();
    bench.ask(b"conf");
    let due = bench.now.mono.plus_ms(WORD_MEASURE_MS);
    assert!(bench.attended.next_timeout().is_some_and(|next| next <= due));
    bench.now.mono = due;
    bench.turn(&[], &[]);
    assert!(bench.says().contains("dataDirSize=0\n"), "{}", bench.says());
    assert!(bench.closes(true));
}

#[test]
fn a_listing_rests_while_nobody_takes_it_and_is_given_up_in_the_end() {
    let mut bench = Bench::new();
    // Watched by one connection: more than a few portions.
    for n in 0..5000 {
        let path = format!("/missing/{n:0>40}");
        let listed = bench.attended.node.listed();
        listed.watches.add(CONN, listed.state, &path, crate::watch::Table::Data);
    }
    bench.ask(b"wchp");
    assert!(!bench.closes(true) && bench.attended.wants_turn());
    let before = bench.says().len();
    assert!((WORD_CHUNK_BYTES..2 * WORD_CHUNK_BYTES).contains(&before), "{before}");
    bench.turn(&[Event::Backlog { conn: CONN, bytes: 2_000_000 }], &[]);
    assert_eq!(bench.says(), "");
    assert!(!bench.attended.wants_turn());
    bench.turn(&[Event::Backlog { conn: CONN, bytes: 0 }], &[]);
    assert!(bench.says().len() >= WORD_CHUNK_BYTES, "it goes on");
    bench.turn(&[Event::Backlog { conn: CONN, bytes: 2_000_000 }], &[]);
    bench.now.mono = bench.now.mono.plus_ms(WORD_STALL_MS);
    bench.turn(&[], &[]);
    assert!(bench.closes(false));
    assert_eq!(bench.attended.next_timeout(), bench.attended.node.next_timeout());
}
