//! What the packets of a leader hold, as far as all who learn from one read it alike.

use crate::base::Zxid;
use crate::members::{Membership, Rules};
use crate::peering::{Activation, Packet};
use crate::proto::{DecodeError, Entry, Txn, decode_utf8};

use super::learner_end::LearnerEnd;

/// The txn that a packet of the leader of `epoch` carries in `record`.
pub(super) fn entry_of(
    packet: &Packet<'_>,
    record: Result<&[u8], DecodeError>,
    epoch: i64,
) -> Result<Entry, LearnerEnd> {
    let kind = packet.kind;
    let entry = record.and_then(Entry::read);
    let entry = entry.map_err(|error| LearnerEnd::BadPacket { kind, error })?;
    let txn = entry.header.zxid;
    if txn != packet.zxid {
        return Err(LearnerEnd::ZxidMismatch { packet: packet.zxid, txn });
    }
    check_epoch(txn, epoch)?;
    Ok(entry)
}

/// Nothing that a leader sends belongs to a later epoch than its own.
pub(super) fn check_epoch(zxid: Zxid, epoch: i64) -> Result<(), LearnerEnd> {
    if i64::from(zxid.epoch()) > epoch {
        return Err(LearnerEnd::WrongEpoch { zxid, epoch });
    }
    Ok(())
}

pub(super) fn activation_of<'a>(packet: &Packet<'a>) -> Result<Activation<'a>, LearnerEnd> {
    let kind = packet.kind;
    let read = packet.body().and_then(Activation::read);
    read.map_err(|error| LearnerEnd::BadPacket { kind, error })
}

/// The configuration in a text of a peer.
pub(super) fn config_of(text: &[u8], rules: Rules) -> Option<Box<Membership>> {
    Membership::of_text(&decode_utf8(text), rules).ok().map(Box::new)
}

/// The configuration that a txn proposes, if it does.
pub(super) fn reconfig_of(
    entry: &Entry,
    rules: Rules,
) -> Result<Option<Box<Membership>>, LearnerEnd> {
    let Txn::Reconfig { data, .. } = &entry.txn else { return Ok(None) };
    let config = config_of(data.as_deref().unwrap_or_default(), rules);
    config.map(Some).ok_or(LearnerEnd::BadConfig { zxid: entry.header.zxid })
}

/// The configuration that a COMMIT is to activate.
pub(super) fn config_to_activate(
    entry: Option<&Entry>,
    zxid: Zxid,
    rules: Rules,
) -> Result<Box<Membership>, LearnerEnd> {
    let nothing = LearnerEnd::NothingToActivate { zxid };
    let entry = entry.filter(|entry| entry.header.zxid == zxid).ok_or(nothing)?;
    reconfig_of(entry, rules)?.ok_or(nothing)
}
