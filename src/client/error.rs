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
    /// What TLS does not take of the far side, or the far side of us.
    Tls(rustls::Error),
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

    /// Whether another attempt with the same settings would end likewise.
    pub fn is_refusal(&self) -> bool {
        use ErrorCode::{AuthFailed, SessionClosedRequireSaslAuth};
        match self {
            // A general one is that of a connection which ended early.
            Error::Tls(why) => !matches!(why, rustls::Error::General(_)),
            Error::Unproved => true,
            Error::Code(code) => matches!(code, AuthFailed | SessionClosedRequireSaslAuth),
            other => other.is_of_tls(),
        }
    }

    /// Whether the bytes that are no frame are a record of TLS: its kind, its version.
    pub fn is_of_tls(&self) -> bool {
        let Error::Frame(FrameError::Length(length)) = self else { return false };
        let [kind, major, ..] = length.to_be_bytes();
        (20..=23).contains(&kind) && major == 3
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
            Error::Frame(_) if self.is_of_tls() => write!(f, "this port speaks TLS"),
            Error::Frame(e) => write!(f, "stream is not understood: {e:?}"),
            Error::Unproved => f.write_str("the server does not prove itself by SASL"),
            Error::Tls(e) => write!(f, "TLS: {e}"),
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
        if let Some(why) = e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Error::Tls(why.clone());
        }
        match e.kind() {
            WouldBlock | TimedOut => Error::Timeout,
            ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof | NotConnected => {
                Error::ConnectionLoss
            }
            _ => Error::Io(e),
        }
    }
}
