//! Notifications, first messages and their reader: what was written, any bytes, any cuts.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::base::limits::{ELECTION_ADDRESS_BYTES, ELECTION_MESSAGE_BYTES, PEER_BUFFER_BYTES};
use crate::base::{ServerId, Zxid};
use crate::proto::{DecodeError, Writer};

use super::testing::*;
use super::*;

fn notifications() -> impl Strategy<Value = Notification> {
    let state = (0i32..4).prop_map(|n| PeerState::from_number(n).expect("a state"));
    let form = prop_oneof![
        (-1i32..2).prop_map(|version| (version, None, false)),
        (2i32..4, vec(any::<u8>(), 0..50), any::<bool>()).prop_map(|(version, c, is_kin)| (
            version,
            Some(Bytes::from(c)),
            is_kin
        )),
    ];
    let numbers = (any::<i64>(), any::<i64>(), any::<i64>(), any::<i64>());
    (state, numbers, form).prop_map(|(state, (leader, zxid, election_epoch, peer_epoch), form)| {
        let vote = Vote { leader: ServerId(leader), zxid: Zxid(zxid), election_epoch, peer_epoch };
        let (version, config, is_kin) = form;
        Notification { state, vote, version, config, is_kin }
    })
}

fn body(notification: &Notification) -> Vec<u8> {
    let mut out = Vec::new();
    notification.write(&mut out);
    out
}

fn initials() -> impl Strategy<Value = Initial> {
    let host = prop_oneof![
        "[a-zé][a-zé0-9.-]{0,20}",
        any::<std::net::Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|ip| ip.to_string()),
    ];
    let address = (host, any::<u16>()).prop_map(|(host, port)| HostPort { host, port });
    (any::<i64>(), vec(address, 1..5))
        .prop_map(|(id, addresses)| Initial { server: ServerId(id), addresses })
}

fn message(initial: &Initial, form: InitialForm) -> Vec<u8> {
    let mut out = Vec::new();
    initial.write(form, &mut out);
    out
}

/// What was heard, apart from its bytes, and why nothing more is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    initial: Option<Initial>,
    messages: Vec<Vec<u8>>,
    error: Option<StreamError>,
}

fn told(mut reader: ElectionReader, pieces: &[&[u8]]) -> Told {
    let mut told = Told::default();
    for piece in pieces {
        let mut input = *piece;
        while told.error.is_none() {
            match reader.next(&mut input) {
                Ok(Some(Heard::Initial(initial))) => told.initial = Some(initial),
                Ok(Some(Heard::Message(message))) => told.messages.push(message.to_vec()),
                Ok(None) => break,
                Err(error) => told.error = Some(error),
            }
        }
        assert!(told.error.is_some() || input.is_empty(), "what is not used is held");
        assert!(reader.capacity() <= 4 + ELECTION_MESSAGE_BYTES);
    }
    told
}

fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    messages.iter().for_each(|message| out.put_buffer(Some(message)));
    out
}

const NUMBERS: &[i32] = &[-65536, -65535, -2, -1, 0, 1, 7, 14, 28, 40, 2048, 2049, 524_289];

