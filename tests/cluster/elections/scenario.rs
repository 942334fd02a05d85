//! Scripted elections: each names the failure that must not happen.

use std::collections::BTreeSet;

use zkd::base::{Instant, ServerId};
use zkd::peering::PeerState;

use super::cluster::{Cluster, run};
use super::history::{Deed, Entry};
use super::plan::Fault;
use super::plan::Form::{Bytes28, Bytes40, Version1, Version2};
use super::plan::Kind::{Java, Zkd};
use super::plan::{MemberPlan, Plan};

/// Longer than an election with all its waits takes where nothing goes wrong.
const SOON_MS: u64 = 1500;

fn all(cluster: &Cluster) -> Vec<usize> {
    (0..cluster.plan.members.len()).collect()
}

/// These start at once, and agree.
fn began(plan: &Plan, members: &[usize]) -> Cluster {
    let mut cluster = Cluster::new(plan);
    members.iter().for_each(|member| cluster.start(*member));
    agree(&mut cluster, members);
    // So long that their links are not new any more.
    cluster.pass(300);
    agree(&mut cluster, members);
    cluster
}

fn agree(cluster: &mut Cluster, members: &[usize]) -> u64 {
    match cluster.agree(members, SOON_MS) {
        Ok(ms) => ms,
        Err(why) => panic!("{why}\n{}", cluster.history().tail()),
    }
}

/// Who leads, by its id.
fn leader(cluster: &Cluster) -> i64 {
    let leads = |place: &usize| {
        cluster.status(*place).is_some_and(|status| status.role == PeerState::Leading)
    };
    let leaders: Vec<usize> = all(cluster).into_iter().filter(leads).collect();
    assert_eq!(leaders.len(), 1, "one leads: {leaders:?}");
    cluster.plan.members[leaders[0]].id
}

fn kill(cluster: &mut Cluster, member: usize, ms: u64) {
    cluster.strike(Fault::Kill { member, ms });
}

/// What these have done since then.
fn since<'c>(
    cluster: &'c Cluster,
    from: Instant,
    members: &'c [usize],
) -> impl Iterator<Item = &'c Entry> {
    let entries = cluster.history().entries.iter();
    entries.filter(move |entry| entry.at >= from && members.contains(&entry.member))
}

/// Nobody of these has left its role since then.
fn stayed(cluster: &Cluster, from: Instant, members: &[usize]) {
    let left: Vec<&Entry> =
        since(cluster, from, members).filter(|entry| entry.deed == Deed::Left).collect();
    assert!(left.is_empty(), "no reason to leave: {left:?}\n{}", cluster.history().tail());
}

/// How long after its own proposal each of these elections was decided, without those who joined.
fn waits_ms(cluster: &Cluster, from: Instant) -> Vec<u64> {
    let mut waits = Vec::new();
    for member in all(cluster) {
        let mut proposed = from;
        for entry in since(cluster, from, &[member]) {
            match entry.deed {
                Deed::Proposes(_) => proposed = entry.at,
                Deed::Decided { joined: false, .. } => waits.push(entry.at.ms_since(proposed)),
                _ => {}
            }
        }
    }
    waits
}

