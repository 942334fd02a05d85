//! Writing: what a turn sends is collected per connection and leaves with one call each.

use std::io::{self, IoSlice, Write};
use std::iter;
use std::ops::Range;

use mio::net::TcpStream;

use crate::base::Instant;
use crate::base::limits::{CONN_BACKLOG_CLOSE, CONN_BACKLOG_PAUSE};
use crate::node::{CloseReason, Event};

use super::backlog::Pool;
use super::links::{Life, Link};
use super::tls::Wire;

/// The ranges of this turn's arena, each connection's as a chain in order.
#[derive(Debug, Default)]
pub struct Sends {
    ranges: Vec<Segment>,
    dirty: Vec<u32>,
    dirty_peers: Vec<u32>,
}

/// First and last of a connection's ranges.
pub type Chain = Option<(u32, u32)>;

#[derive(Clone, Debug)]
pub struct Segment {
    range: Range<u32>,
    next: u32,
}

/// What a connection is after its bytes were offered to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Fine,
    /// It was to close once everything has left, and everything has.
    Flushed,
    Over(CloseReason),
}

impl Sends {
    pub fn add(&mut self, link: &mut Link, range: Range<u32>) {
        self.chain_on(&mut link.sends, range);
        self.mark(link);
    }

    /// Puts a range at the end of a chain.
    pub fn chain_on(&mut self, chain: &mut Chain, range: Range<u32>) {
        let segment = self.ranges.len() as u32;
        self.ranges.push(Segment { range, next: NONE });
        *chain = match *chain {
            None => Some((segment, segment)),
            Some((first, last)) => {
                self.ranges[last as usize].next = segment;
                Some((first, segment))
            }
        };
    }

    /// The ranges of a chain.
    pub fn ranges(&self, chain: Chain) -> impl Iterator<Item = Range<u32>> {
        let first = chain.map_or(NONE, |(first, _)| first);
        let first = self.ranges.get(first as usize);
        let chain = iter::successors(first, |segment| self.ranges.get(segment.next as usize));
        chain.map(|segment| segment.range.clone())
    }

    /// All that are linked, of whatever chain.
    pub fn segments(&self) -> usize {
        self.ranges.len()
    }

    pub fn clear(&mut self) {
        self.ranges.clear();
    }

    /// Looks at the connection when the turn's bytes leave, whether it has any or not.
    pub fn mark(&mut self, link: &mut Link) {
        if !link.is_dirty {
            link.is_dirty = true;
            let dirty = if link.is_peer() { &mut self.dirty_peers } else { &mut self.dirty };
            dirty.push(link.id.index);
        }
    }