proptest! {
    #[test]
    fn a_notification_is_read_as_it_was_written(notification in notifications()) {
        prop_assert_eq!(Notification::read(&body(&notification)), Ok(notification));
    }

    #[test]
    fn a_notification_that_ends_early_or_is_changed_says_so_or_says_something_else(
        notification in notifications(),
        end in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let sound = body(&notification);
        let at = end.index(sound.len());
        match Notification::read(&sound[..at]) {
            // The old forms are the fields that all have.
            Ok(read) => {
                let is_old = matches!(at, 28 | 40) && read.version == 0;
                // Without the last bytes, kin say what anybody says.
                let plain = Notification { is_kin: false, ..notification.clone() };
                let is_plain = notification.is_kin && read == plain;
                prop_assert!(is_old || is_plain || (at > 40 && read.version < 2));
            }
            Err(error) => prop_assert_eq!(error, DecodeError::Short),
        }
        let mut changed = sound.clone();
        changed[at] = byte;
        if let Ok(read) = Notification::read(&changed) {
            // A configuration may have become shorter.
            let again = body(&read);
            prop_assert!(again.len() <= changed.len());
            prop_assert_eq!(Notification::read(&again), Ok(read));
        }
    }

    #[test]
    fn a_link_is_heard_however_it_is_cut(
        initial in initials(),
        several: bool,
        messages in vec(vec(any::<u8>(), 1..60), 0..5),
        cuts in vec(0usize..50, 0..30),
    ) {
        let form = if several { InitialForm::V2 } else { InitialForm::V1 };
        let stream = [message(&initial, form), framed(&messages)].concat();
        let mut known = initial;
        known.addresses.truncate(if several { usize::MAX } else { 1 });
        known.addresses.retain(|a| !matches!(a.host.as_str(), "0.0.0.0" | "::" | "::ffff:0.0.0.0"));
        let expected = Told { initial: Some(known), messages, error: None };
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        for pieces in [pieces(&stream, &cuts), bytes] {
            prop_assert_eq!(&told(ElectionReader::accepted(), &pieces), &expected);
        }
        let messages = framed(&expected.messages);
        let heard = told(ElectionReader::dialed(), &pieces(&messages, &cuts));
        prop_assert_eq!(heard, Told { initial: None, ..expected });
    }

    #[test]
    fn any_bytes_say_the_same_however_they_are_cut(
        stream in streams(initials().prop_map(|i| message(&i, InitialForm::V2)), NUMBERS),
        accepted: bool,
        cuts in vec(0usize..30, 0..30),
    ) {
        let reader =
            || if accepted { ElectionReader::accepted() } else { ElectionReader::dialed() };
        let whole = told(reader(), &[&stream]);
        prop_assert_eq!(&told(reader(), &pieces(&stream, &cuts)), &whole);
        let shorter = stream.len().saturating_sub(1);
        let early = told(reader(), &[&stream[..shorter]]);
        prop_assert!(whole.messages.starts_with(&early.messages), "what was said stays said");
        prop_assert!(early.error.is_none() || early == whole);
        for message in &whole.messages {
            let _ = Notification::read(message);
        }
    }
}

#[test]
fn java_s_lengths_decide_which_notification_it_is() {
    let notification = Notification {
        state: PeerState::Leading,
        vote: Vote { leader: ServerId(1), zxid: Zxid(2), election_epoch: 3, peer_epoch: 4 },
        version: 2,
        config: Some(Bytes::from_static(b"abc")),
        is_kin: false,
    };
    let sound = body(&notification);
    for short in (0..sound.len()).filter(|n| !matches!(n, 28 | 40)) {
        assert_eq!(Notification::read(&sound[..short]), Err(DecodeError::Short), "{short}");
    }
    let longer = [&sound[..], b"behind"].concat();
    assert_eq!(Notification::read(&longer), Ok(notification));
    for (at, number, error) in [
        (0, 4, DecodeError::Value(4)),
        (0, -1, DecodeError::Value(-1)),
        (40, -1, DecodeError::Null),
        (40, -7, DecodeError::Length(-7)),
        (40, 4, DecodeError::Short),
        (40, i32::MAX, DecodeError::Short),
    ] {
        let mut changed = sound.clone();
        changed[at..at + 4].copy_from_slice(&i32::to_be_bytes(number));
        assert_eq!(Notification::read(&changed), Err(error));
    }
}

/// State, vote, version, text.
type Read = (i32, [i64; 4], i32, Option<Vec<u8>>);

/// What a server of Java makes of a body, by its order of reading.
fn as_java_reads(body: &[u8]) -> Option<Read> {
    let int = |at: usize| Some(i32::from_be_bytes(*body.get(at..)?.first_chunk()?));
    let long = |at: usize| Some(i64::from_be_bytes(*body.get(at..)?.first_chunk()?));
    let vote = [long(4)?, long(12)?, long(20)?, if body.len() == 28 { 0 } else { long(28)? }];
    let version = if matches!(body.len(), 28 | 40) { 0 } else { int(36)? };
    if version < 2 {
        return Some((int(0)?, vote, version, None));
    }
    let length = usize::try_from(int(40)?).ok().filter(|length| *length <= body.len())?;
    let text = body.get(44..44 + length)?.to_vec();
    Some((int(0)?, vote, version, Some(text)))
}

