//! Bytes that Apache 3.9.5 sent, both ways: read, and written again.

use crate::base::{ServerId, SessionId, WallMillis, Zxid};
use crate::proto::{
    Acl, CreateKind, DIGEST_VERSION, Entry, OpCode, Request, Txn, TxnDigest, TxnHeader, Writer,
};

use super::testing::{OwnedPacket, hex};
use super::*;

const EPOCH_1: Zxid = Zxid(0x1_0000_0000);
const SESSION: SessionId = SessionId(0x0100_0019_9ca3_0000);

/// The one packet of these bytes, which is written as the same bytes again.
fn packet(bytes: &[u8]) -> OwnedPacket {
    let mut splitter = Splitter::new(PacketBytes::default());
    let mut input = bytes;
    let packet = splitter.next(&mut input).expect("sound").expect("whole");
    assert!(input.is_empty(), "one packet");
    assert_eq!(written(|out| packet.write(out)), bytes);
    packet.into()
}

fn written(body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    body(&mut out);
    out
}

#[test]
fn an_epoch_is_agreed_on() {
    let bytes = hex("0000000b 0000000000000000 00000014
        [0000000000000001 00010000 0000000000000000] ffffffff");
    let follower_info = packet(&bytes);
    let info =
        LearnerInfo { server: ServerId(1), protocol: LEARNER_PROTOCOL, config_version: Some(0) };
    assert_eq!((follower_info.kind, follower_info.zxid), (PacketKind::FollowerInfo, Zxid(0)));
    assert_eq!(LearnerInfo::read(follower_info.body()), Ok(info));
    assert_eq!(written(|out| info.write(out)), follower_info.body());

    let bytes = hex("00000011 0000000100000000 00000004 00010000 ffffffff");
    let leader_info = packet(&bytes);
    let info = LeaderInfo { protocol: LEARNER_PROTOCOL };
    assert_eq!((leader_info.kind, leader_info.zxid), (PacketKind::LeaderInfo, EPOCH_1));
    assert_eq!(LeaderInfo::read(leader_info.body()), Ok(info));
    assert_eq!(written(|out| info.write(out)), leader_info.body());

    let bytes = hex("00000012 0000000000000000 00000004 00000000 ffffffff");
    let ack_epoch = packet(&bytes);
    let ack = AckEpoch { current_epoch: Some(0) };
    assert_eq!((ack_epoch.kind, ack_epoch.zxid), (PacketKind::AckEpoch, Zxid(0)));
    assert_eq!(AckEpoch::read(ack_epoch.body()), Ok(ack));
    assert_eq!(written(|out| ack.write(out)), ack_epoch.body());
    let none = AckEpoch { current_epoch: None };
    assert_eq!(written(|out| none.write(out)), hex("ffffffff"));
}

#[test]
fn packets_that_are_a_kind_and_a_zxid() {
    for (bytes, kind, zxid) in [
        ("0000000d 0000000000000000 ffffffff ffffffff", PacketKind::Diff, Zxid(0)),
        ("00000003 0000000100000000 ffffffff ffffffff", PacketKind::Ack, EPOCH_1),
        ("0000000c ffffffffffffffff ffffffff ffffffff", PacketKind::UpToDate, Zxid::NONE),
        ("00000005 0000000100000000 ffffffff ffffffff", PacketKind::Ping, EPOCH_1),
        ("00000003 0000000100000001 ffffffff ffffffff", PacketKind::Ack, EPOCH_1.next()),
        ("00000004 0000000100000001 ffffffff ffffffff", PacketKind::Commit, EPOCH_1.next()),
        ("00000007 0000000000000000 ffffffff ffffffff", PacketKind::Sync, Zxid(0)),
    ] {
        assert_eq!(packet(&hex(bytes)), OwnedPacket::new(kind, zxid, None));
        assert_eq!(written(|out| write_packet(kind, zxid, None, out)), hex(bytes));
    }
}

#[test]
fn a_new_leader_says_its_configuration() {
    let config = "server.1=127.0.0.1:2881:3881:participant;0.0.0.0:2181\n\
                  server.2=127.0.0.1:2882:3882:participant;0.0.0.0:2182\n\
                  server.3=127.0.0.1:2883:3883:participant;0.0.0.0:2183\nversion=0";
    let length = (config.len() as u32).to_be_bytes();
    let (head, none) = (hex("0000000a 0000000100000000"), hex("ffffffff"));
    let bytes = [&head, &length[..], config.as_bytes(), &none].concat();
    let expected = OwnedPacket::new(PacketKind::NewLeader, EPOCH_1, Some(config.as_bytes()));
    assert_eq!(packet(&bytes), expected);
}

#[test]
fn a_snapshot_follows_its_packet_and_is_not_looked_at() {
    // No session, one ACL: world:anyone with all permissions.
    let stream = hex("00000000 00000001 0000000000000001 00000001 0000001f
        00000005 776f726c64 00000006 616e796f6e65");
    let snap = hex("0000000f 0000000100000000 ffffffff ffffffff");
    let bytes = [snap.clone(), stream.clone()].concat();
    let mut input = &bytes[..];
    let mut splitter = Splitter::new(PacketBytes::default());
    let came = splitter.next(&mut input);
    assert_eq!(came, Ok(Some(Packet::new(PacketKind::Snap, EPOCH_1, None))));
    assert_eq!(input, stream);
    packet(&snap);
}

#[test]
fn pings_bring_back_who_was_heard() {
    let bytes = hex("00000005 0000000100000000 00000000 ffffffff");
    let silent = packet(&bytes);
    assert_eq!(silent.body(), b"", "empty, which is not null");
    assert_eq!(read_touches(silent.body()).unwrap().count(), 0);

    let bytes = hex("00000005 0000000100000001 0000000c [010000199ca30000 00002710] ffffffff");
    let heard = packet(&bytes);
    let touch = Touch { session: SESSION, timeout_ms: 10_000 };
    let touches: Vec<Touch> = read_touches(heard.body()).unwrap().collect();
    assert_eq!(touches, [touch]);
    assert_eq!(written(|out| write_touches(touches, out)), heard.body());
    assert!(read_touches(&bytes[16..27]).is_err(), "no half of one");
}

#[test]
fn a_session_is_created_from_request_to_commit() {
    let bytes = hex("00000001 ffffffffffffffff 00000014
        [010000199ca30000 00000000 fffffff6 00002710] ffffffff");
    let request = packet(&bytes);
    let body = hex("00002710");
    let op = OpCode::CreateSession;
    let forwarded = Forwarded { session: SESSION, cxid: 0, op: op.number(), body: &body };
    assert_eq!((request.kind, request.zxid), (PacketKind::Request, Zxid::NONE));
    assert_eq!(Forwarded::read(request.body()), Ok(forwarded));
    assert_eq!(Request::read(op, &body), Ok(Request::CreateSession { timeout_ms: 10_000 }));
    assert_eq!(written(|out| write_request(&forwarded, None, out)), bytes);

    let bytes = hex("00000002 0000000100000001 00000030
        [010000199ca30000 00000000 0000000100000001 000001a1fb55d534 fffffff6 | 00002710 |
         00000002 0000000051c6d660] ffffffff");
    let proposal = packet(&bytes);
    let (zxid, time) = (EPOCH_1.next(), WallMillis(0x1a1_fb55_d534));
    let entry = Entry {
        header: TxnHeader { session: SESSION, cxid: 0, zxid, time },
        txn: Txn::CreateSession { timeout_ms: 10_000 },
        digest: Some(TxnDigest { version: DIGEST_VERSION, tree: 0x51c6_d660 }),
    };
    assert_eq!((proposal.kind, proposal.zxid), (PacketKind::Proposal, zxid));
    assert_eq!(Entry::read(proposal.body()).as_ref(), Ok(&entry));
    let again = written(|out| {
        write_packet_with(PacketKind::Proposal, zxid, out, |out| {
            Entry::write(&entry.header, &entry.txn, entry.digest, out);
        });
    });
    assert_eq!(again, bytes);
}

/// What observers and followers hear of a reconfiguration; the layout of the same entry.
#[test]
fn a_configuration_is_activated_with_who_leads_under_it() {
    let bytes = hex("00000009 0000000100000001 00000008 0000000000000003 ffffffff");
    let commit = packet(&bytes);
    let activation = Activation { leader: ServerId(3), record: b"" };
    assert_eq!(commit.kind, PacketKind::CommitAndActivate);
    assert_eq!(Activation::read(commit.body()), Ok(activation));
    let bytes = hex("00000013 0000000100000001 0000000b [0000000000000003 616263] ffffffff");
    let inform = packet(&bytes);
    let activation = Activation { leader: ServerId(3), record: b"abc" };
    assert_eq!(inform.kind, PacketKind::InformAndActivate);
    assert_eq!(Activation::read(inform.body()), Ok(activation));
    assert_eq!(written(|out| activation.write(out)), inform.body());
}

#[test]
fn a_create_brings_the_ids_of_its_client() {
    let body = written(|out| {
        out.put_string("/x");
        out.put_buffer(Some(b"hi"));
        Acl::write_list(&[Acl::open()], out);
        out.put_i32(0);
    });
    let bytes = [
        hex("00000001 ffffffffffffffff 0000003b [010000199ca30000 00000001 00000001"),
        body.clone(),
        hex("00000001 00000002 6970 00000009 3132372e302e302e31"),
    ]
    .concat();
    let mut splitter = Splitter::new(PacketBytes::default());
    let mut input = &bytes[..];
    let request = splitter.next(&mut input).expect("sound").expect("whole");
    let forwarded = Forwarded { session: SESSION, cxid: 1, op: 1, body: &body };
    assert_eq!(request.body().and_then(Forwarded::read), Ok(forwarded));
    let Ok(Request::Create(create)) = Request::read(OpCode::Create, forwarded.body) else {
        panic!("a create")
    };
    assert_eq!((create.kind, create.path.as_deref()), (CreateKind::Create, Some("/x")));
    let ids: Vec<AuthId<'_>> = request.ids.iter().collect();
    assert_eq!(ids, [AuthId::new("ip", "127.0.0.1")]);
    assert_eq!(written(|out| write_request(&forwarded, Some(&ids), out)), bytes);
    assert_eq!(written(|out| request.write(out)), bytes);
}

#[test]
fn a_sync_is_asked_for_by_its_path() {
    let bytes = hex("00000001 ffffffffffffffff 00000016
        [010000199ca30000 00000002 00000009 00000002 2f78] 00000000");
    let body = hex("00000002 2f78");
    let forwarded = Forwarded { session: SESSION, cxid: 2, op: OpCode::Sync.number(), body: &body };
    assert_eq!(written(|out| write_request(&forwarded, Some(&[]), out)), bytes);
    assert_eq!(Forwarded::read(packet(&bytes).body()), Ok(forwarded));
}

#[test]
fn a_session_is_asked_about_and_answered() {
    let bytes = hex("00000006 ffffffffffffffff 0000000c [010000199ca30000 00002710] ffffffff");
    let question = packet(&bytes);
    let asked = Revalidate { session: SESSION, timeout_ms: 10_000 };
    assert_eq!((question.kind, question.zxid), (PacketKind::Revalidate, Zxid::NONE));
    assert_eq!(Revalidate::read(question.body()), Ok(asked));
    assert_eq!(written(|out| asked.write(out)), question.body());

    let bytes = hex("00000006 ffffffffffffffff 00000009 [010000199ca30000 01] ffffffff");
    let answer = packet(&bytes);
    let told = Revalidated { session: SESSION, is_valid: true };
    assert_eq!(Revalidated::read(answer.body()), Ok(told));
    assert_eq!(written(|out| told.write(out)), answer.body());
}

#[test]
fn an_election_link_begins_with_who_dials() {
    let bytes = [hex("ffffffffffff0000 0000000000000002 0000000e"), b"127.0.0.1:3882".to_vec()];
    let bytes = bytes.concat();
    let mut reader = ElectionReader::accepted();
    let address = HostPort { host: "127.0.0.1".to_owned(), port: 3882 };
    let initial = Initial { server: ServerId(2), addresses: vec![address] };
    let heard = reader.next(&mut &bytes[..]);
    assert_eq!(heard, Ok(Some(Heard::Initial(initial.clone()))));
    assert_eq!(written(|out| initial.write(InitialForm::V1, out)), bytes);
    assert_eq!(written(|out| initial.write(InitialForm::V2, out))[..8], hex("ffffffffffff0001"));
}

/// The three forms, by the layout that a live server answered to.
#[test]
fn notifications_of_every_generation() {
    let vote =
        Vote { leader: ServerId(3), zxid: Zxid(0x5_0000_0007), election_epoch: 9, peer_epoch: 6 };
    let fields = hex("00000000 0000000000000003 0000000500000007 0000000000000009");
    let oldest = Notification::read(&fields).expect("28 bytes");
    let of_zxid = Vote { peer_epoch: 5, ..vote };
    let (state, is_kin) = (PeerState::Looking, false);
    assert_eq!(oldest, Notification { state, vote: of_zxid, version: 0, config: None, is_kin });

    let old = [fields.clone(), hex("0000000000000006 00000001")].concat();
    let notification = Notification::read(&old).expect("40 bytes");
    assert_eq!(notification, Notification { state, vote, version: 0, config: None, is_kin });
    assert_eq!(written(|out| notification.write(out)), old);

    let present = [fields, hex("0000000000000006 00000002 00000009"), b"version=0".to_vec()];
    let present = present.concat();
    let notification = Notification::read(&present).expect("today's form");
    let config = Some(bytes::Bytes::from_static(b"version=0"));
    let version = Notification::VERSION;
    assert_eq!(notification, Notification { state, vote, version, config, is_kin });
    assert_eq!(written(|out| notification.write(out)), present);
    let framed = [hex("00000035"), present.clone()].concat();
    assert_eq!(written(|out| notification.write_frame(out)), framed);

    // What kin send: Java's form, and four bytes that it leaves alone.
    let kin = Notification { is_kin: true, ..notification };
    let said = [present, hex("7a6b6401")].concat();
    assert_eq!(written(|out| kin.write(out)), said);
    assert_eq!(Notification::read(&said), Ok(kin));
}
