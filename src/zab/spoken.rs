//! Packets as the tests tell them: `PROPOSAL 4.2` is that of counter 2 in epoch 4.

use crate::base::Zxid;
use crate::peering::PacketKind;

use super::feed::Outgoing;

pub fn z(epoch: u32, counter: u32) -> Zxid {
    Zxid::new(epoch, counter)
}

pub fn spoken(outgoing: &Outgoing) -> String {
    match outgoing {
        Outgoing::Image(bytes) => format!("image of {}", bytes.len()),
        Outgoing::Packet { kind, zxid, .. } => match kind {
            PacketKind::UpToDate | PacketKind::Sync | PacketKind::Revalidate => name(*kind),
            kind => format!("{} {}.{}", name(*kind), zxid.epoch(), zxid.counter()),
        },
    }
}

fn name(kind: PacketKind) -> String {
    format!("{kind:?}").to_uppercase()
}
