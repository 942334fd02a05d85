//! Each checker with the smallest history that it must refuse, and beside it the nearest one that
//! it must let pass. What is refused is told by the checker's name.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use zkd::base::{Instant, ServerId, SessionId, Ticket, WallMillis, Zxid};
use zkd::disk::{Recovered, recover};
use zkd::history::{EpochFile, StorageCommand, append_record};
use zkd::peering::{Notification, PacketKind, PeerState, Vote};
use zkd::proto::{
    Acl, ConnectResponse, CreateKind, CreateTxn, EventKind, ReplyHeader, Txn, TxnHeader, Writer,
    begin_frame, end_frame,
};

use super::plan::Plan;
use super::record::Record;
use super::setup;
use super::tap::Word;
use crate::elections::shrink::kind;
use crate::plan::Op;
use crate::world::client::{Client, Oracle, Violation};
use crate::world::disk::{Files, SimDisk};

const EPOCH: i64 = 1 << 32;
const SESSION: i64 = 77;

/// What is on an empty disk.
fn nothing() -> Recovered {
    let files = Rc::new(RefCell::new(Files::new(1)));
    recover(&mut SimDisk::new(&files), &setup::settings(&Plan::calm(3))).expect("an empty disk")
}

/// Three members that have begun with nothing.
fn three() -> Record {
    let mut record = Record::new(&Plan::calm(3));
    (0..3).for_each(|member| record.on_recovered(member, &nothing()));
    record
}

fn create(path: &str) -> Txn {
    Txn::Create(CreateTxn {
        path: path.to_owned(),
        data: Some(b"new".to_vec()),
        acl: vec![Acl::open()],
        ephemeral: false,
        // It rises with the names that are used here.
        parent_cversion: 100 + i32::from(path.as_bytes()[path.len() - 1]),
        kind: CreateKind::Create,
        ttl: 0,
    })
}

fn close() -> Txn {
    Txn::CloseSession { paths: None }
}

fn header(zxid: i64, cxid: i32) -> TxnHeader {
    TxnHeader { session: SessionId(SESSION), cxid, zxid: Zxid(zxid), time: WallMillis(0) }
}

fn append(zxid: i64, cxid: i32, txn: &Txn) -> StorageCommand {
    let mut bytes = Vec::new();
    append_record(&mut bytes, &header(zxid, cxid), txn, None);
    let (first, last) = (Zxid(zxid), Zxid(zxid));
    StorageCommand::Append { ticket: Ticket(1), first, last, bytes: bytes.into(), roll: false }
}

/// These members hand it over to their logs, and have it on their disks.
fn log(record: &mut Record, members: &[usize], zxid: i64, txn: &Txn) {
    for member in members {
        let cxid = 100 * ((zxid >> 32) - 1) + (zxid & 0xffff);
        let command = append(zxid, cxid as i32, txn);
        record.on_command(*member, &command);
        record.on_synced(*member, &command);
    }
}

fn epoch(record: &mut Record, member: usize, file: EpochFile, epoch: i64) {
    let command = StorageCommand::WriteEpoch { ticket: Ticket(1), file, epoch };
    record.on_command(member, &command);
    record.on_synced(member, &command);
}

/// The checker that refuses what was shown.
fn verdict(record: &mut Record) -> Option<String> {
    record.verdict().err().map(|violation| kind(&violation).to_owned())
}

fn refused(by: &str) -> Option<String> {
    Some(by.to_owned())
}

/// Some have logged the first txn; one applies it.
fn applied_by_one(loggers: &[usize]) -> Option<String> {
    let mut record = three();
    record.on_word(0, None, Word::Leads { kind: PacketKind::NewLeader, zxid: Zxid(EPOCH) });
    log(&mut record, loggers, EPOCH + 1, &create("/a"));
    record.applied(0, EPOCH + 1);
    verdict(&mut record)
}

#[test]
fn what_is_committed_is_on_the_disks_of_most() {
    assert_eq!(applied_by_one(&[0, 1]), None);
    assert_eq!(applied_by_one(&[0]), refused("positions"));
}

