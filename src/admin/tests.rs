//! Against what a live server answered (`recorded/`, by `scripts/record_words`): every line, key
//! and value, but for those that differ from run to run.

use std::collections::BTreeMap;

use super::*;
use crate::base::{Instant, Now, ServerMetrics, ServerStats, SessionId, WallMillis, Zxid};
use crate::watch::{ConnListing, PathListing};

const APACHE: &str =
    "3.9.5-293c895a8d966a3ecb92872be4a1daf87d725da2, built on 2026-02-11 20:18 UTC";
const FIRST: SessionId = SessionId(0x0100_0026_71c2_0000);
const SECOND: SessionId = SessionId(0x0100_0026_71c2_0001);

/// Everything owned that a report borrows.
struct World {
    stats: ServerStats,
    metrics: ServerMetrics,
    conf: Conf,
    environment: Environment,
}

fn recorded(word: &str) -> String {
    macro_rules! recordings {
        ($($word:literal)*) => {
            match word {
                $($word => include_str!(concat!("recorded/", $word, ".txt")),)*
                other => panic!("no recording of {other}"),
            }
        };
    }
    let text = recordings!(
        "ruok" "srvr" "stat" "conf" "cons" "dump" "envi" "wchs" "wchc" "wchp" "dirs" "isro" "hash"
        "gtmk" "stmk" "mntr" "crst" "srst"
    );
    text.to_owned()
}

impl World {
    fn new() -> World {
        let mut stats = ServerStats::default();
        stats.packets_received.add(153);
        stats.packets_sent.add(158);
        [0, 11].into_iter().for_each(|ms| stats.latency_ms.observe(ms));
        [16, 95, 92].into_iter().for_each(|size| stats.client_response_sizes.observe(size));
        let mut metrics = ServerMetrics::default();
        metrics.prep_processor_request_queued.add(147);
        [0, 11].into_iter().for_each(|ms| metrics.updatelatency.observe(ms));
        metrics.read_per_namespace.at("app").unwrap().observe(78);
        metrics.write_per_namespace.at("zookeeper").unwrap().observe(20);
        metrics.write_per_namespace.at("app").unwrap().observe(10);
        let conf = Conf {
            client_port: 38771,
            secure_client_port: -1,
            data_dir: "/data/version-2".to_owned(),
            data_log_dir: "/data/version-2".to_owned(),
            tick_time_ms: 2000,
            min_session_timeout_ms: 4000,
            max_session_timeout_ms: 40000,
            client_port_listen_backlog: -1,
            ..Conf::default()
        };
        let environment = Environment { host_name: "localhost".to_owned(), ..Default::default() };
        World { stats, metrics, conf, environment }
    }

    fn report(&self) -> Report<'_> {
        let quota = QuotaGauges {
            namespace: "app".to_owned(),
            count_limit: Some(50),
            bytes_limit: Some(-1),
            count_usage: Some(4),
            bytes_usage: Some(7),
        };
        let node = NodeReport {
            last_zxid: Zxid(0x8c),
            node_count: 12,
            ephemerals_count: 3,
            approximate_data_size: 201,
            watches: WatchSummary { connections: 2, paths: 3, data_watches: 4, child_watches: 2 },
            global_sessions: 2,
            quotas: vec![quota],
            digests: vec![(Zxid(0x80), 9_581_213_708)],
            ..NodeReport::default()
        };
        let dirs = DirReport { data_bytes: 67_109_358, log_bytes: 67_109_358 };
        let net = NetReport { connections: 3, max_files: 20_000, ..NetReport::default() };
        Report {
            serving: true,
            mode: Mode::Standalone,
            version: APACHE,
            stats: &self.stats,
            metrics: &self.metrics,
            node,
            net,
            dirs,
            conf: &self.conf,
            environment: &self.environment,
            trace_mask: 306,
        }
    }
}

/// A server with the recording's sessions.
#[derive(Default)]
struct Scene {
    has_locals: bool,
    learns: bool,
}

