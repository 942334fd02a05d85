//! A session that proves itself by SASL (DIGEST-MD5), on each of its connections anew.

use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use crate::auth::DigestMd5Client;

use super::answer::Answer;
use super::call::Call;
use super::connection::{Connection, Message};
use super::error::Error;
use super::session::Client;

/// Who the session is, and how it can show that.
#[derive(Clone)]
pub(super) struct Credentials {
    user: String,
    password: String,
}

/// No log line may show the password.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Credentials {
    fn answer(&self, challenge: &[u8]) -> Result<DigestMd5Client, Error> {
        // Seeded by the operating system, each time.
        let chance = format!("{:016x}", RandomState::new().hash_one(challenge));
        DigestMd5Client::answer(challenge, &self.user, &self.password, chance.as_bytes())
            .ok_or(Error::Unproved)
    }
}

impl Client {
    /// Proves to be a user of the server's login file, now and after each reconnection.
    pub fn prove(&mut self, user: &str, password: &str) -> Result<(), Error> {
        let (user, password) = (user.to_owned(), password.to_owned());
        let credentials = Credentials { user, password };
        let challenge = token(self.call(&Call::Sasl { token: b"" })?)?;
        let answer = credentials.answer(&challenge)?;
        let proof = token(self.call(&Call::Sasl { token: answer.token() })?)?;
        self.credentials = Some(credentials);
        if answer.is_answered_by(&proof) { Ok(()) } else { Err(Error::Unproved) }
    }

    /// The same on a connection that is not the session's yet.
    pub(super) fn prove_again(&mut self, connection: &mut Connection) -> Result<(), Error> {
        let Some(credentials) = self.credentials.clone() else { return Ok(()) };
        let challenge = self.exchange(connection, b"")?;
        let answer = credentials.answer(&challenge)?;
        let proof = self.exchange(connection, answer.token())?;
        if answer.is_answered_by(&proof) { Ok(()) } else { Err(Error::Unproved) }
    }

    fn exchange(&mut self, connection: &mut Connection, said: &[u8]) -> Result<Vec<u8>, Error> {
        let patience = self.connect_patience();
        let deadline = Instant::now() + patience;
        connection.queue(&Call::Sasl { token: said });
        connection.flush(patience)?;
        loop {
            match connection.receive(deadline)? {
                Message::Reply(reply) => return token(reply.answer()?),
                other => self.take_in(other),
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