/// ZK-1732, ZK-1818, ZK-3537: members that restarted quickly tell other rounds, zxids and epochs of
/// the same leader than those who stayed. Whoever comes late must join all the same, whatever the
/// versions, and nobody else may be disturbed.
#[test]
fn zk_1818_who_restarts_quickly_rejoins_an_established_ensemble() {
    let kinds = [Zkd, Java(Version2), Java(Version1), Java(Bytes40)];
    for leading in kinds {
        for following in kinds {
            let mut plan = Plan::calm(5);
            plan.members[4].kind = leading;
            (plan.members[0].kind, plan.members[1].kind) = (following, following);
            let mut cluster = began(&plan, &[1, 2, 3, 4]);
            assert_eq!(leader(&cluster), 5);
            let began = cluster.now();
            for turn in 0..6 {
                cluster.strike(Fault::Txns { count: 2 });
                // The fourth and the leader stay, with the round of the first election.
                kill(&mut cluster, 1 + turn % 2, 5 + 60 * turn as u64);
                cluster.pass(6 + 60 * turn as u64);
                agree(&mut cluster, &[1, 2, 3, 4]);
            }
            cluster.start(0);
            agree(&mut cluster, &[0, 1, 2, 3, 4]);
            for member in [0, 1, 0, 0, 2, 1] {
                kill(&mut cluster, member, 3);
                cluster.pass(4);
                agree(&mut cluster, &[0, 1, 2, 3, 4]);
            }
            stayed(&cluster, began, &[3, 4]);
            cluster.judge().expect("nothing else is wrong");
        }
    }
}

/// ZK-1732 again: the leader itself restarts before its followers have noticed, and finds them
/// settled for what it was.
#[test]
fn zk_1732_a_leader_that_restarts_quickly_is_not_followed_by_its_past() {
    for kind in [Zkd, Java(Version2)] {
        for ms in [1, 3, 20, 150] {
            let mut plan = Plan::calm(3);
            plan.members[0].kind = kind;
            let mut cluster = began(&plan, &[0, 1, 2]);
            // Nobody hears that it is gone.
            for other in [0, 1] {
                cluster.strike(Fault::Clog { from: 2, to: other, ms: 60 });
            }
            kill(&mut cluster, 2, ms);
            cluster.pass(200);
            agree(&mut cluster, &[0, 1, 2]);
            cluster.judge().expect("nothing is wrong");
        }
    }
}

/// ZK-1154, as far as elections go: the server with the highest zxid was away when the others
/// elected a leader. It follows whom they have, and gives up what it has more.
#[test]
fn a_late_server_with_the_highest_zxid_follows_whom_the_others_have() {
    for kind in [Zkd, Java(Version2)] {
        let mut plan = Plan::calm(3);
        plan.members[2].zxid += 4;
        plan.members[2].kind = kind;
        let mut cluster = began(&plan, &[0, 1]);
        assert_eq!(leader(&cluster), 2);
        cluster.strike(Fault::Txns { count: 1 });
        let late = cluster.now();
        cluster.start(2);
        agree(&mut cluster, &[0, 1, 2]);
        assert_eq!((leader(&cluster), cluster.zxid(2)), (2, cluster.zxid(1)));
        stayed(&cluster, late, &[0, 1]);
        // While the others have not decided, it is the best there is.
        let mut cluster = Cluster::new(&plan);
        (0..3).for_each(|member| cluster.start(member));
        agree(&mut cluster, &[0, 1, 2]);
        assert_eq!(leader(&cluster), 3);
    }
}

/// Only what the greater id has dialled stays, so the smaller one says that it is there and is
/// dialled back. One link stays between two servers, and none is made over and over.
#[test]
fn a_smaller_id_that_dials_is_dialled_back_and_one_link_stays() {
    for kinds in [[Zkd, Zkd], [Zkd, Java(Version2)], [Java(Version2), Zkd]] {
        for late in [0, 1] {
            let mut plan = Plan::calm(2);
            (plan.members[0].kind, plan.members[1].kind) = (kinds[0], kinds[1]);
            let mut cluster = Cluster::new(&plan);
            cluster.start(1 - late);
            cluster.pass(700);
            cluster.start(late);
            agree(&mut cluster, &[0, 1]);
            cluster.pass(5000);
            let network = cluster.network();
            // One for the election, one for the follower.
            assert_eq!(network.alive_between(0, 1).len(), 2);
            assert!(network.counters["connections made"] <= 4, "{:?}", network.counters);
        }
    }
}