fn view(port: u16, session: Option<SessionId>) -> ConnView {
    let timeout_ms = if session == Some(FIRST) { 30_000 } else { 10_000 };
    let used = |id| SessionUse {
        id,
        last_op: if id == FIRST { "GETD" } else { "SETD" },
        established: WallMillis(1_795_229_120_926),
        timeout_ms,
        last_cxid: 0x0a,
        last_zxid: Zxid(0x8c),
        last_response_ms: 2_842_764,
        last_latency_ms: 0,
        min_latency_ms: 0,
        avg_latency_ms: 2,
        max_latency_ms: 11,
    };
    ConnView {
        peer: format!("127.0.0.1:{port}").parse().unwrap(),
        reading: session.is_some(),
        writing: false,
        queued: 0,
        received: if session.is_some() { 11 } else { 1 },
        sent: if session.is_some() { 12 } else { 0 },
        idle_limit_ms: timeout_ms as u64,
        idle_ms: 5,
        session: session.map(used),
    }
}

impl Source for Scene {
    fn next_connection(&self, from: u32) -> Option<(u32, ConnView)> {
        let all = [view(32838, Some(FIRST)), view(32884, None), view(32852, Some(SECOND))];
        all.get(from as usize).map(|v| (from, *v))
    }

    fn expiry_buckets(&self) -> ExpiryBuckets {
        vec![(11_000, vec![SECOND]), (31_000, vec![FIRST])]
    }

    fn local_buckets(&self) -> Option<ExpiryBuckets> {
        self.has_locals.then(|| vec![(11_000, vec![FIRST, SECOND])])
    }

    fn learned_sessions(&self) -> Option<Vec<(SessionId, i32)>> {
        self.learns.then(|| vec![(SECOND, 10_000), (FIRST, 30_000)])
    }

    fn sessions_with_ephemerals(&self) -> Vec<SessionId> {
        vec![FIRST, SECOND]
    }

    /// One at a time, however many are asked for.
    fn ephemerals(
        &self,
        session: SessionId,
        from: u32,
        _: usize,
        visit: &mut dyn FnMut(&str),
    ) -> Option<u32> {
        let paths: &[&str] = if session == FIRST { &["/app/e1", "/app/e3"] } else { &["/app/e2"] };
        paths.get(from as usize).iter().for_each(|path| visit(path));
        (from as usize + 1 < paths.len()).then_some(from + 1)
    }

