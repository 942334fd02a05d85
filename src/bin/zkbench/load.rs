//! `zkbench load`: sessions with their requests under way, for a while or a count, against one
//! server or two in turn.

use std::time::Duration;

use getopts::{Matches, Options};

use super::compare::{self, Stretches};
use super::engine::{Engine, Pace, Until};
use super::json::Json;
use super::options::{self, Stop};
use super::place;
use super::server::{self, Server};
use super::traffic::{Mix, Traffic};

const USAGE: &str = "Usage: zkbench load [options]

Every reply is checked: its place in the session's order, its code, its content, and that the
session's zxid never goes back. The first wrong one ends the run with status 1. One thread.";

/// More would be more than one address has ports for.
const MAX_SESSIONS: u64 = 20_000;
const MAX_DEPTH: usize = 4096;
const MAX_KEYS: u64 = 9_999_999;
const MAX_BYTES: usize = 1_000_000;

pub struct Load {
    pub targets: Vec<Server>,
    pub root: String,
    pub mix: (String, Mix),
    pub sessions: u64,
    pub pace: Pace,
    pub keys: u64,
    pub bytes: usize,
    pub until: Until,
    pub warmup: Duration,
    pub pairs: u32,
    pub timeout: Duration,
    pub seed: u64,
    pub keep: bool,
    pub reuse: bool,
}

fn known() -> Options {
    let mut o = options::common();
    server::know_servers(&mut o);
    o.optopt("", "pairs", "stretches of each server, in turn (1; 5 with --against)", "N");
    o.optopt(
        "",
        "op",
        "get, set, exists, create, delete (its session's oldest; creates one where
                        there is none), or a mix such as get=80,set=20 (get)",
        "MIX",
    );
    o.optopt("", "sessions", "(50)", "N");
    o.optopt("", "depth", "requests under way in each session at most (20)", "N");
    o.optopt(
        "",
        "rate",
        "open loop: so many requests a second; latency counts from the slot's
                        time; slots over a second late are missed",
        "N",
    );
    o.optopt("", "keys", "nodes that get, set and exists choose from (1000)", "N");
    o.optopt("", "bytes", "of each value (100)", "N");
    o.optopt("", "seconds", "the longest that one stretch takes (10)", "N");
    o.optopt("", "count", "operations of one stretch at most (no limit)", "N");
    o.optopt("", "warmup", "seconds of the same before, not counted (1)", "N");
    o.optopt("", "root", "everything goes below this node (/zkbench)", "PATH");
    o.optopt("", "timeout", "session timeout in seconds (30)", "N");
    o.optopt("", "seed", "of the choice of keys and operations (1)", "N");
    o.optflag("", "reuse", "take a root that exists");
    o.optflag("", "keep", "leave the nodes");
    o
}

impl Load {
    fn read(m: &Matches) -> Result<Load, String> {
        let targets = server::servers(m)?;
        let mix = m.opt_str("op").unwrap_or_else(|| "get".to_owned());
        let rate: f64 = options::number(m, "rate", 0.0, 0.001, 10_000_000.0)?;
        Ok(Load {
            root: options::root(m, "/zkbench")?,
            mix: (mix.clone(), Mix::parse(&mix)?),
            sessions: options::number(m, "sessions", 50, 1, MAX_SESSIONS)?,
            pace: Pace {
                depth: options::number(m, "depth", 20, 1, MAX_DEPTH)?,
                rate: (rate > 0.0).then_some(rate),
            },
            keys: options::number(m, "keys", 1000, 1, MAX_KEYS)?,
            bytes: options::number(m, "bytes", 100, 0, MAX_BYTES)?,
            until: Until {
                operations: options::number(m, "count", u64::MAX, 1, u64::MAX)?,
                time: options::seconds(m, "seconds", 10.0)?,
            },
            warmup: options::seconds(m, "warmup", 1.0)?,
            pairs: server::pairs(m, "pairs", targets.len())?,
            timeout: options::seconds(m, "timeout", 30.0)?,
            seed: options::number(m, "seed", 1, 0, u64::MAX)?,
            keep: m.opt_present("keep"),
            reuse: m.opt_present("reuse"),
            targets,
        })
    }

    /// The stretches of each target, in turn.
    fn measure(&self) -> Result<Stretches, String> {
        let traffic = Traffic::new(&self.root, self.mix.1.clone(), self.keys, self.bytes);
        for server in &self.targets {
            place::prepare(server, &traffic, self.sessions, self.reuse)?;
        }
        let mut engine = Engine::new(self.seed, self.pace)?;
        for server in &self.targets {
            engine.add(server, &traffic, self.sessions, self.timeout)?;
        }
        let outcome = self.stretches(&mut engine);
        if self.keep {
            return outcome;
        }
        let count = self.sessions as usize;
        let clean = |(n, server): (usize, &Server)| {
            place::remove(server, &traffic, engine.sessions[n * count..][..count].iter())
        };
        let cleaned = self.targets.iter().enumerate().try_for_each(clean);
        // What went wrong first is what is told.
        outcome.and_then(|stretches| cleaned.map(|()| stretches))
    }

    fn stretches(&self, engine: &mut Engine<'_>) -> Result<Stretches, String> {
        if !self.warmup.is_zero() {
            let until = Until { operations: u64::MAX, time: self.warmup };
            compare::in_turn(&self.targets, 1, |n| engine.run(n, until, &self.targets[n].pids))?;
        }
        compare::in_turn(&self.targets, self.pairs, |n| {
            engine.run(n, self.until, &self.targets[n].pids)
        })
    }

    fn told(&self) -> Json {
        let rate = self.pace.rate.map_or(Json::Null, Json::Real);
        Json::Object(vec![
            ("op", Json::text(&*self.mix.0)),
            ("sessions", Json::Whole(self.sessions)),
            ("depth", Json::Whole(self.pace.depth as u64)),
            ("rate", rate),
            ("keys", Json::Whole(self.keys)),
            ("bytes", Json::Whole(self.bytes as u64)),
            ("pairs", Json::Whole(self.pairs.into())),
            ("seed", Json::Whole(self.seed)),
            ("transport", Json::text(self.targets[0].transport())),
        ])
    }
}

fn json(load: &Load, stretches: &Stretches) -> Json {
    let mut fields = vec![("command", Json::text("load")), ("load", load.told())];
    fields.extend(compare::json(&load.targets, stretches));
    Json::Object(fields)
}

fn text(load: &Load, stretches: &Stretches) -> String {
    let pace = match load.pace.rate {
        None => format!("{} deep", load.pace.depth),
        Some(rate) => format!("{rate}/s, at most {} deep", load.pace.depth),
    };
    let head = format!(
        "{}: {} sessions, {pace}, {} keys, {} bytes, {}\n",
        load.mix.0,
        load.sessions,
        load.keys,
        load.bytes,
        load.targets[0].transport()
    );
    head + &compare::text(&load.targets, stretches, load.pace.rate.is_some())
}

pub fn run(words: &[String]) -> Result<String, Stop> {
    let m = options::parse(&known(), USAGE, words)?;
    let load = Load::read(&m)?;
    let stretches = load.measure()?;
    Ok(match m.opt_present("json") {
        true => format!("{}\n", json(&load, &stretches)),
        false => text(&load, &stretches),
    })
}
