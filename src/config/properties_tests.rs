use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What java.util.Properties made of each input: `<input> <key>=<value>,...`, all hexadecimal.
const GOLDEN: &str = include_str!("golden/properties.txt");

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().collect();
    let byte = |pair: &[char]| {
        let value = pair.iter().fold(0, |v, c| v * 16 + c.to_digit(16).expect("a digit"));
        u8::try_from(value).expect("two digits")
    };
    digits.chunks(2).map(byte).collect()
}

fn map(text: &[u8]) -> Result<BTreeMap<String, String>, Malformed> {
    Ok(parse(text)?.into_iter().map(|e| (e.key, e.value)).collect())
}

fn golden_map(text: &str) -> BTreeMap<String, String> {
    // Java writes half a surrogate pair as '?', which no input holds.
    let word = |hex: &str| String::from_utf8(unhex(hex)).expect("utf-8").replace('?', "\u{fffd}");
    let pairs = text.split(',').filter(|p| *p != "none");
    pairs.map(|p| p.split_once('=').expect("a pair")).map(|(k, v)| (word(k), word(v))).collect()
}

#[test]
fn every_text_means_what_java_reads_in_it() {
    let mut seen = 0;
    for line in GOLDEN.lines() {
        let (input, expected) = line.split_once(' ').expect("input and result");
        let input = if input == "-" { Vec::new() } else { unhex(input) };
        let shown = String::from_utf8_lossy(&input).into_owned();
        match map(&input) {
            Err(_) => assert_eq!(expected, "malformed", "{shown:?}"),
            Ok(map) => {
                assert_ne!(expected, "malformed", "{shown:?}");
                assert_eq!(map, golden_map(expected), "{shown:?}");
            }
        }
        seen += 1;
    }
    assert!(seen >= 400, "the golden file has its cases");
}

#[test]
fn an_entry_tells_the_line_it_begins_in() {
    let text = b"# first\r\n\r\na=1\\\n  2\n\n!x\n  b=3\rc=4";
    let lines: Vec<_> = parse(text).unwrap().into_iter().map(|e| (e.key, e.line)).collect();
    assert_eq!(lines, [("a".into(), 3), ("b".into(), 7), ("c".into(), 8)]);
    assert_eq!(parse(b"a=1\nb=\\u00g0\n"), Err(Malformed { line: 2 }));
}

/// As java.util.Properties writes: every character that means something escaped.
fn written(pairs: &[(String, String)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in pairs {
        escape(key, &mut out);
        out.push(b'=');
        escape(value, &mut out);
        out.push(b'\n');
    }
    out
}

fn escape(text: &str, out: &mut Vec<u8>) {
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii_alphanumeric() => out.push(byte),
            _ => out.extend(format!("\\u{unit:04X}").into_bytes()),
        }
    }
}

proptest! {
    #[test]
    fn what_was_escaped_comes_back(pairs in prop::collection::vec((".+", ".*"), 0..6)) {
        let read = parse(&written(&pairs)).unwrap();
        let read: Vec<_> = read.into_iter().map(|e| (e.key, e.value)).collect();
        prop_assert_eq!(read, pairs);
    }

    #[test]
    fn no_bytes_break_the_reader(text in prop::collection::vec(any::<u8>(), 0..200)) {
        let entries = parse(&text).unwrap_or_default();
        let bytes: usize = entries.iter().map(|e| e.key.len() + e.value.len()).sum();
        prop_assert!(bytes <= 4 * text.len());
    }

    #[test]
    fn comments_and_blank_lines_change_nothing(
        pairs in prop::collection::vec(("[a-z]{1,6}", "[a-z]{0,6}"), 0..6),
    ) {
        let plain: String = pairs.iter().map(|(k, v)| format!("{k}={v}\n")).collect();
        let noise = |k: &str, v: &str| format!("\n # c={k}\\\n\t{k} \\\n\t : {v}\r\n!x\n");
        let noisy: String = pairs.iter().map(|(k, v)| noise(k, v)).collect();
        prop_assert_eq!(map(plain.as_bytes()), map(noisy.as_bytes()));
    }
}
