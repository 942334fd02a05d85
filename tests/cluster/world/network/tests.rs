//! The network by itself: what a process may rely on, and what it may not.

use std::collections::BTreeSet;

use super::*;

const PORT: u16 = 3888;

struct Bench {
    clock: Clock<Event>,
    network: Network,
    /// What each node was told.
    told: Vec<(usize, Happening)>,
}

fn settings() -> NetworkSettings {
    NetworkSettings {
        least_us: 100,
        spread_us: 900,
        capacity: 1 << 16,
        accept_queue: 4,
        give_up_ms: 60_000,
    }
}

impl Bench {
    fn new(seed: u64, nodes: usize, settings: NetworkSettings) -> Bench {
        let mut clock = Clock::new(seed);
        let mut network = Network::new(seed, settings, nodes);
        for node in 0..nodes {
            clock.add_node(0);
            network.place(node, node as Ip);
            network.listen(node, PORT);
        }
        Bench { clock, network, told: Vec::new() }
    }

    fn run_us(&mut self, us: u64) {
        let end = self.clock.now().plus_ns(us * 1000);
        self.clock.at(end, None, Event::Stroke(0));
        while let Some(turn) = self.clock.next_turn() {
            for event in turn.events {
                match (turn.node, event) {
                    (_, Event::Errand(errand)) => self.network.handle(&mut self.clock, errand),
                    (Some(node), Event::Happened(what)) => self.told.push((node, what)),
                    _ if self.clock.now() == end => return,
                    (_, event) => panic!("{event:?}"),
                }
            }
        }
    }

    fn run(&mut self, ms: u64) {
        self.run_us(ms * 1000);
    }

    fn dial(&mut self, from: usize, to: usize) -> u64 {
        self.network.dial(&mut self.clock, from, (to as Ip, PORT), 5000)
    }

    fn outcome(&self, dial: u64) -> Option<Result<Socket, DialError>> {
        self.told.iter().find_map(|(_, what)| match what {
            Happening::Dialled { dial: number, outcome } if *number == dial => Some(*outcome),
            _ => None,
        })
    }

    /// A connection from 0 to 1, both ends.
    fn connect(&mut self) -> (Socket, Socket) {
        let dial = self.dial(0, 1);
        self.run(10);
        let dialled = self.outcome(dial).expect("it is over").expect("it went well");
        (dialled, self.network.accept(1, PORT).expect("somebody waits"))
    }

    fn write(&mut self, socket: Socket, bytes: &[u8]) -> usize {
        self.network.write(&mut self.clock, socket, bytes)
    }

    fn read(&mut self, socket: Socket) -> Read {
        self.network.read(&mut self.clock, socket, usize::MAX)
    }

    /// How often a node was told so since the last time it was asked.
    fn told(&mut self, node: usize, what: Happening) -> usize {
        let before = self.told.len();
        self.told.retain(|told| *told != (node, what));
        before - self.told.len()
    }
}

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 % 251) as u8).collect()
}

#[test]
fn bytes_arrive_in_order_in_pieces_of_every_size_and_then_the_end() {
    let mut sizes = BTreeSet::new();
    for seed in 0..60 {
        let mut bench = Bench::new(seed, 2, settings());
        let (dialled, accepted) = bench.connect();
        for (from, to, node) in [(dialled, accepted, 1), (accepted, dialled, 0)] {
            let sent = text(90);
            assert_eq!(bench.write(from, &sent[..50]) + bench.write(from, &sent[50..]), 90);
            let mut got = Vec::new();
            for _ in 0..400 {
                bench.run_us(40);
                if bench.told(node, Happening::Readable { socket: to }) > 0 {
                    let Read::Bytes(bytes) = bench.read(to) else { panic!("there was something") };
                    sizes.insert(bytes.len());
                    got.extend(bytes);
                }
                assert_eq!(bench.read(to), Read::Nothing, "what comes is announced");
            }
            assert_eq!(got, sent, "seed {seed}");
        }
        bench.network.close(&mut bench.clock, dialled);
        bench.run(10);
        assert_eq!(bench.read(accepted), Read::Over(Over::End));
    }
    assert!(sizes.contains(&1) && sizes.len() > 30, "{sizes:?}");
}

