//! A file system of the test's own in a file, that can be shut down under a server: what was
//! synced survives, the rest is gone, and every later sync fails.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::server::tool;

pub struct Mounted {
    image: String,
    at: String,
}

impl Mounted {
    /// Makes one of `kind` in `folder` and mounts it.
    pub fn new(folder: &Path, kind: &str) -> Mounted {
        let at = folder.join("mount");
        std::fs::create_dir_all(&at).expect("a mount point");
        let image = folder.join("image").display().to_string();
        tool("truncate", &["-s", "1G", &image]);
        let force = if kind == "xfs" { "-f" } else { "-F" };
        tool(&format!("mkfs.{kind}"), &["-q", force, &image]);
        let mounted = Mounted { image, at: at.display().to_string() };
        mounted.mount();
        mounted
    }

    pub fn path(&self) -> PathBuf {
        PathBuf::from(&self.at)
    }

    fn mount(&self) {
        tool("mount", &["-o", "loop", &self.image, &self.at]);
    }

    /// The power goes, without the tool's start between the decision and the call.
    pub fn shut_down_now(&self) {
        let directory = File::open(&self.at).expect("it is mounted");
        // SAFETY: the call reads one u32 from the address it is given, which outlives it.
        let done = unsafe { rustix::ioctl::ioctl(&directory, Shutdown::new(NO_LOG_FLUSH)) };
        done.unwrap_or_else(|e| panic!("{} is shut down: {e}", self.at));
    }

    /// The power goes, by the tool for it.
    pub fn shut_down(&self) {
        tool("xfs_io", &["-x", "-c", "shutdown", &self.at]);
    }

    /// The power is back.
    pub fn again(&self) {
        // A process that another test begins right now has our open files until it is another.
        let begun = Instant::now();
        while begun.elapsed() < UNMOUNT_PATIENCE {
            let output = Command::new("umount").arg(&self.at).output();
            if output.is_ok_and(|output| output.status.success()) {
                return self.mount();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        tool("umount", &[&self.at]);
        self.mount();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.at).status();
    }
}

const UNMOUNT_PATIENCE: Duration = Duration::from_secs(10);

type Shutdown = rustix::ioctl::Setter<{ rustix::ioctl::opcode::read::<u32>(b'X', 125) }, u32>;

/// What `xfs_io` asks for too: the journal in memory is lost.
const NO_LOG_FLUSH: u32 = 2;
