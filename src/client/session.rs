//! A session over whichever connection it has at the moment.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::base::{SessionId, Xid, Zxid};
use crate::proto::{AddWatchMode, ConnectRequest, ErrorCode, OpCode};

use super::answer::Answer;
use super::call::Call;
use super::connection::{Connection, Event, Message, Reply, SessionKey};
use super::error::Error;
use super::sasl::Sasl;
use super::tls::Tls;
use super::watches::WatchBook;

/// Between two rounds through the list of servers.
const ROUND_PAUSE: Duration = Duration::from_millis(50);

#[derive(Clone, Debug)]
pub struct Settings {
    /// Dialled in turn, from the first.
    pub addresses: Vec<SocketAddr>,
    /// What is asked for; the server may clamp it.
    pub session_timeout: Duration,
    /// For one attempt: dial and handshake.
    pub connect_patience: Duration,
    /// For all attempts to get a connection, together.
    pub reopen_patience: Duration,
    /// For one answer.
    pub answer_patience: Duration,
    pub read_only: bool,
    /// None: bare TCP.
    pub tls: Option<Tls>,
    /// Proved on each connection, before anything else is said on it.
    pub sasl: Option<Sasl>,
}

impl Settings {
    pub fn new(addresses: Vec<SocketAddr>) -> Settings {
        Settings {
            addresses,
            session_timeout: Duration::from_secs(30),
            connect_patience: Duration::from_secs(5),
            reopen_patience: Duration::from_secs(20),
            answer_patience: Duration::from_secs(30),
            read_only: false,
            tls: None,
            sasl: None,
        }
    }
}

/// What happens to a session without being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    Watch(Event),
    Disconnected,
    Reconnected,
    Expired,
}

/// What a reply will mean for the watch book.
#[derive(Clone, Debug)]
enum Intent {
    Nothing,
    Read { op: OpCode, path: String },
    Add { path: String, mode: AddWatchMode },
    Remove { path: String, kind: i32 },
}

#[derive(Debug)]
pub struct Client {
    pub(super) settings: Settings,
    connection: Option<Connection>,
    key: SessionKey,
    timeout: Duration,
    next_address: usize,
    expired: bool,
    last_xid: Xid,
    last_zxid: Zxid,
    last_sent: Instant,
    last_heard: Instant,
    intents: BTreeMap<Xid, Intent>,
    answered: BTreeMap<Xid, Reply>,
    notices: VecDeque<Notice>,
    identities: Vec<(String, Vec<u8>)>,
    book: WatchBook,
}

impl Client {
    /// Opens a new session at the first server of the list that lets it.
    pub fn open(settings: Settings) -> Result<Client, Error> {
        Client::resume(settings, SessionKey::default())
    }

    /// Opens a session again by its id and password; a key without id opens a new one.
    pub fn resume(settings: Settings, key: SessionKey) -> Result<Client, Error> {
        let now = Instant::now();
        let mut client = Client {
            timeout: settings.session_timeout,
            settings,
            connection: None,
            key,
            next_address: 0,
            expired: false,
            last_xid: Xid(0),
            last_zxid: Zxid::ZERO,
            last_sent: now,
            last_heard: now,
            intents: BTreeMap::new(),
            answered: BTreeMap::new(),
            notices: VecDeque::new(),
            identities: Vec::new(),
            book: WatchBook::default(),
        };
        client.reopen()?;
        Ok(client)
    }

    /// Queues a call, opening the session again first if its connection is gone.
    pub fn submit(&mut self, call: &Call<'_>) -> Result<Xid, Error> {
        if self.connection.is_none() {
            self.reopen()?;
        }
        let connection = self.connection.as_mut().ok_or(Error::ConnectionLoss)?;
        let xid = connection.queue(call);
        self.last_xid = connection.last_xid();
        self.intents.insert(xid, intent(call));
        Ok(xid)
    }

    /// Sends what is queued.
    pub fn flush(&mut self) -> Result<(), Error> {
        let patience = self.settings.answer_patience;
        let Some(connection) = self.connection.as_mut().filter(|c| c.has_unsent()) else {
            return Ok(());
        };
        self.last_sent = Instant::now();
        let sent = connection.flush(patience);
        sent.map_err(|e| self.lose(e))
    }

