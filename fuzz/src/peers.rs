//! What a peer sends: first messages, notifications, quorum packets and what they carry.

use std::mem::size_of;

use zkd::peering::{
    AckEpoch, Activation, AuthId, ElectionReader, Forwarded, Heard, HostPort, LeaderInfo,
    LearnerInfo, Notification, Packet, PacketBytes, PacketKind, Revalidate, Revalidated, Splitter,
    StreamError, read_touches, write_request, write_touches,
};

use crate::allocation::{REPAIRED_BYTES, bounded, fixed_cost};
use crate::{encode, planted};

/// What was heard of an election link: one thing a line, and why it ended.
type Told = (Vec<String>, Option<StreamError>);

/// The stream of an election link, dialled or accepted as the first bit says, in pieces as long as
/// the rest of that byte: the same is heard as from all of it at once.
pub fn election(data: &[u8]) {
    let Some((first, stream)) = data.split_first() else { return };
    let whole = heard(*first, stream, stream.len());
    assert_eq!(heard(*first, stream, usize::from(*first >> 1)), whole, "cuts say nothing");
}

fn heard(first: u8, stream: &[u8], step: usize) -> Told {
    let mut reader =
        if first & 1 == 0 { ElectionReader::accepted() } else { ElectionReader::dialed() };
    // The shortest address is four bytes, and their list doubles.
    let addresses = fixed_cost(stream.len(), 2 * size_of::<HostPort>() + REPAIRED_BYTES, 4);
    let mut told = Vec::new();
    for mut input in stream.chunks(step.max(1)) {
        loop {
            match bounded(stream.len(), addresses, || reader.next(&mut input)) {
                Ok(Some(Heard::Initial(initial))) => told.push(format!("{initial:?}")),
                Ok(Some(Heard::Message(message))) => {
                    told.push(format!("{message:?}"));
                    notification(message);
                }
                Ok(None) => break,
                Err(error) => return (told, Some(error)),
            }
        }
        assert!(input.is_empty(), "what is not used is held");
    }
    (told, None)
}

/// A notification that is read is written as one that says the same.
fn notification(message: &[u8]) {
    let read = bounded(message.len(), 0, || Notification::read(message));
    let Ok(notification) = read else { return };
    let mut again = Vec::new();
    notification.write(&mut again);
    assert_eq!(Notification::read(&again).as_ref(), Ok(&notification));
    planted(notification.config.as_deref().unwrap_or_default());
}

/// The stream of a quorum link in pieces as long as its first byte says: the same packets as from
/// all of it at once, which are written as the same bytes.
pub fn quorum(data: &[u8]) {
    let Some((step, stream)) = data.split_first() else { return };
    let (whole, error) = packets(stream, stream.len());
    assert!(stream.starts_with(&whole), "packets are written as they came");
    assert_eq!(packets(stream, usize::from(*step)), (whole, error), "cuts say nothing");
}

fn packets(stream: &[u8], step: usize) -> (Vec<u8>, Option<StreamError>) {
    let mut splitter = Splitter::new(PacketBytes::default());
    let mut again = Vec::new();
    for mut input in stream.chunks(step.max(1)) {
        loop {
            match bounded(stream.len(), 0, || splitter.next(&mut input)) {
                Ok(Some(packet)) => {
                    packet.write(&mut again);
                    body(&packet);
                    ids(&packet);
                }
                Ok(None) => break,
                Err(error) => return (again, Some(error)),
            }
        }
        assert!(input.is_empty(), "what is not used is held");
    }
    (again, None)
}

/// What a packet carries, read by its type and written again.
fn body(packet: &Packet<'_>) {
    let Ok(data) = packet.body() else { return };
    let mut again = Vec::new();
    match packet.kind {
        PacketKind::FollowerInfo | PacketKind::ObserverInfo => {
            let Ok(info) = LearnerInfo::read(data) else { return };
            info.write(&mut again);
            assert_eq!(LearnerInfo::read(&again), Ok(info));
        }
        PacketKind::LeaderInfo => {
            let Ok(info) = LeaderInfo::read(data) else { return };
            info.write(&mut again);
            assert!(data.starts_with(&again));
        }
        PacketKind::AckEpoch => {
            let Ok(ack) = AckEpoch::read(data) else { return };
            ack.write(&mut again);
            assert!(data.starts_with(&again));
        }
        PacketKind::Revalidate => {
            let (asked, told) = (Revalidate::read(data), Revalidated::read(data));
            if let Ok(asked) = asked {
                asked.write(&mut again);
                assert!(data.starts_with(&again));
            }
            if let Ok(told) = told {
                again.clear();
                told.write(&mut again);
                assert_eq!(Revalidated::read(&again), Ok(told));
            }
        }
        PacketKind::Ping => {
            let Ok(touches) = read_touches(data) else { return };
            write_touches(touches, &mut again);
            assert_eq!(again, data);
        }
        PacketKind::CommitAndActivate | PacketKind::InformAndActivate => {
            let Ok(activation) = Activation::read(data) else { return };
            activation.write(&mut again);
            assert_eq!(again, data);
        }
        // The others carry nothing, text, or an entry of the log, which has a target of its own.
        _ => {}
    }
}

/// The ids of a request, written again with the request.
fn ids(packet: &Packet<'_>) {
    let Some(Ok(request)) = packet.data.map(Forwarded::read) else { return };
    let ids: Vec<AuthId<'_>> = packet.ids.iter().collect();
    let mut again = Vec::new();
    write_request(&request, (!packet.ids.is_null()).then_some(&ids), &mut again);
    let mut splitter = Splitter::new(PacketBytes::default());
    let mut input = &again[..];
    let read = splitter.next(&mut input).expect("sound").expect("whole");
    assert_eq!(read.body().and_then(Forwarded::read), Ok(request));
    let mut encoded = Vec::new();
    packet.write(&mut encoded);
    assert!(read.ids.iter().eq(ids.iter().cloned()) || encode::is_beyond_basic(&encoded));
    for id in ids {
        planted(id.id.unwrap_or_default().as_bytes());
    }
}
