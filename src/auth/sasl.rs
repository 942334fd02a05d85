//! One client's way through SASL: a challenge, a response, and what it proves.

use std::collections::BTreeMap;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::base::{Instant, limits};

use super::digest_md5::{self, Fault, Response, Secret};
use super::jaas::Password;
use super::tries::Tries;

/// Where one connection stands. It may prove itself once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SaslExchange {
    #[default]
    AwaitStart,
    AwaitResponse {
        nonce: Box<str>,
    },
    /// A Kerberos library has taken its tokens, and wants more of them.
    InLibrary,
    Ended,
}

/// What a token leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaslAnswer {
    Challenge(Vec<u8>),
    /// The client is this user; the token proves that the server knows the password too.
    Proved {
        user: String,
        token: Vec<u8>,
    },
    Failed(SaslFailure),
    /// What Java's server stumbles over: it closes without an answer.
    Broken,
}

/// Why nothing was proved. Clients are not told which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslFailure {
    /// Not a response to the challenge, or one too many.
    BadToken,
    UnknownUser,
    WrongPassword,
    /// Nobody looked: this user's password was tried in vain too often from there.
    TooManyTries,
}

impl SaslFailure {
    pub fn reason(self) -> &'static str {
        match self {
            SaslFailure::BadToken => "its token does not answer the challenge",
            SaslFailure::UnknownUser => "there is no such user",
            SaslFailure::WrongPassword => "the password is wrong",
            SaslFailure::TooManyTries => "this password was tried too often from there",
        }
    }
}

/// The users, and the secret that challenges are made of.
pub struct SaslServer {
    users: BTreeMap<String, Secret>,
    /// Compared with where there is no such user, so that both take the same time.
    nobody: Secret,
    seed: [u8; 32],
    challenges: u64,
    tries: Tries,
}

impl SaslServer {
    /// `seed` has to be the operating system's: who can guess it can answer for another.
    pub fn new(users: &BTreeMap<String, Password>, seed: [u8; 32]) -> SaslServer {
        let secret = |(user, password): (&String, &Password)| {
            (user.clone(), digest_md5::secret(user, &password.0))
        };
        SaslServer {
            users: users.iter().map(secret).collect(),
            nobody: digest_md5::secret("", ""),
            seed,
            challenges: 0,
            tries: Tries::new(limits::SASL_FAILED_TRIES, 1),
        }
    }

    /// Takes a client's token.
    pub fn answer(
        &mut self,
        exchange: &mut SaslExchange,
        token: &[u8],
        from: IpAddr,
        now: Instant,
    ) -> SaslAnswer {
        match std::mem::replace(exchange, SaslExchange::Ended) {
            // What a client says first is passed over, as in Java.
            SaslExchange::AwaitStart => {
                let nonce = self.next_nonce();
                let challenge = digest_md5::challenge(&nonce);
                *exchange = SaslExchange::AwaitResponse { nonce: nonce.into() };
                SaslAnswer::Challenge(challenge)
            }
            SaslExchange::AwaitResponse { nonce } => match Response::read(token, &nonce) {
                Ok(response) => self.judge(response, from, now),
                Err(Fault::Refused) => SaslAnswer::Failed(SaslFailure::BadToken),
                Err(Fault::Broken) => SaslAnswer::Broken,
            },
            SaslExchange::InLibrary | SaslExchange::Ended => {
                SaslAnswer::Failed(SaslFailure::BadToken)
            }
        }
    }

    fn judge(&mut self, response: Response, from: IpAddr, now: Instant) -> SaslAnswer {
        let Some(secret) = self.users.get(&response.user) else {
            std::hint::black_box(response.is_proved_by(&self.nobody));
            return SaslAnswer::Failed(SaslFailure::UnknownUser);
        };
        let is_proved = response.is_proved_by(secret);
        if !self.tries.admit(from, &response.user, now) {
            return SaslAnswer::Failed(SaslFailure::TooManyTries);
        }
        if !is_proved {
            self.tries.note_failure(from, &response.user, now);
            return SaslAnswer::Failed(SaslFailure::WrongPassword);
        }
        if !is_principal(&response.user) {
            return SaslAnswer::Broken;
        }
        // Whom else the client would rather be (its authzid) counts for nothing.
        let token = response.counter_proof(secret);
        SaslAnswer::Proved { user: response.user, token }
    }

    /// Forty characters that nobody can foretell.
    fn next_nonce(&mut self) -> String {
        self.challenges += 1;
        let mut hash = Sha256::new();
        hash.update(self.seed);
        hash.update(self.challenges.to_be_bytes());
        STANDARD.encode(&hash.finalize()[..NONCE_BYTES])
    }
}

/// Whether Java reads this as the name of a Kerberos principal: `service[/host][@realm]`, and
/// without a realm anything.
pub(super) fn is_principal(id: &str) -> bool {
    let Some((name, realm)) = id.split_once('@') else { return true };
    let host = name.split_once('/').map_or("", |(_, host)| host);
    !realm.contains(['/', '@']) && !host.contains('/')
}

/// As many as Java's have.
const NONCE_BYTES: usize = 30;