#[test]
fn kin_say_what_they_are_where_java_does_not_look() {
    let vote = Vote { leader: ServerId(1), zxid: Zxid(2), election_epoch: 3, peer_epoch: 4 };
    for text in [&b""[..], b"abc", b"server.1=a:1:2:participant\nversion=0"] {
        let config = Some(Bytes::copy_from_slice(text));
        let (state, version) = (PeerState::Looking, Notification::VERSION);
        let kin = Notification { state, vote, version, config, is_kin: true };
        let plain = Notification { is_kin: false, ..kin.clone() };
        let (said, of_java) = (body(&kin), body(&plain));
        assert_eq!(as_java_reads(&said), as_java_reads(&of_java));
        assert_eq!(as_java_reads(&said), Some((0, [1, 2, 3, 4], 2, Some(text.to_vec()))));
        assert!(!matches!(said.len(), 28 | 40), "no length that means another form");
        assert_eq!(Notification::read(&said), Ok(kin.clone()));
        assert_eq!(Notification::read(&of_java), Ok(plain.clone()));
        // Whatever else is there some day, or less of it, is nobody's claim.
        assert_eq!(Notification::read(&[&said[..], b"more"].concat()), Ok(kin));
        assert_eq!(Notification::read(&said[..said.len() - 1]), Ok(plain.clone()));
        assert_eq!(Notification::read(&[&of_java[..], b"\0", b"zkd\x01"].concat()), Ok(plain));
    }
    // A text that ends with those bytes is a text.
    let config = Some(Bytes::from_static(b"zkd\x01"));
    let (state, version) = (PeerState::Looking, Notification::VERSION);
    let plain = Notification { state, vote, version, config, is_kin: false };
    assert_eq!(Notification::read(&body(&plain)), Ok(plain));
}

fn first(bytes: &[u8]) -> Result<Initial, StreamError> {
    let told = told(ElectionReader::accepted(), &[bytes]);
    told.error.map_or_else(|| Ok(told.initial.expect("whole")), Err)
}

fn of_text(text: &[u8]) -> Result<Vec<String>, StreamError> {
    let mut bytes = hex("ffffffffffff0001 0000000000000005");
    bytes.put_buffer(Some(text));
    first(&bytes).map(|i| i.addresses.iter().map(ToString::to_string).collect())
}

#[test]
fn addresses_are_read_as_java_reads_them() {
    let of = |text: &str| of_text(text.as_bytes()).expect("sound");
    assert_eq!(of("a:1|b.c:65535"), ["a:1", "b.c:65535"]);
    assert_eq!(of("[::1]:3888|[fe80::1%eth0]:2"), ["[::1]:3888", "[fe80::1%eth0]:2"]);
    assert_eq!(of("zoo-ü.例.com:1"), ["zoo-ü.例.com:1"]);
    assert_eq!(of("0.0.0.0:1|[::]:1|[0:0:0:0:0:0:0:0]:1|[::ffff:0.0.0.0]:1|0:1|:1|a:2||"), ["a:2"]);
    assert_eq!(of("|||"), Vec::<String>::new());
    // Latin-1 from a peer whose locale is another: a host that nobody knows, and a link.
    assert_eq!(of_text(b"z\xfc:1"), Ok(vec!["z\u{fffd}:1".to_owned()]));
    for bad in ["a", "a:", "a:x", "a:65536", "a:-1", "a:1:2", "::1:2", "[::1", "[::1]", "[::1]2"] {
        assert_eq!(of_text(bad.as_bytes()), Err(StreamError::Address), "{bad}");
        let second = format!("a:1|{bad}");
        assert_eq!(of_text(second.as_bytes()), Err(StreamError::Address), "{bad}");
    }
    assert_eq!(of_text(b"|a:1"), Err(StreamError::Address));
    assert_eq!(of_text(b""), Err(StreamError::AddressLength(0)));
    let long = StreamError::AddressLength(2049);
    assert_eq!(of_text(&[b'a'; ELECTION_ADDRESS_BYTES + 1]), Err(long));
}

