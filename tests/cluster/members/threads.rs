//! The log thread and the chore thread of one process, each at its own pace. What is handed over is
//! written at once and synced when the sync's time is over: what strikes in between finds it half
//! done.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use zkd::base::{Fatal, Instant, Rng, Ticket, Zxid};
use zkd::disk::{Chores, LogWriter, Recovered, StorageSettings};
use zkd::history::{
    ChoreCommand, EpochFile, StorageCommand, StorageEvent, epoch_file_name, epoch_text,
};

use super::machine::Breakage;
use super::plan::Plan;
use super::wires::{Thread, Wires};
use crate::plan::stream;
use crate::world::disk::{Fault as DiskFault, Files, SimDisk};

const PART_DISK: u64 = 120;

/// What one chore takes at least, and up to so much more.
const CHORE_US: u64 = 50;

pub struct Threads {
    files: Rc<RefCell<Files>>,
    place: usize,
    sync_us: u64,
    rng: Rng,
    pub breakage: Breakage,
    log: Option<LogWriter<SimDisk>>,
    chores: Option<Chores<SimDisk>>,
    queue: VecDeque<StorageCommand>,
    /// What was executed and waits for its sync.
    batch: Vec<StorageCommand>,
    /// What executing it has said.
    said: Vec<StorageEvent>,
    /// The log thread has ended; who waits for it hears of it.
    pub has_failed: bool,
    is_log_busy: bool,
    chore_queue: VecDeque<ChoreCommand>,
    wants_spare: bool,
    are_chores_busy: bool,
    /// Every sync takes so much longer, until then.
    pub slow: (u64, Instant),
    /// No sync comes back before that, by the world's clock.
    pub hangs_until: Instant,
    pub events: Vec<StorageEvent>,
    pub rebuilt: Vec<Recovered>,
    settings: StorageSettings,
    /// What breakages go by: how many appends there were, the last one, and whether an epoch was
    /// accepted that is not current yet.
    appends: u64,
    last_append: Option<StorageCommand>,
    is_joining: bool,
}

impl Threads {
    pub fn new(files: &Rc<RefCell<Files>>, plan: &Plan, place: usize) -> Threads {
        Threads {
            files: files.clone(),
            place,
            sync_us: plan.sync_us,
            rng: stream(plan.seed, PART_DISK, place as u64),
            breakage: Breakage::None,
            log: None,
            chores: None,
            queue: VecDeque::new(),
            batch: Vec::new(),
            said: Vec::new(),
            has_failed: false,
            is_log_busy: false,
            chore_queue: VecDeque::new(),
            wants_spare: false,
            are_chores_busy: false,
            slow: (0, Instant(0)),
            hangs_until: Instant(0),
            events: Vec::new(),
            rebuilt: Vec::new(),
            settings: super::setup::settings(plan),
            appends: 0,
            last_append: None,
            is_joining: false,
        }
    }

    pub fn start(&mut self, life: u64, log: LogWriter<SimDisk>, chores: Chores<SimDisk>) {
        assert!(self.log.is_none() && life > 0, "one process at a time");
        self.log = Some(log);
        self.chores = Some(chores);
    }

    pub fn stop(&mut self) {
        self.log = None;
        self.chores = None;
        self.queue.clear();
        self.batch.clear();
        self.said.clear();
        self.chore_queue.clear();
        self.events.clear();
        self.rebuilt.clear();
        (self.has_failed, self.is_log_busy) = (false, false);
        (self.wants_spare, self.are_chores_busy) = (false, false);
    }

    pub fn has_news(&self) -> bool {
        !self.events.is_empty() || !self.rebuilt.is_empty()
    }

    pub fn push(&mut self, mut command: StorageCommand) {
        if self.breakage == Breakage::ImageAboveCommitted
            && let StorageCommand::InstallSnapshot { zxid, .. } = &mut command
        {
            *zxid = zxid.next();
        }
        if self.breakage == Breakage::AckBeforeSync {
            let told = StorageEvent::Durable { ticket: command.ticket(), sync_us: 0 };
            self.events.push(told);
        }
        if self.breakage == Breakage::EpochBeforeTxns
            && let StorageCommand::WriteEpoch { file: EpochFile::Current, epoch, .. } = &command
        {
            self.write_current_epoch(*epoch);
        }
        self.queue.push_back(command);
    }

    pub fn push_chore(&mut self, mut command: ChoreCommand) {
        if self.breakage == Breakage::ImageAboveCommitted
            && let ChoreCommand::SnapshotBegin { zxid } = &mut command
        {
            *zxid = zxid.next();
        }
        self.chore_queue.push_back(command);
    }

