//! What the kernel says a process used: CPU of all its threads, ended ones included, and memory.

use std::fs;

use rustix::param::clock_ticks_per_second;

/// CPU seconds of a process: user and system, in the kernel's ticks (10 ms).
pub fn process_cpu(pid: u32) -> Result<f64, String> {
    let text = read(&format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything, spaces too.
    let rest = text.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok());
    match (ticks(11), ticks(12)) {
        (Some(user), Some(system)) => Ok((user + system) as f64 / clock_ticks_per_second() as f64),
        _ => Err(format!("/proc/{pid}/stat is not as expected")),
    }
}

/// CPU seconds that anything on this machine used since it started.
pub fn machine_cpu() -> Result<f64, String> {
    let text = read("/proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).flat_map(str::parse).collect();
    // user nice system idle iowait irq softirq steal; the guests' are within the first two.
    let used: u64 = [0, 1, 2, 5, 6].iter().filter_map(|n| ticks.get(*n)).sum();
    Ok(used as f64 / clock_ticks_per_second() as f64)
}

/// Anonymous resident bytes.
pub fn anonymous_bytes(pid: u32) -> Result<u64, String> {
    let text = read(&format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|l| l.trim().trim_end_matches(" kB").trim().parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| format!("/proc/{pid}/status has no RssAnon"))
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))
}

/// Readings at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    pub server: Option<f64>,
    pub client: f64,
    pub machine: f64,
}

impl Reading {
    /// The servers' are added up; without any there is none.
    pub fn take(servers: &[u32]) -> Result<Reading, String> {
        let each: Vec<f64> =
            servers.iter().map(|pid| process_cpu(*pid)).collect::<Result<_, _>>()?;
        Ok(Reading {
            server: (!each.is_empty()).then(|| each.iter().sum()),
            client: process_cpu(std::process::id())?,
            machine: machine_cpu()?,
        })
    }

    pub fn since(self, earlier: Reading) -> Reading {
        Reading {
            server: self.server.zip(earlier.server).map(|(now, then)| now - then),
            client: self.client - earlier.client,
            machine: self.machine - earlier.machine,
        }
    }

    pub fn plus(self, other: Reading) -> Reading {
        Reading {
            server: self.server.zip(other.server).map(|(a, b)| a + b),
            client: self.client + other.client,
            machine: self.machine + other.machine,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_of_this_process_shows_and_belongs_to_the_machine_too() {
        let before = Reading::take(&[std::process::id()]).expect("our own account");
        let mut sum = 0u64;
        while Reading::take(&[]).expect("ours").client - before.client < 0.05 {
            (0..100_000u64).for_each(|n| sum = std::hint::black_box(sum.wrapping_add(n)));
        }
        let used = Reading::take(&[std::process::id()]).expect("our own").since(before);
        assert!(used.server.expect("asked for") >= 0.05);
        assert!(used.machine > 0.0);
        assert!(anonymous_bytes(std::process::id()).expect("ours") > 4096);
        assert!(process_cpu(u32::MAX).is_err(), "no such process");
    }
}
