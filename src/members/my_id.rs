//! Which member this server is: the text of `myid`.

use crate::base::ServerId;

use super::MembersError;

/// Java's word for a server that has no id.
const UNSET: i64 = -1;

/// What a `myid` file says, none where there is no file: the whole first line is the number.
/// A server that runs alone needs none, but what stands in one must be a number in any case.
pub fn my_id(text: Option<&[u8]>) -> Result<Option<ServerId>, MembersError> {
    let Some(text) = text else { return Ok(None) };
    let not_a_number =
        |line: &str| MembersError::of_whole(format!("serverid {line} is not a number"));
    if text.is_empty() {
        return Err(not_a_number("null"));
    }
    let line = text.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or(text);
    let line = String::from_utf8_lossy(line);
    let id: i64 = line.parse().map_err(|_| not_a_number(&line))?;
    Ok((id != UNSET).then_some(ServerId(id)))
}

/// A member of an ensemble has an id.
pub fn require_my_id(id: Option<ServerId>) -> Result<ServerId, MembersError> {
    id.ok_or_else(|| MembersError::of_whole("myid file is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &[u8]) -> String {
        my_id(Some(text)).expect_err("no number").reason
    }

    #[test]
    fn the_first_line_is_the_id_and_nothing_else_may_stand_in_it() {
        for text in ["7", "7\n", "7\r\nand more", "+7"] {
            assert_eq!(my_id(Some(text.as_bytes())), Ok(Some(ServerId(7))), "{text:?}");
        }
        assert_eq!(reason(b"7 \n"), "serverid 7  is not a number");
        assert_eq!(reason(b"one"), "serverid one is not a number");
        assert_eq!(reason(b"\n7"), "serverid  is not a number");
        assert_eq!(reason(b""), "serverid null is not a number");
        assert_eq!(reason(b"9223372036854775808").len(), "serverid  is not a number".len() + 19);
    }

    #[test]
    fn without_a_file_or_with_javas_number_for_it_there_is_no_id() {
        assert_eq!(my_id(None), Ok(None));
        assert_eq!(my_id(Some(b"-1")), Ok(None));
        assert_eq!(require_my_id(Some(ServerId(3))), Ok(ServerId(3)));
        let missing = require_my_id(None).expect_err("nothing to go by");
        assert_eq!(missing.to_string(), "myid file is missing");
    }
}
