//! What the tests of this room share.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::base::Zxid;

use super::*;

/// Bytes from hexadecimal digits; what else stands there is for the reader.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

/// Scheme and id, either of them null.
pub(super) type OwnedId = (Option<String>, Option<String>);

/// A packet apart from its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnedPacket {
    pub(super) kind: PacketKind,
    pub(super) zxid: Zxid,
    pub(super) data: Option<Vec<u8>>,
    pub(super) ids: Option<Vec<OwnedId>>,
}

impl OwnedPacket {
    /// One without ids.
    pub(super) fn new(kind: PacketKind, zxid: Zxid, data: Option<&[u8]>) -> OwnedPacket {
        OwnedPacket { kind, zxid, data: data.map(<[u8]>::to_vec), ids: None }
    }

    pub(super) fn body(&self) -> &[u8] {
        self.data.as_deref().expect("a packet with data")
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut encoded = Vec::new();
        let ids: Option<Vec<AuthId<'_>>> = self.ids.as_ref().map(|ids| {
            let borrowed = |(scheme, id): &OwnedId| AuthId {
                scheme: scheme.clone().map(Into::into),
                id: id.clone().map(Into::into),
            };
            ids.iter().map(borrowed).collect()
        });
        AuthId::write_list(ids.as_deref(), &mut encoded);
        let ids = AuthIds::looked_through(&encoded);
        let (kind, zxid, data) = (self.kind, self.zxid, self.data.as_deref());
        Packet { kind, zxid, data, ids }.write(out);
    }
}

impl From<Packet<'_>> for OwnedPacket {
    fn from(packet: Packet<'_>) -> OwnedPacket {
        let owned =
            |id: AuthId<'_>| (id.scheme.map(|s| s.into_owned()), id.id.map(|s| s.into_owned()));
        OwnedPacket {
            kind: packet.kind,
            zxid: packet.zxid,
            data: packet.data.map(<[u8]>::to_vec),
            ids: (!packet.ids.is_null()).then(|| packet.ids.iter().map(owned).collect()),
        }
    }
}

pub(super) fn packets() -> impl Strategy<Value = OwnedPacket> {
    let text = || prop::option::of("[a-z:é]{0,6}");
    let kind = prop::sample::select(PacketKind::ALL.to_vec());
    let data = prop::option::of(vec(any::<u8>(), 0..60));
    let ids = prop_oneof![3 => Just(None), 2 => vec((text(), text()), 0..4).prop_map(Some)];
    (kind, any::<i64>(), data, ids).prop_map(|(kind, zxid, data, ids)| OwnedPacket {
        kind,
        zxid: Zxid(zxid),
        data,
        ids,
    })
}

/// Pieces of a stream: as long as the lengths say in turn, the last one with what is left.
pub(super) fn pieces<'s>(stream: &'s [u8], lengths: &[usize]) -> Vec<&'s [u8]> {
    let mut rest = stream;
    let mut pieces = Vec::new();
    for length in lengths {
        let (piece, later) = rest.split_at((*length).min(rest.len()));
        pieces.push(piece);
        rest = later;
    }
    pieces.push(rest);
    pieces
}

/// Bytes that go far into a reader: sound messages, numbers that mean something, and noise.
pub(super) fn streams(
    sound: impl Strategy<Value = Vec<u8>>,
    numbers: &'static [i32],
) -> impl Strategy<Value = Vec<u8>> {
    let number = prop::sample::select(numbers).prop_map(|n| n.to_be_bytes().to_vec());
    let part = prop_oneof![
        4 => sound,
        4 => number,
        1 => vec(any::<u8>(), 0..9),
    ];
    let change = prop::option::of((any::<prop::sample::Index>(), any::<u8>()));
    (vec(part, 0..8), change).prop_map(|(parts, change)| {
        let mut stream = parts.concat();
        let at = change.filter(|_| !stream.is_empty());
        if let Some((at, byte)) = at.map(|(at, byte)| (at.index(stream.len()), byte)) {
            stream[at] = byte;
        }
        stream
    })
}