#[test]
fn a_reader_that_does_not_read_holds_its_writer_up() {
    let mut bench = Bench::new(5, 2, NetworkSettings { capacity: 100, ..settings() });
    let (dialled, accepted) = bench.connect();
    assert_eq!(bench.write(dialled, &text(70)), 70);
    assert_eq!(bench.write(dialled, &text(70)), 30);
    bench.run(100);
    assert_eq!(bench.write(dialled, &text(1)), 0);
    assert_eq!(bench.told(0, Happening::Writable { socket: dialled }), 0);
    let read = bench.network.read(&mut bench.clock, accepted, 60);
    assert_eq!(read, Read::Bytes(text(60)));
    bench.run(100);
    assert_eq!(bench.told(0, Happening::Writable { socket: dialled }), 1);
    assert_eq!(bench.write(dialled, &text(100)), 60);
    assert_eq!(bench.write(accepted, &text(100)), 100, "each direction by itself");
}

#[test]
fn a_dial_is_refused_where_nobody_listens_and_unanswered_where_nothing_passes() {
    let mut bench = Bench::new(5, 3, settings());
    bench.network.stop_listening(&mut bench.clock, 1, PORT);
    bench.network.block(2, 0);
    let nowhere = bench.network.dial(&mut bench.clock, 0, (77, PORT), 5000);
    let (refused, blocked) = (bench.dial(0, 1), bench.dial(0, 2));
    bench.run(3);
    assert_eq!(bench.outcome(refused), Some(Err(DialError::Refused)));
    bench.run(4900);
    assert_eq!((bench.outcome(blocked), bench.outcome(nowhere)), (None, None));
    bench.run(200);
    assert_eq!(bench.outcome(blocked), Some(Err(DialError::Unreached)));
    assert_eq!(bench.outcome(nowhere), Some(Err(DialError::Unreached)));
    // Opening packets are sent again.
    let late = bench.dial(0, 2);
    bench.run(100);
    bench.network.unblock(&mut bench.clock, 2, 0);
    bench.run(500);
    assert_eq!(bench.outcome(late), None);
    bench.run(500);
    assert!(bench.outcome(late).is_some_and(|outcome| outcome.is_ok()));
}

#[test]
fn a_kernel_accepts_for_its_process_as_many_as_its_queue_holds() {
    let mut bench = Bench::new(5, 2, settings());
    let dials: Vec<u64> = (0..6).map(|_| bench.dial(0, 1)).collect();
    bench.run(900);
    let done = |bench: &Bench| dials.iter().filter(|d| bench.outcome(**d).is_some()).count();
    assert_eq!(done(&bench), 4);
    assert!(bench.network.accept(1, PORT).is_some());
    assert!(bench.network.accept(1, PORT).is_some());
    bench.run(1000);
    assert_eq!(done(&bench), 6, "those that were sent again");
    // Who stops listening sends the rest away.
    bench.network.stop_listening(&mut bench.clock, 1, PORT);
    bench.run(10);
    let over = |dial: &u64, bench: &mut Bench| {
        let socket = bench.outcome(*dial).expect("over").expect("it went well");
        bench.read(socket) == Read::Over(Over::Reset)
    };
    assert_eq!(dials.iter().filter(|dial| over(dial, &mut bench)).count(), 4);
}

#[test]
fn what_a_partition_holds_up_arrives_after_it_and_the_other_direction_meanwhile() {
    let mut bench = Bench::new(5, 2, NetworkSettings { capacity: 200, ..settings() });
    let (dialled, accepted) = bench.connect();
    bench.network.block(0, 1);
    assert_eq!(bench.write(dialled, b"late"), 4);
    assert_eq!(bench.write(accepted, &text(150)), 150);
    bench.run(2000);
    assert_eq!(bench.read(accepted), Read::Nothing);
    assert_eq!(bench.read(dialled), Read::Bytes(text(150)));
    bench.run(1000);
    assert_eq!(bench.write(accepted, &text(150)), 50, "that it was read is not known");
    bench.network.block(0, 1);
    bench.network.unblock(&mut bench.clock, 0, 1);
    bench.run(1000);
    assert_eq!(bench.read(accepted), Read::Nothing, "closed twice, opened once");
    bench.network.unblock(&mut bench.clock, 0, 1);
    bench.run(4000);
    assert_eq!(bench.read(accepted), Read::Bytes(b"late".to_vec()));
    assert_eq!(bench.told(1, Happening::Writable { socket: accepted }), 1);
}

