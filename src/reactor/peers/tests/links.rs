//! What passes over links, and how they end.

use std::net::Shutdown;

use crate::base::limits::{CONN_BACKLOG_CLOSE, PEER_TOLD_BYTES, WRITES_PER_TURN};

use super::*;

#[test]
fn both_ports_are_told_apart_and_bytes_pass_both_ways_cut_anywhere() {
    let member = Member::start();
    for port in [PeerPort::Election, PeerPort::Quorum, PeerPort::Observers] {
        let (mut stream, link) = member.meet(port);
        stream.set_nodelay(true).expect("an option");
        let said = pattern(2000);
        let (mut rest, mut size) = (&said[..], 1);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(size.min(rest.len()));
            stream.write_all(now).expect("sent");
            (rest, size) = (later, size + 1);
        }
        assert_eq!(member.hear(link, said.len()), said);
        for piece in said.chunks(77) {
            member.send(link, piece);
        }
        let mut heard = vec![0; said.len()];
        stream.read_exact(&mut heard).expect("read");
        assert_eq!(heard, said);
    }
}

#[test]
fn much_that_comes_at_once_is_told_whole_and_in_order() {
    let member = Member::start();
    let (stream, link) = member.meet(PeerPort::Quorum);
    let (mut other, other_link) = member.meet(PeerPort::Election);
    let said = pattern(5_000_000);
    let expected = said.clone();
    let mut writer = stream.try_clone().expect("another handle");
    let writing = thread::spawn(move || writer.write_all(&said));
    other.write_all(b"a vote").expect("sent");
    let (mut heard, mut voted) = (Vec::new(), Vec::new());
    while heard.len() < expected.len() || voted.len() < 6 {
        match member.next() {
            Told::Bytes { link: from, bytes } if from == link => heard.extend(bytes),
            Told::Bytes { link: from, bytes } if from == other_link => voted.extend(bytes),
            _ => {}
        }
    }
    assert!(heard == expected, "{} bytes of {}", heard.len(), expected.len());
    assert_eq!(voted, b"a vote");
    writing.join().expect("joined").expect("written");
}

#[test]
fn in_one_turn_peers_are_heard_before_clients() {
    let member = Member::start();
    let (mut client, conn) = member.client();
    let (mut stream, link) = member.meet(PeerPort::Quorum);
    for _ in 0..20 {
        let held = member.hold();
        client.write_all(b"\0\0\0\x02hi").expect("sent");
        stream.write_all(b"first").expect("sent");
        drop(held);
        assert_eq!(member.next(), Told::Bytes { link, bytes: b"first".to_vec() });
        assert_eq!(member.next(), Told::Frame { conn, body: b"hi".to_vec() });
    }
}

#[test]
fn what_a_peer_leaves_untaken_is_told_until_there_is_none() {
    let member = Member::start();
    let (mut stream, link) = member.meet(PeerPort::Quorum);
    let sent = pattern(LARGE);
    member.send(link, &sent);
    let unsent = |told| match told {
        Told::Unsent { bytes, .. } => Some(bytes),
        _ => None,
    };
    let mut last = member.expect(unsent);
    assert!(last > 0 && last < LARGE, "{last}");
    let reading = thread::spawn(move || {
        let mut all = vec![0; LARGE];
        stream.read_exact(&mut all).map(|()| (all, stream))
    });
    while last > 0 {
        let next = member.expect(unsent);
        assert!(next == 0 || last - next >= PEER_TOLD_BYTES, "{last}, then {next}");
        last = next;
    }
    let (all, mut stream) = reading.join().expect("joined").expect("read");
    assert!(all == sent, "what has waited arrives whole");
    assert_eq!(member.told_until(&mut stream, link), []);
}

#[test]
fn no_peer_is_closed_for_what_it_alone_leaves_untaken() {
    let member = Member::start();
    let (mut stream, link) = member.meet(PeerPort::Quorum);
    let pieces = CONN_BACKLOG_CLOSE / LARGE + 2;
    let sent = pattern(LARGE);
    (0..pieces).for_each(|_| member.send(link, &sent));
    member.settle();
    let mut taken = vec![0; LARGE];
    for n in 0..pieces {
        stream.read_exact(&mut taken).expect("read");
        assert!(taken == sent, "piece {n}");
    }
}

