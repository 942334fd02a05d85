//! Four-letter words, told from a frame's length by the first four bytes of a connection.

use crate::config::Words;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// More bytes must come before it is clear.
    Unclear,
    Word {
        word: [u8; 4],
        argument: Option<[u8; 8]>,
    },
    /// A client: frames from the first byte on.
    Frames,
}

/// Judges the first bytes. `stmk` takes eight more where it is permitted at all.
pub fn opening(bytes: &[u8], permitted: &Words) -> Opening {
    let Some((word, rest)) = bytes.split_first_chunk::<4>() else { return Opening::Unclear };
    if word == TELNET_CLOSE {
        // Java knows it and has no command for it: where it is permitted it is a bad length.
        return match permitted.permits("telnet close") {
            true => Opening::Frames,
            false => Opening::Word { word: *word, argument: None },
        };
    }
    if !KNOWN.contains(&word) {
        return Opening::Frames;
    }
    if word == b"stmk" && permitted.permits("stmk") {
        return match rest.first_chunk::<8>() {
            Some(argument) => Opening::Word { word: *word, argument: Some(*argument) },
            None => Opening::Unclear,
        };
    }
    Opening::Word { word: *word, argument: None }
}

const TELNET_CLOSE: &[u8; 4] = &[0xff, 0xf4, 0xff, 0xfd];

const KNOWN: [&[u8; 4]; 18] = [
    b"conf", b"cons", b"crst", b"dirs", b"dump", b"envi", b"gtmk", b"hash", b"isro", b"mntr",
    b"ruok", b"srst", b"srvr", b"stat", b"stmk", b"wchc", b"wchp", b"wchs",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn word(word: &[u8; 4]) -> Opening {
        Opening::Word { word: *word, argument: None }
    }

    #[test]
    fn only_whole_known_words_are_words() {
        let all = Words::All;
        assert_eq!(opening(b"ruo", &all), Opening::Unclear);
        assert_eq!(opening(b"ruok\n", &all), word(b"ruok"));
        assert_eq!(opening(b"RUOK", &all), Opening::Frames);
        assert_eq!(opening(&[0, 0, 0, 45, 0], &all), Opening::Frames);
    }

    #[test]
    fn a_trace_mask_comes_with_its_eight_bytes_where_it_is_permitted() {
        assert_eq!(opening(b"stmk1234567", &Words::All), Opening::Unclear);
        let whole = Opening::Word { word: *b"stmk", argument: Some(*b"12345678") };
        assert_eq!(opening(b"stmk12345678", &Words::All), whole);
        assert_eq!(opening(b"stmk", &Words::default()), word(b"stmk"));
    }

    #[test]
    fn the_end_of_a_telnet_is_a_word_that_no_list_names() {
        assert_eq!(opening(TELNET_CLOSE, &Words::default()), word(TELNET_CLOSE));
        assert_eq!(opening(TELNET_CLOSE, &Words::All), Opening::Frames);
    }
}
