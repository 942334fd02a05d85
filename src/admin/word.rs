//! The words, and which of them an operator has allowed.

/// A four-letter word that the server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    Conf,
    Cons,
    Crst,
    Dirs,
    Dump,
    Envi,
    Gtmk,
    Hash,
    Isro,
    Mntr,
    Ruok,
    Srst,
    Srvr,
    Stat,
    Stmk,
    Wchc,
    Wchp,
    Wchs,
    /// What a telnet program sends when it goes. A known word without an answer.
    TelnetClose,
}

impl Word {
    pub const ALL: [Word; 19] = {
        use Word::*;
        [
            Conf,
            Cons,
            Crst,
            Dirs,
            Dump,
            Envi,
            Gtmk,
            Hash,
            Isro,
            Mntr,
            Ruok,
            Srst,
            Srvr,
            Stat,
            Stmk,
            Wchc,
            Wchp,
            Wchs,
            TelnetClose,
        ]
    };

    /// The word that a connection's first four bytes are.
    pub fn from_bytes(bytes: [u8; 4]) -> Option<Word> {
        Word::ALL.into_iter().find(|word| word.bytes() == bytes)
    }

    pub fn bytes(self) -> [u8; 4] {
        match self {
            Word::TelnetClose => [0xff, 0xf4, 0xff, 0xfd],
            word => word.name().as_bytes().try_into().expect("a name of four letters"),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Word::Conf => "conf",
            Word::Cons => "cons",
            Word::Crst => "crst",
            Word::Dirs => "dirs",
            Word::Dump => "dump",
            Word::Envi => "envi",
            Word::Gtmk => "gtmk",
            Word::Hash => "hash",
            Word::Isro => "isro",
            Word::Mntr => "mntr",
            Word::Ruok => "ruok",
            Word::Srst => "srst",
            Word::Srvr => "srvr",
            Word::Stat => "stat",
            Word::Stmk => "stmk",
            Word::Wchc => "wchc",
            Word::Wchp => "wchp",
            Word::Wchs => "wchs",
            Word::TelnetClose => "telnet close",
        }
    }
}

/// `4lw.commands.whitelist`: the words that are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whitelist {
    allowed: [bool; Word::ALL.len()],
}

impl Whitelist {
    /// `srvr` is always allowed, since scripts depend on it; `isro` where clients may look for a
    /// read-only server. Names that are no words are passed over, as in Java.
    pub fn new(setting: Option<&str>, read_only_mode: bool) -> Whitelist {
        let mut list = Whitelist { allowed: [false; Word::ALL.len()] };
        for name in setting.unwrap_or_default().split(',').map(str::trim) {
            for word in Word::ALL {
                if name == "*" || name == word.name() {
                    list.allowed[word as usize] = true;
                }
            }
        }
        list.allowed[Word::Srvr as usize] = true;
        list.allowed[Word::Isro as usize] |= read_only_mode;
        list
    }

    /// The words for which a configuration says yes.
    pub fn of(permits: impl Fn(&str) -> bool) -> Whitelist {
        Whitelist { allowed: Word::ALL.map(|word| permits(word.name())) }
    }

    pub fn allows(&self, word: Word) -> bool {
        self.allowed[word as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_known_by_their_bytes() {
        for (i, word) in Word::ALL.into_iter().enumerate() {
            assert_eq!(word as usize, i);
            assert_eq!(Word::from_bytes(word.bytes()), Some(word));
        }
        assert_eq!(Word::from_bytes(*b"RUOK"), None);
        assert_eq!(Word::from_bytes([0, 0, 0, 44]), None);
    }

    #[test]
    fn only_what_is_listed_is_allowed() {
        let allowed = |setting, read_only| -> Vec<&str> {
            let list = Whitelist::new(setting, read_only);
            Word::ALL.into_iter().filter(|w| list.allows(*w)).map(Word::name).collect()
        };
        assert_eq!(allowed(None, false), ["srvr"]);
        assert_eq!(allowed(Some(""), true), ["isro", "srvr"]);
        assert_eq!(allowed(Some(" ruok, mntr ,nope,RUOK"), false), ["mntr", "ruok", "srvr"]);
        assert_eq!(allowed(Some("ruok,*"), false).len(), Word::ALL.len());
    }
}
