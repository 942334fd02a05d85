//! The splitter against a reader that sees all bytes at once and knows nothing of cuts.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::base::Zxid;
use crate::base::limits::{PEER_BUFFER_BYTES, QUORUM_DATA_BYTES};
use crate::proto::{Reader, decode_utf8};

use super::testing::*;
use super::*;

/// Small, so that short streams go over it.
const SMALL: PacketBytes = PacketBytes { data: 60, ids: 64 };
const SMALL_WHOLE: usize = 16 + SMALL.data + 4 + SMALL.ids;

/// What a stream says: its packets, and whether something behind them is no packet.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    packets: Vec<OwnedPacket>,
    error: Option<StreamError>,
    /// Bytes behind the last packet.
    left: usize,
}

fn told(pieces: &[&[u8]], most: PacketBytes) -> Told {
    let mut splitter = Splitter::new(most);
    let mut told = Told::default();
    for piece in pieces {
        let mut input = *piece;
        while told.error.is_none() {
            match splitter.next(&mut input) {
                Ok(Some(packet)) => told.packets.push(packet.into()),
                Ok(None) => break,
                Err(error) => told.error = Some(error),
            }
        }
        assert!(told.error.is_some() || input.is_empty(), "what is not used is held");
        assert!(splitter.capacity() <= 16 + most.data + 4 + most.ids);
        told.left = splitter.held();
    }
    told
}

/// One packet off the front: `Ok(None)` where the bytes end within it.
fn naive(bytes: &[u8], most: PacketBytes) -> Result<Option<(OwnedPacket, usize)>, StreamError> {
    let r = &mut Reader::new(bytes);
    let Ok(kind) = r.i32() else { return Ok(None) };
    let foreign = Foreign::look(kind.to_be_bytes()).map(StreamError::Foreign);
    let refusal = foreign.unwrap_or(StreamError::Kind(kind));
    let kind = PacketKind::from_number(kind).ok_or(refusal)?;
    let Ok(zxid) = r.i64() else { return Ok(None) };
    let Some(data) = naive_buffer(r, most.data)? else { return Ok(None) };
    let data = data.map(<[u8]>::to_vec);
    let Ok(count) = r.i32() else { return Ok(None) };
    let mut packet = OwnedPacket { kind, zxid: Zxid(zxid), data, ids: None };
    let mut ids = Vec::new();
    let mut room = most.ids as i64 - 8 * i64::from(count.max(0));
    if room < 0 {
        return Err(StreamError::Ids(count));
    }
    for _ in 0..count {
        let mut pair = [None, None];
        for text in &mut pair {
            let mut peek = r.clone();
            let Ok(length) = peek.i32() else { return Ok(None) };
            if (0..=most.data as i32).contains(&length) {
                room -= i64::from(length);
            }
            if room < 0 {
                return Err(StreamError::Ids(length));
            }
            let Some(bytes) = naive_buffer(r, most.data)? else { return Ok(None) };
            *text = bytes.map(|b| decode_utf8(b).into_owned());
        }
        let [scheme, id] = pair;
        ids.push((scheme, id));
    }
    packet.ids = (count != -1).then_some(ids);
    Ok(Some((packet, bytes.len() - r.rest().len())))
}

type Buffer<'a> = Option<&'a [u8]>;

fn naive_buffer<'a>(r: &mut Reader<'a>, most: usize) -> Result<Option<Buffer<'a>>, StreamError> {
    let Ok(length) = r.clone().i32() else { return Ok(None) };
    if length < -1 || length > most as i32 {
        return Err(StreamError::Length(length));
    }
    Ok(r.buffer().ok())
}

fn naive_told(stream: &[u8], most: PacketBytes) -> Told {
    let mut told = Told::default();
    let mut rest = stream;
    loop {
        match naive(rest, most) {
            Ok(Some((packet, bytes))) => {
                told.packets.push(packet);
                rest = &rest[bytes..];
            }
            Ok(None) => {
                told.left = rest.len();
                return told;
            }
            Err(error) => {
                told.error = Some(error);
                return told;
            }
        }
    }
}

