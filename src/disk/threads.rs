//! The log thread and the chore thread.
//!
//! Both take commands from a queue that is never held while anything is done, so whoever sends
//! waits for nobody: not for a sync, not for one that hangs.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{getpriority_process, setpriority_process};

use crate::base::Zxid;
use crate::history::{ChoreCommand, StorageCommand, StorageEvent};

use super::Disk;
use super::chores::Chores;
use super::log_writer::LogWriter;
use super::real::RealDisk;
use super::recover::Recovered;
use super::settings::StorageSettings;

/// The two threads of storage. What they report is polled; `wake` is called when there is some.
pub struct StorageThreads {
    shared: Arc<Shared>,
    log: JoinHandle<()>,
    chores: JoinHandle<()>,
}

struct Shared {
    log: Queue<StorageCommand>,
    chores: Queue<Chore>,
    events: Mutex<Vec<StorageEvent>>,
    rebuilt: Mutex<Vec<Recovered>>,
    wake: Box<dyn Fn() + Send + Sync>,
}

enum Chore {
    Command(ChoreCommand),
    MakeSpare,
    /// Only what comes behind every chore.
    Errands,
}

impl StorageThreads {
    /// `disk` holds the locks of the directories; `last` is the last zxid that recovery found.
    pub fn start(
        disk: RealDisk,
        settings: &StorageSettings,
        last: Zxid,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<StorageThreads> {
        StorageThreads::start_with_errands(disk, settings, last, wake, || None)
    }

    /// `errands` is run by the chore thread behind every chore and whenever it is nudged: work of
    /// others that may be slow but never waits, such as writing log lines. It returns when it
    /// wants to be run again without a nudge.
    pub fn start_with_errands(
        disk: RealDisk,
        settings: &StorageSettings,
        last: Zxid,
        wake: impl Fn() + Send + Sync + 'static,
        errands: impl FnMut() -> Option<Duration> + Send + 'static,
    ) -> io::Result<StorageThreads> {
        StorageThreads::start_over(disk, RealDisk::new(), settings, last, wake, errands)
    }

    /// The same over any disk; each thread has its own.
    pub(super) fn start_over<L: Disk + Send + 'static, C: Disk + Send + 'static>(
        log_disk: L,
        chore_disk: C,
        settings: &StorageSettings,
        last: Zxid,
        wake: impl Fn() + Send + Sync + 'static,
        errands: impl FnMut() -> Option<Duration> + Send + 'static,
    ) -> io::Result<StorageThreads> {
        let shared = Arc::new(Shared {
            log: Queue::default(),
            chores: Queue::default(),
            events: Mutex::default(),
            rebuilt: Mutex::default(),
            wake: Box::new(wake),
        });
        let writer = LogWriter::new(log_disk, settings, last);
        let for_log = Arc::clone(&shared);
        let log = thread::Builder::new()
            .name("zkd-log".to_owned())
            .spawn(move || run_log(&for_log, writer))?;
        let chores = Chores::new(chore_disk, settings);
        let for_chores = Arc::clone(&shared);
        let chores = thread::Builder::new().name("zkd-chores".to_owned()).spawn(move || {
            stand_back();
            run_chores(&for_chores, chores, errands);
        })?;
        Ok(StorageThreads { shared, log, chores })
    }

    pub fn send(&self, command: StorageCommand) {
        self.shared.log.push(command);
    }

    pub fn send_chore(&self, command: ChoreCommand) {
        self.shared.chores.push(Chore::Command(command));
    }

    /// Something that makes the chore thread run its errands soon.
    pub fn nudge(&self) -> impl Fn() + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.chores.push(Chore::Errands)
    }

    /// Moves what happened since the last call to the end of `out`.
    pub fn poll_events(&self, out: &mut Vec<StorageEvent>) {
        out.append(&mut lock(&self.shared.events));
    }

    /// What each `Rebuild` since the last call has found.
    pub fn poll_rebuilt(&self) -> Vec<Recovered> {
        std::mem::take(&mut lock(&self.shared.rebuilt))
    }

    /// Lets the log thread finish its queue and the chore thread its slice, then ends both.
    pub fn finish(self) {
        self.shared.log.close();
        self.shared.chores.close();
        let _ = self.log.join();
        let _ = self.chores.join();
    }
}

