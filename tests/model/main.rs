//! Random clients against a naive model and a live server: every byte of every reply, every event
//! and its place, must be what the model says.
//!
//! The model shares no code with the server. It is held to a live Apache 3.9.5 as well, so that it
//! cannot be wrong in the way the server is. A failure is shrunk and printed with its seed:
//!
//!   cargo test --test model -- --against zkd --seed SEED --sequences 1
//!
//! `--against apache`, `zkd`, `both`, or the port of a fresh server.

mod drive;
mod expect;
mod generate;
mod model;
mod ops;
#[path = "../rig/ports.rs"]
mod ports;
mod reach;
mod rules;
mod server;
mod shrink;
mod tree;
mod watches;
mod wire;

use std::process::ExitCode;
use std::time::Instant;

use drive::Pair;
use generate::{Step, sequence};
use model::{Manners, Model};
use server::{Server, Target};

/// What is asked of a full run.
const SEQUENCES: u64 = 2000;

struct Arguments {
    targets: Vec<Target>,
    sequences: u64,
    seed: u64,
    shrinks: bool,
}

fn arguments() -> Result<Arguments, String> {
    let mut given = std::env::args().skip(1);
    let (targets, shrinks) = (vec![Target::Apache, Target::Zkd], true);
    let mut found = Arguments { targets, sequences: SEQUENCES, seed: 1, shrinks };
    while let Some(word) = given.next() {
        let mut value = || given.next().ok_or(format!("{word} needs a value"));
        let number = |text: String| text.parse::<u64>().map_err(|e| format!("{text}: {e}"));
        match word.as_str() {
            "--against" => {
                found.targets = match value()?.as_str() {
                    "apache" => vec![Target::Apache],
                    "zkd" => vec![Target::Zkd],
                    "both" => vec![Target::Apache, Target::Zkd],
                    port => vec![Target::At(port.parse().map_err(|e| format!("{port}: {e}"))?)],
                }
            }
            "--sequences" => found.sequences = number(value()?)?,
            "--seed" => found.seed = number(value()?)?,
            "--as-it-is" => found.shrinks = false,
            other => return Err(format!("{other} is not known")),
        }
    }
    Ok(found)
}

fn manners(target: Target) -> Manners {
    let zkd = target == Target::Zkd;
    Manners { guards_reaper: zkd, pings_overtake: zkd }
}

fn fresh(server: &Server, target: Target) -> Pair {
    Pair::new(server.port, Model::new(0, manners(target)))
}

/// Runs `steps` on a server of their own; what went wrong, if anything did.
fn trouble(target: Target, steps: &[Step]) -> Option<String> {
    let server = Server::start(target);
    fresh(&server, target).run(steps).err()
}

/// Long data is shown short.
fn brief(text: &str) -> String {
    text.replace("7, 7, 7, 7, 7, 7, 7, 7, ", "")
}

fn report(target: Target, seed: u64, why: &str, log: &str, shrinks: bool) {
    let why = brief(why);
    println!("{target:?}: seed {seed}: {why}\n--- the server's last lines\n{log}\n---");
    let again = |steps: &[Step]| trouble(target, steps);
    let steps = sequence(seed);
    if !shrinks || again(&steps).is_none() {
        println!("not shrunk: run it with --seed {seed} --sequences 1");
        return;
    }
    let (least, why) = shrink::least(steps, again);
    println!("shrunk to {} steps: {}", least.len(), brief(&why));
    for step in least {
        println!("  {}", brief(&format!("{step:?}")));
    }
}

fn hold(target: Target, arguments: &Arguments) -> Result<(), String> {
    let start = Instant::now();
    let server = Server::start(target);
    let mut pair = fresh(&server, target);
    for seed in arguments.seed..arguments.seed + arguments.sequences {
        if let Err(why) = pair.run(&sequence(seed)) {
            report(target, seed, &why, &server.log(), arguments.shrinks);
            return Err(format!("{target:?} differs from the model at seed {seed}"));
        }
    }
    println!(
        "{target:?}: {} sequences from seed {}, {} operations, {} frames equal, {} s",
        arguments.sequences,
        arguments.seed,
        pair.operations,
        pair.frames,
        start.elapsed().as_secs()
    );
    let missing = reach::table(&pair.model.seen, manners(target).guards_reaper);
    if arguments.sequences >= SEQUENCES && !missing.is_empty() {
        return Err(format!("{target:?}: never seen: {}", missing.join(", ")));
    }
    println!("{} passed, 0 failed", arguments.sequences);
    Ok(())
}

fn main() -> ExitCode {
    let outcome = arguments()
        .and_then(|given| given.targets.iter().try_for_each(|target| hold(*target, &given)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("model: {why}");
            ExitCode::FAILURE
        }
    }
}
