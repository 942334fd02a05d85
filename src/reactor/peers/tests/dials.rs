//! Dials: which address answers, and what is said where none does.

use std::io;
use std::sync::atomic::AtomicU32;

use socket2::{Domain, Socket, Type};

use super::*;

/// Long enough that no test waits for it.
const LONG_MS: u64 = 60_000;

/// Somebody who listens at an address of this machine.
fn listener_at(host: &str) -> (TcpListener, HostPort) {
    let listener = TcpListener::bind((host, 0)).expect("a port");
    let place = place_of(listener.local_addr().expect("an address"));
    (listener, place)
}

/// Where nobody listens.
fn deserted() -> HostPort {
    place_of(free_port("127.0.0.1").1)
}

/// An address that never answers: nobody takes up those who have come, and no more can come.
struct Silence {
    place: HostPort,
    _sockets: Vec<Socket>,
}

impl Silence {
    fn new() -> Silence {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        socket.bind(&any.into()).expect("bound");
        socket.listen(0).expect("listened");
        let address = socket.local_addr().expect("an address");
        let place = place_of(address.as_socket().expect("of this family"));
        let mut sockets = vec![socket];
        for _ in 0..4 {
            let caller = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            caller.set_nonblocking(true).expect("an option");
            let _ = caller.connect(&address);
            sockets.push(caller);
        }
        Silence { place, _sockets: sockets }
    }
}

#[test]
fn a_dial_that_is_answered_gives_a_link_that_is_heard_and_closed_as_any() {
    let member = Member::start();
    let (listener, place) = listener_at("127.0.0.1");
    member.dial(7, &[place], LONG_MS);
    let link = member.dialed(7).expect("a link");
    let mut far = accept(&listener);
    member.send(link, b"here I am");
    let mut heard = [0; 9];
    far.read_exact(&mut heard).expect("read");
    assert_eq!(&heard, b"here I am");
    far.write_all(b"so am I").expect("sent");
    assert_eq!(member.hear(link, 7), b"so am I");
    drop(far);
    assert_eq!(member.next(), Told::Closed { link });
}

#[test]
fn who_speaks_first_is_heard_on_a_dialled_link() {
    let member = Member::start();
    let (listener, place) = listener_at("127.0.0.1");
    let speaking = thread::spawn(move || {
        let mut far = accept(&listener);
        far.write_all(b"welcome").expect("sent");
        far
    });
    member.dial(7, &[place], LONG_MS);
    let link = member.dialed(7).expect("a link");
    assert_eq!(member.hear(link, 7), b"welcome");
    drop(speaking.join());
}

#[test]
fn refused_is_said_where_everybody_has_refused_and_unreached_where_somebody_is_silent() {
    let member = Member::start();
    member.dial(1, &[deserted()], LONG_MS);
    assert_eq!(member.dialed(1), Err(DialFailure::Refused));
    member.dial(2, &[deserted(), deserted()], LONG_MS);
    assert_eq!(member.dialed(2), Err(DialFailure::Refused));
    let silence = Silence::new();
    member.dial(3, std::slice::from_ref(&silence.place), 300);
    assert_eq!(member.dialed(3), Err(DialFailure::Unreached));
    member.dial(4, &[deserted(), silence.place.clone(), deserted()], 300);
    assert_eq!(member.dialed(4), Err(DialFailure::Unreached));
    member.dial(5, &[], LONG_MS);
    assert_eq!(member.dialed(5), Err(DialFailure::Unreached));
}

#[test]
fn the_first_that_answers_counts_and_the_others_are_let_go() {
    let member = Member::start();
    let (listener, place) = listener_at("127.0.0.1");
    let silence = Silence::new();
    for before in [&silence.place, &deserted()] {
        member.dial(1, &[before.clone(), place.clone()], LONG_MS);
        let link = member.dialed(1).expect("a link");
        let mut far = accept(&listener);
        member.push(Effect::Close { conn: link, after_flush: false });
        assert_eq!(read_to_end(&mut far), b"");
    }
    // Both listen: the first is preferred, and the second is not even called.
    let (preferred, first) = listener_at("127.0.0.1");
    member.dial(2, &[first, place], LONG_MS);
    member.dialed(2).expect("a link");
    accept(&preferred);
    listener.set_nonblocking(true).expect("an option");
    assert!(listener.accept().is_err(), "nobody has come to the second");
}

/// Two addresses, of which the first is nobody's.
fn two_addresses(_: &str) -> io::Result<Vec<SocketAddr>> {
    Ok(["127.0.0.5:0", "127.0.0.6:0"].map(|text| text.parse().expect("an address")).to_vec())
}

#[test]
fn every_address_of_a_name_is_tried() {
    let member = Member::start_with(|reactor| reactor.peers.names.resolve_with(two_addresses));
    let (listener, HostPort { port, .. }) = listener_at("127.0.0.6");
    member.dial(1, &[place("both", port)], LONG_MS);
    member.dialed(1).expect("a link");
    accept(&listener);
    drop(listener);
    member.dial(2, &[place("both", port)], LONG_MS);
    assert_eq!(member.dialed(2), Err(DialFailure::Refused));
}