    /// Threads that rest take up what there is.
    pub fn go_on(&mut self, wires: &mut Wires<'_>, life: u64, now: Instant) {
        self.files.borrow_mut().clock_ns = now.0;
        if !self.is_log_busy && !self.queue.is_empty() && !self.has_failed {
            self.execute_all();
            self.is_log_busy = true;
            let ns = self.sync_ns(wires.clock.now());
            wires.busy(life, Thread::Log, ns);
        }
        let has_chores = self.wants_spare
            || !self.chore_queue.is_empty()
            || self.chores.as_ref().is_some_and(Chores::is_busy);
        if !self.are_chores_busy && has_chores {
            self.are_chores_busy = true;
            let ns = (CHORE_US + self.rng.below(self.sync_us + 1)) * 1000;
            wires.busy(life, Thread::Chores, ns);
        }
    }

    fn sync_ns(&mut self, now: Instant) -> u64 {
        let (slow_us, until) = self.slow;
        let slow_us = if now < until { slow_us } else { 0 };
        let ns = (self.sync_us + self.rng.below(self.sync_us + 1) + slow_us) * 1000;
        ns.max(self.hangs_until.ns_since(now))
    }

    /// A thread has come to the end of what it was at.
    pub fn done(&mut self, wires: &mut Wires<'_>, life: u64, thread: Thread) {
        match thread {
            Thread::Log => {
                // The sync was under way when the disk began to hang.
                let left_ns = self.hangs_until.ns_since(wires.clock.now());
                if left_ns > 0 {
                    return wires.busy(life, Thread::Log, left_ns);
                }
                self.is_log_busy = false;
                self.sync(wires);
            }
            Thread::Chores => {
                self.are_chores_busy = false;
                self.chore(wires);
            }
        }
    }

    fn execute_all(&mut self) {
        while let Some(command) = self.queue.pop_front() {
            let done = match self.is_left_out(&command) {
                true => Ok(()),
                false => self.execute(&command),
            };
            if let Err(fatal) = done {
                if !self.is_swallowed() {
                    self.said.push(StorageEvent::Failed(fatal));
                    self.has_failed = true;
                    return;
                }
                self.pretend(&command);
            }
            self.batch.push(command);
        }
    }

    /// Does one command, or what a breakage makes of it.
    fn execute(&mut self, command: &StorageCommand) -> Result<(), Fatal> {
        let Some(log) = &mut self.log else { return Ok(()) };
        let is_cut =
            matches!(command, StorageCommand::Truncate { .. } | StorageCommand::CutAbove { .. });
        match (self.breakage, command) {
            (Breakage::CutsNothing, _) if is_cut => self.pretend(command),
            (Breakage::CutsOneMore, _) if is_cut => {
                let done = log.execute(&one_more(command), &mut Vec::new());
                self.pretend(command);
                return done;
            }
            (Breakage::AppendsAtOldPlace, _) if is_cut => {
                let disk = SimDisk::new(&self.files);
                let mut other = LogWriter::new(disk, &self.settings, Zxid::ZERO);
                return other.execute(command, &mut self.said);
            }
            (Breakage::AppendsAtOldPlace, StorageCommand::Append { .. }) => {
                let mut command = command.clone();
                if let StorageCommand::Append { roll, .. } = &mut command {
                    *roll = false;
                }
                return log.execute(&command, &mut self.said);
            }
            (
                Breakage::OldThreadLives,
                StorageCommand::Truncate { zxid, .. } | StorageCommand::CutAbove { zxid, .. },
            ) => {
                log.execute(command, &mut self.said)?;
                let Some(again) = self.last_append.take() else { return Ok(()) };
                let mut other = LogWriter::new(SimDisk::new(&self.files), &self.settings, *zxid);
                other.execute(&again, &mut self.said)?;
                return other.sync().map(|_| ());
            }
            _ => return log.execute(command, &mut self.said),
        }
        Ok(())
    }

    /// Says of a command that was not done what is said of one that was.
    fn pretend(&mut self, command: &StorageCommand) {
        if let StorageCommand::CutAbove { ticket, zxid, .. } = command {
            self.said.push(StorageEvent::CutAt { ticket: *ticket, kept: *zxid });
        }
    }

    /// Whether a failure is passed over.
    fn is_swallowed(&mut self) -> bool {
        let files = &mut *self.files.borrow_mut();
        let is_so = self.breakage == Breakage::ErrorsSwallowed
            && matches!(files.struck, Some(DiskFault::Error(_)));
        if is_so {
            files.struck = None;
        }
        is_so
    }

