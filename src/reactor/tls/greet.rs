//! What comes before the node hears of a connection: finding out what it speaks, the handshake,
//! and whose certificate it shows.

use std::io;
use std::net::SocketAddr;

use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;

use crate::base::Instant;
use crate::node::{CloseReason, Event};
use crate::reactor::Reactor;
use crate::reactor::links::Life;
use crate::reactor::sends::flush;
use crate::stores::Certificate;

use super::{Session, Step, Wire};

/// A connection that the node does not know yet.
#[derive(Debug)]
pub struct Meeting {
    pub peer: SocketAddr,
    pub local: SocketAddr,
}

impl Reactor {
    /// One step with a connection that is not the node's yet.
    pub(in crate::reactor) fn greet(&mut self, index: u32, now: Instant) {
        let Some(link) = self.links.at(index) else { return };
        if matches!(link.wire, Wire::Unclear) {
            let mut first = [0];
            match link.stream.peek(&mut first) {
                Ok(0) => return self.end(index, CloseReason::PeerClosed),
                Ok(_) if first[0] == HANDSHAKE_RECORD => return self.begin_tls(index, now),
                Ok(_) => return self.admit(index, None),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => link.is_readable = false,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => self.enter_ring(index),
                Err(_) => self.end(index, CloseReason::SocketError),
            }
            return;
        }
        if self.handshakes.steps == 0 {
            return self.enter_ring(index);
        }
        self.handshakes.steps -= 1;
        let Wire::Tls(session) = &mut link.wire else { return self.admit(index, None) };
        let step = session.step(&mut link.stream);
        if let Step::Waits = step {
            link.is_readable = false;
        }
        self.say_what_tls_says(index, now);
        match step {
            Step::Waits => {}
            Step::Goes => self.enter_ring(index),
            Step::Gone => self.fail(index, "the client went away", now),
            Step::Failed(reason) => self.fail(index, &reason, now),
            Step::Done => match self.identity(index) {
                Ok(subject) => self.admit(index, subject),
                Err(reason) => self.fail(index, &reason, now),
            },
        }
    }

    /// From here on the link speaks TLS.
    pub(in crate::reactor) fn begin_tls(&mut self, index: u32, now: Instant) {
        let Some(renewal) = &self.handshakes.renewal else { return };
        let session = Session::new(renewal.keys.config.clone());
        let Some(link) = self.links.at(index) else { return };
        match session {
            Ok(session) => {
                link.wire = Wire::Tls(Box::new(session));
                self.handshakes.ends.add(link.id, now);
                self.enter_ring(index);
            }
            Err(error) => self.fail(index, &error.to_string(), now),
        }
    }

    /// The node hears of the connection, which is read from now on.
    pub(in crate::reactor) fn admit(&mut self, index: u32, subject: Option<Box<str>>) {
        let Some(link) = self.links.at(index) else { return };
        let Some(meeting) = link.meeting.take() else { return };
        let secure = link.wire.is_tls();
        if !secure {
            link.wire = Wire::Plain;
        }
        let conn = link.id;
        self.handshakes.under_way -= 1;
        let Meeting { peer, local } = *meeting;
        self.intake.tell(Event::Accepted { conn, peer, local, secure, subject });
        self.enter_ring(index);
    }

    fn fail(&mut self, index: u32, reason: &str, now: Instant) {
        let Some(link) = self.links.at(index) else { return };
        let peer = link.peer;
        self.handshakes.failed += 1;
        if let Some(permit) = self.drops.permit(now) {
            log::warn!("Unsuccessful handshake with /{peer}: {reason}{permit}");
        }
        self.end(index, CloseReason::SocketError);
    }

    /// Whom the certificate names; none where none was shown.
    fn identity(&mut self, index: u32) -> Result<Option<Box<str>>, String> {
        let verifies = self.handshakes.renewal.as_ref();
        let verifies = verifies.is_some_and(|r| r.settings().verifies_client_address);
        let Some(link) = self.links.at(index) else { return Ok(None) };
        let Wire::Tls(session) = &link.wire else { return Ok(None) };
        let Some(certificate) = session.certificate() else { return Ok(None) };
        if verifies {
            let der = CertificateDer::from(certificate);
            let parsed = ParsedCertificate::try_from(&der).map_err(|e| e.to_string())?;
            let name = ServerName::IpAddress(link.peer.into());
            verify_server_name(&parsed, &name)
                .map_err(|_| "the certificate does not name the client's address".to_owned())?;
        }
        let parsed = Certificate::parse(certificate).map_err(|e| e.to_string())?;
        let subject = parsed.subject_name().map_err(|_| "a subject that cannot be written")?;
        Ok(Some(subject.into_boxed_str()))
    }

    /// Offers the kernel what TLS itself has to say: its part of a handshake, alerts.
    pub(in crate::reactor) fn say_what_tls_says(&mut self, index: u32, now: Instant) {
        let Some((link, pool)) = self.links.at_with_pool(index) else { return };
        if let Wire::Tls(session) = &mut link.wire {
            session.drain(&mut link.backlog, pool);
            if !link.backlog.is_empty() {
                let sent = flush(link, pool, now);
                self.conclude(index, sent);
            }
        }
    }

    /// Connections that say nothing are plain ones; a handshake that takes too long has failed.
    pub(in crate::reactor) fn end_slow_handshakes(&mut self, now: Instant) {
        while let Some(conn) = self.handshakes.detections.pop_due(now) {
            let link = self.links.find(conn);
            if link.is_some_and(|link| matches!(link.wire, Wire::Unclear)) {
                self.admit(conn.index, None);
            }
        }
        while let Some(conn) = self.handshakes.ends.pop_due(now) {
            let Some(link) = self.links.find(conn) else { continue };
            if link.meeting.is_some() && link.life == Life::Open {
                self.fail(conn.index, "it took too long", now);
            }
        }
    }
}

/// The first byte of every handshake.
const HANDSHAKE_RECORD: u8 = 0x16;