/// Members are who they are by their ids: an address may change at any time, and the name follow
/// later, while somebody else answers where it was.
#[test]
fn a_member_whose_address_changes_takes_part_in_the_next_election() {
    for moved in 0..3 {
        for (refused, kind) in [(false, Zkd), (true, Zkd), (false, Java(Version2))] {
            let mut plan = Plan::calm(3);
            plan.give_up_ms = 1000;
            plan.members[(moved + 1) % 3].kind = kind;
            let mut cluster = began(&plan, &[0, 1, 2]);
            cluster.strike(Fault::Move { member: moved, ms: 400, refused });
            cluster.pass(5000);
            agree(&mut cluster, &[0, 1, 2]);
            // It is needed now.
            let other = if leader(&cluster) == 3 { 2 } else { 1 };
            let other = if other == moved { (moved + 1) % 3 } else { other };
            kill(&mut cluster, other, 60_000);
            let rest: Vec<usize> = (0..3).filter(|member| *member != other).collect();
            let agreed = cluster.agree(&rest, 8000);
            assert!(agreed.is_ok(), "{moved} {refused} {kind:?}: {agreed:?}\n{}", {
                cluster.history().tail()
            });
        }
    }
}

/// Nothing waits for a name, the server's own included: what can be elected without it is, and it
/// joins as soon as it can be found.
#[test]
fn a_server_whose_own_name_does_not_resolve_yet_joins_when_it_does() {
    for (member, kind) in [(0, Zkd), (1, Zkd), (2, Zkd), (0, Java(Version2)), (2, Java(Version2))] {
        let mut plan = Plan::calm(3);
        plan.members[(member + 1) % 3].kind = kind;
        let mut cluster = Cluster::new(&plan);
        cluster.strike(Fault::Nameless { member, ms: 20_000 });
        let others: Vec<usize> = (0..3).filter(|other| *other != member).collect();
        cluster.start(member);
        others.iter().for_each(|other| cluster.start(*other));
        if member != 2 {
            agree(&mut cluster, &others);
        }
        cluster.pass(20_000);
        let agreed = cluster.agree(&[0, 1, 2], 5000);
        assert!(agreed.is_ok(), "{member} {kind:?}: {agreed:?}\n{}", cluster.history().tail());
        cluster.judge().expect("nothing is wrong");
    }
}

/// A vote waits for a better one unless none can be on its way.
#[test]
fn an_election_waits_only_where_a_better_vote_may_be_on_its_way() {
    let early = |plan: &Plan| waits_ms(&began(plan, &[0, 1, 2]), Instant(0));
    let plan = Plan::calm(3);
    assert!(early(&plan).iter().all(|ms| *ms < 20), "all have voted: {:?}", early(&plan));
    let slow = Plan { is_early: false, ..Plan::calm(3) };
    assert!(early(&slow).iter().all(|ms| *ms >= 200), "nothing is known: {:?}", early(&slow));
    let mut mixed = Plan::calm(3);
    mixed.members[0].kind = Java(Version2);
    assert!(early(&mixed).iter().all(|ms| *ms >= 200), "Java waits: {:?}", early(&mixed));
    // One is down. Where its machine says so, nobody waits; where nothing answers, it may come.
    for (power, waited) in [(false, false), (true, true)] {
        let mut cluster = began(&plan, &[0, 1, 2]);
        let from = cluster.now();
        match power {
            false => kill(&mut cluster, 2, 60_000),
            true => cluster.strike(Fault::PowerCut { member: 2, ms: 60_000 }),
        }
        cluster.pass(if power { 1500 } else { 1 });
        agree(&mut cluster, &[0, 1]);
        let waits = waits_ms(&cluster, from);
        assert!(!waits.is_empty() && waits.iter().all(|ms| (*ms >= 200) == waited), "{waits:?}");
        cluster.judge().expect("nothing is wrong");
    }
}

