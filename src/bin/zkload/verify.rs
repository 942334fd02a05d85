//! What a run left behind, held against its oracle file.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use zkd::client::{Client, Settings};

use crate::oracle::Oracle;
use crate::plan::{Plan, Write};

pub fn verify(servers: &[SocketAddr], files: &[String]) -> Result<String, String> {
    let opened = Client::open(Settings::new(servers.to_vec()));
    let mut client = opened.map_err(|e| format!("opening a session: {e}"))?;
    client.sync("/").map_err(|e| format!("sync: {e}"))?;
    let (mut acknowledged, mut more) = (0, 0);
    for file in files {
        let oracle = Oracle::read(file)?;
        for session in 0..oracle.plan.sessions {
            let (known, beyond) = check(&mut client, &oracle, session)
                .map_err(|why| format!("{file}: session {session}: {why}"))?;
            acknowledged += known;
            more += beyond;
        }
    }
    client.close().map_err(|e| format!("closing: {e}"))?;
    Ok(format!("{acknowledged} acknowledged writes are there, and {more} more in their order"))
}

/// How many acknowledged writes there were, and how many more happened.
fn check(client: &mut Client, oracle: &Oracle, session: u32) -> Result<(u64, u64), String> {
    let plan = &oracle.plan;
    let notes = &oracle.acknowledged[session as usize];
    let last_known = notes.keys().next_back().copied().unwrap_or(0);
    let home = plan.home(session);
    let there = client.exists(&home, false).map_err(|e| format!("{home}: {e}"))?;
    if there.is_none() && last_known == 0 {
        return Ok((0, 0));
    }
    let traces = traces(client, &home)?;
    let (raised, raises) = counter(client, plan, session)?;
    let last_trace = traces.keys().next_back().copied().unwrap_or(0);
    let last = last_trace.max(raised).max(last_known);
    let (mut expected_raises, mut tally, mut before) = (0, 0, 0);
    for n in 1..=last {
        let write = plan.write(session, n);
        if write == Write::Raise {
            expected_raises += u64::from(n <= raised);
            if n > raised {
                return Err(format!("write {n} of {last} is missing: the counter says {raised}"));
            }
            continue;
        }
        let Some(czxid) = traces.get(&n).copied() else {
            return Err(format!("write {n} of {last} is missing; acknowledged to {last_known}"));
        };
        if czxid <= before || notes.get(&n).is_some_and(|zxid| czxid > *zxid) {
            return Err(format!("write {n} happened out of its order: zxid {czxid:#x}"));
        }
        before = czxid;
        if write == Write::Pair {
            tally = n;
        }
    }
    if raises != expected_raises {
        return Err(format!("{raises} raises of the counter where {expected_raises} were asked"));
    }
    let (data, _) = data(client, &plan.tally(session))?;
    if Plan::number(&data) != Some(tally) {
        return Err(format!("half of a multi: the tally is not {tally}"));
    }
    Ok((notes.len() as u64, last.saturating_sub(last_known)))
}

fn data(client: &mut Client, path: &str) -> Result<(Vec<u8>, i32), String> {
    let (data, stat) = client.data(path, false).map_err(|e| format!("{path}: {e}"))?;
    Ok((data.unwrap_or_default(), stat.version))
}

/// The write that last raised the counter, and how often it was raised.
fn counter(client: &mut Client, plan: &Plan, session: u32) -> Result<(u64, u64), String> {
    let (data, version) = data(client, &plan.counter(session))?;
    let last = Plan::number(&data).ok_or("the counter's data is not a number")?;
    Ok((last, version as u64))
}

/// Which writes left their trace, and when.
fn traces(client: &mut Client, home: &str) -> Result<BTreeMap<u64, i64>, String> {
    let names = client.children(home, false).map_err(|e| format!("{home}: {e}"))?;
    let mut traces = BTreeMap::new();
    for name in names.iter().filter(|name| !name.ends_with("-e")) {
        let Some((number, _)) = name.strip_prefix('n').and_then(|rest| rest.split_once('-')) else {
            continue;
        };
        let n: u64 = number.parse().map_err(|_| format!("a strange node: {name}"))?;
        let path = format!("{home}/{name}");
        let (data, stat) = client.data(&path, false).map_err(|e| format!("{path}: {e}"))?;
        if Plan::number(&data.unwrap_or_default()) != Some(n) {
            return Err(format!("{path} has another's data"));
        }
        if traces.insert(n, stat.czxid.0).is_some() {
            return Err(format!("write {n} happened twice"));
        }
    }
    Ok(traces)
}
