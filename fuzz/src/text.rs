//! What an operator writes: `zoo.cfg`, system properties.

use zkd::config::{Config, Sources, SystemProperties};

use crate::planted;

/// `zoo.cfg`, and behind a zero byte the variables that carry system properties.
pub fn config(data: &[u8]) {
    let (text, flags) = match data.iter().position(|b| *b == 0) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &data[..0]),
    };
    let flags = String::from_utf8_lossy(flags);
    let properties = SystemProperties::from_layers(&[], &flags, "");
    let _ = Config::dynamic_config_file(text);
    let parse = |text: &[u8], dynamic| {
        Config::parse(&Sources { file: "zoo.cfg", text, dynamic, properties: &properties })
    };
    let first = parse(text, None);
    let _ = parse(b"dataDir=/d\ndynamicConfigFile=f\n", Some(("f", text)));
    let Ok(config) = first else { return };
    // A line's end, a comment and a blank line say nothing, unless the text ends in the middle of
    // a comment or a continued line.
    let line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let last = text.iter().rfind(|byte| !line_end(byte));
    if text.last().is_some_and(line_end) && last != Some(&b'\\') {
        let longer = [text, b"# a comment\n\n"].concat();
        assert_eq!(parse(&longer, None).as_ref(), Ok(&config));
    }
    config.system_properties.values().for_each(|value| planted(value.as_bytes()));
}