    /// Whether a breakage leaves a command out.
    fn is_left_out(&mut self, command: &StorageCommand) -> bool {
        match command {
            StorageCommand::Append { .. } => {
                self.appends += 1;
                self.last_append = Some(command.clone());
            }
            StorageCommand::WriteEpoch { file, .. } => {
                self.is_joining = *file == EpochFile::Accepted;
            }
            _ => {}
        }
        match (self.breakage, command) {
            (Breakage::AppendLost, StorageCommand::Append { .. }) => self.appends % 16 == 0,
            (Breakage::SyncAppendsLost, StorageCommand::Append { .. }) => self.is_joining,
            (Breakage::EpochForgotten, StorageCommand::WriteEpoch { file, .. }) => {
                *file == EpochFile::Accepted
            }
            _ => false,
        }
    }

    fn sync(&mut self, wires: &mut Wires<'_>) {
        let Some(log) = &mut self.log else { return };
        self.events.append(&mut self.said);
        if self.has_failed {
            return;
        }
        let mut synced = log.sync();
        if synced.is_err() && self.is_swallowed() {
            synced = Ok(StorageEvent::Durable { ticket: Ticket::default(), sync_us: 0 });
        }
        match synced {
            Ok(StorageEvent::Durable { ticket, sync_us }) => {
                // What was left out is told all the same.
                let ticket = self.batch.last().map_or(ticket, StorageCommand::ticket);
                if self.breakage != Breakage::AckBeforeSync {
                    self.events.push(StorageEvent::Durable { ticket, sync_us });
                }
                for command in self.batch.drain(..) {
                    wires.record.on_synced(self.place, &command);
                }
            }
            Ok(other) => panic!("{other:?} where a sync was done"),
            Err(fatal) => {
                self.has_failed = true;
                self.events.push(StorageEvent::Failed(fatal));
            }
        }
        self.wants_spare |= self.log.as_mut().is_some_and(LogWriter::take_spare_request);
    }

    fn chore(&mut self, wires: &mut Wires<'_>) {
        let Some(chores) = &mut self.chores else { return };
        if std::mem::take(&mut self.wants_spare) {
            return chores.make_spare();
        }
        match self.chore_queue.pop_front() {
            Some(command) => {
                if command == ChoreCommand::Rebuild {
                    assert!(self.batch.is_empty() && self.queue.is_empty(), "the log rests");
                }
                wires.record.count(chore_name(&command));
                if let ChoreCommand::SnapshotBegin { zxid } = &command {
                    wires.record.on_image(self.place, zxid.0);
                }
                chores.execute(&command, &mut self.events);
            }
            None => chores.go_on(&mut self.events),
        }
        self.rebuilt.extend(chores.take_rebuilt());
        // Recovery that fails is the end of the process, as a log that does.
        self.has_failed |= self.events.iter().any(|e| matches!(e, StorageEvent::Failed(_)));
    }

    /// Behind the back of the log thread.
    fn write_current_epoch(&mut self, epoch: i64) {
        use zkd::disk::{Disk, OpenMode};
        let mut disk = SimDisk::new(&self.files);
        let dir = std::path::Path::new(super::setup::DATA).join("version-2");
        let path = dir.join(epoch_file_name(EpochFile::Current));
        let write = |disk: &mut SimDisk| {
            let file = disk.open(&path, OpenMode::Create)?;
            disk.write_at(file, 0, epoch_text(epoch).as_bytes())?;
            disk.sync(file)?;
            disk.sync_dir(&dir)
        };
        // Where something strikes, it has struck.
        let _: std::io::Result<()> = write(&mut disk);
    }
}

/// The cut that takes one txn more.
fn one_more(command: &StorageCommand) -> StorageCommand {
    let mut command = command.clone();
    if let StorageCommand::Truncate { zxid, .. } | StorageCommand::CutAbove { zxid, .. } =
        &mut command
    {
        *zxid = Zxid(zxid.0 - 1);
    }
    command
}

fn chore_name(command: &ChoreCommand) -> &'static str {
    match command {
        ChoreCommand::Rebuild => "rebuilds",
        ChoreCommand::SnapshotEnd => "snapshots written",
        ChoreCommand::ProbeLog { .. } => "logs asked",
        ChoreCommand::ReadLog { .. } => "logs read",
        ChoreCommand::ReadSnapshot { .. } => "images read",
        _ => "chores",
    }
}
