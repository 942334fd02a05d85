//! `kill -9` and power cuts under load: every acknowledged write is there afterwards, what was
//! not acknowledged is a prefix per session.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use zkd::base::Rng;

use crate::load::{SESSION, Writer};
use crate::mounted::Mounted;
use crate::server::{Folder, Server, Shape};

const WRITERS: usize = 8;

/// How the server ends in the middle of its work.
enum Crash {
    Kill,
    PowerCut(Mounted),
}

impl Crash {
    /// Ends the server under load. `is_over` is set where acknowledgements count no longer.
    fn strike(&self, server: &mut Server, rng: &mut Rng, is_over: &AtomicBool) {
        let Crash::PowerCut(mounted) = self else { return server.kill() };
        if rng.below(2) == 0 {
            // Between two syncs: with the server stopped none is under way, so whatever it has
            // acknowledged and whatever it still will must be there.
            server.stop_all_threads();
            mounted.shut_down();
            server.signal("CONT");
        } else {
            // Amid a sync. Linux shuts a file system down in steps, and a sync that runs meanwhile
            // may return success though its data is gone, where a machine without power would
            // return nothing: what is acknowledged from here on was never told to anybody.
            is_over.store(true, Ordering::SeqCst);
            mounted.shut_down_now();
        }
        // The server must notice by itself: its next sync fails, and it stops.
        let status = server.await_end();
        assert_eq!(status, 21, "a failed sync ends the server:\n{}", server.log_tail());
        mounted.again();
    }

    /// Ends a server that is starting, at any moment.
    fn strike_early(&self, server: &mut Server) {
        let Crash::PowerCut(mounted) = self else { return server.kill() };
        mounted.shut_down_now();
        server.kill();
        mounted.again();
    }
}

/// Rounds of load and crash over one data directory.
struct Rounds {
    crash: Crash,
    data: PathBuf,
    folder: Folder,
    writers: Vec<Writer>,
    rng: Rng,
    phases: BTreeMap<&'static str, u32>,
}

impl Rounds {
    fn new(folder: Folder, crash: Crash, seed: u64) -> Rounds {
        let data = match &crash {
            Crash::Kill => folder.0.join("data"),
            Crash::PowerCut(mounted) => mounted.path().join("data"),
        };
        let (writers, phases) = (Vec::new(), BTreeMap::new());
        let mut rounds = Rounds { crash, data, folder, writers, rng: Rng::new(seed), phases };
        rounds.prepare();
        rounds
    }

    fn start(&self) -> Server {
        Server::start(&self.folder.0, &self.data, Shape::default(), &[])
    }

    fn prepare(&mut self) {
        let mut server = self.start();
        server.await_serving();
        let settings = server.settings(SESSION);
        self.writers = (0..WRITERS).map(|i| Writer::new(settings.clone(), i)).collect();
        server.kill();
    }

    /// Loads a server, ends it in the middle, and verifies on a new one.
    fn round(&mut self) -> &'static str {
        let mut server = self.start();
        server.await_serving();
        let settings = server.settings(SESSION);
        let until = Instant::now() + Duration::from_secs(20);
        let pause = Duration::from_millis(20 + self.rng.below(250));
        let is_over = AtomicBool::new(false);
        let results = thread::scope(|scope| {
            let (settings, is_over) = (&settings, &is_over);
            let run =
                |writer| scope.spawn(move || Writer::run(writer, settings.clone(), until, is_over));
            let running: Vec<_> = self.writers.iter().map(run).collect();
            thread::sleep(pause);
            self.crash.strike(&mut server, &mut self.rng, is_over);
            let join = |handle: thread::ScopedJoinHandle<'_, _>| handle.join().expect("a writer");
            running.into_iter().map(join).collect::<Vec<_>>()
        });
        let (phase, crashed) = (server.phase(), server.log_tail());
        *self.phases.entry(phase).or_default() += 1;
        server.clear_log();
        drop(server);
        self.crash_in_recovery();
        let mut server = self.start();
        server.await_serving();
        for (writer, result) in self.writers.iter_mut().zip(results) {
            let counts = result.unwrap_or_else(|e| panic!("{e}"));
            if let Err(e) = writer.verify(server.settings(SESSION), counts) {
                panic!("{e}\n{phase}, the end:\n{crashed}\nafterwards:\n{}", server.log_tail());
            }
        }
        let log = server.log_text();
        assert!(!log.contains("Digests are not matching"), "the digest is right:\n{log}");
        server.kill();
        server.clear_log();
        phase
    }

    /// Every third time the next start is ended too, somewhere on its way.
    fn crash_in_recovery(&mut self) {
        if self.rng.below(3) != 0 {
            return;
        }
        let mut server = self.start();
        thread::sleep(Duration::from_micros(self.rng.below(40_000)));
        self.crash.strike_early(&mut server);
        *self.phases.entry(server.phase()).or_default() += 1;
        server.clear_log();
    }

    fn finish(&self, what: &str) {
        let acknowledged: u64 = self.writers.iter().map(|w| w.acknowledged).sum();
        println!("{what}: {:?}; {acknowledged} acknowledged writes all there", self.phases);
        let crashes: u64 = self.phases.values().map(|count| u64::from(*count)).sum();
        assert!(acknowledged > 8 * crashes, "the load did something: {acknowledged}");
    }
}

fn rounds(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

#[test]
fn kill_9_loses_nothing_acknowledged() {
    let mut run = Rounds::new(Folder::new("kill"), Crash::Kill, 11);
    for round in 0..rounds("ZKD_KILLS", 60) {
        println!("kill {round}: {}", run.round());
    }
    run.finish("kill -9");
}

fn power_cuts(kind: &str, count: u32) {
    let folder = Folder::new(kind);
    let mounted = Mounted::new(&folder.0, kind);
    let mut run = Rounds::new(folder, Crash::PowerCut(mounted), 12);
    for round in 0..count {
        println!("power cut {round} on {kind}: {}", run.round());
    }
    run.finish(kind);
}

#[test]
fn power_cuts_on_ext4_lose_nothing_acknowledged() {
    power_cuts("ext4", rounds("ZKD_POWER_CUTS", 30).div_ceil(2));
}

#[test]
fn power_cuts_on_xfs_lose_nothing_acknowledged() {
    power_cuts("xfs", rounds("ZKD_POWER_CUTS", 30) / 2);
}
