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
    // Of the part that begins behind the last slash: an empty one is nothing but dots, too.
    let (mut length, mut is_dots, mut is_ascii) = (0, true, true);
    for byte in &bytes[1..] {
        match byte {
            b'/' if is_dots && length <= 2 => return Err(PathFault),
            b'/' => (length, is_dots) = (0, true),
            0..=0x1f | 0x7f => return Err(PathFault),
            byte => {
                length += 1;
                is_dots &= *byte == b'.';
                is_ascii &= byte.is_ascii();
            }
        }
    }
    let is_bad = is_dots && length <= 2 || !is_ascii && path.chars().any(is_forbidden);
    if is_bad { Err(PathFault) } else { Ok(()) }
}

/// Of those outside ASCII.
fn is_forbidden(c: char) -> bool {
    matches!(c as u32,
        0x80..=0x9f | 0xd800..=0xf8ff | 0xfff0..=0xffff | 0x1_0000..)
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
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn one_pass_sees_what_many_see(
            path in "/?([./a\\x00\\x1f\\x7fé\u{85}\u{e000}\u{fffd}😀]){0,7}",
        ) {
            let is_good = path == "/"
                || path.starts_with('/')
                    && !path[1..].split('/').any(|part| matches!(part, "" | "." | ".."))
                    && !path.chars().any(|c| matches!(c as u32,
                        0..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..));
            prop_assert_eq!(validate_path(&path).is_ok(), is_good, "{:?}", path);
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