#[test]
fn one_history_is_shared_and_has_no_hole() {
    let all = [0, 1, 2];
    let begun = || {
        let mut record = three();
        log(&mut record, &all, EPOCH + 1, &create("/a"));
        log(&mut record, &all, EPOCH + 2, &create("/b"));
        record.applied(0, EPOCH + 2);
        record
    };
    let mut good = begun();
    good.applied(1, EPOCH + 1);
    good.applied(1, EPOCH + 2);
    assert_eq!(verdict(&mut good), None);
    let mut hole = begun();
    log(&mut hole, &[0, 2], 2 * EPOCH + 1, &create("/c"));
    log(&mut hole, &[1, 2], 2 * EPOCH + 2, &create("/d"));
    hole.applied(0, 2 * EPOCH + 1);
    hole.applied(1, EPOCH + 2);
    hole.applied(1, 2 * EPOCH + 2);
    assert_eq!(verdict(&mut hole), refused("history"));
}

#[test]
fn a_proposal_is_the_same_everywhere() {
    let mut record = three();
    log(&mut record, &[0, 1], EPOCH + 1, &create("/a"));
    assert_eq!(verdict(&mut record), None);
    log(&mut record, &[2], EPOCH + 1, &create("/b"));
    assert_eq!(verdict(&mut record), refused("proposals"));
}

#[test]
fn trees_at_one_zxid_are_alike() {
    let of = |digest| {
        let mut record = three();
        log(&mut record, &[0, 1, 2], EPOCH + 1, &create("/a"));
        record.applied(0, EPOCH + 1);
        record.see(0, EPOCH + 1, 5);
        record.see(1, EPOCH + 1, digest);
        verdict(&mut record)
    };
    assert_eq!(of(5), None);
    assert_eq!(of(6), refused("digests"));
}

#[test]
fn an_epoch_has_one_leader() {
    let of = |second: usize| {
        let mut record = three();
        for leader in [0, second] {
            let zxid = Zxid(EPOCH);
            record.on_word(leader, None, Word::Leads { kind: PacketKind::NewLeader, zxid });
        }
        verdict(&mut record)
    };
    assert_eq!(of(0), None);
    assert_eq!(of(1), refused("leaders"));
}

#[test]
fn whoever_serves_has_most_of_the_voters_in_its_epoch() {
    let of = |members: &[usize]| {
        let mut record = three();
        members.iter().for_each(|member| epoch(&mut record, *member, EpochFile::Current, 1));
        for kind in [PacketKind::NewLeader, PacketKind::UpToDate] {
            record.on_word(0, None, Word::Leads { kind, zxid: Zxid(EPOCH) });
        }
        verdict(&mut record)
    };
    assert_eq!(of(&[0, 2]), None);
    assert_eq!(of(&[0]), refused("positions"));
}

#[test]
fn an_ack_says_what_is_on_disk() {
    let of = |acks: &[i64]| {
        let mut record = three();
        log(&mut record, &[1], EPOCH + 1, &create("/a"));
        epoch(&mut record, 1, EpochFile::Current, 1);
        for zxid in acks {
            let zxid = Zxid(*zxid);
            record.on_word(1, Some(0), Word::Learns { kind: PacketKind::Ack, zxid });
        }
        verdict(&mut record)
    };
    assert_eq!(of(&[EPOCH, EPOCH + 1]), None);
    assert_eq!(of(&[EPOCH, EPOCH + 2]), refused("positions"));
    assert_eq!(of(&[2 * EPOCH]), refused("positions"), "an epoch that is not on disk");
    assert_eq!(of(&[EPOCH + 1]), refused("order"), "before that of its leader's epoch");
}

#[test]
fn a_vote_and_an_ack_of_an_epoch_promise_what_is_on_disk() {
    let voted = |zxid: i64, peer_epoch: i64| {
        let mut record = three();
        log(&mut record, &[0], EPOCH + 1, &create("/a"));
        epoch(&mut record, 0, EpochFile::Current, 1);
        let zxid = Zxid(zxid);
        let vote = Vote { leader: ServerId(1), zxid, election_epoch: 1, peer_epoch };
        let (state, config) = (PeerState::Looking, None::<Bytes>);
        let said = Notification { state, vote, version: 2, config, is_kin: true };
        record.on_word(0, Some(1), Word::Votes(said));
        verdict(&mut record)
    };
    assert_eq!(voted(EPOCH + 1, 1), None);
    assert_eq!(voted(EPOCH + 2, 1), refused("positions"));
    assert_eq!(voted(EPOCH + 1, 2), refused("positions"));
    let said = |zxid: i64| {
        let mut record = three();
        log(&mut record, &[0], EPOCH + 1, &create("/a"));
        let zxid = Zxid(zxid);
        record.on_word(0, Some(1), Word::Learns { kind: PacketKind::AckEpoch, zxid });
        verdict(&mut record)
    };
    assert_eq!(said(EPOCH + 1), None);
    assert_eq!(said(EPOCH + 2), refused("positions"));
}

