//! What each session writes, by number: known without being noted.

/// The part of a run that decides what is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub root: String,
    pub sessions: u32,
    pub seed: u64,
    pub bytes: usize,
}

/// The n-th write of a session. Each leaves a trace of its own, except `Raise`, whose trace is
/// the counter's data and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    Create,
    Sequential,
    /// An ephemeral and, in the same multi, the trace that outlives the session.
    Ephemeral,
    /// A node and the tally's data in one multi.
    Pair,
    /// The counter, at the version it must have.
    Raise,
}

impl Plan {
    pub fn write(&self, session: u32, n: u64) -> Write {
        let mut z = self.seed ^ (u64::from(session) << 40) ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        match (z ^ (z >> 31)) % 10 {
            0..=2 => Write::Create,
            3 | 4 => Write::Sequential,
            5 => Write::Ephemeral,
            6 | 7 => Write::Pair,
            _ => Write::Raise,
        }
    }

    pub fn home(&self, session: u32) -> String {
        format!("{}/s{session}", self.root)
    }

    pub fn counter(&self, session: u32) -> String {
        format!("{}/counter", self.home(session))
    }

    pub fn tally(&self, session: u32) -> String {
        format!("{}/tally", self.home(session))
    }

    /// The name of a write's own trace; a sequential node's goes on behind it.
    pub fn trace(&self, n: u64) -> String {
        format!("n{n:08}-")
    }

    pub fn data(&self, n: u64) -> Vec<u8> {
        let mut data = format!("{n}:").into_bytes();
        data.resize(self.bytes.max(data.len()), b'.');
        data
    }

    /// The number that data carries.
    pub fn number(data: &[u8]) -> Option<u64> {
        let end = data.iter().position(|b| *b == b':')?;
        std::str::from_utf8(&data[..end]).ok()?.parse().ok()
    }
}
