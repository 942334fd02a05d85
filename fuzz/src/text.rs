//! What an operator writes: `zoo.cfg`, system properties.

use zkd::config::{Config, FileText, MemberSources, Sources, SystemProperties};

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
    let _ = Config::my_id_file(text);
    let parse_as = |text: &[u8], dynamic, member| {
        let properties = &properties;
        Config::parse(&Sources { file: "zoo.cfg", text, dynamic, properties, member })
    };
    let parse = |text: &[u8], dynamic| parse_as(text, dynamic, MemberSources::default());
    let first = parse(text, None);
    const POINTER: &[u8] = b"dataDir=/d\ninitLimit=1\nsyncLimit=1\nreconfigEnabled=true\n\
        dynamicConfigFile=f.1\n";
    let _ = parse(POINTER, Some(("f.1", text)));
    let my_id = FileText::Read(b"1");
    let as_member = |text: &[u8], dynamic, next| {
        let next = FileText::Read(next);
        let member = MemberSources { static_path: "/zoo.cfg", my_id, next };
        let Ok(mut config) = parse_as(text, dynamic, member) else { return };
        let _ = config.listing();
        if let Some(member) = &mut config.ensemble.member {
            let active = member.active.clone();
            let files = member.files_of_active(&active);
            assert!(files.iter().all(|(path, _)| path.starts_with("/zoo.cfg")));
        }
    };
    as_member(text, None, b"");
    as_member(POINTER, Some(("f.1", text)), text);
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