#[test]
fn an_image_holds_nothing_that_is_not_committed() {
    let of = |zxid| {
        let mut record = three();
        log(&mut record, &[0, 1], EPOCH + 1, &create("/a"));
        record.applied(0, EPOCH + 1);
        record.on_image(0, zxid);
        verdict(&mut record)
    };
    assert_eq!(of(EPOCH + 1), None);
    assert_eq!(of(EPOCH + 2), refused("positions"));
}

#[test]
fn epochs_and_positions_do_not_go_back_over_a_restart() {
    let of = |accepted: i64, current: i64, logged: i64| {
        let mut record = three();
        epoch(&mut record, 0, EpochFile::Accepted, 2);
        epoch(&mut record, 0, EpochFile::Current, 1);
        log(&mut record, &[0], EPOCH + 1, &create("/a"));
        let mut recovered = nothing();
        (recovered.accepted_epoch, recovered.current_epoch) = (accepted, current);
        recovered.last_logged = Zxid(logged);
        record.on_recovered(0, &recovered);
        verdict(&mut record)
    };
    assert_eq!(of(2, 1, EPOCH + 1), None);
    assert_eq!(of(1, 1, EPOCH + 1), refused("epochs"));
    assert_eq!(of(2, 0, EPOCH + 1), refused("epochs"));
    assert_eq!(of(2, 3, EPOCH + 1), refused("epochs"), "a current one that was not accepted");
    assert_eq!(of(2, 1, EPOCH), refused("positions"));
}

#[test]
fn requests_of_a_session_take_effect_in_their_order_and_once() {
    let of_txns = |requests: [(i32, Txn); 2]| {
        let mut record = three();
        for (at, (cxid, txn)) in requests.iter().enumerate() {
            let zxid = EPOCH + 1 + at as i64;
            let command = append(zxid, *cxid, txn);
            for member in [0, 1] {
                record.on_command(member, &command);
                record.on_synced(member, &command);
            }
            record.applied(0, zxid);
        }
        verdict(&mut record)
    };
    let of = |cxids: [i32; 2]| of_txns([(cxids[0], create("/n0")), (cxids[1], create("/n1"))]);
    assert_eq!(of([1, 2]), None);
    assert_eq!(of([2, 1]), refused("session"));
    assert_eq!(of([2, 2]), refused("session"));
    // What comes late from where the session was is refused, a multi with an error for each part.
    let multi = |part| Txn::Multi(vec![part]);
    let moved = Txn::Error { code: -118 };
    assert_eq!(of_txns([(2, create("/n0")), (1, multi(moved.clone()))]), None);
    assert_eq!(of_txns([(2, create("/n0")), (1, moved)]), None);
    assert_eq!(of_txns([(2, create("/n0")), (1, multi(create("/n1")))]), refused("session"));
}

#[test]
fn a_session_that_was_heard_is_ended_by_its_client_only() {
    // Its last word comes 2999 ms before that, behind all that it has asked for.
    let of = |asked: &[(i64, i32, Txn)], ends: i64| {
        let mut record = three();
        let made = append(EPOCH + 1, 0, &Txn::CreateSession { timeout_ms: 3000 });
        for member in [0, 1] {
            record.on_command(member, &made);
            record.on_synced(member, &made);
        }
        record.applied(0, EPOCH + 1);
        for (zxid, cxid, txn) in asked {
            record.on_command(0, &append(*zxid, *cxid, txn));
        }
        record.on_clock(0, Instant(0).plus_ms(1));
        record.on_heard(0, SESSION);
        record.on_clock(0, Instant(0).plus_ms(3000));
        record.on_command(0, &append(ends, 0, &close()));
        verdict(&mut record)
    };
    assert_eq!(of(&[], EPOCH + 3), refused("sessions"));
    assert_eq!(of(&[(EPOCH + 2, 5, create("/a"))], EPOCH + 3), refused("sessions"));
    // It has asked for the end, which is not committed: from then on it is not listened to.
    assert_eq!(of(&[(EPOCH + 2, 5, close())], EPOCH + 3), None);
    let other_epoch = of(&[(EPOCH + 2, 5, close())], 2 * EPOCH + 1);
    assert_eq!(other_epoch, refused("sessions"), "nobody knows of it any more");
    let again = (EPOCH + 3, 0, Txn::CreateSession { timeout_ms: 3000 });
    let made_again = of(&[(EPOCH + 2, 5, close()), again], EPOCH + 4);
    assert_eq!(made_again, refused("sessions"));
}

