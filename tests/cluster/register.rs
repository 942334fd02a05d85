//! Whether each failure that must not happen to us stands in the register, with tests that are
//! there and mistakes that can be made. `scripts/prove-red` makes them.

use std::collections::BTreeSet;
use std::fs::read_to_string;
use std::path::PathBuf;

use crate::members::knows_breakage;

/// What violations begin with.
const CHECKERS: [&str; 20] = [
    "acknowledged",
    "digests",
    "does not start",
    "epochs",
    "history",
    "leaders",
    "liveness",
    "order",
    "outcome",
    "panic",
    "positions",
    "proposals",
    "read",
    "recovery",
    "session",
    "sessions",
    "state",
    "stopped by itself",
    "durability",
    "watch",
];

/// Mistakes that worlds other than that of whole members make.
const OTHERS: [&str; 3] = ["NoDialBack", "RenameBeforeSync", "StrictVotes"];

struct Row {
    id: String,
    file: String,
    test: String,
    breakage: String,
    checker: String,
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn lines(name: &str) -> Vec<String> {
    let text = read_to_string(path(name)).expect("a file of the tests");
    let is_said = |line: &&str| !line.is_empty() && !line.starts_with('#');
    text.lines().filter(is_said).map(str::to_owned).collect()
}

fn rows() -> Vec<Row> {
    let row = |line: String| {
        let words: Vec<&str> = line.split('|').map(str::trim).collect();
        let [id, file, test, breakage, checker] = words[..] else { panic!("five columns: {line}") };
        let [id, file, test] = [id, file, test].map(str::to_owned);
        let [breakage, checker] = [breakage, checker].map(str::to_owned);
        Row { id, file, test, breakage, checker }
    };
    lines("tests/known/register").into_iter().map(row).collect()
}

#[test]
fn every_known_failure_is_registered_and_nothing_else_is() {
    let ids = lines("tests/known/ids");
    let ids: Vec<&str> = ids.iter().filter_map(|line| line.split_whitespace().next()).collect();
    let known: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(known.len(), ids.len(), "each stands there once");
    let rows = rows();
    let registered: BTreeSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(known, registered);
}

#[test]
fn every_registered_test_is_there() {
    for Row { id, file, test, .. } in rows() {
        let text = read_to_string(path(&file)).unwrap_or_else(|e| panic!("{id}: {file}: {e}"));
        let wanted = if file.ends_with(".rs") { format!("fn {test}(") } else { test };
        assert!(text.contains(&wanted), "{id}: {file} has no {wanted}");
    }
}

#[test]
fn every_registered_mistake_can_be_made() {
    for Row { id, file, breakage, checker, .. } in rows() {
        if breakage == "note" {
            assert_eq!(checker, "", "{id}: nothing is broken");
        } else if let Some(name) = breakage.strip_prefix("mistakes/") {
            let text = read_to_string(path("tests/known/mistakes").join(name)).expect(name);
            let (head, new) = text.split_once("\n+++\n").expect("what takes its place");
            let (source, old) = head.split_once("\n---\n").expect("what is replaced");
            let found = read_to_string(path(source)).expect(source).matches(old).count();
            assert_eq!(found, 1, "{id}: {source} has it once: {old}");
            assert_ne!(old, new.trim_end_matches('\n'), "{id}: {name}");
        } else {
            let is_known = knows_breakage(&breakage) || OTHERS.contains(&breakage.as_str());
            assert!(is_known, "{id}: {breakage}");
            assert!(file.starts_with("tests/cluster/"), "{id}: {file} makes no mistakes");
            assert!(CHECKERS.contains(&checker.as_str()), "{id}: {checker}");
        }
    }
}
