//! Jute and frames as the model knows them, and one blocking socket.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long a frame that is due may take: far more than any server needs.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Out(pub Vec<u8>);

impl Out {
    pub fn int(&mut self, v: i32) -> &mut Out {
        self.0.extend_from_slice(&v.to_be_bytes());
        self
    }

    pub fn long(&mut self, v: i64) -> &mut Out {
        self.0.extend_from_slice(&v.to_be_bytes());
        self
    }

    pub fn bool(&mut self, v: bool) -> &mut Out {
        self.0.push(u8::from(v));
        self
    }

    pub fn buf(&mut self, v: Option<&[u8]>) -> &mut Out {
        match v {
            None => self.int(-1),
            Some(bytes) => {
                self.int(bytes.len() as i32);
                self.0.extend_from_slice(bytes);
                self
            }
        }
    }

    /// Every character the model uses has the same bytes in UTF-8 and in Java's encoding.
    pub fn str(&mut self, v: &str) -> &mut Out {
        self.buf(Some(v.as_bytes()))
    }

    pub fn strs(&mut self, v: &[String]) -> &mut Out {
        self.int(v.len() as i32);
        for s in v {
            self.str(s);
        }
        self
    }
}

/// Takes a reply apart; every step says what is missing.
pub struct In<'a>(pub &'a [u8]);

impl<'a> In<'a> {
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        if n > self.0.len() {
            return Err(format!("ends {} bytes early", n - self.0.len()));
        }
        let (head, rest) = self.0.split_at(n);
        self.0 = rest;
        Ok(head)
    }

    pub fn int(&mut self) -> Result<i32, String> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into().expect("four bytes")))
    }

    pub fn long(&mut self) -> Result<i64, String> {
        Ok(i64::from_be_bytes(self.take(8)?.try_into().expect("eight bytes")))
    }

    /// A length-prefixed field with its prefix.
    pub fn field(&mut self) -> Result<&'a [u8], String> {
        let all = self.0;
        let n = self.int()?.max(0) as usize;
        self.take(n)?;
        Ok(&all[..4 + n])
    }
}

pub struct Link {
    stream: TcpStream,
}

impl Link {
    pub fn dial(port: u16) -> io::Result<Link> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Link { stream })
    }

    pub fn wait_at_most(&self, time: Duration) -> io::Result<()> {
        self.stream.set_read_timeout(Some(time))
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// One frame; `None` when the server has closed.
    pub fn frame(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut head = [0; 4];
        match self.stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(e) if is_end(&e) => return Ok(None),
            Err(e) => return Err(e),
        }
        let mut body = vec![0; u32::from_be_bytes(head) as usize];
        self.stream.read_exact(&mut body)?;
        Ok(Some(body))
    }
}

fn is_end(e: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(e.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted)
}

/// A request in its frame.
pub fn framed(body: &[u8]) -> Vec<u8> {
    let mut out = Out::default();
    out.buf(Some(body));
    out.0
}

pub fn request(xid: i32, op: i32, body: &[u8]) -> Vec<u8> {
    let mut out = Out::default();
    out.int(xid).int(op);
    out.0.extend_from_slice(body);
    framed(&out.0)
}

impl Link {
    /// A four-letter word and its answer.
    pub fn words(&mut self, word: &str) -> io::Result<String> {
        self.send(word.as_bytes())?;
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}