    fn watched_paths(
        &mut self,
        _: &mut PathListing,
        _: usize,
        visit: &mut dyn FnMut(WatchLine<'_>),
    ) -> bool {
        use WatchLine::*;
        let lines = [
            Path("/missing"),
            Session(FIRST),
            Path("/app"),
            Session(FIRST),
            Session(SECOND),
            Path("/"),
            Session(SECOND),
        ];
        lines.into_iter().for_each(visit);
        true
    }

    fn watching_sessions(
        &mut self,
        _: &mut ConnListing,
        _: usize,
        visit: &mut dyn FnMut(WatchLine<'_>),
    ) -> bool {
        use WatchLine::*;
        let first = [Session(FIRST), Path("/missing"), Path("/app")];
        let second = [Session(SECOND), Path("/app"), Path("/")];
        first.into_iter().chain(second).for_each(visit);
        true
    }
}

fn answer_of(word: Word, report: &Report<'_>, budget: usize) -> String {
    answer_in(&mut Scene::default(), word, report, budget)
}

fn answer_in(scene: &mut Scene, word: Word, report: &Report<'_>, budget: usize) -> String {
    let mut out = Vec::new();
    let begun = begin(word, Some(306), &Whitelist::new(Some("*"), false), report, &mut out);
    let now = Now { mono: Instant(0).plus_ms(2_842_764), wall: WallMillis(1_795_229_121_000) };
    if let Some(mut listing) = begun.listing {
        while !listing.next_chunk(scene, now, &mut out, budget) {}
    }
    String::from_utf8(out).unwrap()
}

fn answer(word: Word) -> String {
    answer_of(word, &World::new().report(), 1 << 20)
}

/// Digits after any of these become `#`, so that what differs from run to run does not count.
fn masked(text: &str, marks: &[&str]) -> String {
    let mut out = String::new();
    let mut rest = text;
    'text: while let Some(c) = rest.chars().next() {
        for mark in marks {
            if let Some(after) = rest.strip_prefix(mark) {
                let value = |c: char| c.is_ascii_hexdigit() || c == 'x' || c == '.';
                out.push_str(mark);
                out.push('#');
                rest = after.trim_start_matches(value);
                continue 'text;
            }
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

#[test]
fn short_words_answer_as_recorded() {
    use Word::*;
    for word in [Ruok, Dirs, Wchs, Isro, Hash, Gtmk, Stmk, Crst, Srst] {
        assert_eq!(answer(word), recorded(word.name()), "{word:?}");
    }
}

#[test]
fn srvr_and_stat_answer_as_recorded() {
    // The mean of a real run; one more packet was counted when the second word was asked.
    let marks = ["Latency min/avg/max: 0/", "Received: ", "Sent: "];
    assert_eq!(masked(&answer(Word::Srvr), &marks), masked(&recorded("srvr"), &marks));
    let marks = [&marks[..], &["127.0.0.1:", "recved=", "sent="]].concat();
    assert_eq!(masked(&answer(Word::Stat), &marks), masked(&recorded("stat"), &marks));
}

#[test]
fn conf_answers_as_recorded() {
    let directory = |text: String| {
        let keys = ["dataDir=", "dataLogDir="];
        let line = |line: &str| match keys.iter().find(|key| line.starts_with(**key)) {
            Some(key) => format!("{key}.../{}\n", line.rsplit('/').next().unwrap()),
            None => format!("{line}\n"),
        };
        text.lines().map(line).collect::<String>()
    };
    assert_eq!(directory(answer(Word::Conf)), directory(recorded("conf")));
}

#[test]
fn envi_has_the_recorded_keys() {
    let keys = |text: String| -> Vec<String> {
        text.lines().map(|line| line.split('=').next().unwrap().to_owned()).collect()
    };
    assert_eq!(keys(answer(Word::Envi)), keys(recorded("envi")));
}

#[test]
fn listings_answer_as_recorded() {
    let marks = [
        "127.0.0.1:",
        "recved=",
        "sent=",
        "est=",
        "lresp=",
        "llat=",
        "minlat=",
        "avglat=",
        "maxlat=",
        "lcxid=",
    ];
    assert_eq!(masked(&answer(Word::Cons), &marks), masked(&recorded("cons"), &marks));
    assert_eq!(answer(Word::Wchc), recorded("wchc"));
    assert_eq!(answer(Word::Wchp), recorded("wchp"));
    // Ports and times differ, and members of one bucket come in any order.
    let sorted = |text: &str| {
        let marks = ["127.0.0.1:", "expire at Sat Nov 21 02:"];
        let text = masked(text, &marks);
        let mut lines: Vec<&str> = text.lines().collect();
        let from = lines.iter().position(|line| line.starts_with("Connections Sets")).unwrap();
        lines[from..].sort_unstable();
        lines.join("\n")
    };
    assert_eq!(sorted(&answer(Word::Dump)), sorted(&recorded("dump")));
}

#[test]
fn a_listing_in_small_portions_is_the_same_listing() {
    let world = World::new();
    for word in [Word::Stat, Word::Cons, Word::Dump, Word::Wchc, Word::Wchp] {
        let whole = answer_of(word, &world.report(), 1 << 20);
        assert_eq!(answer_of(word, &world.report(), 1), whole, "{word:?}");
    }
}

#[test]
fn mntr_has_every_recorded_key_in_order_and_the_known_values() {
    let pairs = |text: &str| -> Vec<(String, String)> {
        let pair = |line: &str| line.split_once('\t').map(|(k, v)| (k.to_owned(), v.to_owned()));
        text.lines().map(|line| pair(line).expect("key, tab, value")).collect()
    };
    let (ours, theirs) = (pairs(&answer(Word::Mntr)), pairs(&recorded("mntr")));
    let keys = |pairs: &[(String, String)]| pairs.iter().map(|p| p.0.clone()).collect::<Vec<_>>();
    assert_eq!(keys(&ours), keys(&theirs));
    let theirs: BTreeMap<String, String> = theirs.into_iter().collect();
    let known = [
        "version",
        "server_state",
        "ephemerals_count",
        "num_alive_connections",
        "znode_count",
        "outstanding_requests",
        "global_sessions",
        "local_sessions",
        "watch_count",
        "last_client_response_size",
        "min_client_response_size",
        "max_client_response_size",
        "connection_drop_probability",
        "approximate_data_size",
        "max_latency",
        "min_latency",
        "max_file_descriptor_count",
        "app_quota_bytes_limit_per_namespace",
        "looking_count",
        "app_quota_count_limit_per_namespace",
        "app_quota_count_usage_per_namespace",
        "app_quota_bytes_usage_per_namespace",
        "prep_processor_request_queued",
        "max_updatelatency",
        "p999_updatelatency",
        "avg_election_time",
        "p50_jvm_pause_time_ms",
    ];
    for key in known.map(|key| format!("zk_{key}")) {
        let value = ours.iter().find(|(k, _)| *k == key).map(|(_, v)| v);
        assert_eq!(value, theirs.get(&key), "{key}");
    }
}

#[test]
fn a_leader_and_a_read_only_server_say_so() {
    let world = World::new();
    let mut report = world.report();
    report.mode = Mode::Leader;
    let leader = LeaderReport { learners: 2, ..Default::default() };
    let state = "leading - broadcast".to_owned();
    report.node.peer = Some(PeerReport { state, quorum_size: 3, leader: Some(leader) });
    let srvr = answer_of(Word::Srvr, &report, 1);
    assert!(
        srvr.contains("\nMode: leader\nNode count: 12\nProposal sizes last/min/max: -1/-1/-1\n")
    );
    let mntr = answer_of(Word::Mntr, &report, 1);
    let head = "zk_server_state\tleader\nzk_peer_state\tleading - broadcast\nzk_ephemerals_count";
    assert!(mntr.contains(head));
    assert!(mntr.contains("zk_learners\t2\n") && mntr.contains("zk_quorum_size\t3\n"));

    let mut report = world.report();
    report.mode = Mode::ReadOnly;
    assert_eq!(answer_of(Word::Isro, &report, 1), "ro");
    let note = "UTC\nREAD-ONLY mode; serving only read-only clients\nLatency";
    assert!(answer_of(Word::Srvr, &report, 1).contains(note));
}

/// As live members of an ensemble with local sessions print it.
#[test]
fn dump_tells_local_sessions_from_those_of_the_ensemble() {
    let (world, local) = (World::new(), "Local Session Sets (1)/(2):\n2 expire at ");
    let told = |has_locals, learns, budget| {
        let scene = &mut Scene { has_locals, learns };
        let text = answer_in(scene, Word::Dump, &world.report(), budget);
        let (sessions, _) = text.split_once("ephemeral nodes dump:\n").expect("the next part");
        sessions.strip_prefix("SessionTracker dump:\n").expect("a head").to_owned()
    };
    let learned = format!("Global Sessions(2):\n0x{FIRST:x}\t30000ms\n0x{SECOND:x}\t10000ms\n");
    for budget in [1, 1 << 20] {
        assert_eq!(told(false, true, budget), learned);
        let learner = told(true, true, budget);
        assert!(learner.starts_with(local) && learner.ends_with(&learned), "{learner}");
        let leader = told(true, false, budget);
        assert!(leader.starts_with(local), "{leader}");
        assert!(leader.contains("\nGlobal Session Sets (2)/(2):\n1 expire at "), "{leader}");
    }
}

#[test]
fn without_a_role_most_words_say_so() {
    let world = World::new();
    let mut report = world.report();
    report.serving = false;
    let text = "This ZooKeeper instance is not currently serving requests";
    for word in Word::ALL {
        let expected = match word {
            Word::Ruok => "imok".to_owned(),
            Word::Isro => "null".to_owned(),
            Word::Gtmk | Word::Stmk => "306".to_owned(),
            Word::TelnetClose => String::new(),
            Word::Envi => continue,
            Word::Hash => text.to_owned(),
            _ => format!("{text}\n"),
        };
        assert_eq!(answer_of(word, &report, 1), expected, "{word:?}");
    }
}

#[test]
fn a_word_that_is_not_allowed_does_nothing() {
    let world = World::new();
    let mut out = Vec::new();
    let begun = begin(Word::Srst, None, &Whitelist::new(None, false), &world.report(), &mut out);
    assert!(begun.ask.is_none() && begun.listing.is_none());
    assert_eq!(out, b"srst is not executed because it is not in the whitelist.\n");
}

#[test]
fn words_hand_back_what_they_ask_for() {
    let world = World::new();
    let all = Whitelist::new(Some("*"), false);
    let ask = |word, argument| begin(word, argument, &all, &world.report(), &mut Vec::new()).ask;
    assert_eq!(ask(Word::Srst, None), Some(Ask::ResetServer));
    assert_eq!(ask(Word::Crst, None), Some(Ask::ResetConnections));
    assert_eq!(ask(Word::Stmk, Some(-1)), Some(Ask::SetTraceMask(-1)));
    assert_eq!(ask(Word::Stmk, None), None);
    assert_eq!(ask(Word::Mntr, None), None);
}