#[test]
fn the_machines_own_name_is_found() {
    let member = Member::start();
    let (listener, HostPort { port, .. }) = listener_at("127.0.0.1");
    member.dial(1, &[place("localhost", port)], LONG_MS);
    member.dialed(1).expect("a link");
    accept(&listener);
}

fn unknown(host: &str) -> io::Result<Vec<SocketAddr>> {
    Err(io::Error::other(format!("{host} is not known")))
}

#[test]
fn a_name_without_an_address_is_unreached_and_no_reason_to_doubt_the_others() {
    let member = Member::start_with(|reactor| reactor.peers.names.resolve_with(unknown));
    member.dial(1, &[place("nobody", 1)], LONG_MS);
    assert_eq!(member.dialed(1), Err(DialFailure::Unreached));
    member.dial(2, &[place("nobody", 1), deserted()], LONG_MS);
    assert_eq!(member.dialed(2), Err(DialFailure::Refused));
}

fn hangs(_: &str) -> io::Result<Vec<SocketAddr>> {
    loop {
        thread::park();
    }
}

#[test]
fn nothing_waits_for_a_name() {
    let member = Member::start_with(|reactor| reactor.peers.names.resolve_with(hangs));
    let (listener, place_here) = listener_at("127.0.0.1");
    member.dial(1, &[place("slow", 1), place_here], LONG_MS);
    member.dialed(1).expect("a link");
    accept(&listener);
    member.dial(2, &[place("slow", 1)], 300);
    assert_eq!(member.dialed(2), Err(DialFailure::Unreached));
    let (mut witness, link) = member.meet(PeerPort::Election);
    assert_eq!(member.told_until(&mut witness, link), []);
}

/// The first look-up finds it, every other hangs.
fn hangs_later(_: &str) -> io::Result<Vec<SocketAddr>> {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    while ASKED.fetch_add(1, Ordering::SeqCst) > 0 {
        thread::park();
    }
    Ok(vec!["127.0.0.1:0".parse().expect("an address")])
}

#[test]
fn where_names_hang_the_last_known_address_is_dialled() {
    let member = Member::start_with(|reactor| reactor.peers.names.resolve_with(hangs_later));
    let (listener, HostPort { port, .. }) = listener_at("127.0.0.1");
    for dial in 1..4 {
        member.dial(dial, &[place("server", port)], LONG_MS);
        member.dialed(dial).expect("a link");
        accept(&listener);
    }
    drop(listener);
    member.dial(4, &[place("server", port)], LONG_MS);
    assert_eq!(member.dialed(4), Err(DialFailure::Refused), "it is not known to be elsewhere");
}

/// Elsewhere from the second look-up on.
fn moves(_: &str) -> io::Result<Vec<SocketAddr>> {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let address = match ASKED.fetch_add(1, Ordering::SeqCst) {
        0 => "127.0.0.7:0",
        _ => "127.0.0.8:0",
    };
    Ok(vec![address.parse().expect("an address")])
}

#[test]
fn who_has_moved_is_found_though_somebody_listens_at_the_old_place() {
    let member = Member::start_with(|reactor| {
        reactor.peers.names.resolve_with(moves);
        // However long the thread takes on a busy machine.
        reactor.peers.names.head_start_ms = LONG_MS;
    });
    let (old, HostPort { port, .. }) = listener_at("127.0.0.7");
    let new = TcpListener::bind(("127.0.0.8", port)).expect("the same port");
    member.dial(1, &[place("server", port)], LONG_MS);
    member.dialed(1).expect("a link");
    accept(&old);
    member.dial(2, &[place("server", port)], LONG_MS);
    member.dialed(2).expect("a link");
    accept(&new);
}

#[test]
fn what_becomes_of_a_dropped_dial_is_not_told_and_its_number_is_free() {
    let member = Member::start();
    let (mut witness, link) = member.meet(PeerPort::Election);
    let (listener, place) = listener_at("127.0.0.1");
    let silence = Silence::new();
    for address in [silence.place.clone(), deserted(), place.clone()] {
        member.order(move |out: &mut Effects| {
            let (addresses, port) = (vec![address], PeerPort::Election);
            out.push(Effect::Dial { dial: 1, addresses, port, within_ms: LONG_MS });
            out.push(Effect::DropDial { dial: 1 });
        });
    }
    assert_eq!(read_to_end(&mut accept(&listener)), b"", "a link that came too late is closed");
    for _ in 0..3 {
        assert_eq!(member.told_until(&mut witness, link), []);
    }
    member.push(Effect::DropDial { dial: 99 });
    member.dial(1, &[place], LONG_MS);
    member.dialed(1).expect("a link");
}

#[test]
fn a_socket_that_finds_itself_was_refused() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&any.into()).expect("bound");
    let address = socket.local_addr().expect("an address");
    socket.connect(&address).expect("it finds itself");
    socket.set_nonblocking(true).expect("an option");
    let stream = mio::net::TcpStream::from_std(socket.into());
    let answer = crate::reactor::peers::dials::answer(&stream).expect("an answer");
    assert_eq!(answer.map_err(|e| e.kind()), Err(io::ErrorKind::ConnectionRefused));
}