#[test]
fn a_kernel_that_gets_nothing_through_gives_up() {
    let mut bench = Bench::new(5, 2, NetworkSettings { give_up_ms: 3000, ..settings() });
    let (dialled, accepted) = bench.connect();
    bench.network.block(0, 1);
    bench.write(dialled, b"lost");
    bench.run(2900);
    assert_eq!(bench.read(dialled), Read::Nothing);
    bench.run(200);
    assert_eq!(bench.read(dialled), Read::Over(Over::Reset));
    assert_eq!(bench.read(accepted), Read::Nothing, "it has not heard of it");
    assert_eq!(bench.write(dialled, b"more"), 0);
}

#[test]
fn a_clogged_way_lets_everything_through_at_once() {
    let mut bench = Bench::new(5, 2, settings());
    let (dialled, accepted) = bench.connect();
    let until = bench.clock.now().plus_ms(50);
    bench.network.clog(&mut bench.clock, (0, 1), until);
    for _ in 0..5 {
        bench.write(dialled, &text(10));
        bench.run(5);
    }
    assert_eq!(bench.read(accepted), Read::Nothing);
    bench.run(60);
    assert_eq!(bench.told(1, Happening::Readable { socket: accepted }), 1);
    assert!(matches!(bench.read(accepted), Read::Bytes(bytes) if bytes.len() == 50));
}

#[test]
fn both_ends_of_a_broken_connection_learn_of_it_at_their_own_times() {
    let (mut apart, mut lost) = (0, 0);
    for seed in 0..40 {
        let mut bench = Bench::new(seed, 2, settings());
        let (dialled, accepted) = bench.connect();
        bench.write(dialled, &text(40));
        bench.run(10);
        bench.write(dialled, b"never to be seen");
        assert_eq!(bench.network.break_between(&mut bench.clock, (1, 0), 50), 1);
        let mut knew = [None, None];
        for ms in 0..60 {
            bench.run(1);
            for (node, socket) in [(0, dialled), (1, accepted)] {
                let told = bench.told(node, Happening::Readable { socket }) > 0;
                if told && (node == 0 || ms > 0) {
                    knew[node] = Some(ms);
                }
            }
        }
        let got = match bench.read(accepted) {
            Read::Bytes(bytes) => bytes,
            _ => Vec::new(),
        };
        assert!(text(40).starts_with(&got), "a part of what it had not read: {got:?}");
        assert_eq!(bench.read(accepted), Read::Over(Over::Reset));
        assert_eq!(bench.read(dialled), Read::Over(Over::Reset));
        apart += u32::from(knew[0] != knew[1]);
        lost += u32::from(got.len() < 40);
    }
    assert!(apart > 30 && lost > 30, "{apart} apart, {lost} with a loss");
}

#[test]
fn a_lost_connection_is_believed_in_until_something_is_to_be_said() {
    let mut bench = Bench::new(5, 2, NetworkSettings { give_up_ms: 3000, ..settings() });
    let (dialled, accepted) = bench.connect();
    assert_eq!(bench.network.lose_between(&mut bench.clock, (0, 1), Some(0)), 1);
    bench.run(30_000);
    assert_eq!(bench.read(dialled), Read::Over(Over::Reset));
    assert_eq!(bench.read(accepted), Read::Nothing);
    bench.write(accepted, b"hello?");
    bench.run(4000);
    assert_eq!(bench.read(accepted), Read::Over(Over::Reset));
}

#[test]
fn a_killed_process_says_goodbye_and_a_machine_without_power_does_not() {
    for power in [false, true] {
        let mut bench = Bench::new(5, 2, settings());
        let (dialled, accepted) = bench.connect();
        bench.write(accepted, b"last words");
        if power {
            bench.network.power_off(&mut bench.clock, 1);
        } else {
            bench.network.kill(&mut bench.clock, 1);
        }
        bench.run(5000);
        let dial = bench.dial(0, 1);
        bench.run(500);
        if !power {
            assert_eq!(bench.read(dialled), Read::Bytes(b"last words".to_vec()));
            assert_eq!(bench.read(dialled), Read::Over(Over::End));
            assert_eq!(bench.outcome(dial), Some(Err(DialError::Refused)));
            continue;
        }
        assert_eq!(bench.outcome(dial), None);
        assert_eq!(bench.read(dialled), Read::Nothing);
        bench.write(dialled, b"are you there?");
        bench.run(1000);
        bench.network.power_on(&mut bench.clock, 1);
        bench.run(3000);
        assert_eq!(bench.read(dialled), Read::Over(Over::Reset), "the new kernel knows nothing");
        assert_eq!(bench.outcome(dial), Some(Err(DialError::Refused)));
    }
}