/// This thread alone gets less of a processor than those that a request waits for.
fn stand_back() {
    let own = getpriority_process(None).unwrap_or(0);
    // Without it everything works all the same.
    let _ = setpriority_process(None, (own + CHORES_NICER).min(19));
}

/// A tenth of the share of the others, where there is not enough for all.
const CHORES_NICER: i32 = 10;

impl Shared {
    fn report(&self, events: &mut Vec<StorageEvent>) {
        if !events.is_empty() {
            lock(&self.events).append(events);
            (self.wake)();
        }
    }

    fn hand_over(&self, rebuilt: Recovered) {
        lock(&self.rebuilt).push(rebuilt);
        (self.wake)();
    }
}

/// Everything that is queued is done with one sync.
fn run_log<D: Disk>(shared: &Shared, mut writer: LogWriter<D>) {
    let mut batch = VecDeque::new();
    let mut events = Vec::new();
    loop {
        if writer.take_spare_request() {
            shared.chores.push_front(Chore::MakeSpare);
        }
        if !shared.log.take_all(&mut batch) {
            break;
        }
        let done = batch.drain(..).try_for_each(|command| writer.execute(&command, &mut events));
        match done.and_then(|()| writer.sync()) {
            Ok(durable) => events.push(durable),
            Err(fatal) => {
                events.push(StorageEvent::Failed(fatal));
                shared.report(&mut events);
                return;
            }
        }
        shared.report(&mut events);
    }
    if let Err(fatal) = writer.close() {
        shared.report(&mut vec![StorageEvent::Failed(fatal)]);
    }
}

fn run_chores<D: Disk>(
    shared: &Shared,
    mut chores: Chores<D>,
    mut errands: impl FnMut() -> Option<Duration>,
) {
    let mut events = Vec::new();
    let mut again = None;
    while let Some(chore) = shared.chores.take_one(again) {
        match chore {
            Chore::Command(command) => chores.execute(&command, &mut events),
            Chore::MakeSpare => chores.make_spare(),
            Chore::Errands => {}
        }
        chores.go_on(&mut events);
        shared.report(&mut events);
        if let Some(rebuilt) = chores.take_rebuilt() {
            shared.hand_over(rebuilt);
        }
        again = errands();
        if chores.is_busy() {
            again = Some(Duration::ZERO);
        }
    }
}

/// Commands on their way to a thread. What may be queued is bounded by those who send: the node
/// counts un-synced and snapshot bytes.
struct Queue<T> {
    inner: Mutex<Inner<T>>,
    filled: Condvar,
}

struct Inner<T> {
    items: VecDeque<T>,
    is_closed: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        let inner = Inner { items: VecDeque::new(), is_closed: false };
        Queue { inner: Mutex::new(inner), filled: Condvar::new() }
    }
}

impl<T> Queue<T> {
    fn push(&self, item: T) {
        lock(&self.inner).items.push_back(item);
        self.filled.notify_one();
    }

    fn push_front(&self, item: T) {
        lock(&self.inner).items.push_front(item);
        self.filled.notify_one();
    }

    fn close(&self) {
        lock(&self.inner).is_closed = true;
        self.filled.notify_one();
    }

    /// Waits for items and takes them all; false once the queue is closed and empty.
    fn take_all(&self, into: &mut VecDeque<T>) -> bool {
        let mut inner = self.wait();
        std::mem::swap(&mut inner.items, into);
        !into.is_empty()
    }

    fn wait(&self) -> MutexGuard<'_, Inner<T>> {
        self.filled.wait_while(lock(&self.inner), is_idle).unwrap_or_else(|e| e.into_inner())
    }
}

impl Queue<Chore> {
    /// Waits for a chore, or for `again` to pass; `None` once the queue is closed, whatever it
    /// holds.
    fn take_one(&self, again: Option<Duration>) -> Option<Chore> {
        let mut inner = match again {
            None => self.wait(),
            Some(again) => {
                let waited = self.filled.wait_timeout_while(lock(&self.inner), again, is_idle);
                waited.unwrap_or_else(|e| e.into_inner()).0
            }
        };
        if inner.is_closed { None } else { Some(inner.items.pop_front().unwrap_or(Chore::Errands)) }
    }
}

fn is_idle<T>(inner: &mut Inner<T>) -> bool {
    inner.items.is_empty() && !inner.is_closed
}

/// A thread that panics ends the process, so no lock is ever left poisoned behind it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}
