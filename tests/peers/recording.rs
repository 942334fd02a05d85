//! What Java servers say to each other while they elect and sync, recorded live, and compared with
//! what was recorded before. With `ZKD_RECORD=1` in the environment the transcripts are rewritten.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;

use zkd::client::{Call, Client, NewNode, Settings};

use crate::PATIENCE;
use crate::ensemble::Ensemble;
use crate::java::{Folder, Java, Member};
use crate::relay::{Conversation, Port, Relay, hosts};
use crate::speech;
use crate::transcript::{self, Line};

/// A transcript's name, and what stands at its head.
type About = (&'static str, &'static str);

const ELECTION: About = (
    "election",
    "Apache 3.9.5, three members: the second starts while the first looks for a leader alone.",
);
const LATE: About =
    ("late", "The same, later: the third starts, asks the two who have settled, and joins them.");
const SYNC_DIFF: About = (
    "sync-diff",
    "The first follows the second: nobody has anything. Its client opens a session and writes.",
);
const SYNC_SNAP: About =
    ("sync-snap", "The third has missed that, and is sent everything as a snapshot.");
const SYNC_BEHIND: About = (
    "sync-behind",
    "The third is away while others write, comes back, and is sent what it has missed.",
);
const SYNC_TRUNC: About = (
    "sync-trunc",
    "The second had a txn that nobody else has. Now the third leads and the first has all that it \
     has; the second comes back and gives that txn up.",
);

/// How a member's log says that all is well.
const FOLLOWS: &str = "Peer state changed: following - broadcast";
const LEADS: &str = "Have quorum of supporters";

/// What was said, and the places where something else began.
struct Recorded {
    conversations: Vec<Conversation>,
    /// The third starts.
    late: u64,
    /// It is dead.
    away: u64,
    /// All have the same; from here on it is the second alone that goes on.
    alone: u64,
    /// All are dead.
    anew: u64,
}

/// Members that find each other through the relay.
struct Members {
    ensemble: Ensemble,
    folder: Folder,
    relay: Relay,
}

impl Members {
    fn start(&mut self, id: i64) -> Java {
        let hosts = self.folder.file(&format!("hosts-{id}"), hosts(&self.ensemble, id));
        let properties = vec![format!("-Djdk.net.hosts.file={}", hosts.display())];
        let mut java = Java::start(&self.ensemble, id, Member { properties, ..Member::new() });
        java.await_line("is accepting connections now, my election bind port");
        self.relay.open(&self.ensemble, id);
        java
    }

    fn client_of(&self, id: i64) -> Client {
        let at = SocketAddr::from(([127, 0, 0, 1], self.ensemble.client_port(id)));
        let mut settings = Settings::new(vec![at]);
        settings.answer_patience = PATIENCE;
        Client::open(settings).expect("a session")
    }
}

/// Three members that are started one after the other, the second to lead. The third dies and
/// comes back, then leads itself.
fn record() -> Recorded {
    let (ensemble, folder) = (Ensemble::named(3), Folder::new());
    let mut members = Members { ensemble, folder, relay: Relay::default() };
    let mut first = members.start(1);
    first.await_line("Notification time out");
    let mut second = members.start(2);
    second.await_line(LEADS);
    first.await_line(FOLLOWS);
    let mut client = members.client_of(1);
    client.create(NewNode::persistent("/x", b"hi")).expect("created");

    let late = members.relay.place();
    let mut third = members.start(3);
    third.await_line(FOLLOWS);
    third.kill();

    let away = members.relay.place();
    client.create(NewNode::persistent("/y", b"ho")).expect("created");
    let mut beside = members.client_of(2);
    third.start_again();
    third.await_line(FOLLOWS);
    // Java applies what it has not logged yet.
    for java in [&first, &third] {
        java.await_logged(&beside.session().0.to_be_bytes());
    }

    let alone = members.relay.place();
    first.pause();
    third.pause();
    let lost = NewNode::persistent("/lost", b"alone");
    beside.submit(&Call::Create(lost)).expect("a connection");
    beside.flush().expect("a connection");
    second.await_logged(b"/lost");
    // What was sent to those who stand still goes with them.
    for java in [&mut first, &mut third, &mut second] {
        java.kill();
    }
    drop((client, beside));

    let anew = members.relay.place();
    first.start_again();
    third.start_again();
    third.await_line(LEADS);
    first.await_line(FOLLOWS);
    second.start_again();
    second.await_line(FOLLOWS);
    // At once, so that nobody looks for a leader again.
    for java in [&mut second, &mut first, &mut third] {
        java.kill();
    }
    Recorded { conversations: members.relay.end(), late, away, alone, anew }
}

fn transcripts(recorded: &Recorded) -> Vec<(About, Vec<Line>)> {
    let Recorded { conversations, late, away, alone, anew } = recorded;
    // A leader notices a moment late that the third is dead: until then it still writes to it.
    let is_to_the_dead = |conversation: &Conversation, from: u64| {
        from == *away && conversation.dialler == 3 && conversation.begins() < from
    };
    let of = |port: Port, within: Range<u64>| {
        let is_heard = |conversation: &&Conversation| {
            conversation.port == port && !is_to_the_dead(conversation, within.start)
        };
        let found: Vec<&Conversation> = conversations.iter().filter(is_heard).collect();
        speech::lines(&found, &within)
    };
    let with_third = |mut lines: Vec<Line>| {
        lines.retain(|line| line.dialler == 3 || line.acceptor == 3);
        lines
    };
    vec![
        (ELECTION, of(Port::Election, 0..*late)),
        (LATE, with_third(of(Port::Election, *late..*away))),
        (SYNC_DIFF, of(Port::Quorum, 0..*late)),
        (SYNC_SNAP, with_third(of(Port::Quorum, *late..*away))),
        (SYNC_BEHIND, of(Port::Quorum, *away..*alone)),
        (SYNC_TRUNC, of(Port::Quorum, *anew..u64::MAX)),
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
    let recorded = record();
    for ((name, about), lines) in transcripts(&recorded) {
        if std::env::var_os("ZKD_RECORD").is_some() {
            transcript::write(name, about, &lines);
        }
        let golden = essence(&transcript::read(name));
        let live = essence(&lines);
        assert_eq!(golden, live, "{name}");
        assert!(live.values().map(Vec::len).sum::<usize>() >= 4, "{name}: {live:?}");
    }
}
