//! Situations in which the server once did what it must not, by hand.

use std::sync::Arc;

use zkd::base::limits;
use zkd::base::{ConnId, Instant, Now, SessionId, Ticket, WallMillis, Xid, Zxid};
use zkd::client::{Call, NewNode};
use zkd::config::Config;
use zkd::disk::{Disk, StorageSettings};
use zkd::history::{ChoreCommand, StorageCommand, StorageEvent};
use zkd::node::{Effect, Effects, Event, Node, Start};
use zkd::proto::{Acl, CreateKind, CreateTxn, PathList, RequestHeader, Txn, TxnHeader, Writer};
use zkd::state::{Applied, Mode, State, StateSettings};

use crate::world::disk::{Fault, SimDisk};
use crate::world::machine::{Breakage, Machine};

fn conn(index: u32) -> ConnId {
    ConnId { index, generation: 1 }
}

/// A node, its clock, and the last storage command it gave.
struct Bench {
    node: Node,
    out: Effects,
    now: Now,
    last: Ticket,
}

impl Bench {
    fn new(state: State, zxid: i64, change: impl FnOnce(&mut Config)) -> Bench {
        let mut config = Config::for_tests();
        change(&mut config);
        let start = Start {
            state,
            tail: Vec::new(),
            last_logged: Zxid(zxid),
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
        Bench { node, out: Effects::default(), now, last: Ticket::default() }
    }

    fn turn(&mut self, events: &[Event<'_>]) {
        self.out.clear();
        self.node.turn(self.now, events, &mut self.out);
        for effect in &self.out.list {
            if let Effect::Storage(command) = effect {
                self.last = command.ticket();
            }
        }
    }

    fn sync(&mut self) {
        let durable = StorageEvent::Durable { ticket: self.last, sync_us: 1 };
        self.turn(&[Event::Storage(durable)]);
    }

    fn connect(&mut self, index: u32, session: SessionId, password: &[u8], timeout_ms: u32) {
        let peer = "127.0.0.1:9".parse().expect("an address");
        let mut hello = vec![0; 12];
        hello.extend(timeout_ms.to_be_bytes());
        hello.extend(session.0.to_be_bytes());
        hello.put_buffer(Some(password));
        hello.push(0);
        let id = conn(index);
        self.turn(&[
            Event::Accepted { conn: id, peer, local: peer, secure: false, subject: None },
            Event::Frame { conn: id, body: &hello },
        ]);
    }

    /// Session and password of the connect response in this turn's arena.
    fn welcome(&self) -> (SessionId, Vec<u8>) {
        let body = &self.out.arena[4..];
        let id = i64::from_be_bytes(*body[8..].first_chunk().expect("an id"));
        (SessionId(id), body[20..36].to_vec())
    }

    fn ask(&mut self, index: u32, xid: i32, call: &Call<'_>) {
        let mut body = Vec::new();
        RequestHeader { xid: Xid(xid), op: call.op().number() }.write(&mut body);
        call.write(&mut body);
        self.turn(&[Event::Frame { conn: conn(index), body: &body }]);
    }

    fn chores(&self) -> Vec<ChoreCommand> {
        let chore = |effect: &Effect| match effect {
            Effect::Chore(command) => Some(command.clone()),
            _ => None,
        };
        self.out.list.iter().filter_map(chore).collect()
    }
}

fn begins(chore: &ChoreCommand) -> Option<Zxid> {
    match chore {
        ChoreCommand::SnapshotBegin { zxid } => Some(*zxid),
        _ => None,
    }
}

/// A client loses its connection with a write under way, comes back with its session, and looks
/// whether the write was done: the answer must not be older than the write.
#[test]
fn a_read_waits_for_the_writes_of_its_session_from_before_it_came_back() {
    let mut bench = Bench::new(State::new(&StateSettings::default()), 0, |_| {});
    bench.connect(0, SessionId::NONE, &[0; 16], 30_000);
    bench.sync();
    let (session, password) = bench.welcome();
    bench.ask(0, 1, &Call::Create(NewNode::persistent("/a", b"")));
    bench.connect(1, session, &password, 30_000);
    assert_eq!(bench.welcome().0, session, "it is back");
    bench.ask(1, 2, &Call::Exists { path: "/a", watch: false });
    let answered_early = bench.out.arena.clone();
    bench.sync();
    assert!(bench.node.state().find("/a").is_some(), "the write was under way all the time");
    assert_eq!(answered_early, b"", "the read overtook it and said that there is none");
}

/// A stall that begins while there is work for another turn is forgiven like any other.
#[test]
fn a_stall_between_two_busy_turns_costs_nobody_a_session() {
    let mut state = State::new(&StateSettings::default());
    fill(&mut state, 2000, 10);
    let mut bench = Bench::new(state, 2000, |config| config.storage.snap_count = 2);
    bench.connect(0, SessionId::NONE, &[0; 16], 6000);
    bench.sync();
    let (session, _) = bench.welcome();
    for xid in 1..20 {
        bench.ask(0, xid, &Call::Create(NewNode::persistent(&format!("/b{xid}"), b"")));
        bench.sync();
        if bench.node.wants_turn() {
            break;
        }
        bench.node.next_timeout();
    }
    assert!(bench.node.wants_turn(), "a snapshot is walked");
    bench.node.due_at_once(bench.now.mono);
    bench.now.mono = bench.now.mono.plus_ms(15_000);
    // What this session has said meanwhile lies behind the 1024 events of one poll.
    bench.turn(&[]);
    let view = bench.node.sessions().view(session);
    assert!(view.is_some_and(|view| !view.closing), "it was the server that was silent");
}

fn fill(state: &mut State, count: i64, bytes: usize) {
    let mut applied = Applied::default();
    for n in 1..=count {
        let header =
            TxnHeader { session: SessionId(1), cxid: 0, zxid: Zxid(n), time: WallMillis(1) };
        let txn = Txn::Create(CreateTxn {
            kind: CreateKind::Create,
            path: format!("/n{n}"),
            data: Some(vec![7; bytes]),
            acl: vec![Acl::open()],
            ephemeral: false,
            parent_cversion: n as i32,
            ttl: 0,
        });
        state.apply(&header, &txn, Mode::Exact, &mut applied);
    }
}

/// A chore thread that hangs holds what one snapshot has handed it, and no more: the next begins
/// when it has let go of that.
#[test]
fn no_snapshot_begins_before_the_one_that_was_given_up_is_gone() {
    let mut state = State::new(&StateSettings::default());
    fill(&mut state, 90, 1_000_000);
    let mut bench = Bench::new(state, 90, |config| config.storage.snap_count = 2);
    bench.connect(0, SessionId::NONE, &[0; 16], 30_000);
    bench.sync();
    let mut all = Vec::new();
    for n in (1..=90).rev() {
        bench.ask(0, n, &Call::Delete { path: &format!("/n{n}"), version: -1 });
        all.extend(bench.chores());
        bench.sync();
        all.extend(bench.chores());
    }
    let count = |all: &[ChoreCommand]| all.iter().filter(|c| begins(c).is_some()).count();
    assert!(all.contains(&ChoreCommand::SnapshotAbandon), "the disk does not keep up");
    assert_eq!(count(&all), 1, "nothing was heard of the first");
    bench.turn(&[Event::Storage(StorageEvent::SnapshotAbandoned)]);
    for n in 0..10 {
        bench.ask(0, 1000 + n, &Call::Create(NewNode::persistent(&format!("/c{n}"), b"")));
        all.extend(bench.chores());
        bench.sync();
        all.extend(bench.chores());
    }
    assert_eq!(count(&all), 2);
}

/// `zookeeper.db.autocreate=false` and an empty directory: whatever was acknowledged is there
/// after a restart.
#[test]
fn what_a_lone_server_without_a_database_acknowledged_survives_its_restart() {
    let mut settings = StorageSettings::new("/data");
    settings.preallocate_bytes = 64 * 1024;
    settings.autocreate_db = false;
    let mut machine = Machine::new(1, Config::for_tests(), settings, Breakage::None);
    machine.start().expect("an empty disk");
    machine.turn();
    let link = open(&mut machine);
    send(&mut machine, link, 1, &Call::Create(NewNode::persistent("/a", b"")));
    machine.storage();
    machine.turn();
    assert!(!machine.link(link).expect("open").to_client.is_empty(), "it is acknowledged");
    machine.stop(Fault::Kill);
    let started = machine.start();
    assert!(started.is_ok(), "{started:?}");
    assert!(machine.node().expect("up").state().find("/a").is_some());
}

/// ZK-2249: whatever is larger than the steps in which a log grows is padded like anything else,
/// and read back.
#[test]
fn zk_2249_a_record_larger_than_the_padding_is_read_back() {
    const STEP: usize = 4096;
    let mut settings = StorageSettings::new("/data");
    settings.preallocate_bytes = STEP as u64;
    let mut machine = Machine::new(1, Config::for_tests(), settings, Breakage::None);
    machine.start().expect("an empty disk");
    machine.turn();
    let link = open(&mut machine);
    let sizes = [1, STEP - 200, STEP - 1, STEP, STEP + 1, 3 * STEP, 100_000, 10];
    for (n, bytes) in sizes.iter().enumerate() {
        let (path, data) = (format!("/a{n}"), vec![7; *bytes]);
        send(&mut machine, link, n as i32 + 1, &Call::Create(NewNode::persistent(&path, &data)));
        machine.storage();
        machine.turn();
        for (path, log) in machine.files.borrow().log_bytes() {
            let last = log.iter().rposition(|byte| *byte != 0).expect("a header at least");
            let is_padded = log.len() % STEP == 0 && log.len() > last + 1;
            assert!(is_padded, "{}: {} bytes, {last} in use", path.display(), log.len());
        }
    }
    machine.stop(Fault::Kill);
    machine.start().expect("what was written is read");
    let state = machine.node().expect("up").state();
    assert!((0..sizes.len()).all(|n| state.find(&format!("/a{n}")).is_some()));
}

/// ZK-4743: a version that has come to the end of its numbers goes on at their beginning, as with
/// Apache 3.9, and passes for "any" on its way.
#[test]
fn zk_4743_a_version_wraps_as_in_apache() {
    for (version, next) in [(i32::MAX, i32::MIN), (-2, -1), (-1, 0)] {
        let mut state = State::new(&StateSettings::default());
        fill(&mut state, 1, 0);
        let header =
            TxnHeader { session: SessionId(1), cxid: 0, zxid: Zxid(2), time: WallMillis(1) };
        let txn = Txn::SetData { path: "/n1".to_owned(), data: None, version };
        state.apply(&header, &txn, Mode::Exact, &mut Applied::default());
        let mut bench = Bench::new(state, 2, |_| {});
        bench.connect(0, SessionId::NONE, &[0; 16], 30_000);
        bench.sync();
        bench.ask(0, 1, &Call::SetData { path: "/n1", data: Some(b""), version });
        bench.sync();
        let state = bench.node.state();
        let node = state.node(state.find("/n1").expect("it is there"));
        assert_eq!(node.node_stat().version, next);
    }
}

/// ZK-3145: an image was written while a session ended: its node is gone from it, and the parent
/// was written before. The close says what it deleted, so its replay brings the parent to what it
/// was.
#[test]
fn zk_3145_a_close_that_an_image_knows_in_part_is_replayed_whole() {
    let mut state = State::new(&StateSettings::default());
    fill(&mut state, 2, 0);
    let header = TxnHeader { session: SessionId(7), cxid: 0, zxid: Zxid(9), time: WallMillis(1) };
    let mut paths = PathList::default();
    paths.push("/n1/gone");
    let close = Txn::CloseSession { paths: Some(Arc::new(paths)) };
    state.apply(&header, &close, Mode::Replay, &mut Applied::default());
    let pzxid = |path| state.node(state.find(path).expect("it is there")).node_stat().pzxid;
    assert_eq!((pzxid("/n1"), pzxid("/n2")), (Zxid(9), Zxid(2)));
}

/// A client that takes its replies slowly and says that it is there keeps its session.
#[test]
fn a_slow_reader_keeps_its_session() {
    let mut bench = Bench::new(State::new(&StateSettings::default()), 0, |_| {});
    bench.connect(0, SessionId::NONE, &[0; 16], 6000);
    bench.sync();
    let (session, _) = bench.welcome();
    bench.turn(&[Event::Backlog { conn: conn(0), bytes: 2 << 20 }]);
    assert!(bench.out.list.contains(&Effect::Pause { conn: conn(0) }), "its pings stay unread");
    for _ in 0..30 {
        bench.node.next_timeout();
        bench.now.mono = bench.now.mono.plus_ms(400);
        // As the reactor tells it whenever the socket takes some of the backlog.
        bench.turn(&[Event::Taking { conn: conn(0) }]);
    }
    let view = bench.node.sessions().view(session);
    assert!(view.is_some_and(|view| !view.closing), "it was never looked whether it pings");
    for _ in 0..30 {
        bench.node.next_timeout();
        bench.now.mono = bench.now.mono.plus_ms(400);
        bench.turn(&[]);
    }
    let view = bench.node.sessions().view(session);
    assert!(view.is_none_or(|view| view.closing), "one that takes nothing ends like any other");
}

/// Others who always have more to say do not keep a session alive that has fallen silent.
#[test]
fn a_silent_session_ends_though_the_server_is_busy() {
    let mut bench = Bench::new(State::new(&StateSettings::default()), 0, |_| {});
    bench.connect(0, SessionId::NONE, &[0; 16], 6000);
    bench.sync();
    let (session, _) = bench.welcome();
    for _ in 0..600 {
        // As the reactor tells it behind every turn that took a byte from a TLS link, or all that
        // one read may take from a plain one.
        bench.now.mono = bench.now.mono.plus_ms(100);
        bench.turn(&[Event::InputLeft]);
    }
    let view = bench.node.sessions().view(session);
    assert!(view.is_none_or(|view| view.closing), "ten timeouts of silence");
}

/// While the log disk hangs, a server that was asked to end sleeps until something happens.
#[test]
fn a_server_that_waits_for_its_disk_to_end_sleeps() {
    let mut bench = Bench::new(State::new(&StateSettings::default()), 0, |_| {});
    bench.connect(0, SessionId::NONE, &[0; 16], 6000);
    bench.sync();
    bench.ask(0, 1, &Call::Create(NewNode::persistent("/a", b"")));
    bench.turn(&[Event::Shutdown]);
    let mut turns = 0;
    let end = bench.now.mono.plus_ms(60_000);
    while bench.now.mono < end && turns < 100_000 {
        // As the reactor's poll: until what is due, or for nothing where that is over.
        let due = bench.node.next_timeout();
        let wait_ns = due.map_or(60_000_000_000, |due| due.ns_since(bench.now.mono));
        // A turn takes ten microseconds.
        bench.now.mono = bench.now.mono.plus_ns(wait_ns.max(10_000));
        bench.turn(&[]);
        turns += 1;
    }
    assert!(turns < 1000, "{turns} turns in a minute in which nothing happened");
}

/// Requests that cost much and answer little share their turns with others.
#[test]
fn what_one_client_asks_in_one_turn_has_a_bound() {
    let mut state = State::new(&StateSettings::default());
    fill(&mut state, 1, 0);
    let mut applied = Applied::default();
    for n in 2..=100_000 {
        let (session, time) = (SessionId(1), WallMillis(1));
        let header = TxnHeader { session, cxid: 0, zxid: Zxid(n), time };
        let txn = Txn::Create(CreateTxn {
            kind: CreateKind::Create,
            path: format!("/n1/{n}"),
            data: None,
            acl: vec![Acl::open()],
            ephemeral: false,
            parent_cversion: n as i32,
            ttl: 0,
        });
        state.apply(&header, &txn, Mode::Exact, &mut applied);
    }
    let mut bench = Bench::new(state, 100_000, |_| {});
    bench.connect(0, SessionId::NONE, &[0; 16], 6000);
    bench.sync();
    let mut body = Vec::new();
    RequestHeader { xid: Xid(1), op: 104 }.write(&mut body);
    body.put_string("/n1");
    // 64 KiB of them come in one read.
    let frames = 65_536 / (body.len() + 4);
    let events: Vec<_> = (0..frames).map(|_| Event::Frame { conn: conn(0), body: &body }).collect();
    bench.turn(&events);
    let answered = bench.out.arena.len() / 24;
    assert!(answered < frames, "all of them were answered in one turn");
}

/// A server that is restarted often takes its snapshots all the same.
#[test]
fn txns_from_before_a_restart_count_toward_the_next_snapshot() {
    let mut settings = StorageSettings::new("/data");
    settings.preallocate_bytes = 64 * 1024;
    let mut config = Config::for_tests();
    config.storage.snap_count = 20;
    let mut machine = Machine::new(1, config, settings, Breakage::None);
    for run in 0..30 {
        machine.start().expect("it starts");
        machine.turn();
        let link = open(&mut machine);
        for n in 0..4 {
            let path = format!("/r{run}n{n}");
            send(&mut machine, link, n, &Call::Create(NewNode::persistent(&path, b"")));
        }
        for _ in 0..8 {
            machine.storage();
            machine.turn();
        }
        machine.stop(Fault::Kill);
    }
    let mut disk = SimDisk::new(&machine.files);
    let names = disk.list("/data/version-2".as_ref()).expect("a directory");
    let names: Vec<_> = names.into_iter().map(|file| file.name).collect();
    let snapshots = names.iter().filter(|name| name.starts_with("snapshot.")).count();
    assert!(snapshots > 1, "150 txns at one snapshot each 20: {names:?}");
}

fn open(machine: &mut Machine) -> ConnId {
    let link = machine.connect();
    let mut hello = vec![0, 0, 0, 45];
    hello.extend([0; 12]);
    hello.extend(30_000u32.to_be_bytes());
    hello.extend([0; 8]);
    hello.extend([&16u32.to_be_bytes()[..], &[0; 17]].concat());
    machine.link(link).expect("open").from_client.extend(hello);
    machine.turn();
    machine.storage();
    machine.turn();
    machine.link(link).expect("open").to_client.clear();
    link
}

fn send(machine: &mut Machine, link: ConnId, xid: i32, call: &Call<'_>) {
    let mut frame = vec![0; 4];
    RequestHeader { xid: Xid(xid), op: call.op().number() }.write(&mut frame);
    call.write(&mut frame);
    let length = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    machine.link(link).expect("open").from_client.extend(frame);
    machine.turn();
}

/// Writers that the log cannot keep up with leave room for who wants a session.
#[test]
fn a_new_client_gets_its_session_though_the_log_is_behind() {
    let mut bench = Bench::new(State::new(&StateSettings::default()), 0, |_| {});
    for index in 0..5 {
        bench.connect(index, SessionId::NONE, &[0; 16], 30_000);
        bench.sync();
    }
    bench.ask(0, 1, &Call::Create(NewNode::persistent("/a", b"")));
    bench.sync();
    let data = vec![7; 100_000];
    let write = Call::SetData { path: "/a", data: Some(&data), version: -1 };
    let mut body = Vec::new();
    RequestHeader { xid: Xid(1), op: write.op().number() }.write(&mut body);
    write.write(&mut body);
    let (mut paused, mut session_in) = ([false; 5], None);
    for round in 0..100 {
        // A sync has ended, and whoever is read says more.
        let durable = Event::Storage(StorageEvent::Durable { ticket: bench.last, sync_us: 1 });
        let peer = "127.0.0.1:9".parse().expect("an address");
        let mut hello = vec![0; 12];
        hello.extend(30_000u32.to_be_bytes());
        hello.extend([0; 8]);
        hello.extend([&16u32.to_be_bytes()[..], &[0; 17]].concat());
        let mut events = vec![durable];
        for index in (0..5).filter(|index| !paused[*index as usize]) {
            (0..10).for_each(|_| events.push(Event::Frame { conn: conn(index), body: &body }));
        }
        if round == 10 {
            let (conn, secure, subject) = (conn(9), false, None);
            events.push(Event::Accepted { conn, peer, local: peer, secure, subject });
            events.push(Event::Frame { conn, body: &hello });
        }
        bench.turn(&events);
        for effect in &bench.out.list {
            match effect {
                Effect::Pause { conn } if conn.index < 5 => paused[conn.index as usize] = true,
                Effect::Resume { conn } if conn.index < 5 => paused[conn.index as usize] = false,
                Effect::Established { conn } if conn.index == 9 => {
                    session_in = session_in.or(Some(round));
                }
                _ => {}
            }
        }
    }
    assert!(session_in.is_some_and(|round| round < 15), "{session_in:?}");
}

/// Its session is there, and it may have any number of requests under way.
fn with_an_eager_client() -> Bench {
    let mut bench = Bench::new(State::new(&StateSettings::default()), 0, |config| {
        config.limits.global_outstanding_limit = i32::MAX;
    });
    bench.connect(0, SessionId::NONE, &[0; 16], 30_000);
    bench.sync();
    bench
}

/// A sync that hangs holds thousands of writes back. They are applied over several turns, in
/// order, and between them others are heard.
#[test]
fn what_a_slow_sync_held_back_is_applied_a_bounded_number_a_turn() {
    let mut bench = with_an_eager_client();
    let count = limits::APPLIES_PER_TURN * 2 + 10;
    for n in 0..count {
        let path = format!("/n{n}");
        bench.ask(0, n as i32 + 1, &Call::Create(NewNode::persistent(&path, b"")));
    }
    bench.sync();
    let applied = |bench: &Bench| bench.node.state().last_zxid().0 as usize - 1;
    for turn in 1..=2 {
        assert_eq!(applied(&bench), limits::APPLIES_PER_TURN * turn);
        assert!(bench.node.wants_turn(), "there is more to apply");
        bench.turn(&[]);
    }
    assert_eq!(applied(&bench), count, "all is applied in the third");
}

/// What waited for the log is taken up over several turns once there is room.
#[test]
fn what_waited_for_the_log_is_taken_up_a_bounded_number_a_turn() {
    let mut bench = with_an_eager_client();
    let large = vec![b'x'; limits::UNSYNCED_BYTES / 8];
    for n in 0..8 {
        let path = format!("/large{n}");
        bench.ask(0, n + 1, &Call::Create(NewNode::persistent(&path, &large)));
    }
    let waiting = limits::TAKEN_UP_PER_TURN + 10;
    for n in 0..waiting {
        let path = format!("/n{n}");
        bench.ask(0, n as i32 + 9, &Call::Create(NewNode::persistent(&path, b"")));
    }
    let appended = |bench: &Bench| {
        bench.out.list.iter().find_map(|effect| match effect {
            Effect::Storage(StorageCommand::Append { first, last, .. }) => {
                Some(last.0 - first.0 + 1)
            }
            _ => None,
        })
    };
    assert_eq!(appended(&bench), None, "the log is behind");
    bench.sync();
    assert_eq!(appended(&bench), Some(limits::TAKEN_UP_PER_TURN as i64));
    assert!(bench.node.wants_turn(), "there is more to take up");
    bench.turn(&[]);
    assert_eq!(appended(&bench), None, "what is taken up shares the sync behind the long one");
    bench.sync();
    assert_eq!(appended(&bench), Some(10));
    bench.sync();
    assert!(bench.node.state().find(&format!("/n{}", waiting - 1)).is_some(), "all are applied");
}

/// Requests that come before the session is there wait for it, but not any number of them.
#[test]
fn who_sends_thousands_of_requests_before_its_session_is_there_is_closed() {
    let mut bench = Bench::new(State::new(&StateSettings::default()), 0, |_| {});
    bench.connect(0, SessionId::NONE, &[0; 16], 30_000);
    let closes =
        |bench: &Bench| bench.out.list.iter().any(|effect| matches!(effect, Effect::Close { .. }));
    for _ in 0..limits::CONN_QUEUED_REQUESTS {
        bench.ask(0, -2, &Call::Ping);
        assert!(!closes(&bench), "so many may wait");
    }
    bench.ask(0, -2, &Call::Ping);
    assert!(closes(&bench), "one more is too much");
    bench.sync();
    assert_eq!(bench.out.arena, b"", "nobody is there to be welcomed");
}
