//! Those who read log and snapshots beside the log thread: learners, each at its own place, which
//! it keeps from one ask to the next. What they ask for is read in slices, theirs in turn.

use std::collections::{BTreeMap, VecDeque};

use crate::base::{ConnId, Zxid, limits};
use crate::history::StorageEvent;

use super::Disk;
use super::dirs::Dirs;
use super::image_cursor::{ImageAsk, ImageCursor};
use super::log_cursor::{LogAsk, LogCursor};
use super::log_index::LogIndex;

#[derive(Default)]
pub struct Readers {
    readers: BTreeMap<ConnId, Reader>,
    /// Those whose answer is not complete.
    waiting: VecDeque<ConnId>,
    index: LogIndex,
    asks: u64,
}

#[derive(Default)]
struct Reader {
    log: Option<LogCursor>,
    image: Option<ImageCursor>,
    ask: Option<Ask>,
    /// When it asked for the last time, counted in asks.
    asked: u64,
}

/// What somebody waits for.
pub enum Ask {
    Probe(Zxid),
    Log(LogAsk),
    Image(ImageAsk),
}

impl Readers {
    pub fn ask<D: Disk>(
        &mut self,
        disk: &mut D,
        id: ConnId,
        ask: Ask,
        events: &mut Vec<StorageEvent>,
    ) {
        if !self.readers.contains_key(&id) && !self.make_room(disk) {
            let reason = "too many read snapshots at once".to_owned();
            events.push(StorageEvent::ReadFailed { reader: id, reason });
            return;
        }
        self.asks += 1;
        let reader = self.readers.entry(id).or_default();
        assert!(reader.ask.is_none(), "a reader asks one thing at a time");
        reader.ask = Some(ask);
        reader.asked = self.asks;
        self.waiting.push_back(id);
    }

    pub fn close<D: Disk>(&mut self, disk: &mut D, id: ConnId) {
        if let Some(reader) = self.readers.remove(&id) {
            self.waiting.retain(|waiting| *waiting != id);
            reader.close(disk);
        }
    }

    pub fn is_busy(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Reads a slice for one of those who wait.
    pub fn go_on<D: Disk>(&mut self, disk: &mut D, dirs: &Dirs, events: &mut Vec<StorageEvent>) {
        let Some(id) = self.waiting.pop_front() else { return };
        let Some(reader) = self.readers.get_mut(&id) else { return };
        let Some(mut ask) = reader.ask.take() else { return };
        match reader.go_on(disk, dirs, &mut self.index, id, &mut ask) {
            Ok(Some(event)) => events.push(event),
            Ok(None) => {
                reader.ask = Some(ask);
                self.waiting.push_back(id);
            }
            Err(reason) => events.push(StorageEvent::ReadFailed { reader: id, reason }),
        }
    }

    /// Whoever reads the log finds its place again; an image that is gone is not found again.
    fn make_room<D: Disk>(&mut self, disk: &mut D) -> bool {
        if self.readers.len() < limits::READERS {
            return true;
        }
        let may_go = |reader: &Reader| reader.ask.is_none() && reader.image.is_none();
        let idle = self.readers.iter().filter(|(_, reader)| may_go(reader));
        let oldest = idle.min_by_key(|(_, reader)| reader.asked).map(|(id, _)| *id);
        if let Some(oldest) = oldest {
            self.close(disk, oldest);
        }
        oldest.is_some()
    }
}

impl Reader {
    fn go_on<D: Disk>(
        &mut self,
        disk: &mut D,
        dirs: &Dirs,
        index: &mut LogIndex,
        reader: ConnId,
        ask: &mut Ask,
    ) -> Result<Option<StorageEvent>, String> {
        match ask {
            Ask::Probe(zxid) => {
                let place = index.probe(disk, dirs, *zxid).map_err(|e| e.to_string())?;
                Ok(place.map(|place| StorageEvent::LogProbed { reader, place }))
            }
            Ask::Log(ask) => {
                let piece = ask.go_on(disk, dirs, index, &mut self.log);
                let piece = piece.map_err(|e| e.to_string())?;
                Ok(piece.map(|piece| {
                    let (records, is_end) = (piece.records, piece.is_end);
                    StorageEvent::LogRead { reader, records, is_end }
                }))
            }
            Ask::Image(ask) => {
                let Some(piece) = ask.go_on(disk, dirs, &mut self.image)? else { return Ok(None) };
                if piece.is_last {
                    self.close_image(disk);
                }
                let (bytes, is_last) = (piece.bytes, piece.is_last);
                Ok(Some(StorageEvent::SnapshotRead { reader, bytes, is_last }))
            }
        }
    }

    fn close_image<D: Disk>(&mut self, disk: &mut D) {
        if let Some(image) = self.image.take() {
            image.close(disk);
        }
    }

    fn close<D: Disk>(mut self, disk: &mut D) {
        self.close_image(disk);
        if let Some(log) = self.log.take() {
            log.close(disk);
        }
    }
}
