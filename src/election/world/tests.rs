//! Worlds by their seeds: nothing goes wrong while things break, and all agree when they are whole.

use super::*;

const SAFETY_MS: u64 = 15_000;

fn shape(rng: &mut Rng, java: bool) -> Shape {
    let voters = 1 + rng.below(7) as usize;
    let delays = [300, 3000, 60_000];
    Shape {
        voters,
        java: if java { rng.next_u64() as u32 } else { 0 },
        observer: rng.below(3) == 0,
        delay_us: delays[rng.below(3) as usize],
        max_interval_ms: 3200,
    }
}

/// Crashes, cuts and their ends, none of them later than the last moment of safety.
fn plan(world: &mut World, rng: &mut Rng) {
    let count = world.machines.len();
    let at = |ms: u64| Instant(1).plus_ms(ms);
    for _ in 0..2 + rng.below(10) {
        let from = rng.below(SAFETY_MS);
        let until = (from + 10 + rng.below(3000)).min(SAFETY_MS);
        let index = rng.below(count as u64) as usize;
        match rng.below(4) {
            0 => {
                for other in (0..count).filter(|other| *other != index) {
                    world.net.push(at(from), Event::Cut { a: index, b: other });
                    world.net.push(at(until), Event::Heal { a: index, b: other });
                }
            }
            1 => {
                let other = (index + 1 + rng.below(count as u64) as usize) % count;
                world.net.push(at(from), Event::Cut { a: index, b: other });
                world.net.push(at(until), Event::Heal { a: index, b: other });
            }
            2 if rng.below(3) == 0 => {
                for index in 0..count {
                    world.net.push(at(from), Event::Crash { index });
                    let late = until.saturating_sub(rng.below(200)).max(from);
                    world.net.push(at(late), Event::Restart { index });
                }
            }
            _ => {
                world.net.push(at(from), Event::Crash { index });
                world.net.push(at(until), Event::Restart { index });
            }
        }
    }
    for index in 0..count {
        world.net.push(at(SAFETY_MS), Event::Restart { index });
        for other in 0..index {
            world.net.push(at(SAFETY_MS), Event::Heal { a: index, b: other });
        }
    }
}

/// One world from its seed; how long it took to agree once it was whole.
fn run(seed: u64, java: bool, tracing: bool) -> (World, u64) {
    let mut rng = Rng::new(seed ^ 0x5eed);
    let shape = shape(&mut rng, java);
    let mut world = World::new(seed, shape);
    world.tracing = tracing;
    plan(&mut world, &mut rng);
    world.run_until(Instant(1).plus_ms(SAFETY_MS));
    let bound_ms = if java { 40_000 } else { 15_000 };
    let took = world.run_until_whole(bound_ms);
    let took = took.unwrap_or_else(|| {
        let roles: Vec<Role> = world.machines.iter().map(|machine| machine.role).collect();
        panic!("seed {seed}: no agreement, {:?}: {roles:?}", world.shape)
    });
    (world, took)
}

#[test]
fn worlds_of_our_own_are_safe_and_agree() {
    let (mut decisions, mut reopened, mut epochs) = (0, 0, 0);
    for seed in 0..150 {
        let (world, _) = run(seed, false, false);
        decisions += world.decisions;
        reopened += world.reopened;
        epochs += world.epochs.len();
    }
    // The plans did something.
    assert!(decisions > 3000 && epochs > 400, "{decisions} decisions, {epochs} epochs");
    assert!(reopened > 0, "no decision was ever opened again");
}

#[test]
fn worlds_shared_with_java_are_safe_and_agree() {
    for seed in 1000..1150 {
        run(seed, true, false);
    }
}

#[test]
fn one_seed_is_one_course_of_events() {
    for (seed, java) in [(7, false), (8, true), (9, false)] {
        assert_eq!(run(seed, java, true).0.trace, run(seed, java, true).0.trace);
    }
    assert_ne!(run(7, false, true).0.trace, run(8, false, true).0.trace);
}

fn quick(voters: usize, java: u32) -> World {
    let shape = Shape { voters, java, observer: false, delay_us: 500, max_interval_ms: 60_000 };
    let mut world = World::new(77, shape);
    world.run_until_whole(30_000).expect("a first leader");
    world.run_until(world.now.plus_ms(2000));
    world
}

/// Kills the leader and waits for the next; how long after the last the next was established.
fn fail_over(world: &mut World) -> u64 {
    let leader = world.leader().expect("there is a leader");
    let killed = world.now;
    world.crash(leader);
    world.run_until_whole(5000).expect("another leader");
    world.established_at.ms_since(killed)
}

#[test]
fn without_java_a_leader_that_dies_is_replaced_without_waiting() {
    for voters in [3, 5, 7] {
        let took = fail_over(&mut quick(voters, 0));
        // 30 of them are the storage queue's in this world, and each role looks every 10.
        assert!(took < 90, "{voters} voters took {took} ms");
    }
}

#[test]
fn a_java_voter_is_given_its_time() {
    for voters in [3, 5] {
        let took = fail_over(&mut quick(voters, 1));
        assert!((200..1000).contains(&took), "{voters} voters took {took} ms");
    }
}

#[test]
fn a_voter_comes_back_under_the_leader_there_is() {
    for java in [0, 0b010, 0b101] {
        let mut world = quick(3, java);
        let leader = world.leader().expect("there is a leader");
        let other = (leader + 1) % 3;
        for _ in 0..3 {
            world.crash(other);
            world.run_until(world.now.plus_ms(50));
            world.restart(other);
            let took = world.run_until_whole(2000).expect("it comes back");
            assert_eq!(world.leader(), Some(leader), "nobody else had to look");
            assert!(took < 1000, "took {took} ms");
        }
    }
}

#[test]
fn a_whole_ensemble_that_lost_power_agrees_again() {
    for java in [0, 0b010] {
        let mut world = quick(5, java);
        for index in 0..5 {
            world.crash(index);
        }
        for index in 0..5 {
            world.run_until(world.now.plus_ms(7));
            world.restart(index);
        }
        let took = world.run_until_whole(5000).expect("a leader");
        assert!(took < 1500, "took {took} ms");
    }
}

#[test]
fn a_member_cut_off_from_all_comes_back_when_it_is_healed() {
    let mut world = quick(5, 0);
    let leader = world.leader().expect("there is a leader");
    for other in (0..5).filter(|other| *other != leader) {
        world.cut(leader, other);
    }
    world.run_until(world.now.plus_ms(10_000));
    for other in (0..5).filter(|other| *other != leader) {
        world.net.heal(leader, other);
    }
    world.run_until_whole(8000).expect("all of them");
    assert_ne!(world.leader(), Some(leader));
}
