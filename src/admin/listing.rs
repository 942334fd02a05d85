//! Long answers as cursors: a portion a turn, so that a listing of a million watches delays
//! nobody. What comes and goes meanwhile may or may not be listed.

use std::io::Write;
use std::net::SocketAddr;

use crate::base::{Now, SessionId, WallMillis, Zxid};
use crate::watch::{ConnListing, PathListing};

use super::text::{Address, Date};

/// One connection, as `cons`, `stat` and `dump` show it.
#[derive(Clone, Copy, Debug)]
pub struct ConnView {
    pub peer: SocketAddr,
    /// Whether it is being read, and whether output waits: Java's interest operations.
    pub reading: bool,
    pub writing: bool,
    pub queued: u64,
    pub received: u64,
    pub sent: u64,
    /// Milliseconds after which it is closed if it stays silent: the session's timeout, or the
    /// time that a connection may spend without a session; counted from its last request.
    pub idle_limit_ms: u64,
    pub idle_ms: u64,
    pub session: Option<SessionUse>,
}

/// What a connection's session did.
#[derive(Clone, Copy, Debug)]
pub struct SessionUse {
    pub id: SessionId,
    /// Such as `GETD`; `NA` before the first.
    pub last_op: &'static str,
    pub established: WallMillis,
    pub timeout_ms: i32,
    /// -1 before the first request.
    pub last_cxid: i64,
    pub last_zxid: Zxid,
    /// Monotonic milliseconds.
    pub last_response_ms: u64,
    pub last_latency_ms: u64,
    pub min_latency_ms: u64,
    pub avg_latency_ms: u64,
    pub max_latency_ms: u64,
}