fn written(packets: &[OwnedPacket]) -> Vec<u8> {
    let mut stream = Vec::new();
    packets.iter().for_each(|packet| packet.write(&mut stream));
    stream
}

const NUMBERS: &[i32] = &[-2, -1, 0, 1, 2, 5, 8, 11, 15, 19, 20, 45, 60, 61, i32::MAX, i32::MIN];

proptest! {
    #[test]
    fn what_was_written_is_read_back_however_it_is_cut(
        sent in vec(packets(), 0..6),
        cuts in vec(0usize..90, 0..40),
    ) {
        let stream = written(&sent);
        let expected = Told { packets: sent, error: None, left: 0 };
        prop_assert_eq!(&told(&pieces(&stream, &cuts), PacketBytes::default()), &expected);
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(&told(&bytes, PacketBytes::default()), &expected);
    }

    #[test]
    fn a_stream_that_ends_early_waits_for_more(
        sent in vec(packets(), 1..4),
        end in any::<prop::sample::Index>(),
        cuts in vec(0usize..90, 0..20),
    ) {
        let stream = written(&sent);
        let stream = &stream[..end.index(stream.len())];
        let short = told(&pieces(stream, &cuts), PacketBytes::default());
        prop_assert_eq!(short.error, None);
        prop_assert_eq!(&short.packets[..], &sent[..short.packets.len()]);
        prop_assert_eq!(written(&short.packets).len() + short.left, stream.len());
    }

    #[test]
    fn any_bytes_say_what_they_say_to_one_who_sees_them_at_once(
        stream in streams(packets().prop_map(|p| written(&[p])), NUMBERS),
        cuts in vec(0usize..30, 0..40),
    ) {
        let mut split = told(&pieces(&stream, &cuts), SMALL);
        let whole = naive_told(&stream, SMALL);
        prop_assert!(split.left <= SMALL_WHOLE);
        if whole.error.is_some() {
            split.left = 0;
        }
        prop_assert_eq!(split, whole);
    }

    #[test]
    fn nothing_behind_a_packet_is_taken(
        packet in packets(),
        behind in vec(any::<u8>(), 0..40),
        cut in any::<prop::sample::Index>(),
    ) {
        let packet = OwnedPacket { kind: PacketKind::Snap, ..packet };
        let mut stream = written(std::slice::from_ref(&packet));
        let cut = cut.index(stream.len());
        stream.extend_from_slice(&behind);
        let (mut first, mut second) = stream.split_at(cut);
        let mut splitter = Splitter::new(PacketBytes::default());
        prop_assert_eq!(splitter.next(&mut first), Ok(None));
        let came = splitter.next(&mut second).map(|p| p.map(OwnedPacket::from));
        prop_assert_eq!(came, Ok(Some(packet)));
        prop_assert_eq!((second, splitter.held()), (&behind[..], 0));
    }
}

fn large(data: usize) -> OwnedPacket {
    let data = Some(vec![7; data]);
    OwnedPacket { kind: PacketKind::Proposal, zxid: Zxid(1), data, ids: None }
}

#[test]
fn a_whole_packet_lies_where_it_came_and_a_large_buffer_is_not_kept() {
    let stream = written(&[large(QUORUM_DATA_BYTES)]);
    let mut splitter = Splitter::new(PacketBytes::default());
    let mut input = &stream[..];
    let packet = splitter.next(&mut input).expect("sound").expect("whole");
    let data = packet.data.expect("data");
    assert!(stream.as_ptr_range().contains(&data.as_ptr()), "borrowed");
    assert_eq!(splitter.capacity(), 0);
    for piece in stream.chunks(16 * 1024) {
        let mut input = piece;
        let _ = splitter.next(&mut input).expect("sound");
    }
    assert!(splitter.capacity() >= stream.len() && splitter.held() == 0);
    assert_eq!(splitter.next(&mut &stream[..20]), Ok(None));
    assert!(splitter.capacity() <= PEER_BUFFER_BYTES && splitter.held() == 20);
}

