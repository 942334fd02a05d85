//! An image on its way from the leader: read to find its end, written to a file as it comes.

use bytes::Bytes;

use crate::base::{Zxid, limits};
use crate::history::{
    ChoreCommand, SnapshotItem, SnapshotReader, SnapshotTrailers, SnapshotWriter,
};

use super::learner_end::LearnerEnd;
use super::learner_seam::{LearnerOutput, LearnerTurn};

/// The items do not make a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadItem;

/// Takes an image's sessions, ACLs and nodes as they are read.
pub type ImageSink<'a> = &'a mut dyn FnMut(SnapshotItem<'_>) -> Result<(), BadItem>;

/// Where in the leader's bytes the reading is.
#[derive(Debug)]
enum Stage {
    AwaitItem,
    /// So many bytes of the signature have come.
    AwaitSignature(usize),
    Ended,
}

pub(super) struct Receiving {
    zxid: Zxid,
    stage: Stage,
    reader: SnapshotReader,
    writer: Option<SnapshotWriter>,
    /// Bytes handed to the chore thread that it has not written.
    queued: usize,
    item_bytes: usize,
}

impl Receiving {
    /// The file is a snapshot of Java's without trailers: they would say that the image is exact,
    /// and a Java leader goes on applying while it writes one.
    pub fn new(zxid: Zxid, item_bytes: usize, turn: &mut LearnerTurn<'_>) -> Receiving {
        let mut head = Vec::new();
        let writer = SnapshotWriter::begin(&mut head);
        turn.push(LearnerOutput::BeginImage { zxid });
        turn.push(LearnerOutput::Chore(ChoreCommand::SnapshotBegin { zxid }));
        let mut receiving = Receiving {
            zxid,
            stage: Stage::AwaitItem,
            reader: SnapshotReader::stream(),
            writer: Some(writer),
            queued: 0,
            item_bytes,
        };
        receiving.write(Bytes::from(head), turn);
        receiving
    }

    pub fn zxid(&self) -> Zxid {
        self.zxid
    }

    /// The chore thread keeps up.
    pub fn has_room(&self) -> bool {
        self.queued < limits::SNAPSHOT_PACE_BYTES
    }

    pub fn on_progress(&mut self, bytes: usize) {
        self.queued = self.queued.saturating_sub(bytes);
    }

    /// The next bytes of the link: how many of them are the image's or its signature's.
    pub fn take(
        &mut self,
        bytes: &[u8],
        sink: ImageSink<'_>,
        turn: &mut LearnerTurn<'_>,
    ) -> Result<usize, LearnerEnd> {
        let mut used = 0;
        if matches!(self.stage, Stage::AwaitItem) {
            used = self.take_items(bytes, sink)?;
            let body = &bytes[..used];
            if let Some(writer) = &mut self.writer {
                writer.cover(body);
            }
            self.write(Bytes::copy_from_slice(body), turn);
        }
        if let Stage::AwaitSignature(seen) = self.stage {
            let (wanted, rest) = (&SIGNATURE[seen..], &bytes[used..]);
            let count = wanted.len().min(rest.len());
            if rest[..count] != wanted[..count] {
                return Err(LearnerEnd::BadSignature);
            }
            used += count;
            self.stage = Stage::AwaitSignature(seen + count);
            if seen + count == SIGNATURE.len() {
                self.end(turn);
            }
        }
        Ok(used)
    }

    fn take_items(&mut self, bytes: &[u8], sink: ImageSink<'_>) -> Result<usize, LearnerEnd> {
        self.reader.feed(bytes);
        loop {
            let is_end = match self.reader.next_item().map_err(LearnerEnd::BadImage)? {
                SnapshotItem::More => break,
                SnapshotItem::End(_) => true,
                item => {
                    sink(item).map_err(|BadItem| LearnerEnd::ImageRefused)?;
                    false
                }
            };
            if is_end {
                self.stage = Stage::AwaitSignature(0);
                // All that was fed before had its end open, so the rest is of these bytes.
                return Ok(bytes.len() - self.reader.rest().len());
            }
        }
        if self.reader.rest().len() > self.item_bytes {
            return Err(LearnerEnd::ImageRefused);
        }
        Ok(bytes.len())
    }

    fn end(&mut self, turn: &mut LearnerTurn<'_>) {
        let mut seal = Vec::new();
        let writer = self.writer.take().expect("an image ends once");
        writer.finish(&SnapshotTrailers::default(), &mut seal);
        self.write(Bytes::from(seal), turn);
        turn.push(LearnerOutput::Chore(ChoreCommand::SnapshotEnd));
        turn.push(LearnerOutput::FinishImage { zxid: self.zxid });
        self.stage = Stage::Ended;
    }

    fn write(&mut self, bytes: Bytes, turn: &mut LearnerTurn<'_>) {
        if !bytes.is_empty() {
            self.queued += bytes.len();
            turn.push(LearnerOutput::Chore(ChoreCommand::SnapshotChunk { bytes }));
        }
    }

    pub fn is_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended)
    }
}

impl std::fmt::Debug for Receiving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Receiving { zxid, stage, queued, .. } = self;
        f.debug_struct("Receiving")
            .field("zxid", zxid)
            .field("stage", stage)
            .field("queued", queued)
            .finish_non_exhaustive()
    }
}

/// A string of jute's behind every image.
const SIGNATURE: &[u8] = b"\0\0\0\x0aBenWasHere";
