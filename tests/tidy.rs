//! The house holds itself to its own rules: ranks, purity, sizes, and what may not be left behind.
//!
//! Every rule is a function from one source text to its faults, with a test that shows it a bad
//! sample. A rule that needs an exception is a wrong rule: there is no list of exceptions.

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rules::Fault;
use source::Source;

/// The folders whose Rust is held to the rules.
const RUST_ROOTS: [&str; 5] = ["src", "tests", "benches", "fuzz", "build.rs"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_under(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_file() {
        found.push(path.to_path_buf());
        return;
    }
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries {
        let entry = entry.expect("a readable folder of the repository").path();
        let name = entry.file_name().map(|n| n.to_string_lossy().into_owned());
        let skipped = matches!(name.as_deref(), Some("target" | "corpus" | "artifacts"));
        if !skipped {
            files_under(&entry, found);
        }
    }
}

fn rust_sources() -> Vec<Source> {
    let mut paths = Vec::new();
    RUST_ROOTS.iter().for_each(|r| files_under(&root().join(r), &mut paths));
    paths.retain(|p| p.extension().is_some_and(|e| e == "rs"));
    paths.sort();
    assert!(paths.len() > 20, "the rules see the sources");
    paths.iter().map(|p| Source::new(&relative(p), &read(p))).collect()
}

fn script_paths() -> Vec<PathBuf> {
    let mut paths = Vec::new();
    files_under(&root().join("scripts"), &mut paths);
    files_under(&root().join(".ci"), &mut paths);
    paths.retain(|p| is_script(p));
    assert!(paths.len() > 3, "the rules see the scripts");
    paths
}

/// Everything among the scripts that starts with `#!`, or claims by its place to be run.
fn is_script(path: &Path) -> bool {
    let place = relative(path);
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    if place.contains("__pycache__") || name == "README" || name == ".keep" {
        return false;
    }
    let library = place.starts_with("scripts/lib/") || name.contains('.');
    !library || fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"#!"))
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned()
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).expect("a file of the repository")).into_owned()
}

fn hold(rule: fn(&Source) -> Vec<Fault>) {
    let faults: Vec<Fault> = rust_sources().iter().flat_map(rule).collect();
    refuse(&faults);
}

fn refuse(faults: &[Fault]) {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert!(faults.is_empty(), "\n{}\n", lines.join("\n"));
}

#[test]
fn no_package_of_others_lies_at_the_top() {
    let entries = fs::read_dir(root()).expect("the repository").flatten();
    let packed = |name: &String| [".whl", ".gz", ".zip", ".jar"].iter().any(|e| name.ends_with(e));
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let found: Vec<String> = names.filter(packed).collect();
    assert_eq!(found, Vec::<String>::new(), "a download that must not be committed");
}

#[test]
fn rooms_use_only_rooms_of_lower_rank() {
    hold(rules::ranks);
}

#[test]
fn every_folder_of_src_is_a_room_with_a_rank() {
    hold(rules::unknown_room);
}

#[test]
fn pure_rooms_touch_no_clock_file_socket_thread_or_chance() {
    hold(rules::purity);
}

#[test]
fn files_functions_and_lines_stay_short() {
    hold(rules::file_length);
    hold(rules::function_length);
    hold(rules::line_width);
}

#[test]
fn nothing_unfinished_is_left() {
    hold(rules::leftovers);
}

#[test]
fn no_test_is_ignored_or_skips_itself() {
    hold(rules::ignored_tests);
    hold(rules::skipping_tests);
}

#[test]
fn every_room_opens_with_what_it_decides() {
    hold(rules::opening_paragraph);
}

#[test]
fn scripts_hide_no_failure_and_can_be_run() {
    let mut faults = Vec::new();
    for path in script_paths() {
        let mode = fs::metadata(&path).expect("a script").permissions().mode();
        faults.extend(rules::script(&relative(&path), &read(&path), mode & 0o111 != 0));
    }
    refuse(&faults);
}