    pub fn take_dirty(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.dirty)
    }

    /// Peers are written to before clients.
    pub fn take_dirty_peers(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.dirty_peers)
    }

    pub fn give_back_peers(&mut self, mut dirty: Vec<u32>) {
        dirty.clear();
        self.dirty_peers = dirty;
    }

    pub fn give_back(&mut self, mut dirty: Vec<u32>) {
        dirty.clear();
        self.dirty = dirty;
        self.ranges.clear();
    }

    /// Offers what a connection has to the kernel; the rest goes to its backlog.
    pub fn write(
        &self,
        link: &mut Link,
        chain: Chain,
        pool: &mut Pool,
        arena: &[u8],
        now: Instant,
    ) -> Sent {
        let mut at = chain.map_or(NONE, |(first, _)| first);
        if !link.backlog.is_empty() || link.wire.is_tls() {
            self.keep(link, pool, arena, at, 0);
            return flush(link, pool, now);
        }
        while at != NONE && link.is_writable {
            let mut places = [IoSlice::new(&[]); SLICES];
            let (count, mut offered, mut next) = (self.gather(arena, at, &mut places), 0, at);
            for place in &places[..count] {
                offered += place.len();
                next = self.ranges[next as usize].next;
            }
            let written = match offer(&mut link.stream, &places[..count], &mut link.is_writable) {
                Ok(written) => written,
                Err(_) => return Sent::Over(CloseReason::SocketError),
            };
            link.last_sent = now;
            if written < offered {
                // A short write means a full socket; its next edge says when there is room.
                link.is_writable = false;
                self.keep(link, pool, arena, at, written);
                next = NONE;
            }
            at = next;
        }
        self.keep(link, pool, arena, at, 0);
        verdict(link)
    }

    /// Puts what a connection has behind its backlog, to leave in a later turn.
    pub fn postpone(&self, link: &mut Link, chain: Chain, pool: &mut Pool, arena: &[u8]) -> Sent {
        let at = chain.map_or(NONE, |(first, _)| first);
        self.keep(link, pool, arena, at, 0);
        // Whether a closing connection has flushed is for the turn that flushes it to say.
        match verdict(link) {
            Sent::Flushed => Sent::Fine,
            other => other,
        }
    }

    fn gather<'a>(&self, arena: &'a [u8], from: u32, places: &mut [IoSlice<'a>]) -> usize {
        let (mut at, mut count) = (from, 0);
        while at != NONE && count < places.len() {
            let Segment { range, next } = &self.ranges[at as usize];
            places[count] = IoSlice::new(&arena[range.start as usize..range.end as usize]);
            count += 1;
            at = *next;
        }
        count
    }

    /// Copies the chain from `at`, without its first `gone` bytes, into the backlog.
    pub fn keep(&self, link: &mut Link, pool: &mut Pool, arena: &[u8], at: u32, mut gone: usize) {
        if let Wire::Tls(session) = &mut link.wire {
            let mut at = at;
            while at != NONE {
                let mut places = [IoSlice::new(&[]); SLICES];
                let count = self.gather(arena, at, &mut places);
                session.seal(&places[..count], &mut link.backlog, pool);
                (0..count).for_each(|_| at = self.ranges[at as usize].next);
            }
            if link.life == Life::Flushing {
                session.close(&mut link.backlog, pool);
            }
            return;
        }
        let mut at = at;
        while at != NONE {
            let Segment { range, next } = &self.ranges[at as usize];
            let bytes = &arena[range.start as usize..range.end as usize];
            let skipped = gone.min(bytes.len());
            gone -= skipped;
            link.backlog.push(&bytes[skipped..], pool);
            at = *next;
        }
    }
}

/// Offers the backlog to the kernel.
pub fn flush(link: &mut Link, pool: &mut Pool, now: Instant) -> Sent {
    while link.is_writable && !link.backlog.is_empty() {
        let mut places = [IoSlice::new(&[]); SLICES];
        let count = link.backlog.slices(&mut places);
        let offered: usize = places[..count].iter().map(|p| p.len()).sum();
        let written = match offer(&mut link.stream, &places[..count], &mut link.is_writable) {
            Ok(written) => written,
            Err(_) => return Sent::Over(CloseReason::SocketError),
        };
        if written > 0 {
            link.last_sent = now;
        }
        link.is_writable &= written == offered;
        link.backlog.advance(written, pool);
    }
    verdict(link)
}

fn verdict(link: &Link) -> Sent {
    // What a peer may leave untaken is for the node to say, which sends it no more than that.
    if link.backlog.bytes() > CONN_BACKLOG_CLOSE && !link.is_peer() {
        return Sent::Over(CloseReason::Overflow);
    }
    match link.life {
        Life::Flushing if link.backlog.is_empty() && link.late.is_none() => Sent::Flushed,
        _ => Sent::Fine,
    }
}

/// What the node should hear of a backlog: that it grew large, that some of it is taken now and
/// then, that it is gone again.
pub fn backlog_news(link: &mut Link) -> Option<Event<'static>> {
    let bytes = link.backlog.bytes();
    let is_told = link.is_backlog_told;
    let changed = if is_told { bytes == 0 } else { bytes >= CONN_BACKLOG_PAUSE };
    if !changed {
        let takes = is_told && link.last_sent.ms_since(link.last_told) >= TAKING_MS;
        if takes {
            link.last_told = link.last_sent;
        }
        return takes.then_some(Event::Taking { conn: link.id });
    }
    link.last_told = link.last_sent;
    link.is_backlog_told = !is_told;
    Some(Event::Backlog { conn: link.id, bytes })
}

/// One call, the plainer one for a single piece: how much the kernel took.
fn offer(
    stream: &mut TcpStream,
    places: &[IoSlice<'_>],
    is_writable: &mut bool,
) -> io::Result<usize> {
    loop {
        let written = match places {
            [only] => stream.write(only),
            _ => stream.write_vectored(places),
        };
        match written {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => return Ok(written),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                *is_writable = false;
                return Ok(0);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// How often the node hears that a slow client takes its bytes; shorter than any timeout.
const TAKING_MS: u64 = 100;

const NONE: u32 = u32::MAX;

/// Slices of one `writev`; more take another.
const SLICES: usize = 64;
