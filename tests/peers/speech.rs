//! Cuts what a relay has kept into messages, and each message into its fields.

use std::ops::Range;

use zkd::history::{SnapshotItem, SnapshotReader};
use zkd::peering::{ElectionReader, Heard, Notification, PacketBytes, PacketKind, Splitter};

use crate::relay::{Conversation, Port, Side};
use crate::transcript::{Line, hex};

/// Behind the snapshot that a learner is sent.
pub const SIGNATURE: &[u8] = b"\0\0\0\x0aBenWasHere";

/// One message of a stream: where it ends, its fields, and what it is.
struct Cut {
    end: usize,
    groups: String,
    comment: String,
}

/// What was said on these connections between two places, in the order in which each message was
/// whole.
pub fn lines(conversations: &[&Conversation], within: &Range<u64>) -> Vec<Line> {
    let mut said: Vec<(u64, Line)> = Vec::new();
    for conversation in conversations {
        for side in [Side::Dialler, Side::Acceptor] {
            said.extend(lines_of(conversation, side));
        }
    }
    said.retain(|(place, _)| within.contains(place));
    said.sort_by_key(|(place, _)| *place);
    said.into_iter().map(|(_, line)| line).collect()
}

fn lines_of(conversation: &Conversation, side: Side) -> Vec<(u64, Line)> {
    let mut stream = Vec::new();
    let mut ends = Vec::new();
    for piece in conversation.pieces.iter().filter(|piece| piece.side == side) {
        stream.extend_from_slice(&piece.bytes);
        ends.push((stream.len(), piece.place));
    }
    let cuts = match conversation.port {
        Port::Election => cut_election(side, &stream),
        Port::Quorum => cut_quorum(&stream),
    };
    let line = |cut: Cut| {
        let whole = ends.iter().find(|(end, _)| *end >= cut.end).expect("within the stream");
        let line = Line {
            dialler: conversation.dialler,
            acceptor: conversation.acceptor,
            side,
            groups: cut.groups,
            comment: cut.comment,
        };
        (whole.1, line)
    };
    cuts.into_iter().map(line).collect()
}

fn cut_election(side: Side, stream: &[u8]) -> Vec<Cut> {
    let mut reader = match side {
        Side::Dialler => ElectionReader::accepted(),
        Side::Acceptor => ElectionReader::dialed(),
    };
    let (mut input, mut begin, mut cuts) = (stream, 0, Vec::new());
    while let Some(heard) = reader.next(&mut input).expect("Java's bytes are sound") {
        let comment = match heard {
            Heard::Initial(initial) => format!("first message of member {}", initial.server.0),
            Heard::Message(body) => {
                let said = Notification::read(body).expect("Java's bytes are sound");
                let vote = said.vote;
                format!(
                    "{:?}: {}, zxid 0x{:x}, round {}, epoch {}",
                    said.state, vote.leader.0, vote.zxid, vote.election_epoch, vote.peer_epoch
                )
            }
        };
        let end = stream.len() - input.len();
        let bytes = &stream[begin..end];
        let groups = if comment.starts_with("first") {
            fields(bytes, &[8, 8, 4], "address")
        } else {
            fields(bytes, &[4, 4, 8, 8, 8, 8, 4, 4], "config")
        };
        cuts.push(Cut { end, groups, comment });
        begin = end;
    }
    cuts
}

/// Fields of these lengths, and the rest by its name.
fn fields(bytes: &[u8], lengths: &[usize], rest: &str) -> String {
    let (mut groups, mut left) = (Vec::new(), bytes);
    for length in lengths {
        let (field, later) = left.split_at(*length);
        groups.push(hex(field));
        left = later;
    }
    groups.push(format!("[{rest}={}]", hex(left)));
    groups.join(" ")
}

fn cut_quorum(stream: &[u8]) -> Vec<Cut> {
    let mut splitter = Splitter::new(PacketBytes::default());
    let (mut input, mut begin, mut cuts) = (stream, 0, Vec::new());
    while let Some(packet) = splitter.next(&mut input).expect("Java's bytes are sound") {
        let kind = packet.kind;
        let comment = format!("{kind:?} 0x{:x}", packet.zxid);
        let data = packet.data.map(<[u8]>::to_vec);
        let end = stream.len() - input.len();
        let groups = packet_groups(kind, &stream[begin..end], data.as_deref());
        cuts.push(Cut { end, groups, comment });
        begin = end;
        if kind == PacketKind::Snap {
            let length = snapshot_length(input);
            let (snapshot, behind) = input.split_at(length);
            let (signature, later) = behind.split_at(SIGNATURE.len());
            assert_eq!(signature, SIGNATURE);
            begin += length;
            let groups = format!("[snapshot={}]", hex(snapshot));
            cuts.push(Cut { end: begin, groups, comment: format!("{length} bytes") });
            begin += SIGNATURE.len();
            let comment = "the snapshot's end".to_owned();
            cuts.push(Cut { end: begin, groups: hex(signature), comment });
            input = later;
        }
    }
    cuts
}

/// How long the snapshot is that these bytes begin with.
fn snapshot_length(bytes: &[u8]) -> usize {
    let mut reader = SnapshotReader::stream();
    reader.feed(bytes);
    loop {
        match reader.next_item().expect("Java's bytes are sound") {
            SnapshotItem::End(_) => return bytes.len() - reader.rest().len(),
            SnapshotItem::More => panic!("half a snapshot"),
            _ => {}
        }
    }
}

fn packet_groups(kind: PacketKind, packet: &[u8], data: Option<&[u8]>) -> String {
    let (head, rest) = packet.split_at(16);
    let mut groups = vec![hex(&head[..4]), hex(&head[4..12]), hex(&head[12..])];
    let (body, ids) = rest.split_at(data.map_or(0, <[u8]>::len));
    match (kind, data) {
        (_, None | Some([])) => {}
        (PacketKind::NewLeader, _) => groups.push(format!("[config={}]", hex(body))),
        (PacketKind::FollowerInfo, _) => groups.extend(split(body, &[8, 4, 8])),
        (PacketKind::Ping, _) => {
            for touch in body.chunks(12) {
                groups.push(format!("[session={}]", hex(&touch[..8])));
                groups.push(hex(&touch[8..]));
            }
        }
        (PacketKind::Request, _) => {
            groups.push(format!("[session={}]", hex(&body[..8])));
            groups.extend(split(&body[8..], &[4, 4]));
        }
        (PacketKind::Proposal, _) => {
            groups.push(format!("[session={}]", hex(&body[..8])));
            groups.extend(split(&body[8..20], &[4, 8]));
            groups.push(format!("[time={}]", hex(&body[20..28])));
            // A digest covers times, too.
            let (txn, digest) = body[28..].split_at(body.len() - 28 - 8);
            groups.extend(split(txn, &[4]));
            groups.push(format!("[digest={}]", hex(digest)));
        }
        _ => groups.push(hex(body)),
    }
    groups.push(hex(ids));
    groups.join(" ")
}

/// Fields of these lengths, and what is left.
fn split(bytes: &[u8], lengths: &[usize]) -> Vec<String> {
    let (mut groups, mut left) = (Vec::new(), bytes);
    for length in lengths {
        let (field, later) = left.split_at(*length);
        groups.push(hex(field));
        left = later;
    }
    if !left.is_empty() {
        groups.push(hex(left));
    }
    groups
}