/// What listings walk through. The server stands behind it.
pub trait Source {
    /// The first connection whose index is at least `from`.
    fn next_connection(&self, from: u32) -> Option<(u32, ConnView)>;
    /// Expiry buckets, ascending: milliseconds from now, and the sessions in each.
    fn expiry_buckets(&self) -> ExpiryBuckets;
    /// The same of sessions that are this server's alone, where there may be any.
    fn local_buckets(&self) -> Option<ExpiryBuckets>;
    /// Where somebody else lets the others expire: who they are, and after how many milliseconds.
    fn learned_sessions(&self) -> Option<Vec<(SessionId, i32)>>;
    fn sessions_with_ephemerals(&self) -> Vec<SessionId>;
    /// Visits at most `max` more of a session's ephemerals, from the place that an earlier call
    /// gave. Where to go on; `None` at the end.
    fn ephemerals(
        &self,
        session: SessionId,
        from: u32,
        max: usize,
        visit: &mut dyn FnMut(&str),
    ) -> Option<u32>;
    /// Visits about `max` more lines: each watched path, then the sessions that watch it. True at
    /// the end.
    fn watched_paths(
        &mut self,
        listing: &mut PathListing,
        max: usize,
        visit: &mut dyn FnMut(WatchLine<'_>),
    ) -> bool;
    /// The same the other way round.
    fn watching_sessions(
        &mut self,
        listing: &mut ConnListing,
        max: usize,
        visit: &mut dyn FnMut(WatchLine<'_>),
    ) -> bool;
}

/// Milliseconds until each bucket is over, and its sessions.
pub type ExpiryBuckets = Vec<(i64, Vec<SessionId>)>;

/// One line of `wchp` or `wchc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchLine<'a> {
    Path(&'a str),
    Session(SessionId),
}

/// A long answer under way.
#[derive(Debug)]
pub struct Listing {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Connections { from: u32, brief: bool, tail: Vec<u8> },
    ByConn(ConnListing),
    ByPath(PathListing),
    Dump(Dump),
}

/// Lines after which a watch listing looks at its budget again.
const STRIDE: usize = 64;

impl Listing {
    pub(super) fn clients(tail: Vec<u8>) -> Listing {
        Listing { kind: Kind::Connections { from: 0, brief: true, tail } }
    }

    pub(super) fn connections() -> Listing {
        Listing { kind: Kind::Connections { from: 0, brief: false, tail: Vec::new() } }
    }

    pub(super) fn watches_by_connection() -> Listing {
        Listing { kind: Kind::ByConn(ConnListing::default()) }
    }

    pub(super) fn watches_by_path() -> Listing {
        Listing { kind: Kind::ByPath(PathListing::default()) }
    }

    pub(super) fn dump() -> Listing {
        Listing { kind: Kind::Dump(Dump::Begin) }
    }

    /// Writes about `budget` bytes more. True at the end.
    pub fn next_chunk(
        &mut self,
        source: &mut dyn Source,
        now: Now,
        out: &mut Vec<u8>,
        budget: usize,
    ) -> bool {
        let end = out.len() + budget.max(1);
        while out.len() < end {
            let done = match &mut self.kind {
                Kind::Connections { from, brief, tail } => {
                    connection_line(source, from, *brief, tail, out)
                }
                Kind::ByConn(listing) => source.watching_sessions(listing, STRIDE, &mut |line| {
                    let _ = match line {
                        WatchLine::Session(session) => writeln!(out, "0x{session:x}"),
                        WatchLine::Path(path) => writeln!(out, "\t{path}"),
                    };
                }),
                Kind::ByPath(listing) => source.watched_paths(listing, STRIDE, &mut |line| {
                    let _ = match line {
                        WatchLine::Path(path) => writeln!(out, "{path}"),
                        WatchLine::Session(session) => writeln!(out, "\t0x{session:x}"),
                    };
                }),
                Kind::Dump(dump) => dump.step(source, now, out),
            };
            if done {
                if matches!(self.kind, Kind::ByConn(_) | Kind::ByPath(_)) {
                    out.push(b'\n');
                }
                return true;
            }
        }
        false
    }
}

/// One connection, or at the end an empty line and the tail.
fn connection_line(
    source: &dyn Source,
    from: &mut u32,
    brief: bool,
    tail: &[u8],
    out: &mut Vec<u8>,
) -> bool {
    let Some((index, view)) = source.next_connection(*from) else {
        out.push(b'\n');
        out.extend_from_slice(tail);
        return true;
    };
    *from = index + 1;
    let interest = u8::from(view.reading) | u8::from(view.writing) << 2;
    let _ = write!(out, " {}[{interest:x}](queued={}", Address(view.peer), view.queued);
    let _ = write!(out, ",recved={},sent={}", view.received, view.sent);
    if let (false, Some(s)) = (brief, view.session) {
        let _ = write!(out, ",sid=0x{:x},lop={}", s.id, s.last_op);
        let _ = write!(out, ",est={},to={}", s.established.0, s.timeout_ms);
        if s.last_cxid >= 0 {
            let _ = write!(out, ",lcxid=0x{:x}", s.last_cxid);
        }
        let _ = write!(out, ",lzxid=0x{:x},lresp={}", s.last_zxid, s.last_response_ms);
        let _ = write!(out, ",llat={},minlat={}", s.last_latency_ms, s.min_latency_ms);
        let _ = write!(out, ",avglat={},maxlat={}", s.avg_latency_ms, s.max_latency_ms);
    }
    out.extend_from_slice(b")\n");
    false
}

/// `dump`: sessions by expiry, then ephemerals by session, then connections by expiry. Each part
/// holds ids only; what they name is looked up when its line is written.
#[derive(Debug)]
enum Dump {
    Begin,
    Sessions { sets: Sets, are_local: bool },
    Learned { sessions: Vec<(SessionId, i32)>, next: usize },
    Ephemerals { sessions: Vec<SessionId>, next: usize, from: u32 },
    Connections { lines: Vec<(i64, u32)>, next: usize },
}

/// Java keeps connections in buckets as wide as this, in milliseconds.
const CONN_BUCKET_MS: u64 = 10_000;

impl Dump {
    fn step(&mut self, source: &dyn Source, now: Now, out: &mut Vec<u8>) -> bool {
        match self {
            Dump::Begin => {
                out.extend_from_slice(b"SessionTracker dump:\n");
                *self = match source.local_buckets() {
                    Some(buckets) => {
                        let sets = Sets::begin("Local ", buckets, now, out);
                        Dump::Sessions { sets, are_local: true }
                    }
                    None => Dump::begin_global(source, "", now, out),
                };
            }
            Dump::Sessions { sets, are_local } => {
                if !sets.step(out) {
                    *self = if *are_local {
                        Dump::begin_global(source, "Global ", now, out)
                    } else {
                        Dump::begin_ephemerals(source, out)
                    };
                }
            }
            Dump::Learned { sessions, next } => {
                for (id, timeout_ms) in sessions.iter().skip(*next).take(STRIDE) {
                    let _ = writeln!(out, "0x{id:x}\t{timeout_ms}ms");
                }
                *next += STRIDE;
                if *next >= sessions.len() {
                    *self = Dump::begin_ephemerals(source, out);
                }
            }
            Dump::Ephemerals { sessions, next, from } => {
                let Some(session) = sessions.get(*next) else {
                    *self = Dump::begin_connections(source, now, out);
                    return false;
                };
                if *from == 0 {
                    let _ = writeln!(out, "0x{session:x}:");
                }
                let rest = source.ephemerals(*session, *from, STRIDE, &mut |path| {
                    let _ = writeln!(out, "\t{path}");
                });
                (*next, *from) = rest.map_or((*next + 1, 0), |from| (*next, from));
            }
            Dump::Connections { lines, next } => {
                let Some((bucket, index)) = lines.get(*next).copied() else { return true };
                let same = |line: &&(i64, u32)| line.0 == bucket;
                if *next == 0 || lines[*next - 1].0 != bucket {
                    let count = lines[*next..].iter().take_while(same).count();
                    bucket_line(count, WallMillis(bucket), out);
                }
                *next += 1;
                // Gone meanwhile: its line stays away.
                if let Some((found, view)) = source.next_connection(index)
                    && found == index
                {
                    let session = view.session.map_or(SessionId::NONE, |s| s.id);
                    let _ = writeln!(out, "\tip: {} sessionId: 0x{session:x}", Address(view.peer));
                }
            }
        }
        false
    }

    /// A learner knows which sessions there are, and not when they are over.
    fn begin_global(source: &dyn Source, head: &str, now: Now, out: &mut Vec<u8>) -> Dump {
        let Some(mut sessions) = source.learned_sessions() else {
            let sets = Sets::begin(head, source.expiry_buckets(), now, out);
            return Dump::Sessions { sets, are_local: false };
        };
        sessions.sort_unstable();
        let _ = writeln!(out, "Global Sessions({}):", sessions.len());
        Dump::Learned { sessions, next: 0 }
    }

    fn begin_ephemerals(source: &dyn Source, out: &mut Vec<u8>) -> Dump {
        let sessions = source.sessions_with_ephemerals();
        out.extend_from_slice(b"ephemeral nodes dump:\n");
        let _ = writeln!(out, "Sessions with Ephemerals ({}):", sessions.len());
        Dump::Ephemerals { sessions, next: 0, from: 0 }
    }

    fn begin_connections(source: &dyn Source, now: Now, out: &mut Vec<u8>) -> Dump {
        let mut lines = Vec::new();
        let mut from = 0;
        while let Some((index, view)) = source.next_connection(from) {
            let heard = now.mono.as_ms().saturating_sub(view.idle_ms);
            let bucket = ((heard + view.idle_limit_ms) / CONN_BUCKET_MS + 1) * CONN_BUCKET_MS;
            let due_ms = bucket as i64 - now.mono.as_ms() as i64;
            lines.push((now.wall.0.saturating_add(due_ms), index));
            from = index + 1;
        }
        lines.sort_unstable();
        let buckets = lines.chunk_by(|a, b| a.0 == b.0).count();
        out.extend_from_slice(b"Connections dump:\n");
        let _ = writeln!(out, "Connections Sets ({buckets})/({}):", lines.len());
        Dump::Connections { lines, next: 0 }
    }
}

/// Sessions by expiry, a number of lines at a time.
#[derive(Debug)]
struct Sets {
    buckets: Vec<(WallMillis, Vec<SessionId>)>,
    bucket: usize,
    next: usize,
}

impl Sets {
    fn begin(head: &str, buckets: ExpiryBuckets, now: Now, out: &mut Vec<u8>) -> Sets {
        let due = |(ms, ids)| (WallMillis(now.wall.0.saturating_add(ms)), ids);
        let buckets: Vec<_> = buckets.into_iter().map(due).collect();
        let total: usize = buckets.iter().map(|(_, ids)| ids.len()).sum();
        let _ = writeln!(out, "{head}Session Sets ({})/({total}):", buckets.len());
        Sets { buckets, bucket: 0, next: 0 }
    }

    /// False at the end.
    fn step(&mut self, out: &mut Vec<u8>) -> bool {
        let Some((due, ids)) = self.buckets.get(self.bucket) else { return false };
        if self.next == 0 {
            bucket_line(ids.len(), *due, out);
        }
        for id in ids.iter().skip(self.next).take(STRIDE) {
            let _ = writeln!(out, "\t0x{id:x}");
        }
        self.next += STRIDE;
        if self.next >= ids.len() {
            (self.bucket, self.next) = (self.bucket + 1, 0);
        }
        true
    }
}

fn bucket_line(count: usize, due: WallMillis, out: &mut Vec<u8>) {
    let _ = writeln!(out, "{count} expire at {}:", Date(due));
}
