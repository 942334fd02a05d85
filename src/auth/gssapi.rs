//! SASL's mechanism GSSAPI (RFC 4752), as far as no Kerberos library is needed for it.

use std::net::IpAddr;

use crate::base::{ConnId, Instant, limits};

use super::principal::PrincipalRules;
use super::tries::Tries;

/// What only a Kerberos library can do for one client. Its errors are for the log.
pub trait SecurityContext {
    /// Takes a token of the client's.
    fn accept(&mut self, token: &[u8]) -> Result<Accepted, String>;
    /// Seals a message, readable by all.
    fn wrap(&mut self, message: &[u8]) -> Result<Vec<u8>, String>;
    fn unwrap(&mut self, token: &[u8]) -> Result<Vec<u8>, String>;
}

/// What became of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// For the client; it may be empty.
    pub reply: Vec<u8>,
    /// The client's principal, once nothing more is wanted.
    pub principal: Option<String>,
}

/// What the server says to a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GssapiAnswer {
    /// The exchange goes on.
    Token(Vec<u8>),
    /// The client is this principal. There is no token with it.
    Proved { principal: String },
    /// Why, for the log; clients are not told.
    Failed(String),
    /// What Java's server stumbles over: it closes without an answer.
    Broken,
}

/// What the node asks the thread that holds the library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KerberosAsk {
    /// Every token is answered by one [`KerberosSaid`].
    Token { conn: ConnId, from: IpAddr, token: Vec<u8> },
    /// The connection is gone.
    Forget { conn: ConnId },
}

/// What that thread says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KerberosSaid {
    pub conn: ConnId,
    /// Where the token came from; the connection may be gone.
    pub from: IpAddr,
    /// Of the token that this answers.
    pub token_bytes: usize,
    pub answer: GssapiAnswer,
}

/// What of Kerberos is left to the node: who may try, and which name a principal has.
#[derive(Debug)]
pub struct KerberosServer {
    rules: PrincipalRules,
    tries: Tries,
}

impl KerberosServer {
    pub fn new(rules: PrincipalRules) -> KerberosServer {
        let tries = Tries::new(limits::KERBEROS_FAILED_TRIES, limits::KERBEROS_FAILED_A_SECOND);
        KerberosServer { rules, tries }
    }

    /// Whether a token from there is looked at.
    pub fn admit(&mut self, from: IpAddr, now: Instant) -> bool {
        self.tries.admit(from, "", now)
    }

    pub fn note_failure(&mut self, from: IpAddr, now: Instant) {
        self.tries.note_failure(from, "", now);
    }

    /// See [`PrincipalRules::user`].
    pub fn user(&self, principal: &str) -> Option<String> {
        self.rules.user(principal)
    }
}

#[derive(Debug)]
enum Stage {
    AwaitContext,
    /// The client has to answer our last token with nothing.
    AwaitNothing {
        principal: String,
    },
    AwaitChoice {
        principal: String,
    },
    Ended,
}

/// One client's exchange: the context, then the choice of a layer, of which there is none.
pub struct GssapiExchange<C> {
    context: C,
    stage: Stage,
    tokens: u32,
}

impl<C: SecurityContext> GssapiExchange<C> {
    pub fn new(context: C) -> GssapiExchange<C> {
        GssapiExchange { context, stage: Stage::AwaitContext, tokens: 0 }
    }

    /// Takes a client's token. What ends the exchange ends it for good.
    pub fn answer(&mut self, token: &[u8]) -> GssapiAnswer {
        self.tokens += 1;
        if self.tokens > limits::KERBEROS_TOKENS {
            self.stage = Stage::Ended;
        }
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::AwaitContext => self.accept(token),
            Stage::AwaitNothing { principal } if token.is_empty() => self.offer(principal),
            Stage::AwaitNothing { .. } => failed("it says something where nothing is expected"),
            Stage::AwaitChoice { principal } => self.judge(token, principal),
            Stage::Ended => failed("its exchange is over"),
        }
    }

    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Ended)
    }

    fn accept(&mut self, token: &[u8]) -> GssapiAnswer {
        // The library would take more: another mechanism's tokens, and bare ones of Kerberos.
        if token.first() != Some(&FRAMED) {
            return failed("its token is none of GSSAPI");
        }
        match self.context.accept(token) {
            Err(reason) => GssapiAnswer::Failed(reason),
            Ok(Accepted { reply, principal: None }) => {
                self.stage = Stage::AwaitContext;
                GssapiAnswer::Token(reply)
            }
            Ok(Accepted { reply, principal: Some(principal) }) if reply.is_empty() => {
                self.offer(principal)
            }
            Ok(Accepted { reply, principal: Some(principal) }) => {
                self.stage = Stage::AwaitNothing { principal };
                GssapiAnswer::Token(reply)
            }
        }
    }

    fn offer(&mut self, principal: String) -> GssapiAnswer {
        match self.context.wrap(&OFFER) {
            Err(reason) => GssapiAnswer::Failed(reason),
            Ok(token) => {
                self.stage = Stage::AwaitChoice { principal };
                GssapiAnswer::Token(token)
            }
        }
    }

    fn judge(&mut self, token: &[u8], principal: String) -> GssapiAnswer {
        match self.context.unwrap(token) {
            Err(reason) => GssapiAnswer::Failed(reason),
            Ok(choice) => match choice.get(..4) {
                None => GssapiAnswer::Broken,
                Some(chosen) if chosen[0] & NO_LAYER == 0 => {
                    failed("it wants a layer that was not offered")
                }
                // Behind it stands whom the client would rather be, which counts for nothing.
                Some(_) => GssapiAnswer::Proved { principal },
            },
        }
    }
}

