//! What can go wrong for a client, by who says so.

use std::{fmt, io};

use crate::base::Xid;
use crate::proto::{DecodeError, ErrorCode, FrameError};

#[derive(Debug)]
pub enum Error {
    /// The server answered with a code.
    Code(ErrorCode),
    /// The server answered with a number that is no code.
    UnknownCode(i32),
    /// The connection ended; whether what was under way happened is not known.
    ConnectionLoss,
    /// The server no longer knows the session, or the password is not its own.
    SessionExpired,
    /// No answer came in time.
    Timeout,
    /// No server of the list accepted a connection.
    NoServer(String),
    /// The reply's bytes are not what the operation answers.
    Decode(DecodeError),
    Frame(FrameError),
    /// The server does not speak SASL, or did not show that it knows the password.
    Unproved,
    /// A reply came out of order.
    Order {
        expected: Option<Xid>,
        got: Xid,
    },
    Io(io::Error),
}

impl Error {
    /// The server's code, if that is what this is.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Error::Code(code) => Some(*code),
            _ => None,
        }
    }

    /// Whether the connection cannot be used any more.
    pub fn is_fatal_to_connection(&self) -> bool {
        !matches!(self, Error::Code(_) | Error::UnknownCode(_) | Error::Timeout)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Code(code) => write!(f, "{code:?} ({})", code.number()),
            Error::UnknownCode(n) => write!(f, "unknown error code {n}"),
            Error::ConnectionLoss => write!(f, "connection lost"),
            Error::SessionExpired => write!(f, "session expired"),
            Error::Timeout => write!(f, "no answer in time"),
            Error::NoServer(why) => write!(f, "no server could be reached: {why}"),
            Error::Decode(e) => write!(f, "reply is not understood: {e:?}"),
            Error::Frame(e) => write!(f, "stream is not understood: {e:?}"),
            Error::Unproved => f.write_str("the server does not prove itself by SASL"),
            Error::Order { expected, got } => {
                write!(f, "reply to {got:?} where one to {expected:?} was due")
            }
            Error::Io(e) => write!(f, "{e}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<DecodeError> for Error {
    fn from(e: DecodeError) -> Error {
        Error::Decode(e)
    }
}

impl From<FrameError> for Error {
    fn from(e: FrameError) -> Error {
        Error::Frame(e)
    }
}

impl From<io::Error> for Error {
    fn from(e: io::Error) -> Error {
        use io::ErrorKind::*;
        match e.kind() {
            WouldBlock | TimedOut => Error::Timeout,
            ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof | NotConnected => {
                Error::ConnectionLoss
            }
            _ => Error::Io(e),
        }
    }
}
