//! `kill -9` and power cuts under load: every acknowledged write is there afterwards, what was
//! not acknowledged is a prefix per session.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use zkd::base::Rng;

use crate::load::{SESSION, Writer};
use crate::server::{Folder, Server, Shape, tool};

const WRITERS: usize = 8;

/// Rounds of load and crash over one data directory.
struct Rounds {
    folder: Folder,
    data: PathBuf,
    writers: Vec<Writer>,
    rng: Rng,
    phases: BTreeMap<&'static str, u32>,
}

impl Rounds {
    fn new(name: &str, seed: u64) -> Rounds {
        let folder = Folder::new(name);
        let data = folder.0.join("data");
        Rounds { folder, data, writers: Vec::new(), rng: Rng::new(seed), phases: BTreeMap::new() }
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

    /// Loads a server, has `crash` end it in the middle, and verifies on a new one.
    fn round(&mut self, crash: impl FnOnce(&mut Server, &Path)) {
        let mut server = self.start();
        server.await_serving();
        let settings = server.settings(SESSION);
        let until = Instant::now() + Duration::from_secs(20);
        let pause = Duration::from_millis(20 + self.rng.below(250));
        let (results, phase) = thread::scope(|scope| {
            let run = |writer| {
                let settings = settings.clone();
                scope.spawn(move || Writer::run(writer, settings, until))
            };
            let running: Vec<_> = self.writers.iter().map(run).collect();
            thread::sleep(pause);
            crash(&mut server, &self.data);
            let join = |handle: thread::ScopedJoinHandle<'_, _>| handle.join().expect("a writer");
            (running.into_iter().map(join).collect::<Vec<_>>(), server.phase())
        });
        *self.phases.entry(phase).or_default() += 1;
        server.clear_log();
        drop(server);
        self.crash_in_recovery();
        let mut server = self.start();
        server.await_serving();
        for (writer, result) in self.writers.iter_mut().zip(results) {
            let counts = result.unwrap_or_else(|e| panic!("{e}"));
            if let Err(e) = writer.verify(server.settings(SESSION), counts) {
                panic!("{e}\n(crashed in phase: {phase})\n{}", server.log_tail());
            }
        }
        let log = server.log_text();
        assert!(!log.contains("Digests are not matching"), "the digest is right:\n{log}");
        server.kill();
        server.clear_log();
    }

    /// Every third time the next start is killed too, somewhere on its way.
    fn crash_in_recovery(&mut self) {
        if self.rng.below(3) != 0 {
            return;
        }
        let mut server = self.start();
        thread::sleep(Duration::from_micros(self.rng.below(40_000)));
        server.kill();
        *self.phases.entry(server.phase()).or_default() += 1;
        server.clear_log();
    }

    fn finish(&self, what: &str) {
        let acknowledged: u64 = self.writers.iter().map(|w| w.acknowledged).sum();
        println!("{what}: {:?}; {acknowledged} acknowledged writes all there", self.phases);
        assert!(acknowledged > 500, "the load did something: {acknowledged}");
    }
}

fn rounds(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

#[test]
fn kill_9_loses_nothing_acknowledged() {
    let mut run = Rounds::new("kill", 11);
    run.prepare();
    for round in 0..rounds("ZKD_KILLS", 60) {
        run.round(|server, _| {
            server.kill();
            println!("kill {round}: {}", server.phase());
        });
    }
    run.finish("kill -9");
}

/// A file system in a file that is shut down under the server: synced bytes survive, the rest is
/// gone, and the next sync fails.
fn power_cuts(kind: &str, count: u32) {
    let mut run = Rounds::new(kind, 12);
    let image = run.folder.0.join("image");
    let mount = run.folder.0.join("mount");
    std::fs::create_dir_all(&mount).expect("a mount point");
    let (image, mount) = (image.display().to_string(), mount.display().to_string());
    tool("truncate", &["-s", "400M", &image]);
    let force = if kind == "xfs" { "-f" } else { "-F" };
    tool(&format!("mkfs.{kind}"), &["-q", force, &image]);
    let mounted = Mounted::new(&image, &mount);
    run.data = PathBuf::from(&mount).join("data");
    run.prepare();
    for round in 0..count {
        run.round(|server, _| {
            tool("xfs_io", &["-x", "-c", "shutdown", &mount]);
            // The server must notice by itself: its next sync fails, and it stops.
            let status = server.await_end(Duration::from_secs(20));
            assert_eq!(status, 21, "a failed sync ends the server:\n{}", server.log_tail());
            println!("power cut {round} on {kind}: {}", server.phase());
            mounted.again();
        });
    }
    run.finish(kind);
    drop(mounted);
}

struct Mounted {
    image: String,
    at: String,
}

impl Mounted {
    fn new(image: &str, at: &str) -> Mounted {
        let mounted = Mounted { image: image.to_owned(), at: at.to_owned() };
        tool("mount", &["-o", "loop", image, at]);
        mounted
    }

    fn again(&self) {
        tool("umount", &[&self.at]);
        tool("mount", &["-o", "loop", &self.image, &self.at]);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.at).status();
    }
}

#[test]
fn power_cuts_on_ext4_lose_nothing_acknowledged() {
    power_cuts("ext4", rounds("ZKD_POWER_CUTS", 30).div_ceil(2));
}

#[test]
fn power_cuts_on_xfs_lose_nothing_acknowledged() {
    power_cuts("xfs", rounds("ZKD_POWER_CUTS", 30) / 2);
}