fn failed(reason: &str) -> GssapiAnswer {
    GssapiAnswer::Failed(reason.to_owned())
}

/// What a token of a mechanism begins with (RFC 2743, 3.1).
const FRAMED: u8 = 0x60;

/// That nothing is sealed behind the exchange (`qop=auth`).
const NO_LAYER: u8 = 1;

/// No layer, and 65536 bytes at once, which mean nothing without one; Java's very bytes.
const OFFER: [u8; 4] = [NO_LAYER, 1, 0, 0];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Seals by a mark in front; its clients are what their tokens say.
    struct Fake {
        is_mutual: bool,
        more: u32,
    }

    impl SecurityContext for Fake {
        fn accept(&mut self, token: &[u8]) -> Result<Accepted, String> {
            let name = String::from_utf8(token[1..].to_vec()).map_err(|e| e.to_string())?;
            if name == "replay" {
                return Err("Request is a replay".to_owned());
            }
            self.more = self.more.saturating_sub(1);
            let reply = if self.is_mutual { b"me too".to_vec() } else { Vec::new() };
            Ok(Accepted { reply, principal: (self.more == 0).then_some(name) })
        }

        fn wrap(&mut self, message: &[u8]) -> Result<Vec<u8>, String> {
            Ok([b"sealed ", message].concat())
        }

        fn unwrap(&mut self, token: &[u8]) -> Result<Vec<u8>, String> {
            token.strip_prefix(b"sealed ").map(<[u8]>::to_vec).ok_or("no seal".to_owned())
        }
    }

    fn exchange(is_mutual: bool) -> GssapiExchange<Fake> {
        GssapiExchange::new(Fake { is_mutual, more: 1 })
    }

    fn token(bytes: &[u8]) -> GssapiAnswer {
        GssapiAnswer::Token(bytes.to_vec())
    }

    #[test]
    fn a_client_is_offered_no_layer_and_proved_when_it_wants_none() {
        for is_mutual in [false, true] {
            for choice in [&b"\x01\0\0\0"[..], b"\x07\xff\xff\xff", b"\x01\0\0\0eve@R"] {
                let mut exchange = exchange(is_mutual);
                let first = exchange.answer(b"\x60bob@R");
                if is_mutual {
                    assert_eq!(first, token(b"me too"));
                    assert_eq!(exchange.answer(b""), token(b"sealed \x01\x01\0\0"));
                } else {
                    assert_eq!(first, token(b"sealed \x01\x01\0\0"));
                }
                assert!(!exchange.is_over());
                let proved = GssapiAnswer::Proved { principal: "bob@R".to_owned() };
                assert_eq!(exchange.answer(&[b"sealed ", choice].concat()), proved);
                assert!(exchange.is_over());
                let again = exchange.answer(b"\x60bob@R");
                assert_eq!(again, failed("its exchange is over"));
            }
        }
    }

    #[test]
    fn what_proves_nothing_ends_the_exchange_as_with_java() {
        let firsts = [&b""[..], b"x", b"\x6ebob@R", b"\x60replay", b"\x60\xff"];
        for first in firsts {
            let mut exchange = exchange(false);
            assert!(matches!(exchange.answer(first), GssapiAnswer::Failed(_)), "{first:?}");
            assert!(exchange.is_over());
        }
        let choices = [&b""[..], b"\x01\0\0\0", b"sealed \x02\0\0\0", b"sealed \0\0\0\0"];
        for choice in choices {
            let mut exchange = exchange(false);
            exchange.answer(b"\x60bob@R");
            assert!(matches!(exchange.answer(choice), GssapiAnswer::Failed(_)), "{choice:?}");
            assert!(exchange.is_over());
        }
        for short in [&b"sealed "[..], b"sealed \x01", b"sealed \x01\0\0"] {
            let mut exchange = exchange(false);
            exchange.answer(b"\x60bob@R");
            assert_eq!(exchange.answer(short), GssapiAnswer::Broken);
        }
        let mut exchange = exchange(true);
        exchange.answer(b"\x60bob@R");
        assert!(matches!(exchange.answer(b"abc"), GssapiAnswer::Failed(_)));
    }

    #[test]
    fn an_exchange_without_an_end_is_ended() {
        let mut exchange = GssapiExchange::new(Fake { is_mutual: true, more: u32::MAX });
        for _ in 0..limits::KERBEROS_TOKENS {
            assert_eq!(exchange.answer(b"\x60bob@R"), token(b"me too"));
        }
        assert_eq!(exchange.answer(b"\x60bob@R"), failed("its exchange is over"));
    }

    proptest! {
        #[test]
        fn no_tokens_break_it_or_prove_without_a_seal(
            tokens in prop::collection::vec(any::<Vec<u8>>(), 0..6),
            is_mutual in any::<bool>(),
        ) {
            let mut exchange = exchange(is_mutual);
            for token in &tokens {
                let answer = exchange.answer(token);
                let is_proved = matches!(answer, GssapiAnswer::Proved { .. });
                prop_assert!(!is_proved);
            }
        }
    }
}