/// A record with two txns in it, and a client that has a session.
fn served() -> (Record, Client) {
    let mut record = three();
    for (zxid, path) in [(EPOCH + 1, "/n1"), (EPOCH + 2, "/n2")] {
        log(&mut record, &[0, 1], zxid, &create(path));
        record.applied(0, zxid);
    }
    let mut client = Client::with_timeout(4000);
    connect(&mut record, &mut client);
    (record, client)
}

fn connect(record: &mut Record, client: &mut Client) {
    client.on_connected(Default::default(), &mut Vec::new());
    let mut bytes = Vec::new();
    let mark = begin_frame(&mut bytes);
    let (session, password) = (SessionId(SESSION), [1; 16]);
    let read_only = Some(false);
    ConnectResponse { timeout_ms: 4000, session, password, read_only }.write(&mut bytes);
    end_frame(&mut bytes, mark);
    assert_eq!(client.receive(&bytes, record), Ok(()));
}

fn say(
    record: &mut Record,
    client: &mut Client,
    (xid, zxid, err): (i32, i64, i32),
    body: &[u8],
) -> Result<(), Violation> {
    let mut bytes = Vec::new();
    let mark = begin_frame(&mut bytes);
    ReplyHeader { xid: zkd::base::Xid(xid), zxid: Zxid(zxid), err }.write(&mut bytes);
    bytes.extend_from_slice(body);
    end_frame(&mut bytes, mark);
    client.receive(&bytes, record)
}

fn event(
    record: &mut Record,
    client: &mut Client,
    kind: EventKind,
    (path, zxid): (&str, i64),
) -> Result<(), Violation> {
    let mut body = Vec::new();
    body.put_i32(kind as i32);
    body.put_i32(3);
    body.put_string(path);
    say(record, client, (-1, zxid, 0), &body)
}

fn by(checker: &str, result: &Result<(), Violation>) -> bool {
    result.as_ref().is_err_and(|violation| kind(violation) == checker)
}

const NO_NODE: i32 = -101;

#[test]
fn answers_come_in_order_and_zxids_do_not_go_back() {
    let ask = |client: &mut Client| {
        (0..2).for_each(|_| client.send(&Op::Sync, &mut Vec::new()));
    };
    let of = |answers: [(i32, i64); 2]| {
        let (mut record, mut client) = served();
        ask(&mut client);
        answers
            .into_iter()
            .try_for_each(|(xid, zxid)| say(&mut record, &mut client, (xid, zxid, 0), b"\0\0\0\0"))
    };
    assert_eq!(of([(1, EPOCH + 1), (2, EPOCH + 1)]), Ok(()));
    assert!(by("order", &of([(2, EPOCH + 1), (1, EPOCH + 1)])));
    assert!(by("order", &of([(1, EPOCH + 2), (2, EPOCH + 1)])));
    let (mut record, mut client) = served();
    assert!(by("order", &say(&mut record, &mut client, (1, EPOCH, 0), b"")), "to nothing");
}

#[test]
fn a_write_is_acknowledged_where_it_stands_in_the_history() {
    let of = |zxid: i64| {
        let (mut record, mut client) = served();
        client.send(&Op::Set { path: 1, bytes: 0, version: -1 }, &mut Vec::new());
        say(&mut record, &mut client, (1, zxid, 0), b"")
    };
    // The record's first txn is this session's first request.
    assert_eq!(of(EPOCH + 1), Ok(()));
    assert!(by("acknowledged", &of(EPOCH + 2)), "somebody else's");
    assert!(by("acknowledged", &of(EPOCH + 9)), "nobody's");
}

