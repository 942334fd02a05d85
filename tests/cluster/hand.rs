//! A machine and its clients by hand: what a scenario needs that no plan says.

use zkd::base::{ConnId, SessionId, Xid, Zxid};
use zkd::client::Call;
use zkd::config::Config;
use zkd::disk::StorageSettings;
use zkd::history::{Frame, frame};
use zkd::proto::{ConnectRequest, ReplyHeader, RequestHeader, Splitter, begin_frame, end_frame};

use crate::world::machine::{Breakage, Machine};

/// A machine that is up, its disk answering whenever `settle` lets it.
pub struct Hand {
    pub machine: Machine,
    splitters: Vec<(ConnId, Splitter)>,
}

impl Hand {
    pub fn new(change: impl FnOnce(&mut Config)) -> Hand {
        let mut config = Config::for_tests();
        config.tree.extended_types = true;
        config.limits.global_outstanding_limit = 1_000_000;
        change(&mut config);
        let mut settings = StorageSettings::new("/data");
        settings.preallocate_bytes = 64 * 1024;
        settings.state.extended_types = true;
        let mut machine = Machine::new(1, config, settings, Breakage::None);
        machine.start().expect("an empty disk");
        machine.turn();
        Hand { machine, splitters: Vec::new() }
    }

    /// A new session.
    pub fn open(&mut self, timeout_ms: i32) -> ConnId {
        let conn = self.machine.connect();
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid::ZERO,
            timeout_ms,
            session: SessionId::NONE,
            password: Some(&[0; 16]),
            read_only: Some(false),
        };
        let mut bytes = Vec::new();
        let mark = begin_frame(&mut bytes);
        request.write(&mut bytes);
        end_frame(&mut bytes, mark);
        self.splitters.push((conn, Splitter::default()));
        self.push(conn, &bytes);
        self.settle();
        assert_eq!(self.frames(conn).len(), 1, "a session");
        conn
    }

    fn push(&mut self, conn: ConnId, bytes: &[u8]) {
        let link = self.machine.link(conn).expect("an open connection");
        link.from_client.extend_from_slice(bytes);
        self.machine.turn();
    }

    /// Sends a request, to be taken with the next turn.
    pub fn queue(&mut self, conn: ConnId, xid: i32, call: &Call<'_>) {
        let bytes = request(xid, call.op().number(), |out| call.write(out));
        self.machine.link(conn).expect("an open connection").from_client.extend(bytes);
    }

    /// Sends a request, which the node takes at once.
    pub fn send(&mut self, conn: ConnId, xid: i32, call: &Call<'_>) {
        self.send_raw(conn, xid, call.op().number(), |out| call.write(out));
    }

    pub fn ping(&mut self, conn: ConnId) {
        self.send_raw(conn, Xid::PING.0, 11, |_| {});
    }

    fn send_raw(&mut self, conn: ConnId, xid: i32, op: i32, body: impl FnOnce(&mut Vec<u8>)) {
        self.push(conn, &request(xid, op, body));
    }

    fn frames(&mut self, conn: ConnId) -> Vec<Vec<u8>> {
        let Some(link) = self.machine.link(conn) else { return Vec::new() };
        let bytes = std::mem::take(&mut link.to_client);
        let splitter = self.splitters.iter_mut().find(|(of, _)| *of == conn);
        let splitter = &mut splitter.expect("a connection of ours").1;
        splitter.push(&bytes);
        let mut frames = Vec::new();
        while let Ok(Some(frame)) = splitter.next(1 << 20) {
            frames.push(frame.to_vec());
        }
        frames
    }

    /// What has been answered since the last look: xid and error.
    pub fn answers(&mut self, conn: ConnId) -> Vec<(i32, i32)> {
        let header = |frame: Vec<u8>| {
            let read = ReplyHeader::read(&mut zkd::proto::Reader::new(&frame));
            read.map(|header| (header.xid.0, header.err)).expect("a reply")
        };
        self.frames(conn).into_iter().map(header).collect()
    }

    pub fn is_open(&mut self, conn: ConnId) -> bool {
        self.machine.link(conn).is_some_and(|link| !link.is_closed)
    }

    /// The disk does what it was told, until nothing is left.
    pub fn settle(&mut self) {
        for _ in 0..4 {
            self.machine.storage();
            self.machine.turn();
        }
    }

    /// Time passes, the disk answering all the while.
    pub fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 500 {
            self.machine.wait(500);
            self.machine.storage();
            self.machine.turn();
        }
    }

    /// The wall clock jumps.
    pub fn jump(&mut self, ms: i64) {
        self.machine.now.wall.0 += ms;
    }

    pub fn has(&self, path: &str) -> bool {
        self.machine.node().is_some_and(|node| node.state().find(path).is_some())
    }

    /// Txns handed to the log since the last look.
    pub fn take_appended(&mut self) -> usize {
        let mut txns = 0;
        for bytes in std::mem::take(&mut self.machine.appended) {
            let mut rest = &bytes[..];
            while let Frame::Record { bytes, .. } = frame(rest) {
                rest = &rest[bytes..];
                txns += 1;
            }
        }
        txns
    }
}

fn request(xid: i32, op: i32, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mark = begin_frame(&mut bytes);
    RequestHeader { xid: Xid(xid), op }.write(&mut bytes);
    body(&mut bytes);
    end_frame(&mut bytes, mark);
    bytes
}