    /// Waits for the reply to `xid`; what arrives before it is kept.
    pub fn wait(&mut self, xid: Xid) -> Result<Reply, Error> {
        self.flush()?;
        let deadline = Instant::now() + self.settings.answer_patience;
        loop {
            if let Some(reply) = self.answered.remove(&xid) {
                return Ok(reply);
            }
            if !self.intents.contains_key(&xid) {
                return Err(Error::ConnectionLoss);
            }
            if Instant::now() >= deadline {
                return Err(Error::Timeout);
            }
            self.drive(deadline)?;
        }
    }

    /// One call, there and back.
    pub fn call(&mut self, call: &Call<'_>) -> Result<Answer, Error> {
        let xid = self.submit(call)?;
        self.wait(xid)?.answer()
    }

    /// The next notice, waiting for it at most `patience`. Pings leave meanwhile.
    pub fn next_notice(&mut self, patience: Duration) -> Result<Option<Notice>, Error> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(notice) = self.notices.pop_front() {
                return Ok(Some(notice));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            if self.connection.is_none() {
                self.reopen()?;
            }
            self.drive(deadline)?;
        }
    }

    /// Keeps the session alive for a while; notices and replies are kept.
    pub fn rest(&mut self, pause: Duration) -> Result<(), Error> {
        let deadline = Instant::now() + pause;
        while Instant::now() < deadline {
            if self.connection.is_none() {
                self.reopen()?;
            }
            match self.drive(deadline) {
                Ok(()) | Err(Error::ConnectionLoss) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Gives an identity, now and after every reconnection.
    pub fn authenticate(&mut self, scheme: &str, auth: &[u8]) -> Result<(), Error> {
        self.call(&Call::Auth { scheme, auth })?;
        self.identities.push((scheme.to_owned(), auth.to_vec()));
        Ok(())
    }

    /// Ends the session.
    pub fn close(mut self) -> Result<(), Error> {
        self.call(&Call::CloseSession).map(|_| ())
    }

    /// Drops the connection as a broken network would; the session lives on.
    pub fn disconnect(&mut self) {
        self.lose(Error::ConnectionLoss);
    }

    /// Leaves the session behind, still open, for [`Client::resume`].
    pub fn leave(self) -> SessionKey {
        self.key
    }

    pub fn key(&self) -> SessionKey {
        self.key
    }

    pub fn session(&self) -> SessionId {
        self.key.id
    }

    /// The timeout the server granted.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    pub fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    pub fn watches(&self) -> &WatchBook {
        &self.book
    }

    /// Calls without their reply yet.
    pub fn outstanding(&self) -> usize {
        self.intents.len()
    }

    /// Takes in one message, or one ping interval's silence.
    fn drive(&mut self, deadline: Instant) -> Result<(), Error> {
        let third = self.timeout / 3;
        let ping_at = self.last_sent + third;
        let dead_at = self.last_heard + 2 * third;
        let connection = self.connection.as_mut().ok_or(Error::ConnectionLoss)?;
        match connection.receive(deadline.min(ping_at).min(dead_at)) {
            Ok(message) => {
                self.last_heard = Instant::now();
                self.take_in(message);
                Ok(())
            }
            Err(Error::Timeout) if Instant::now() >= dead_at => {
                Err(self.lose(Error::ConnectionLoss))
            }
            Err(Error::Timeout) if Instant::now() >= ping_at => {
                connection.queue(&Call::Ping);
                self.flush()
            }
            Err(Error::Timeout) => Ok(()),
            Err(e) => Err(self.lose(e)),
        }
    }

    fn take_in(&mut self, message: Message) {
        match message {
            Message::Pong => {}
            Message::Event(event) => {
                self.book.on_event(event.kind, &event.path);
                self.notices.push_back(Notice::Watch(event));
            }
            Message::Reply(reply) => {
                self.last_zxid = self.last_zxid.max(reply.zxid);
                match self.intents.remove(&reply.xid) {
                    Some(Intent::Read { op, path }) => match reply.err {
                        0 => self.book.on_read(op, &path, true),
                        err if err == ErrorCode::NoNode.number() => {
                            self.book.on_read(op, &path, false);
                        }
                        _ => {}
                    },
                    Some(Intent::Add { path, mode }) if reply.err == 0 => {
                        self.book.on_added(&path, mode);
                    }
                    Some(Intent::Remove { path, kind }) if reply.err == 0 => {
                        self.book.on_removed(&path, kind);
                    }
                    _ => {}
                }
                self.answered.insert(reply.xid, reply);
            }
        }
    }

    /// The connection is gone: every call under way is answered by its loss.
    fn lose(&mut self, why: Error) -> Error {
        if self.connection.take().is_some() {
            self.notices.push_back(Notice::Disconnected);
        }
        self.intents.clear();
        why
    }

    fn reopen(&mut self) -> Result<(), Error> {
        if self.expired {
            return Err(Error::SessionExpired);
        }
        let deadline = Instant::now() + self.settings.reopen_patience;
        let again = self.key.id != SessionId::NONE;
        loop {
            let mut why = Error::NoServer("the list of addresses is empty".to_owned());
            let mut refusal = None;
            let mut is_refused = true;
            for _ in 0..self.settings.addresses.len() {
                let address = self.settings.addresses[self.next_address];
                match self.attempt(address) {
                    Ok(()) => {
                        if again {
                            self.notices.push_back(Notice::Reconnected);
                        }
                        return Ok(());
                    }
                    Err(Error::SessionExpired) => {
                        self.expired = true;
                        self.notices.push_back(Notice::Expired);
                        return Err(Error::SessionExpired);
                    }
                    Err(e) if e.is_refusal() => refusal = Some(e),
                    Err(e) => {
                        is_refused = false;
                        why = Error::NoServer(format!("{address}: {e}"));
                    }
                }
                self.next_address = (self.next_address + 1) % self.settings.addresses.len();
            }
            // All of them refused who we are, or we them: that does not change by waiting.
            if let Some(refusal) = refusal.filter(|_| is_refused) {
                return Err(refusal);
            }
            if self.settings.addresses.is_empty() || Instant::now() + ROUND_PAUSE >= deadline {
                return Err(why);
            }
            thread::sleep(ROUND_PAUSE);
        }
    }

    fn attempt(&mut self, address: SocketAddr) -> Result<(), Error> {
        let patience = self.settings.connect_patience;
        let mut connection = Connection::dial_by(address, self.settings.tls.as_ref(), patience)?;
        connection.number_from(self.last_xid);
        let timeout_ms = self.settings.session_timeout.as_millis().min(i32::MAX as u128) as i32;
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.last_zxid,
            timeout_ms,
            session: self.key.id,
            password: Some(&self.key.password),
            read_only: Some(self.settings.read_only),
        };
        let response = connection.handshake(&request, patience)?;
        if response.timeout_ms == 0 {
            return Err(Error::SessionExpired);
        }
        self.key = SessionKey { id: response.session, password: response.password };
        self.timeout = Duration::from_millis(response.timeout_ms.max(1) as u64);
        self.last_sent = Instant::now();
        self.last_heard = self.last_sent;
        self.introduce(&mut connection)?;
        self.connection = Some(connection);
        Ok(())
    }

    /// Gives identities and watches again. Events caught up with come before the replies.
    fn introduce(&mut self, connection: &mut Connection) -> Result<(), Error> {
        if let Some(sasl) = &self.settings.sasl {
            connection.prove(sasl, self.settings.connect_patience)?;
        }
        for (scheme, auth) in &self.identities {
            connection.queue(&Call::Auth { scheme, auth });
        }
        for batch in self.book.batches(self.last_zxid) {
            connection.queue(&Call::SetWatches2(&batch));
        }
        let deadline = Instant::now() + self.settings.connect_patience;
        connection.flush(self.settings.connect_patience)?;
        while connection.outstanding() > 0 {
            match connection.receive(deadline)? {
                Message::Reply(reply) => {
                    reply.answer()?;
                }
                other => self.take_in(other),
            }
        }
        Ok(())
    }
}

fn intent(call: &Call<'_>) -> Intent {
    match *call {
        Call::GetData { path, watch: true }
        | Call::Exists { path, watch: true }
        | Call::GetChildren { path, watch: true }
        | Call::GetChildren2 { path, watch: true } => {
            Intent::Read { op: call.op(), path: path.to_owned() }
        }
        Call::AddWatch { path, mode } => Intent::Add { path: path.to_owned(), mode },
        Call::RemoveWatches { path, kind } => Intent::Remove { path: path.to_owned(), kind },
        _ => Intent::Nothing,
    }
}
