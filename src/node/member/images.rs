//! What the disk says: to the role, of what is read for learners, of an image on its way in.

use bytes::Bytes;

use crate::base::ConnId;
use crate::history::{ChoreCommand, StorageEvent};
use crate::zab;

use super::super::Node;
use super::super::seam::{Effect, Effects};

impl Node {
    /// What the disk says to a member.
    pub(in super::super) fn on_member_storage(&mut self, event: &StorageEvent, out: &mut Effects) {
        use crate::zab::LearnerInput;
        match event {
            StorageEvent::Durable { ticket, .. } => {
                self.leader_durable(*ticket, out);
                self.learner_durable(*ticket, out);
            }
            StorageEvent::TruncateRefused { ticket, .. } => {
                self.tell_learner(LearnerInput::CutRefused(*ticket), out);
            }
            StorageEvent::CutAt { ticket, kept } => {
                let (ticket, kept) = (*ticket, *kept);
                if let Some(member) = self.member.as_deref_mut() {
                    member.remembered.restart(kept);
                }
                self.tell_learner(LearnerInput::CutAt { ticket, kept }, out);
            }
            StorageEvent::LogProbed { reader, place } => self.on_log_probed(*reader, *place, out),
            StorageEvent::LogRead { reader, records, is_end } => {
                self.on_log_read(*reader, records, *is_end, out);
            }
            StorageEvent::SnapshotRead { reader, bytes, is_last } => {
                self.on_image_read(*reader, bytes.clone(), *is_last, out);
            }
            StorageEvent::ReadFailed { reader, reason } => {
                log::warn!("What a learner was to be sent cannot be read: {reason}");
                // Or it would come back for the same.
                let images = self.member.as_deref().map(|member| &member.images);
                if let Some(zxid) = images.and_then(|images| images.get(reader)) {
                    self.snapshots.on_unread(*zxid);
                }
                self.tell_feeder(zab::Input::Missing { link: *reader }, out);
            }
            _ => {}
        }
        self.carry_out(out);
    }

    fn on_image_read(&mut self, link: ConnId, bytes: Bytes, is_last: bool, out: &mut Effects) {
        if is_last {
            out.push(Effect::Chore(ChoreCommand::CloseReader { reader: link }));
        }
        self.tell_feeder(zab::Input::ImageBytes { link, bytes, is_last }, out);
    }

    /// Whether what the chore thread says of a snapshot is of an image on its way in.
    pub(in super::super) fn takes_image_event(
        &mut self,
        event: &StorageEvent,
        out: &mut Effects,
    ) -> bool {
        use crate::zab::LearnerInput;
        let Some(member) = self.member.as_deref_mut() else { return false };
        // The image was given up before any snapshot of this server's own was begun.
        if *event == StorageEvent::SnapshotAbandoned && member.gave_up_image {
            member.gave_up_image = false;
            return true;
        }
        if self.snapshots.is_busy() {
            return false;
        }
        let input = match event {
            StorageEvent::SnapshotProgress { bytes } => {
                LearnerInput::ImageProgress { bytes: *bytes }
            }
            StorageEvent::SnapshotWritten { zxid } => LearnerInput::ImageWritten { zxid: *zxid },
            StorageEvent::SnapshotFailed { zxid, .. } => LearnerInput::ImageFailed { zxid: *zxid },
            _ => return false,
        };
        self.tell_learner(input, out);
        self.read_leader_on(out);
        true
    }
}
