//! The ports: where they open, and what becomes of those that do not.

use std::io;
use std::sync::atomic::AtomicU32;

use crate::base::Fatal;

use super::*;

/// A port that somebody holds.
fn taken() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

fn election_at(addresses: &[HostPort]) -> PeerPorts {
    PeerPorts {
        election: addresses.to_vec(),
        quorum: vec![place("127.0.0.1", 0)],
        bind_retries: 3,
        retry_pause_ms: 20,
        ..PeerPorts::default()
    }
}

/// Until somebody listens there.
fn wait_for(address: SocketAddr) {
    let from = std::time::Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(from.elapsed() < PATIENCE, "nobody listens at {address}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_port_that_stays_taken_ends_the_server_with_its_status() {
    let (_holder, address) = taken();
    let mut member = Member::start_at(&election_at(&[place_of(address)]), |_| {});
    let Ended::Fatal(fatal) = member.join() else { panic!("it cannot be found by anybody") };
    assert_eq!(fatal.exit_status(), 14);
    assert!(fatal.reason().contains(&address.to_string()), "{fatal}");
    assert!(fatal.reason().contains("after 3 tries"), "{fatal}");
}

#[test]
fn the_last_try_may_be_the_first() {
    let (_holder, address) = taken();
    let mut reactor = Reactor::open(&Config::for_tests()).expect("a free port");
    let ports = PeerPorts { bind_retries: 1, ..election_at(&[place_of(address)]) };
    let refused = reactor.listen_to_peers(&ports);
    assert!(matches!(refused, Err(Fatal::ElectionBind(_))), "{refused:?}");
    let ports = PeerPorts { election: Vec::new(), quorum: vec![place_of(address)], ..ports };
    let refused = reactor.listen_to_peers(&ports);
    assert!(matches!(refused, Err(Fatal::ElectionBind(_))), "who cannot lead says so: {refused:?}");
}

#[test]
fn a_port_that_becomes_free_is_listened_at_then_however_long_that_takes() {
    let (holder, address) = taken();
    let ports = PeerPorts { bind_retries: 0, ..election_at(&[place_of(address)]) };
    let mut member = Member::start_at(&ports, |_| {});
    assert_eq!(member.election, None);
    let (mut witness, link) = member.meet(PeerPort::Quorum);
    thread::sleep(Duration::from_millis(100));
    drop(holder);
    member.election = Some(address);
    // Who comes in between finds nobody.
    wait_for(address);
    member.meet(PeerPort::Election);
    member.told_until(&mut witness, link);
}

#[test]
fn a_port_for_observers_that_stays_taken_costs_nobody_but_them() {
    let (holder, address) = taken();
    let ports = PeerPorts {
        observers: vec![place_of(address)],
        bind_retries: 1,
        ..election_at(&[place("127.0.0.1", 0)])
    };
    let mut member = Member::start_at(&ports, |_| {});
    assert_eq!(member.observers, None);
    let (mut witness, link) = member.meet(PeerPort::Quorum);
    thread::sleep(Duration::from_millis(100));
    member.told_until(&mut witness, link);
    drop(holder);
    member.observers = Some(address);
    wait_for(address);
    member.meet(PeerPort::Observers);
}

#[test]
fn one_address_of_several_is_enough() {
    let (_holder, address) = taken();
    let ports = election_at(&[place_of(address), place("127.0.0.1", 0)]);
    let member = Member::start_at(&PeerPorts { bind_retries: 1, ..ports }, |_| {});
    assert_ne!(member.election, Some(address));
    member.meet(PeerPort::Election);
}

#[test]
fn every_address_of_a_port_is_listened_at() {
    let ports = election_at(&[place("127.0.0.2", 0), place("127.0.0.3", 0)]);
    let mut reactor = Reactor::open(&Config::for_tests()).expect("a free port");
    reactor.listen_to_peers(&ports).expect("free ports");
    let open: Vec<SocketAddr> = reactor.peers.doors.addresses(PeerPort::Election).collect();
    let hosts: Vec<String> = open.iter().map(|address| address.ip().to_string()).collect();
    assert_eq!(hosts, ["127.0.0.2", "127.0.0.3"]);
    open.into_iter().for_each(|address| drop(connect(address)));
}

#[test]
fn on_all_addresses_a_port_is_one_whatever_its_hosts() {
    for hosts in [["no.such.host", "127.0.0.1"], ["0.0.0.0", "0.0.0.0"]] {
        let mut ports = election_at(&hosts.map(|host| place(host, 0)));
        ports.listen_on_all = hosts[0] != "0.0.0.0";
        let mut reactor = Reactor::open(&Config::for_tests()).expect("a free port");
        reactor.listen_to_peers(&ports).expect("free ports");
        let open: Vec<SocketAddr> = reactor.peers.doors.addresses(PeerPort::Election).collect();
        assert_eq!(open.len(), 1, "{hosts:?}: {open:?}");
        // Where there is IPv6, those who come by it are let in too.
        let sixth = TcpListener::bind("[::1]:0").is_ok().then_some("::1");
        for host in ["127.0.0.1", "127.0.0.2"].into_iter().chain(sixth) {
            connect(SocketAddr::new(host.parse().expect("literal"), open[0].port()));
        }
    }
}

/// Known from the third look-up on.
fn known_later(host: &str) -> io::Result<Vec<SocketAddr>> {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    match ASKED.fetch_add(1, Ordering::SeqCst) {
        0 | 1 => Err(io::Error::other(format!("{host} is not known yet"))),
        _ => Ok(vec!["127.0.0.4:0".parse().expect("an address")]),
    }
}

fn unknown(host: &str) -> io::Result<Vec<SocketAddr>> {
    Err(io::Error::other(format!("{host} is not known")))
}

#[test]
fn a_name_that_is_not_known_yet_is_looked_up_again() {
    let (port, address) = free_port("127.0.0.4");
    let mut member = Member::start_at(&election_at(&[place("me", port)]), |reactor| {
        reactor.peers.names.resolve_with(known_later);
    });
    assert_eq!(member.election, None);
    wait_for(address);
    member.election = Some(address);
    member.meet(PeerPort::Election);
}

#[test]
fn a_name_that_stays_unknown_ends_the_server_as_a_taken_port_does() {
    let mut member = Member::start_at(&election_at(&[place("me", 2888)]), |reactor| {
        reactor.peers.names.resolve_with(unknown);
    });
    let Ended::Fatal(fatal) = member.join() else { panic!("it cannot be found by anybody") };
    assert_eq!(fatal.exit_status(), 14);
    assert!(fatal.reason().contains("me is not known"), "{fatal}");
}

#[test]
fn ports_move_with_a_configuration_and_links_stay() {
    let mut member = Member::start();
    let (mut witness, link) = member.meet(PeerPort::Quorum);
    let (_client, _) = member.client();
    let before = [member.election.expect("open"), member.quorum.expect("open"), member.clients];
    let ports = ["127.0.0.1"; 4].map(|host| free_port(host).1);
    let [election, quorum, observers, clients] = ports;
    for _ in 0..2 {
        // Said again, it changes nothing.
        let places = Places {
            election: vec![place_of(election)],
            quorum: vec![place_of(quorum)],
            observers: vec![place_of(observers)],
            client: Some(place_of(clients)),
        };
        member.push(Effect::Move(Box::new(places)));
        ports.into_iter().for_each(wait_for);
        member.told_until(&mut witness, link);
    }
    for address in before {
        assert!(TcpStream::connect(address).is_err(), "nobody listens at {address} any more");
    }
    (member.election, member.quorum, member.clients) = (Some(election), Some(quorum), clients);
    member.meet(PeerPort::Election);
    member.client();
}
