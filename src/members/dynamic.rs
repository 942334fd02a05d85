//! The files that members move into: their names, their text, and what stays in the static one.

use crate::base::ServerId;

use super::{MembersError, Membership, read};

impl Membership {
    /// The text of `<static file>.dynamic.<version>`: the version is in the name alone.
    pub fn dynamic_file_text(&self) -> String {
        let text = self.text();
        sorted(text.lines().filter(|line| !line.starts_with("version")))
    }

    /// The text of `<static file>.dynamic.next`: proposed, and not known to be committed.
    pub fn next_file_text(&self) -> String {
        sorted(self.text().lines())
    }

    /// Whether `clientPort` leaves the static file with the members' lines, because this server's
    /// own line says where clients reach it.
    pub fn erases_client_port(&self, me: ServerId) -> bool {
        self.members.get(&me).is_some_and(|member| member.client.is_some())
    }
}

fn sorted<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let mut lines: Vec<&str> = lines.collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// The version at the end of a dynamic file's name; none where it does not end in a hexadecimal
/// number, which stands for version 0.
pub fn version_of_dynamic_file(name: &str) -> Result<Option<i64>, MembersError> {
    let Some((_, end)) = name.rsplit_once('.') else { return Ok(None) };
    match read::hex(end) {
        // Java writes a negative number with sixteen digits and cannot read them again.
        Ok(version) if version < 0 => {
            let reason = format!("For input string: \"{version:x}\" under radix 16");
            Err(MembersError::of_key("version", reason))
        }
        Ok(version) => Ok(Some(version)),
        Err(_) => Ok(None),
    }
}

pub fn dynamic_file_name(static_file: &str, version: i64) -> String {
    format!("{static_file}.dynamic.{version:x}")
}

pub fn next_file_name(static_file: &str) -> String {
    format!("{static_file}.dynamic.next")
}

/// Keys that a static file may not have beside `dynamicConfigFile`.
pub fn belongs_to_dynamic_file(key: &str) -> bool {
    ["server.", "group", "weight"].iter().any(|head| key.starts_with(head))
}

/// Keys that go when the members move out of a static file, Apache's sweep by heads included:
/// with `clientPort` go `clientPortAddress` and `clientPortListenBacklog`.
pub fn leaves_static_file(key: &str, erase_client_port: bool) -> bool {
    belongs_to_dynamic_file(key)
        || key.starts_with("dynamicConfigFile")
        || key.starts_with("peerType")
        || (erase_client_port && key.starts_with("clientPort"))
}

/// What a static file becomes when it points to `dynamic_path`. Its characters are bytes, as in
/// every file of this kind; comments are lost, as with Apache. Unlike Apache's, the values read
/// back as they are.
pub fn static_file_text<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    dynamic_path: &'a str,
    erase_client_port: bool,
) -> Vec<u8> {
    let mut text = Vec::new();
    let stay = pairs.into_iter().filter(|(key, _)| !leaves_static_file(key, erase_client_port));
    for (key, value) in stay.chain([("dynamicConfigFile", dynamic_path)]) {
        let before = text.len();
        put_escaped(&mut text, key, true);
        if matches!(text.get(before), Some(b'#' | b'!')) {
            text.insert(before, b'\\');
        }
        text.push(b'=');
        put_escaped(&mut text, value, false);
        text.push(b'\n');
    }
    text
}

fn put_escaped(text: &mut Vec<u8>, of: &str, is_key: bool) {
    for (at, c) in of.chars().enumerate() {
        let escaped = match c {
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\x0c' => "\\f",
            '\\' => "\\\\",
            ' ' if is_key || at == 0 => "\\ ",
            '=' if is_key => "\\=",
            ':' if is_key => "\\:",
            _ => "",
        };
        match u8::try_from(u32::from(c)) {
            _ if !escaped.is_empty() => text.extend(escaped.bytes()),
            Ok(byte) => text.push(byte),
            Err(_) => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    text.extend(format!("\\u{unit:04x}").bytes());
                }
            }
        }
    }
}