#[test]
fn a_length_is_refused_before_its_bytes_are_waited_for() {
    let mut stream = written(&[large(QUORUM_DATA_BYTES + 1)]);
    stream.truncate(16);
    let long = StreamError::Length(QUORUM_DATA_BYTES as i32 + 1);
    assert_eq!(told(&[&stream], PacketBytes::default()).error, Some(long));
    let wider = PacketBytes::of_jute(QUORUM_DATA_BYTES / 2 + 1, 0);
    assert_eq!(told(&[&stream], wider).error, None);
    stream[12..].copy_from_slice(&(-2i32).to_be_bytes());
    assert_eq!(told(&[&stream], wider).error, Some(StreamError::Length(-2)));
}

#[test]
fn a_stranger_may_say_who_he_is_and_no_more() {
    let mut splitter = Splitter::new(PacketBytes::GREETING);
    let mut greeting = Vec::new();
    let info = LearnerInfo { server: crate::base::ServerId(3), protocol: 1, config_version: None };
    let write = |out: &mut Vec<u8>| info.write(out);
    write_packet_with(PacketKind::FollowerInfo, Zxid(0), &mut greeting, write);
    let stream = [greeting, written(&[large(1025)])].concat();
    let mut input = &stream[..];
    assert!(matches!(splitter.next(&mut input), Ok(Some(_))));
    assert_eq!(splitter.next(&mut input), Err(StreamError::Length(1025)));
    assert_eq!(splitter.next(&mut input), Err(StreamError::Length(1025)), "and again");
    splitter.widen(PacketBytes::default());
    assert!(matches!(splitter.next(&mut input), Ok(Some(_))));
}

#[test]
fn ids_are_bounded_together_and_by_what_they_must_still_take() {
    let text = Some("x".repeat(28));
    let id = (text.clone(), text);
    let packet = |ids| OwnedPacket { kind: PacketKind::Request, ids: Some(ids), ..large(3) };
    // Two strings of 28 bytes and their lengths are the 64 bytes that are allowed.
    assert_eq!(told(&[&written(&[packet(vec![id.clone()])])], SMALL).error, None);
    let more = written(&[packet(vec![id, (None, None)])]);
    let first_length = 16 + 3 + 4 + 4;
    assert_eq!(told(&[&more[..first_length]], SMALL).error, None, "28 + 16 are less than 64");
    assert_eq!(told(&[&more], SMALL).error, Some(StreamError::Ids(28)));
    let many = written(&[packet(vec![(None, None); 9])]);
    assert_eq!(told(&[&many[..first_length - 4]], SMALL).error, Some(StreamError::Ids(9)));
}

#[test]
fn what_is_no_peer_is_told_by_four_bytes() {
    for (bytes, what) in [
        (&b"GET / HTTP/1.1\r\n"[..], Foreign::Http),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Foreign::Tls),
        (b"mntr", Foreign::Text),
        (b"\0\0\0\x2d\0\0\0\0", Foreign::Client),
        (b"\xff\xff\xff\xff\xff\xff\0\0", Foreign::Elector),
    ] {
        for pieces in [vec![bytes], bytes.chunks(1).collect()] {
            let error = told(&pieces, PacketBytes::GREETING).error;
            assert_eq!(error, Some(StreamError::Foreign(what)));
        }
    }
    assert_eq!(told(&[b"\0\0\0\x14"], SMALL).error, Some(StreamError::Kind(20)));
    assert_eq!(told(&[b"\0\0\0\0"], SMALL).error, Some(StreamError::Kind(0)));
}