#[test]
fn who_waits_for_room_finds_out_that_the_machine_is_gone() {
    for is_back in [false, true] {
        let small = NetworkSettings { capacity: 100, give_up_ms: 6000, ..settings() };
        let mut bench = Bench::new(5, 2, small);
        let (dialled, _) = bench.connect();
        assert_eq!(bench.network.write(&mut bench.clock, dialled, &[7; 150]), 100);
        bench.run(10);
        bench.network.power_off(&mut bench.clock, 1);
        bench.run(1000);
        assert_eq!(bench.read(dialled), Read::Nothing, "it asks and is not answered");
        if is_back {
            bench.network.power_on(&mut bench.clock, 1);
        }
        bench.run(if is_back { 4000 } else { 6000 });
        assert_eq!(bench.read(dialled), Read::Over(Over::Reset));
    }
}

#[test]
fn closing_on_unread_bytes_breaks_the_connection_for_the_other() {
    let mut bench = Bench::new(5, 2, settings());
    let (dialled, accepted) = bench.connect();
    bench.write(accepted, b"unheard");
    bench.run(10);
    bench.network.close(&mut bench.clock, dialled);
    bench.run(10);
    assert_eq!(bench.read(accepted), Read::Over(Over::Reset));
    // And what is said to somebody who has closed comes back.
    let (dialled, accepted) = bench.connect();
    bench.network.close(&mut bench.clock, dialled);
    bench.write(accepted, b"to nobody");
    bench.run(10);
    assert_eq!(bench.read(accepted), Read::Over(Over::Reset));
}

#[test]
fn who_moves_leaves_its_connections_and_its_old_place_behind() {
    let mut bench = Bench::new(5, 2, NetworkSettings { give_up_ms: 3000, ..settings() });
    let (dialled, accepted) = bench.connect();
    bench.network.place(1, 9);
    bench.write(dialled, b"where are you?");
    let (old, new) = (bench.dial(0, 1), bench.network.dial(&mut bench.clock, 0, (9, PORT), 5000));
    bench.run(10);
    assert!(bench.outcome(new).is_some_and(|outcome| outcome.is_ok()));
    bench.run(6000);
    assert_eq!(bench.outcome(old), Some(Err(DialError::Unreached)));
    assert_eq!(bench.read(dialled), Read::Over(Over::Reset));
    assert_eq!(bench.read(accepted), Read::Nothing);
}

#[test]
fn what_one_connection_draws_does_not_change_what_another_does() {
    let arrivals = |with_another: bool| {
        let mut bench = Bench::new(5, 3, settings());
        if with_another {
            bench.network.dial(&mut bench.clock, 2, (1, PORT), 5000);
            bench.run_us(0);
        }
        let dial = bench.dial(0, 1);
        let began = bench.clock.now();
        let mut at = Vec::new();
        for _ in 0..200 {
            bench.run_us(50);
            if let Some(Ok(socket)) = bench.outcome(dial) {
                at.push(bench.clock.now().ns_since(began));
                bench.told.clear();
                bench.write(socket, &text(10));
            }
        }
        at
    };
    assert_eq!(arrivals(false), arrivals(true));
    assert_eq!(arrivals(true).len(), 1);
}

#[test]
fn partitions_have_two_sides_of_every_shape() {
    let mut rng = Rng::new(5);
    let mut sides = BTreeSet::new();
    for _ in 0..300 {
        let one = Division::IsolateOne.side(&mut rng, 4);
        assert_eq!(one.len(), 1);
        for division in [Division::UniformSize, Division::UniformPartition] {
            let side = division.side(&mut rng, 4);
            assert!(side.iter().all(|node| *node < 4) && side.is_sorted());
            sides.insert(side);
        }
    }
    assert_eq!(sides.len(), 14, "all but nobody and everybody");
    assert_eq!(Division::UniformPartition.side(&mut rng, 2).len(), 1);
}