#[test]
fn reads_show_the_tree_at_their_zxid() {
    let of = |op: Op, (zxid, err): (i64, i32), body: &[u8]| {
        let (mut record, mut client) = served();
        client.send(&op, &mut Vec::new());
        say(&mut record, &mut client, (1, zxid, err), body)
    };
    let exists = |path| Op::Exists { path, watch: false };
    assert_eq!(of(exists(2), (EPOCH + 1, NO_NODE), b""), Ok(()));
    assert!(by("read", &of(exists(2), (EPOCH + 2, NO_NODE), b"")), "it is there by then");
    assert!(by("history", &of(exists(2), (EPOCH + 9, NO_NODE), b"")));
    let children = |path| Op::Children { path, watch: false };
    assert_eq!(of(children(1), (EPOCH + 1, 0), &[0; 4]), Ok(()));
    assert!(by("read", &of(children(1), (EPOCH + 1, 0), b"\0\0\0\x01\0\0\0\x01x")));
    assert!(by("read", &of(children(2), (EPOCH + 1, 0), &[0; 4])), "there is no such node yet");
}

/// A client that waits for a node to come, which it does.
fn waiting() -> (Record, Client) {
    let (mut record, mut client) = served();
    client.send(&Op::Exists { path: 3, watch: true }, &mut Vec::new());
    assert_eq!(say(&mut record, &mut client, (1, EPOCH + 2, NO_NODE), b""), Ok(()));
    log(&mut record, &[0, 1], EPOCH + 3, &create("/n3"));
    record.applied(0, EPOCH + 3);
    client.send(&Op::Sync, &mut Vec::new());
    (record, client)
}

#[test]
fn an_event_comes_once_and_before_the_answer_that_shows_it() {
    const CREATED: EventKind = EventKind::NodeCreated;
    let answer = (2, EPOCH + 3, 0);
    let (mut record, mut client) = waiting();
    assert_eq!(event(&mut record, &mut client, CREATED, ("/n3", EPOCH + 3)), Ok(()));
    assert_eq!(say(&mut record, &mut client, answer, b"\0\0\0\0"), Ok(()));
    let again = event(&mut record, &mut client, CREATED, ("/n3", EPOCH + 3));
    assert!(by("watch", &again), "twice: {again:?}");
    let (mut record, mut client) = waiting();
    assert_eq!(say(&mut record, &mut client, (2, EPOCH + 2, 0), b"\0\0\0\0"), Ok(()), "before it");
    let (mut record, mut client) = waiting();
    assert!(by("watch", &say(&mut record, &mut client, answer, b"\0\0\0\0")), "lost");
    for (kind, path, zxid) in [
        (EventKind::NodeDeleted, "/n3", EPOCH + 3),
        (CREATED, "/n2", EPOCH + 2),
        (CREATED, "/n3", EPOCH + 2),
        (CREATED, "/n3", -1),
    ] {
        let (mut record, mut client) = waiting();
        let told = event(&mut record, &mut client, kind, (path, zxid));
        assert!(told.is_err(), "{kind:?} of {path} at {zxid}: {told:?}");
    }
}

#[test]
fn what_happened_while_a_client_was_away_is_told_when_it_watches_again() {
    let moved = || {
        let (record, mut client) = waiting();
        client.on_disconnected();
        let mut record = record;
        connect(&mut record, &mut client);
        let mut asked = Vec::new();
        client.catch_up(&mut asked);
        assert!(asked.windows(3).any(|bytes| bytes == b"/n3"), "it says what it watches");
        (record, client)
    };
    let again = (-8, EPOCH + 3, 0);
    let (mut record, mut client) = moved();
    assert_eq!(event(&mut record, &mut client, EventKind::NodeCreated, ("/n3", -1)), Ok(()));
    assert_eq!(say(&mut record, &mut client, again, b""), Ok(()));
    let (mut record, mut client) = moved();
    assert!(by("watch", &say(&mut record, &mut client, again, b"")), "lost on the way");
    let (mut record, mut client) = moved();
    assert_eq!(say(&mut record, &mut client, (-8, EPOCH + 2, 0), b""), Ok(()), "not yet there");
    let (mut record, mut client) = moved();
    client.send(&Op::Sync, &mut Vec::new());
    assert!(by("order", &say(&mut record, &mut client, (3, EPOCH + 3, 0), b"\0\0\0\0")));
}

#[test]
fn an_oracle_knows_its_own_sessions_writes_only() {
    let (mut record, _) = served();
    assert_eq!(record.on_acknowledged(EPOCH + 1, SESSION, 1), Ok(()));
    assert!(by("acknowledged", &record.on_acknowledged(EPOCH + 1, SESSION + 1, 1)));
    assert!(by("acknowledged", &record.on_acknowledged(EPOCH + 1, SESSION, 2)));
}