#[test]
fn a_bare_id_is_the_form_of_before_3_5() {
    let stream = [hex("0000000000000004"), framed(&[b"x".to_vec()])].concat();
    let initial = Some(Initial { server: ServerId(4), addresses: Vec::new() });
    let messages = vec![b"x".to_vec()];
    let heard = told(ElectionReader::accepted(), &[&stream]);
    assert_eq!(heard, Told { initial, messages, error: None });
    let nameless = first(&hex("7fffffffffffffff")).map(|i| i.server);
    assert_eq!(nameless, Ok(Initial::ANONYMOUS));
}

#[test]
fn what_is_no_peer_is_told_by_its_first_bytes() {
    for (bytes, what) in [
        (&b"GET / HTTP/1.1\r\n"[..], Foreign::Http),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Foreign::Tls),
        (b"ruok", Foreign::Text),
        (b"\0\0\0\x2d\0\0\0\0\0\0\0\0", Foreign::Client),
        (b"\0\0\0\x0b\0\0\0\0", Foreign::Learner),
    ] {
        for pieces in [vec![bytes], bytes.chunks(1).collect()] {
            let error = told(ElectionReader::accepted(), &pieces).error;
            assert_eq!(error, Some(StreamError::Foreign(what)));
        }
    }
    assert_eq!(first(&hex("ffffffffffff0002")), Err(StreamError::Protocol(-65534)));
    assert_eq!(first(&hex("8000000000000000")), Err(StreamError::Protocol(i64::MIN)));
    let asked = told(ElectionReader::dialed(), &[&hex("5f24350135 01edcc")]).error;
    assert_eq!(asked, Some(StreamError::Foreign(Foreign::Sasl)));
    for length in [0, -2, 524_289] {
        let error = told(ElectionReader::dialed(), &[&i32::to_be_bytes(length)]).error;
        assert_eq!(error, Some(StreamError::MessageLength(length)));
    }
}

#[test]
fn addresses_that_do_not_fit_are_left_out() {
    let address = |n: usize| HostPort { host: "h".repeat(n), port: 1 };
    let sent = |addresses: Vec<HostPort>, form| {
        let bytes = message(&Initial { server: ServerId(1), addresses }, form);
        first(&bytes).expect("a peer reads it").addresses
    };
    let many: Vec<HostPort> = (1..100).map(address).collect();
    let said = sent(many.clone(), InitialForm::V2);
    assert!(said.len() > 50 && many.starts_with(&said));
    assert_eq!(sent(many, InitialForm::V1), [address(1)]);
    let longest = address(ELECTION_ADDRESS_BYTES - 2);
    assert_eq!(sent(vec![longest.clone()], InitialForm::V1), [longest]);
    assert!(sent(vec![address(ELECTION_ADDRESS_BYTES - 1)], InitialForm::V1).is_empty());
    assert!(sent(Vec::new(), InitialForm::V2).is_empty());
}

#[test]
fn a_large_message_is_borrowed_or_held_and_its_buffer_given_back() {
    let stream = framed(&[vec![7; ELECTION_MESSAGE_BYTES]]);
    let mut reader = ElectionReader::dialed();
    assert!(matches!(reader.next(&mut &stream[..]), Ok(Some(Heard::Message(_)))));
    assert_eq!(reader.capacity(), 0);
    assert_eq!(reader.next(&mut &stream[..9000]), Ok(None));
    assert_eq!(reader.held(), 9000);
    assert!(matches!(reader.next(&mut &stream[9000..]), Ok(Some(Heard::Message(_)))));
    assert_eq!((reader.held(), reader.next(&mut &b""[..])), (0, Ok(None)));
    assert!(reader.capacity() <= PEER_BUFFER_BYTES);
}