#[test]
fn of_peers_that_leave_too_much_together_the_worst_is_closed() {
    let member = Member::start_with(|reactor| reactor.peers.unsent_bytes = LARGE);
    let (_worst, worst) = member.meet(PeerPort::Quorum);
    let (mut other, other_link) = member.meet(PeerPort::Quorum);
    let (half, more) = (pattern(LARGE * 3 / 4), pattern(LARGE * 2));
    member.send(other_link, &half);
    member.send(worst, &more);
    member.expect(|told| (told == Told::Closed { link: worst }).then_some(()));
    let mut taken = vec![0; half.len()];
    other.read_exact(&mut taken).expect("read");
    assert!(taken == half, "the other goes on");
}

#[test]
fn who_takes_everything_is_told_of_as_often_as_that_makes_room() {
    let member = Member::start();
    let (mut stream, link) = member.meet(PeerPort::Quorum);
    let piece = pattern(8192);
    let mut taken = vec![0; piece.len()];
    for round in 0..3 {
        for n in 1..=PEER_TOLD_BYTES / piece.len() {
            assert_eq!(member.told_until(&mut stream, link), [], "round {round}, piece {n}");
            member.send(link, &piece);
            stream.read_exact(&mut taken).expect("read");
        }
        assert_eq!(member.next(), Told::Unsent { link, bytes: 0 }, "round {round}");
    }
}

#[test]
fn a_paused_peer_is_not_read_until_it_is_resumed_and_clients_pauses_do_not_count() {
    let member = Member::start();
    let (mut paused, link) = member.meet(PeerPort::Quorum);
    let (mut other, other_link) = member.meet(PeerPort::Quorum);
    member.push(Effect::Pause { conn: link });
    member.push(Effect::PauseAll);
    member.settle();
    paused.write_all(b"later").expect("sent");
    for _ in 0..3 {
        assert_eq!(member.told_until(&mut other, other_link), []);
    }
    let (mut third, third_link) = member.meet(PeerPort::Election);
    assert_eq!(member.told_until(&mut third, third_link), []);
    member.push(Effect::Resume { conn: link });
    assert_eq!(member.hear(link, 5), b"later");
}

#[test]
fn who_is_closed_gets_what_was_sent_before_and_the_node_is_not_told() {
    let member = Member::start();
    let (mut witness, witness_link) = member.meet(PeerPort::Election);
    let (mut stream, link) = member.meet(PeerPort::Quorum);
    let sent = pattern(LARGE);
    member.order({
        let sent = sent.clone();
        move |out: &mut Effects| {
            out.send(link, |arena| arena.extend_from_slice(&sent));
            out.push(Effect::Close { conn: link, after_flush: true });
            out.send(link, |arena| arena.extend_from_slice(b"behind the end"));
        }
    });
    member.settle();
    stream.write_all(b"nobody hears this").expect("sent");
    assert!(read_to_end(&mut stream) == sent, "all of it, and an end");
    assert_eq!(member.told_until(&mut witness, witness_link), []);

    let (mut stream, link) = member.meet(PeerPort::Quorum);
    member.push(Effect::Close { conn: link, after_flush: false });
    assert_eq!(read_to_end(&mut stream), b"");
    assert_eq!(member.told_until(&mut witness, witness_link), []);
}

#[test]
fn a_link_that_ends_or_breaks_is_told_once_behind_its_last_bytes() {
    let member = Member::start();
    let (mut stream, link) = member.meet(PeerPort::Quorum);
    stream.write_all(b"bye").expect("sent");
    drop(stream);
    assert_eq!(member.next(), Told::Bytes { link, bytes: b"bye".to_vec() });
    assert_eq!(member.next(), Told::Closed { link });

    let (stream, link) = member.meet(PeerPort::Quorum);
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("an option");
    drop(stream);
    assert_eq!(member.next(), Told::Closed { link });

    let (stream, link) = member.meet(PeerPort::Election);
    stream.shutdown(Shutdown::Write).expect("half an end");
    assert_eq!(member.next(), Told::Closed { link });
    member.send(link, b"too late");
    let (mut witness, witness_link) = member.meet(PeerPort::Election);
    assert_eq!(member.told_until(&mut witness, witness_link), []);
}

