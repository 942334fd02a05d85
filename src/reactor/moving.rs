//! Ports that move with a configuration. Links that have come stay, whatever becomes of the door.

use std::net::SocketAddr;

use mio::Interest;

use crate::base::Instant;
use crate::node::Places;
use crate::peering::HostPort;

use super::door::Door;
use super::peers::{Found, literal};
use super::{DOOR, Reactor};

/// Where clients are to find this server next.
#[derive(Default)]
pub struct Moving {
    /// Its name is looked up.
    wanted: Option<HostPort>,
    found: Option<SocketAddr>,
}

impl Moving {
    /// A name was looked up.
    pub fn on_found(&mut self, found: &Found) {
        let Some(wanted) = self.wanted.take_if(|wanted| wanted.host == found.host) else { return };
        match &found.addresses {
            Ok(addresses) => {
                let address = |first: &SocketAddr| SocketAddr::new(first.ip(), wanted.port);
                self.found = addresses.first().map(address);
            }
            Err(error) => failed(&wanted, error),
        }
    }
}

impl Reactor {
    pub(super) fn move_to(&mut self, places: &Places, now: Instant) {
        self.peers.move_doors(places, now);
        let Some(client) = &places.client else { return };
        self.moving = Moving::default();
        if let Some(ip) = literal(&client.host) {
            self.moving.found = Some(SocketAddr::new(ip, client.port));
            self.move_clients();
        } else if self.peers.look_up(&client.host) {
            self.moving.wanted = Some(client.clone());
        } else {
            failed(client, &"its name cannot be looked up now");
        }
    }

    /// As in Java: the old door closes first, since the new one may have its port; who cannot
    /// listen at the new one is found by nobody until the next change.
    pub(super) fn move_clients(&mut self) {
        let Some(to) = self.moving.found.take() else { return };
        let address = (!to.ip().is_unspecified()).then(|| to.ip().to_string());
        let is_there = (&self.clients.address, self.clients.port) == (&address, Some(to.port()));
        if self.is_stopping || is_there || self.clients.port.is_none() {
            return;
        }
        let refused = self.door.take().map_or(0, |door| door.refused);
        (self.clients.address, self.clients.port) = (address, Some(to.port()));
        log::info!("binding to port {to}");
        match Door::open(&self.clients) {
            Ok(mut door) => {
                let registry = self.poll.registry();
                if let Err(error) = registry.register(&mut door.listener, DOOR, Interest::READABLE)
                {
                    return failed(&to, &error);
                }
                (door.room, door.refused) = (self.peers.room, refused);
                self.door = Some(door);
            }
            Err(fatal) => failed(&to, &fatal),
        }
    }
}

fn failed(to: &dyn std::fmt::Display, error: &dyn std::fmt::Display) {
    log::error!("Error reconfiguring client port to {to}: {error}");
}
