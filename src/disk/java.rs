//! A Java server locks nothing: the pid file of its start script is all there is to see of it.

use std::fs;
use std::path::Path;

use crate::base::Fatal;

use super::recover::{Recovered, recover};
use super::settings::StorageSettings;
use super::{RealDisk, dirs::JAVA_PID_FILE};

/// Recovers the directories of `settings` on this machine's disk, which holds their locks from
/// then on: give it to [`super::StorageThreads::start`].
pub fn open(settings: &StorageSettings) -> Result<(RealDisk, Recovered), Fatal> {
    let pid_file = settings.data_dir.join(JAVA_PID_FILE);
    if let Some(pid) = live_java_server(&pid_file) {
        return Err(Fatal::Locked(format!(
            "{} names the running Java server {pid}: stop it first, its data are in {}",
            pid_file.display(),
            settings.data_dir.display()
        )));
    }
    let mut disk = RealDisk::new();
    let recovered = recover(&mut disk, settings)?;
    Ok((disk, recovered))
}

/// The process that the pid file names, if it runs and is what the file was written for. A number
/// that another program has by now says nothing.
fn live_java_server(pid_file: &Path) -> Option<u32> {
    let pid: u32 = fs::read_to_string(pid_file).ok()?.trim().parse().ok()?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let name = b"org.apache.zookeeper";
    command.windows(name.len()).any(|part| part == name).then_some(pid)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::super::tests::TempDir;
    use super::*;

    #[test]
    fn a_running_java_server_is_respected_and_a_stale_pid_is_not() {
        let dir = TempDir::new();
        let settings = StorageSettings::new(&dir.0);
        let pid_file = dir.0.join(JAVA_PID_FILE);
        for stale in ["", "no number", "4194304999", &std::process::id().to_string()] {
            fs::write(&pid_file, stale).unwrap();
            assert!(open(&settings).is_ok(), "{stale}");
        }
        // It reads its input, which never comes, under the name of a Java server.
        let script = "read line; : org.apache.zookeeper.server.quorum.QuorumPeerMain";
        let mut shell = Command::new("sh");
        let mut server = shell.args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
        fs::write(&pid_file, format!("{}\n", server.id())).unwrap();
        // Between fork and exec it still has our own command line.
        let refused = (0..1000).any(|_| {
            std::thread::yield_now();
            matches!(open(&settings), Err(Fatal::Locked(_)))
        });
        drop(server.stdin.take());
        let _ = server.wait();
        assert!(refused && open(&settings).is_ok());
    }
}
