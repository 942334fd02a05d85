//! One connection from its first byte to its last: handshakes, session, its user's proof, end.

use std::mem;
use std::time::Duration;

use zkd::auth::DigestMd5Client;
use zkd::base::Xid;
use zkd::client::{Answer, Call, Error, Reply};
use zkd::proto::{ConnectResponse, OpCode, Reader, ReplyHeader, begin_frame, cut, end_frame};

use super::link::{Came, Link, MAX_REPLY, put};
use super::server::{Server, connect_request, explained};

/// What is awaited.
enum Stage {
    Session,
    Challenge,
    Proof(DigestMd5Client),
    Close,
    End,
}

pub struct Visit {
    pub link: Link,
    /// When it was to begin.
    pub at: u64,
    number: u64,
    last_xid: i32,
    stage: Stage,
}

impl Visit {
    pub fn begin(
        server: &Server,
        number: u64,
        at: u64,
        timeout: Duration,
    ) -> Result<Visit, String> {
        let mut link = Link::begin(server).map_err(|why| format!("connection {number}: {why}"))?;
        let out = link.output();
        let mark = begin_frame(out);
        connect_request(timeout).write(out);
        end_frame(out, mark);
        Ok(Visit { link, at, number, last_xid: 0, stage: Stage::Session })
    }

    /// Whether its session is open, or was, and its user proved.
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Close | Stage::End)
    }

    /// Goes on as far as it can; true when it is over.
    pub fn on_ready(&mut self, server: &Server, scratch: &mut [u8]) -> Result<bool, String> {
        loop {
            let told = self.told();
            // With its session closed it may end in whichever way.
            let is_last = matches!(self.stage, Stage::End);
            let came = self.link.flush().and_then(|()| self.link.look(scratch));
            match came {
                Err(_) | Ok(Came::End) if is_last => return Ok(true),
                Err(why) => return Err(told(why)),
                Ok(Came::End) => return Err(told("the server closed it".to_owned())),
                Ok(Came::Nothing(_)) => return Ok(false),
                Ok(Came::Bytes(n)) => {
                    let taken = self.take(server, &scratch[..n])?;
                    self.link.keep(&scratch[taken..n]);
                }
            }
        }
    }

    /// What went wrong, and where.
    fn told(&self) -> impl Fn(String) -> String + use<> {
        let number = self.number;
        let step = match self.stage {
            Stage::Session => "opening its session",
            Stage::Challenge | Stage::Proof(_) => "proving its user",
            Stage::Close => "closing its session",
            Stage::End => "its end",
        };
        move |why| format!("connection {number}: {step}: {why}")
    }

    /// Takes the whole frames; gives where the rest begins.
    fn take(&mut self, server: &Server, bytes: &[u8]) -> Result<usize, String> {
        let mut at = 0;
        loop {
            let told = self.told();
            let cut = cut(&bytes[at..], MAX_REPLY).map_err(|e| told(explained(&e.into())))?;
            let Some((frame, taken)) = cut else { return Ok(at) };
            at += taken;
            self.on_frame(server, frame).map_err(told)?;
        }
    }

    fn on_frame(&mut self, server: &Server, frame: &[u8]) -> Result<(), String> {
        let told = |e: Error| explained(&e);
        self.stage = match mem::replace(&mut self.stage, Stage::End) {
            Stage::Session => {
                let response = ConnectResponse::read(frame).map_err(|e| told(e.into()))?;
                if response.timeout_ms <= 0 {
                    return Err("it was refused".to_owned());
                }
                match server.sasl {
                    None => self.close(),
                    Some(_) => {
                        self.ask(&Call::Sasl { token: b"" });
                        Stage::Challenge
                    }
                }
            }
            Stage::Challenge => {
                let sasl = server.sasl.as_ref().ok_or("nobody asked for it")?;
                let answer = self.token(frame).and_then(|challenge| sasl.answer(&challenge));
                let answer = answer.map_err(told)?;
                self.ask(&Call::Sasl { token: answer.token() });
                Stage::Proof(answer)
            }
            Stage::Proof(answer) => {
                let proof = self.token(frame).map_err(told)?;
                if !answer.is_answered_by(&proof) {
                    return Err(told(Error::Unproved));
                }
                self.close()
            }
            Stage::Close => {
                self.answer(OpCode::CloseSession, frame).map_err(told)?;
                Stage::End
            }
            Stage::End => return Err("bytes after the last reply".to_owned()),
        };
        Ok(())
    }

    fn ask(&mut self, call: &Call<'_>) {
        self.last_xid += 1;
        put(&mut self.link, Xid(self.last_xid), call);
    }

    fn close(&mut self) -> Stage {
        self.ask(&Call::CloseSession);
        Stage::Close
    }

    fn answer(&self, op: OpCode, frame: &[u8]) -> Result<Answer, Error> {
        let r = &mut Reader::new(frame);
        let ReplyHeader { xid, zxid, err } = ReplyHeader::read(r)?;
        if xid.0 != self.last_xid {
            return Err(Error::Order { expected: Some(Xid(self.last_xid)), got: xid });
        }
        Reply { xid, op: op.number(), zxid, err, body: r.rest().to_vec() }.answer()
    }

    /// A server without a login file answers with none.
    fn token(&self, frame: &[u8]) -> Result<Vec<u8>, Error> {
        match self.answer(OpCode::Sasl, frame)? {
            Answer::Token(Some(token)) => Ok(token),
            _ => Err(Error::Unproved),
        }
    }
}
