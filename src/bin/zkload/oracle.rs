//! The oracle file: the plan, then a line for every acknowledged write.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::sync::Mutex;

use crate::plan::Plan;

pub struct Notes(Mutex<BufWriter<File>>);

/// What a file says: per session, the zxid of each acknowledged write.
pub struct Oracle {
    pub plan: Plan,
    pub acknowledged: Vec<BTreeMap<u64, i64>>,
}

impl Notes {
    pub fn begin(path: &str, plan: &Plan) -> Result<Notes, String> {
        let file = File::create(path).map_err(|e| format!("{path}: {e}"))?;
        let mut out = BufWriter::new(file);
        let line = format!("plan {} {} {} {}", plan.sessions, plan.seed, plan.bytes, plan.root);
        writeln!(out, "{line}").map_err(|e| format!("{path}: {e}"))?;
        Ok(Notes(Mutex::new(out)))
    }

    /// A batch of one session's acknowledged writes; in the file when this returns.
    pub fn add(&self, session: u32, writes: &[(u64, i64)]) -> Result<(), String> {
        let mut out = self.0.lock().map_err(|_| "another session failed")?;
        for (n, zxid) in writes {
            writeln!(out, "{session} {n} {zxid}").map_err(|e| format!("oracle: {e}"))?;
        }
        out.flush().map_err(|e| format!("oracle: {e}"))
    }
}

impl Oracle {
    pub fn read(path: &str) -> Result<Oracle, String> {
        let file = File::open(path).map_err(|e| format!("{path}: {e}"))?;
        let mut lines = BufReader::new(file).lines();
        let first = lines.next().and_then(Result::ok).unwrap_or_default();
        let plan = plan(&first).ok_or(format!("{path}: its first line is no plan"))?;
        let mut acknowledged = vec![BTreeMap::new(); plan.sessions as usize];
        for line in lines {
            let line = line.map_err(|e| format!("{path}: {e}"))?;
            let numbers: Vec<i64> = line.split(' ').filter_map(|w| w.parse().ok()).collect();
            let [session, n, zxid] = numbers[..] else {
                return Err(format!("{path}: not understood: {line}"));
            };
            let of = usize::try_from(session).ok().and_then(|s| acknowledged.get_mut(s));
            of.ok_or(format!("{path}: no such session: {line}"))?.insert(n as u64, zxid);
        }
        Ok(Oracle { plan, acknowledged })
    }
}

fn plan(line: &str) -> Option<Plan> {
    let words: Vec<&str> = line.split(' ').collect();
    let ["plan", sessions, seed, bytes, root] = words[..] else { return None };
    Some(Plan {
        root: root.to_owned(),
        sessions: sessions.parse().ok()?,
        seed: seed.parse().ok()?,
        bytes: bytes.parse().ok()?,
    })
}