/// What a server has said of itself holds for its link: who starts under its id next may be a
/// server of Java, which is given its time, and the other way round.
#[test]
fn who_is_replaced_by_java_under_its_id_is_waited_for() {
    for (replaced, before, after) in [(0, Zkd, Java(Version2)), (1, Java(Version2), Zkd)] {
        for ms in [1, 50, 500] {
            let mut plan = Plan::calm(3);
            plan.members[replaced].kind = before;
            let mut cluster = began(&plan, &[0, 1, 2]);
            kill(&mut cluster, replaced, ms);
            cluster.plan.members[replaced].kind = after;
            cluster.pass(ms + 1);
            agree(&mut cluster, &[0, 1, 2]);
            // So long that their links are not new any more.
            cluster.pass(300);
            let from = cluster.now();
            kill(&mut cluster, 2, 60_000);
            cluster.pass(1);
            agree(&mut cluster, &[0, 1]);
            // Java may have waited long enough a moment before who hears of it.
            let waits = waits_ms(&cluster, from);
            let waited = |ms: &u64| if after == Zkd { *ms < 20 } else { *ms >= 190 };
            assert!(!waits.is_empty() && waits.iter().all(waited), "{after:?} {ms}: {waits:?}");
        }
    }
}

/// From the leader's end to the next one that is established.
#[test]
fn a_killed_leader_is_replaced_within_some_ten_milliseconds() {
    for voters in [3, 5, 7] {
        let plan = Plan::calm(voters);
        let everybody: Vec<usize> = (0..voters as usize).collect();
        let mut cluster = began(&plan, &everybody);
        kill(&mut cluster, voters as usize - 1, 60_000);
        let survivors = &everybody[..voters as usize - 1];
        cluster.pass(1);
        let ms = agree(&mut cluster, survivors);
        assert!(ms <= 60, "{voters} voters: {ms} ms\n{}", cluster.history().tail());
    }
}

/// One that was cut off for long has looked alone all the time. Nobody is disturbed by its return.
#[test]
fn who_was_cut_off_comes_back_without_disturbing_anybody() {
    for kind in [Zkd, Java(Version2)] {
        let mut plan = Plan::calm(3);
        plan.longest_pause_ms = 3200;
        plan.members[1].kind = kind;
        let mut cluster = began(&plan, &[0, 1, 2]);
        for member in [1, 0] {
            let from = cluster.now();
            let both_ways = member == 0;
            cluster.strike(Fault::Partition { side: vec![member], both_ways, ms: 15_000 });
            cluster.pass(15_000);
            let agreed = cluster.agree(&[0, 1, 2], 20_000);
            assert!(agreed.is_ok(), "{agreed:?}\n{}", cluster.history().tail());
            stayed(&cluster, from, &[2]);
            assert_eq!(leader(&cluster), 3);
        }
        cluster.judge().expect("nothing is wrong");
    }
}

/// Who weighs nothing never leads, whatever it has; without groups everybody weighs the same.
#[test]
fn a_member_without_weight_never_leads() {
    let mut plan = Plan::calm(4);
    plan.members[3].zxid += 9;
    let cluster = began(&plan, &[0, 1, 2, 3]);
    assert_eq!(leader(&cluster), 4);
    plan.is_grouped = true;
    plan.members[3].weight = 0;
    for kind in [Zkd, Java(Version2)] {
        plan.members[1].kind = kind;
        let cluster = began(&plan, &[0, 1, 2, 3]);
        assert_eq!(leader(&cluster), 3);
    }
}

/// Groups: two of three groups, each by most of its weight. The third may be down as a whole.
#[test]
fn groups_elect_without_one_group_and_not_without_two() {
    let mut plan = Plan::calm(6);
    plan.is_grouped = true;
    for (place, member) in plan.members.iter_mut().enumerate() {
        member.group = place as i64 / 2;
        member.weight = 1 + place as u32 % 2;
    }
    // The heavier one of a group is enough for it.
    let cluster = began(&plan, &[1, 3]);
    assert_eq!(leader(&cluster), 4);
    let mut cluster = Cluster::new(&plan);
    [0, 2, 4, 5].iter().for_each(|member| cluster.start(*member));
    assert!(cluster.agree(&[4, 5], 5000).is_err(), "one group is none");
    cluster.start(1);
    agree(&mut cluster, &[0, 1, 2, 4, 5]);
}

