//! What a path may be.

/// Why a path is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathFault;

/// Java's `PathUtils.validatePath`, whose units are UTF-16: everything outside the BMP consists
/// of surrogates and is refused, as is the replacement character of undecodable bytes.
pub fn validate_path(path: &str) -> Result<(), PathFault> {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') {
        return Err(PathFault);
    }
    if bytes.len() == 1 {
        return Ok(());
    }
    if bytes.last() == Some(&b'/') {
        return Err(PathFault);
    }
    if path.chars().any(is_forbidden) {
        return Err(PathFault);
    }
    let bad = |part: &str| matches!(part, "" | "." | "..");
    if path[1..].split('/').any(bad) { Err(PathFault) } else { Ok(()) }
}

fn is_forbidden(c: char) -> bool {
    matches!(c as u32,
        0..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..=0xffff | 0x1_0000..)
}

/// Splits at the last slash: the parent ("/" for a child of the root) and the name. `None` where
/// there is no slash or the path is the root.
pub fn parent_and_name(path: &str) -> Option<(&str, &str)> {
    // Names are short: byte by byte is faster than a search made for long texts.
    let slash = path.bytes().rposition(|byte| byte == b'/')?;
    let name = &path[slash + 1..];
    if path.len() == 1 {
        return None;
    }
    Some((if slash == 0 { "/" } else { &path[..slash] }, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_judged_as_java_judges_them() {
        for good in ["/", "/a", "/a/b", "/a.b", "/...", "/é", "/\u{ffef}", "/ "] {
            assert_eq!(validate_path(good), Ok(()), "{good:?}");
        }
        let bad = [
            "",
            "a",
            "/a/",
            "//",
            "/a//b",
            "/.",
            "/..",
            "/a/./b",
            "/\u{0}",
            "/\u{1f}",
            "/\u{7f}",
            "/\u{9f}",
            "/\u{e000}",
            "/\u{fffd}",
            "/\u{1f600}",
        ];
        for bad in bad {
            assert_eq!(validate_path(bad), Err(PathFault), "{bad:?}");
        }
    }

    #[test]
    fn the_parent_of_a_top_node_is_the_root() {
        assert_eq!(parent_and_name("/a"), Some(("/", "a")));
        assert_eq!(parent_and_name("/a/b"), Some(("/a", "b")));
        assert_eq!(parent_and_name("/"), None);
        assert_eq!(parent_and_name("x"), None);
    }
}
