//! A session that proves itself by SASL (DIGEST-MD5), on each of its connections anew.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use crate::auth::DigestMd5Client;

use super::answer::Answer;
use super::call::Call;
use super::connection::{Connection, Message};
use super::error::Error;
use super::session::Client;

/// Who the session is, and how it can show that.
#[derive(Clone)]
pub struct Sasl {
    user: String,
    password: String,
}

/// No log line may show the password.
impl std::fmt::Debug for Sasl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sasl").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Sasl {
    pub fn new(user: &str, password: &str) -> Sasl {
        Sasl { user: user.to_owned(), password: password.to_owned() }
    }

    pub fn user(&self) -> &str {
        &self.user
    }

    /// What is said to the server's challenge, and what it has to say to that.
    pub fn answer(&self, challenge: &[u8]) -> Result<DigestMd5Client, Error> {
        // Seeded by the operating system, each time.
        let chance = format!("{:016x}", RandomState::new().hash_one(challenge));
        DigestMd5Client::answer(challenge, &self.user, &self.password, chance.as_bytes())
            .ok_or(Error::Unproved)
    }
}

impl Client {
    /// Proves to be a user of the server's login file, now and after each reconnection.
    pub fn prove(&mut self, user: &str, password: &str) -> Result<(), Error> {
        let sasl = Sasl::new(user, password);
        let challenge = token(self.call(&Call::Sasl { token: b"" })?)?;
        let answer = sasl.answer(&challenge)?;
        let proof = token(self.call(&Call::Sasl { token: answer.token() })?)?;
        if !answer.is_answered_by(&proof) {
            return Err(Error::Unproved);
        }
        self.settings.sasl = Some(sasl);
        Ok(())
    }
}

impl Connection {
    /// Proves a session's user, before anything else is asked on this connection.
    pub fn prove(&mut self, sasl: &Sasl, patience: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + patience;
        let challenge = self.exchange(b"", deadline)?;
        let answer = sasl.answer(&challenge)?;
        let proof = self.exchange(answer.token(), deadline)?;
        if answer.is_answered_by(&proof) { Ok(()) } else { Err(Error::Unproved) }
    }

    fn exchange(&mut self, said: &[u8], deadline: Instant) -> Result<Vec<u8>, Error> {
        self.queue(&Call::Sasl { token: said });
        self.flush(deadline.saturating_duration_since(Instant::now()))?;
        loop {
            // Nothing else was asked for that this connection could tell of.
            if let Message::Reply(reply) = self.receive(deadline)? {
                return token(reply.answer()?);
            }
        }
    }
}

/// A server without a login file answers with none.
fn token(answer: Answer) -> Result<Vec<u8>, Error> {
    match answer {
        Answer::Token(Some(token)) => Ok(token),
        _ => Err(Error::Unproved),
    }
}
