//! What Java servers say to each other while they elect and sync, recorded live, and compared with
//! what was recorded before. With `ZKD_RECORD=1` in the environment the transcripts are rewritten.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use zkd::client::{Client, NewNode, Settings};

use crate::PATIENCE;
use crate::ensemble::Ensemble;
use crate::java::{Folder, Java, Member};
use crate::relay::{Conversation, Port, Relay, hosts};
use crate::speech;
use crate::transcript::{self, Line};

const ELECTION: (&str, &str) = (
    "election",
    "Apache 3.9.5, three members: the second starts while the first looks for a leader alone.",
);
const LATE: (&str, &str) =
    ("late", "The same, later: the third starts, asks the two who have settled, and joins them.");
const SYNC_DIFF: (&str, &str) = (
    "sync-diff",
    "The first follows the second: nobody has anything. Its client opens a session and writes.",
);
const SYNC_SNAP: (&str, &str) =
    ("sync-snap", "The third has missed that, and is sent everything as a snapshot.");

/// Three members that are started one after the other, the second to lead.
fn record() -> Vec<Conversation> {
    let ensemble = Ensemble::named(3);
    let folder = Folder::new();
    let mut relay = Relay::default();
    let mut start = |id: i64| {
        let hosts = folder.file(&format!("hosts-{id}"), hosts(&ensemble, id));
        let properties = vec![format!("-Djdk.net.hosts.file={}", hosts.display())];
        let mut java = Java::start(&ensemble, id, Member { properties, ..Member::new() });
        java.await_line("is accepting connections now, my election bind port");
        relay.open(&ensemble, id);
        java
    };
    let mut first = start(1);
    first.await_line("Notification time out");
    let mut second = start(2);
    second.await_line("Have quorum of supporters");
    first.await_line("Peer state changed: following - broadcast");
    let at = SocketAddr::from(([127, 0, 0, 1], ensemble.client_port(1)));
    let mut settings = Settings::new(vec![at]);
    settings.answer_patience = PATIENCE;
    let mut client = Client::open(settings).expect("a session");
    client.create(NewNode::persistent("/x", b"hi")).expect("created");
    let mut third = start(3);
    third.await_line("Peer state changed: following - broadcast");
    // At once, so that nobody looks for a leader again.
    for java in [&mut third, &mut first, &mut second] {
        java.kill();
    }
    drop(client);
    relay.end()
}

fn transcripts(conversations: &[Conversation]) -> Vec<((&'static str, &'static str), Vec<Line>)> {
    let of = |is_it: &dyn Fn(&Conversation) -> bool| {
        let found: Vec<&Conversation> =
            conversations.iter().filter(|conversation| is_it(conversation)).collect();
        speech::lines(&found)
    };
    let has = |c: &Conversation, id| c.dialler == id || c.acceptor == id;
    vec![
        (ELECTION, of(&|c| c.port == Port::Election && !has(c, 3))),
        (LATE, of(&|c| c.port == Port::Election && has(c, 3))),
        (SYNC_DIFF, of(&|c| c.port == Port::Quorum && has(c, 1))),
        (SYNC_SNAP, of(&|c| c.port == Port::Quorum && has(c, 3))),
    ]
}

/// What each says to each, without what hangs on the moment: pings, and on the election port
/// repetitions and first messages of links that are not kept.
fn essence(lines: &[Line]) -> BTreeMap<(i64, i64), Vec<String>> {
    const PING: &str = "00000005 ";
    const FIRST: &str = "ffffffffffff0000 ";
    let mut said: BTreeMap<(i64, i64), Vec<String>> = BTreeMap::new();
    for line in lines {
        let text = line.masked();
        let is_dropped = text.starts_with(FIRST) && line.dialler < line.acceptor;
        let so_far = said.entry((line.speaker(), line.listener())).or_default();
        if !text.starts_with(PING) && !is_dropped && so_far.last() != Some(&text) {
            so_far.push(text);
        }
    }
    said
}

#[test]
fn java_says_to_java_what_was_recorded() {
    let conversations = record();
    for ((name, about), lines) in transcripts(&conversations) {
        if std::env::var_os("ZKD_RECORD").is_some() {
            transcript::write(name, about, &lines);
        }
        let golden = essence(&transcript::read(name));
        let live = essence(&lines);
        assert_eq!(golden, live, "{name}");
        assert!(live.values().map(Vec::len).sum::<usize>() >= 4, "{name}: {live:?}");
    }
}
