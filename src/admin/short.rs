//! The answers: short ones at once, long ones begun and handed on as a listing.

use std::io::Write;

use super::conf::{write_conf, write_envi};
use super::listing::Listing;
use super::mntr::write_mntr;
use super::report::{Mode, Report};
use super::text::rounded;
use super::word::{Whitelist, Word};

/// What a word asks the server to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// `ServerStats::reset` and `ServerMetrics::reset`, and a leader's proposal sizes.
    ResetServer,
    /// The statistics of every connection.
    ResetConnections,
    SetTraceMask(i64),
}

/// An answer whose first part, often all of it, is written.
#[derive(Debug, Default)]
pub struct Begun {
    /// The rest; without one the connection is closed after what was written.
    pub listing: Option<Listing>,
    pub ask: Option<Ask>,
}

const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";

/// Begins the answer to a word. `argument` is the mask that follows `stmk`.
pub fn begin(
    word: Word,
    argument: Option<i64>,
    whitelist: &Whitelist,
    report: &Report<'_>,
    out: &mut Vec<u8>,
) -> Begun {
    if !whitelist.allows(word) {
        let name = word.name();
        let _ = writeln!(out, "{name} is not executed because it is not in the whitelist.");
        return Begun::default();
    }
    if !report.serving && !always_answered(word) {
        out.extend_from_slice(NOT_SERVING.as_bytes());
        // Java prints this one's line without an end.
        if word != Word::Hash {
            out.push(b'\n');
        }
        return Begun::default();
    }
    match word {
        Word::Ruok => out.extend_from_slice(b"imok"),
        Word::Isro => out.extend_from_slice(read_only(report).as_bytes()),
        Word::Gtmk => write_number(report.trace_mask, out),
        // Without its eight bytes there is nothing to set and nothing to say.
        Word::Stmk => {
            let Some(mask) = argument else { return Begun::default() };
            write_number(mask, out);
            return Begun::asking(Ask::SetTraceMask(mask));
        }
        Word::Envi => write_envi(report.version, report.environment, out),
        Word::Conf => write_conf(report.conf, &report.dirs, out),
        Word::Dirs => write_dirs(report, out),
        Word::Mntr => write_mntr(report, out),
        Word::Wchs => write_watch_summary(report, out),
        Word::Hash => write_digests(report, out),
        Word::Srvr => {
            write_head(report, out);
            write_server(report, out);
        }
        Word::Stat => {
            write_head(report, out);
            out.extend_from_slice(b"Clients:\n");
            let mut tail = Vec::new();
            write_server(report, &mut tail);
            return Begun::listing(Listing::clients(tail));
        }
        Word::Crst => {
            out.extend_from_slice(b"Connection stats reset.\n");
            return Begun::asking(Ask::ResetConnections);
        }
        Word::Srst => {
            out.extend_from_slice(b"Server stats reset.\n");
            return Begun::asking(Ask::ResetServer);
        }
        Word::Cons => return Begun::listing(Listing::connections()),
        Word::Dump => return Begun::listing(Listing::dump()),
        Word::Wchc => return Begun::listing(Listing::watches_by_connection()),
        Word::Wchp => return Begun::listing(Listing::watches_by_path()),
        Word::TelnetClose => {}
    }
    Begun::default()
}

impl Begun {
    fn listing(listing: Listing) -> Begun {
        Begun { listing: Some(listing), ask: None }
    }

    fn asking(ask: Ask) -> Begun {
        Begun { listing: None, ask: Some(ask) }
    }
}

fn always_answered(word: Word) -> bool {
    use Word::*;
    matches!(word, Ruok | Envi | Gtmk | Stmk | Isro | TelnetClose)
}

fn read_only(report: &Report<'_>) -> &'static str {
    match report.mode {
        _ if !report.serving => "null",
        Mode::ReadOnly => "ro",
        _ => "rw",
    }
}

fn write_number(number: i64, out: &mut Vec<u8>) {
    let _ = write!(out, "{number}");
}

fn write_dirs(report: &Report<'_>, out: &mut Vec<u8>) {
    let _ = writeln!(out, "datadir_size: {}", report.dirs.data_bytes);
    let _ = writeln!(out, "logdir_size: {}", report.dirs.log_bytes);
}

fn write_watch_summary(report: &Report<'_>, out: &mut Vec<u8>) {
    let watches = report.node.watches;
    let (connections, paths) = (watches.connections, watches.paths);
    let _ = writeln!(out, "{connections} connections watching {paths} paths");
    let _ = writeln!(out, "Total watches:{}", watches.data_watches);
}

fn write_digests(report: &Report<'_>, out: &mut Vec<u8>) {
    for (zxid, digest) in &report.node.digests {
        // Java's digest is a signed long.
        let _ = writeln!(out, "{zxid:x}: {}", *digest as i64);
    }
}

fn write_head(report: &Report<'_>, out: &mut Vec<u8>) {
    let _ = writeln!(out, "Zookeeper version: {}", report.version);
    if report.mode == Mode::ReadOnly {
        out.extend_from_slice(b"READ-ONLY mode; serving only read-only clients\n");
    }
}

fn write_server(report: &Report<'_>, out: &mut Vec<u8>) {
    let (node, stats) = (&report.node, report.stats);
    let latency = &stats.latency_ms;
    let (min, mean, max) = (latency.min(), rounded(latency.mean()), latency.max());
    let _ = writeln!(out, "Latency min/avg/max: {min}/{mean}/{max}");
    let _ = writeln!(out, "Received: {}", stats.packets_received.0);
    let _ = writeln!(out, "Sent: {}", stats.packets_sent.0);
    let _ = writeln!(out, "Connections: {}", report.net.connections);
    let _ = writeln!(out, "Outstanding: {}", node.outstanding_requests);
    let _ = writeln!(out, "Zxid: 0x{:x}", node.last_zxid);
    let _ = writeln!(out, "Mode: {}", report.mode.name());
    let _ = writeln!(out, "Node count: {}", node.node_count);
    if let Some(leader) = node.peer.as_ref().and_then(|peer| peer.leader.as_ref()) {
        let sizes = leader.proposal_sizes;
        let (last, min, max) = (sizes.last, sizes.min, sizes.max);
        let _ = writeln!(out, "Proposal sizes last/min/max: {last}/{min}/{max}");
    }
}