#[test]
fn a_peer_does_not_wait_for_clients_that_take_turns() {
    let member = Member::start();
    let clients: Vec<_> = (0..4 * WRITES_PER_TURN).map(|_| member.client()).collect();
    let (mut stream, link) = member.meet(PeerPort::Quorum);
    let conns: Vec<ConnId> = clients.iter().map(|(_, conn)| *conn).collect();
    let first = member.hold();
    member.order(move |out| {
        for conn in conns.into_iter().chain([link]) {
            out.send(conn, |arena| arena.extend_from_slice(b"news"));
        }
    });
    // The orders behind the one that holds the node now: the sends, and to be held again.
    let (release, released) = channel::<()>();
    member.order(move |_| {
        let _ = released.recv();
    });
    drop(first);
    let mut news = [0; 4];
    stream.read_exact(&mut news).expect("the peer has it though clients wait");
    let has_news = |stream: &TcpStream| {
        stream.set_nonblocking(true).expect("an option");
        stream.peek(&mut [0; 4]).is_ok()
    };
    let told = clients.iter().filter(|(stream, _)| has_news(stream)).count();
    assert!(told < clients.len(), "there were too few clients to make anybody wait");
    drop(release);
}

#[test]
fn thousands_of_strangers_leave_a_server_that_hears_its_peers() {
    let member = Member::start();
    let (mut stream, link) = member.meet(PeerPort::Quorum);
    let (_client, _) = member.client();
    let ports = [member.election, member.quorum].map(|address| address.expect("open"));
    for n in 0..6000u32 {
        let mut stranger = connect(ports[n as usize % 2]);
        match n % 4 {
            0 => stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent"),
            1 => socket2::SockRef::from(&stranger).set_linger(Some(Duration::ZERO)).expect("set"),
            _ => {}
        }
    }
    member.told_until(&mut stream, link);
    member.send(link, b"and hears us");
    let mut heard = [0; 12];
    stream.read_exact(&mut heard).expect("read");
    assert_eq!(&heard, b"and hears us");
    assert_eq!(member.connections.load(Ordering::SeqCst), 1, "peers are no clients");
}

#[test]
fn who_comes_when_a_port_is_full_is_turned_away_alone() {
    let member = Member::start_with(|reactor| reactor.peers.port_links = 3);
    let mut held: Vec<_> = (0..3).map(|_| member.meet(PeerPort::Quorum)).collect();
    let mut refused = connect(member.quorum.expect("open"));
    assert_eq!(read_to_end(&mut refused), b"");
    let (_elector, _) = member.meet(PeerPort::Election);
    let (stream, link) = held.pop().expect("three");
    drop(stream);
    assert_eq!(member.next(), Told::Closed { link });
    member.meet(PeerPort::Quorum);
}

#[test]
fn clients_leave_descriptors_to_peers_and_peers_leave_some_to_the_log() {
    let member = Member::start_with(|reactor| reactor.bound_open_files(80));
    // 60 for connections, of which 7 are kept for peers.
    let clients: Vec<_> = (0..53).map(|_| member.client()).collect();
    let mut refused = connect(member.clients);
    assert_eq!(read_to_end(&mut refused), b"");
    let peers: Vec<_> = (0..7).map(|_| member.meet(PeerPort::Quorum)).collect();
    let mut refused = connect(member.quorum.expect("open"));
    assert_eq!(read_to_end(&mut refused), b"");
    drop((clients, peers));
}

#[test]
fn at_the_end_links_close_and_what_was_sent_arrives() {
    let mut member = Member::start();
    let (mut idle, _) = member.meet(PeerPort::Election);
    let (mut busy, link) = member.meet(PeerPort::Quorum);
    let sent = pattern(LARGE);
    let reading = thread::spawn(move || read_to_end(&mut busy));
    member.order({
        let sent = sent.clone();
        move |out: &mut Effects| {
            out.send(link, |arena| arena.extend_from_slice(&sent));
            out.push(Effect::Finished);
        }
    });
    assert_eq!(member.join(), Ended::Finished);
    assert_eq!(read_to_end(&mut idle), b"");
    assert!(reading.join().expect("joined") == sent, "all of it");
}

/// More than the sockets of both ends hold.
const LARGE: usize = 16 * 1024 * 1024;
