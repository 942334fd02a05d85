//! The log: lines go to a bounded ring and from there to stderr.
//!
//! Decides how a line looks and which are written (`RUST_LOG`). Whoever logs never waits and
//! never fails: a pipe that nobody reads costs lines, which are counted, and a closed stderr costs
//! all of them. Only an end with a reason writes on its own, for a bounded time.

mod layout;
mod ring;

use std::env;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};

use log::{LevelFilter, Log, Metadata, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::base::limits::LOG_LINE_BYTES;

use super::clock::Clock;
use layout::Layout;
use ring::Ring;

/// The one log of the process.
#[derive(Clone)]
pub struct Logging {
    shared: Arc<Shared>,
}

struct Shared {
    filter: env_logger::Logger,
    layout: Layout,
    ring: Ring,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// What became of the lines that waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    Empty,
    /// Some were written; more wait.
    More,
    /// Nobody takes them at present.
    Blocked,
}

impl Logging {
    /// Becomes the process's log. `my_id` as Apache shows it: empty for a standalone server.
    pub fn install(my_id: &str) -> Logging {
        let layout = match is_journal() {
            true => Layout::Journal,
            false => Layout::Apache { my_id: my_id.to_owned() },
        };
        let mut builder = env_logger::Builder::new();
        builder.filter_level(LevelFilter::Info).parse_env("RUST_LOG");
        let logging = Logging::new(builder.build(), layout);
        let max = logging.shared.filter.filter();
        // A test process may have one already; the first stays.
        if log::set_boxed_logger(Box::new(logging.clone())).is_ok() {
            log::set_max_level(max);
        }
        logging
    }

    fn new(filter: env_logger::Logger, layout: Layout) -> Logging {
        let shared = Shared { filter, layout, ring: Ring::default(), wake: OnceLock::new() };
        Logging { shared: Arc::new(shared) }
    }

    /// From now on lines are written by whoever calls `write_some`, woken by `wake` when the
    /// first line comes; before that everything is written by `write_all`.
    pub fn written_by(&self, wake: impl Fn() + Send + Sync + 'static) {
        let wakes = self.shared.wake.set(Box::new(wake)).is_ok();
        assert!(wakes, "one thread writes the log");
    }

    /// Writes what stderr takes at once, without waiting.
    pub fn write_some(&self) -> Drained {
        self.write_to(&io::stderr(), 0)
    }

    /// Writes all that waits, but does not wait longer than a second for a reader.
    pub fn write_all(&self) {
        let mut patience_ms = FINAL_WAIT_MS;
        while patience_ms > 0 {
            match self.write_to(&io::stderr(), FINAL_STEP_MS) {
                Drained::Empty => return,
                Drained::More => {}
                Drained::Blocked => patience_ms -= FINAL_STEP_MS,
            }
        }
    }

    fn write_to(&self, target: &impl AsFd, wait_ms: i64) -> Drained {
        let ring = &self.shared.ring;
        if ring.is_empty() {
            return Drained::Empty;
        }
        match readiness(target, wait_ms) {
            Readiness::Full => return Drained::Blocked,
            Readiness::Writable | Readiness::Gone => {}
        }
        let mut lines = Vec::with_capacity(LOG_LINE_BYTES);
        ring.take(&mut lines, |n| {
            self.shared.layout.dropped(n, Clock::default().read().wall).into()
        });
        // At most a pipe's atomic size, and it is writable: this does not wait. What fails is
        // lost, since there is nobody to tell.
        let _ = rustix::io::retry_on_intr(|| rustix::io::write(target, &lines));
        if ring.is_empty() { Drained::Empty } else { Drained::More }
    }
}

impl Log for Logging {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.shared.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.shared.filter.matches(record) {
            return;
        }
        let wall = Clock::default().read().wall;
        let is_first = self.shared.ring.push(self.shared.layout.line(record, wall));
        if is_first && let Some(wake) = self.shared.wake.get() {
            wake();
        }
    }

    fn flush(&self) {}
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    Writable,
    Full,
    /// Nobody will ever read it.
    Gone,
}

fn readiness(target: &impl AsFd, wait_ms: i64) -> Readiness {
    let mut fds = [PollFd::new(target, PollFlags::OUT)];
    let wait = Timespec { tv_sec: wait_ms / 1000, tv_nsec: wait_ms % 1000 * 1_000_000 };
    match poll(&mut fds, Some(&wait)) {
        Ok(0) | Err(_) => Readiness::Full,
        Ok(_) => {
            let found = fds[0].revents();
            let gone = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
            if found.intersects(gone) { Readiness::Gone } else { Readiness::Writable }
        }
    }
}

/// Whether stderr is the journal's own stream.
fn is_journal() -> bool {
    let Some(named) = env::var_os("JOURNAL_STREAM") else { return false };
    let Ok(stat) = rustix::fs::fstat(io::stderr()) else { return false };
    named.to_str() == Some(&format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// How long a last word waits for a reader in all, and at a time.
const FINAL_WAIT_MS: i64 = 1000;
const FINAL_STEP_MS: i64 = 50;

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn logging() -> Logging {
        let filter = env_logger::Builder::new().filter_level(LevelFilter::Info).build();
        Logging::new(filter, Layout::Journal)
    }

    fn write(logging: &Logging, level: log::Level, text: &str) {
        let args = format_args!("{text}");
        logging.log(&Record::builder().level(level).target("t").args(args).build());
    }

    #[test]
    fn lines_that_the_filter_lets_through_are_written_in_order() {
        let logging = logging();
        let (mut reader, writer) = io::pipe().unwrap();
        assert_eq!(logging.write_to(&writer, 0), Drained::Empty);
        write(&logging, log::Level::Info, "one");
        write(&logging, log::Level::Debug, "not this");
        write(&logging, log::Level::Error, "two");
        assert_eq!(logging.write_to(&writer, 0), Drained::Empty);
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "<6>t: one\n<3>t: two\n");
    }

    #[test]
    fn a_pipe_that_nobody_reads_holds_nobody_up() {
        let logging = logging();
        let (reader, writer) = io::pipe().unwrap();
        let line = "x".repeat(2000);
        loop {
            write(&logging, log::Level::Info, &line);
            if logging.write_to(&writer, 0) == Drained::Blocked {
                break;
            }
        }
        drop(reader);
        // Closed now: what waits is thrown away, and that is no failure.
        while logging.write_to(&writer, 0) != Drained::Empty {}
    }

    #[test]
    fn the_writer_is_woken_by_the_first_line_only() {
        let logging = logging();
        let woken = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let count = Arc::clone(&woken);
        logging.written_by(move || {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        });
        write(&logging, log::Level::Info, "one");
        write(&logging, log::Level::Info, "two");
        assert_eq!(woken.load(std::sync::atomic::Ordering::Relaxed), 1);
    }
}