/// ZK-4886: an observer with the smallest id, or the greatest, is answered and finds the leader,
/// and again when there is another.
#[test]
fn zk_4886_an_observer_of_any_id_finds_every_leader() {
    for observer in [0, 3] {
        for kind in [Zkd, Java(Version2)] {
            let mut plan = Plan::calm(4);
            plan.members[observer].votes = false;
            plan.members[observer].kind = kind;
            let mut cluster = began(&plan, &[0, 1, 2, 3]);
            let leads = plan.place_of(leader(&cluster)).expect("a member");
            assert_ne!(leads, observer);
            let role = cluster.status(observer).expect("it has a role").role;
            assert_eq!(role, PeerState::Observing);
            kill(&mut cluster, leads, 60_000);
            let rest: Vec<usize> = (0..4).filter(|member| *member != leads).collect();
            cluster.pass(1);
            agree(&mut cluster, &rest);
        }
    }
}

/// Before 3.4 nobody told epochs: such a member joins those who have settled, and is not needed.
#[test]
fn a_member_of_the_oldest_kind_joins() {
    let mut plan = Plan::calm(3);
    plan.members[0].kind = Java(Bytes28);
    plan.members[0].epoch = 0;
    let mut cluster = began(&plan, &[1, 2]);
    cluster.start(0);
    agree(&mut cluster, &[0, 1, 2]);
}

/// A server whose data is not to be trusted has no vote, and gets what the others have.
#[test]
fn a_server_without_trusted_data_joins_and_does_not_count() {
    for kind in [Zkd, Java(Version2)] {
        let mut plan = Plan::calm(3);
        plan.members[2].zxid = -1;
        plan.members[2].kind = kind;
        let mut cluster = Cluster::new(&plan);
        [0, 2].iter().for_each(|member| cluster.start(*member));
        let agreed = cluster.agree(&[0, 2], 3000);
        assert!(agreed.is_err(), "one of three votes\n{}", cluster.history().tail());
        cluster.start(1);
        // It has not counted the votes, so it has to ask again: its pause is long by now.
        let agreed = cluster.agree(&[0, 1, 2], 5000);
        assert!(agreed.is_ok(), "{agreed:?}\n{}", cluster.history().tail());
        assert_eq!((leader(&cluster), cluster.zxid(2)), (2, cluster.zxid(1)));
    }
}

/// A leader that stood still is not followed any more, and follows when it wakes.
#[test]
fn a_leader_that_stood_still_follows_the_next_one() {
    for ms in [900, 2500, 9000] {
        let plan = Plan::calm(5);
        let mut cluster = began(&plan, &[0, 1, 2, 3, 4]);
        cluster.strike(Fault::Pause { member: 4, ms });
        cluster.pass(ms + 1);
        let agreed = cluster.agree(&[0, 1, 2, 3, 4], 5000);
        assert!(agreed.is_ok(), "{agreed:?}\n{}", cluster.history().tail());
        cluster.judge().expect("nothing is wrong");
        let leaders: BTreeSet<ServerId> =
            (0..5).filter_map(|place| cluster.status(place)).map(|status| status.leader).collect();
        assert_eq!(leaders.len(), 1);
    }
}

/// A plan as it is printed.
#[test]
fn a_plan_of_nothing_agrees() {
    for voters in 1..8 {
        let outcome = run(&Plan::calm(voters));
        assert_eq!(outcome.violation, None);
        assert!(outcome.agreed_ms < 50, "{voters} voters: {}", outcome.agreed_ms);
    }
    let lone = Plan { members: vec![MemberPlan::voter(9, Java(Version2))], ..Plan::calm(1) };
    assert_eq!(run(&lone).violation, None);
}
