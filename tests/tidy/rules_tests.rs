use super::*;

fn faults(rule: fn(&Source) -> Vec<Fault>, path: &str, text: &str) -> usize {
    rule(&Source::new(path, text)).len()
}

#[test]
fn a_room_that_looks_up_or_beside_itself_is_refused() {
    assert_eq!(faults(ranks, "src/state/mod.rs", "use crate::node::Event;"), 1);
    assert_eq!(faults(ranks, "src/state/mod.rs", "use crate::auth::Identity;"), 1);
    assert_eq!(faults(ranks, "src/state/mod.rs", "fn f(x: crate::serve::Reply) {}"), 1);
    assert_eq!(faults(ranks, "src/state/mod.rs", "use crate::{base::Zxid,\n node::{A, B}};"), 1);
    assert_eq!(faults(ranks, "src/disk/mod.rs", "use crate::reactor::run;"), 1);
    assert_eq!(faults(ranks, "src/state/mod.rs", "use crate::base::Zxid; use crate::proto::X;"), 0);
    assert_eq!(faults(ranks, "src/state/tree.rs", "use crate::state::X; // crate::node::Y"), 0);
    assert_eq!(faults(ranks, "src/main.rs", "use zkd::node::Node;"), 0);
}

#[test]
fn a_room_without_a_rank_is_refused() {
    assert_eq!(faults(unknown_room, "src/helpers/mod.rs", ""), 1);
    assert_eq!(faults(unknown_room, "src/base/mod.rs", ""), 0);
    assert_eq!(faults(unknown_room, "tests/tidy.rs", ""), 0);
}

#[test]
fn a_pure_room_that_reaches_outside_is_refused() {
    for bad in [
        "use std::fs::File;",
        "use std::{fmt, fs::File};",
        "let t = std::time::Instant::now();",
        "use std::collections::HashMap;",
        "std::thread::spawn(f);",
        "use std::net::TcpStream;",
        "use std::net::{IpAddr, TcpListener};",
        "use std::net::{\n    IpAddr,\n    UdpSocket,\n};",
        "use mio::Poll;",
        "let s = std::collections::hash_map::RandomState::new();",
    ] {
        assert!(faults(purity, "src/zab/mod.rs", bad) > 0, "{bad}");
        assert_eq!(faults(purity, "src/reactor/mod.rs", bad), 0, "{bad}");
    }
    assert_eq!(faults(purity, "src/zab/mod.rs", "use std::net::{IpAddr, SocketAddr};"), 0);
    assert_eq!(faults(purity, "src/zab/mod.rs", "use std::collections::BTreeMap; // fs"), 0);
}

#[test]
fn long_files_functions_and_lines_are_refused() {
    let long = "let a = 1;\n".repeat(FUNCTION_LINES);
    assert_eq!(faults(function_length, "src/a.rs", &format!("fn f() {{\n{long}}}\n")), 1);
    let fits = "let a = 1;\n".repeat(FUNCTION_LINES - 2);
    assert_eq!(faults(function_length, "src/a.rs", &format!("fn f() {{\n{fits}}}\n")), 0);
    let declared = format!("trait T {{\nfn f(a: [u8; 4]);\n{long}}}\n");
    assert_eq!(faults(function_length, "src/a.rs", &declared), 0);
    assert_eq!(faults(file_length, "src/a.rs", &"\n".repeat(FILE_LINES + 1)), 1);
    assert_eq!(faults(file_length, "src/a.rs", &"\n".repeat(FILE_LINES)), 0);
    assert_eq!(faults(line_width, "src/a.rs", &"x".repeat(LINE_COLUMNS + 1)), 1);
    assert_eq!(faults(line_width, "src/a.rs", &"ü".repeat(LINE_COLUMNS)), 0);
}

#[test]
fn what_is_unfinished_is_refused() {
    assert_eq!(faults(leftovers, "src/a.rs", "fn f() { todo!() }"), 1);
    assert_eq!(faults(leftovers, "src/a.rs", "fn f() { unimplemented!() }"), 1);
    assert_eq!(faults(leftovers, "src/a.rs", concat!("// FIX", "ME later")), 1);
    assert_eq!(faults(leftovers, "src/a.rs", "let s = \"todo!\";"), 0);
}

#[test]
fn ignored_and_self_skipping_tests_are_refused() {
    assert_eq!(faults(ignored_tests, "src/a.rs", "#[test]\n#[ignore]\nfn f() {}"), 1);
    assert_eq!(faults(ignored_tests, "src/a.rs", "#[ignore = \"slow\"]\nfn f() {}"), 1);
    let skip = "#[test]\nfn f() {\n    if no_java() {\n        return;\n    }\n}";
    assert_eq!(faults(skipping_tests, "src/a.rs", skip), 1);
    let short = "#[test]\nfn f() {\n    let Ok(j) = java() else { return };\n}";
    assert_eq!(faults(skipping_tests, "src/a.rs", short), 1);
    let helper = "#[test]\nfn f() {\n    g();\n}\nfn g() {\n    return;\n}";
    assert_eq!(faults(skipping_tests, "src/a.rs", helper), 0);
}

#[test]
fn a_room_without_its_paragraph_is_refused() {
    assert_eq!(faults(opening_paragraph, "src/zab/mod.rs", "mod leading;"), 1);
    let said = "//! Decides what is committed.\nmod leading;";
    assert_eq!(faults(opening_paragraph, "src/zab/mod.rs", said), 0);
}

#[test]
fn scripts_that_hide_failures_or_cannot_run_are_refused() {
    assert_eq!(script("s", concat!("#!/bin/sh\nrm x || tr", "ue\n"), true).len(), 1);
    assert_eq!(script("s", "#!/bin/sh\nrm x\n", false).len(), 1);
    assert_eq!(script("s", "rm x\n", true).len(), 1);
    assert_eq!(script("s", "#!/bin/sh\nrm x\n", true).len(), 0);
}
