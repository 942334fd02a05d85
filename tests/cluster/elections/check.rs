//! Whether a history is one that may be. Each checker says what it found, behind its name.

use std::collections::{BTreeMap, BTreeSet};

use zkd::base::{Instant, ServerId};
use zkd::peering::{PeerState, Vote};

use super::history::{Deed, Entry};
use super::plan::{Form, Kind, Plan};

pub type Violation = String;

/// How long a vote that has its quorum waits for a better one.
const FINALIZE_NS: u64 = 200_000_000;

/// All that can be judged by the history alone.
pub fn check(plan: &Plan, entries: &[Entry]) -> Result<(), Violation> {
    one_leader(plan, entries)?;
    one_leader_a_round(entries)?;
    one_leader_an_epoch(entries)?;
    best_of_its_quorum(plan, entries)?;
    early_with_reason(plan, entries)?;
    epochs_rise(entries)?;
    nothing_committed_is_left_behind(entries)
}

/// Never are two members at once followed by a quorum each, themselves included. Whoever has not
/// left the one follows it still.
pub fn one_leader(plan: &Plan, entries: &[Entry]) -> Result<(), Violation> {
    let mut follows: BTreeMap<usize, BTreeSet<ServerId>> = BTreeMap::new();
    for Entry { at, member, deed } in entries {
        match deed {
            Deed::Settled { leader, .. } => {
                follows.entry(*member).or_default().insert(*leader);
            }
            Deed::Left | Deed::Died => {
                follows.remove(member);
            }
            _ => continue,
        }
        let leads = |place: &usize| {
            let leader = ServerId(plan.members[*place].id);
            let followers = || follows.iter().filter(|(_, whom)| whom.contains(&leader));
            let itself = follows.get(place).is_some_and(|whom| whom.contains(&leader));
            itself && plan.is_enough(&followers().map(|(place, _)| *place).collect())
        };
        let leaders: Vec<usize> = (0..plan.members.len()).filter(leads).collect();
        if leaders.len() > 1 {
            return Err(format!("leaders: {leaders:?} at once, at {at:?}"));
        }
    }
    Ok(())
}

/// A member settles for one leader in a round. Rounds begin anew with the process, and where it
/// joins those who are in an older one.
pub fn one_leader_a_round(entries: &[Entry]) -> Result<(), Violation> {
    let mut leaders: BTreeMap<usize, BTreeMap<i64, ServerId>> = BTreeMap::new();
    for Entry { member, deed, .. } in entries {
        let of_member = leaders.entry(*member).or_default();
        match deed {
            Deed::Born | Deed::Decided { joined: true, .. } => of_member.clear(),
            Deed::Settled { leader, round, .. } => {
                let first = *of_member.entry(*round).or_insert(*leader);
                if first != *leader {
                    let (first, then) = (first.0, leader.0);
                    return Err(format!("rounds: {member} has {first} and {then} in {round}"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// An epoch has one leader for ever, whoever starts again.
pub fn one_leader_an_epoch(entries: &[Entry]) -> Result<(), Violation> {
    let mut leaders = BTreeMap::new();
    for Entry { member, deed, .. } in entries {
        let Deed::Established { epoch, .. } = deed else { continue };
        let first = *leaders.entry(*epoch).or_insert(*member);
        if first != *member {
            return Err(format!("epochs: {epoch} of {first} and of {member}"));
        }
    }
    Ok(())
}

/// What members had to do with a round.
#[derive(Default)]
struct Rounds {
    /// What they brought to it: epoch and zxid, of each life that came to it.
    brought: BTreeMap<(usize, i64), BTreeSet<(i64, i64)>>,
    /// Whom they have joined in it who were settled already. They say the same as those who have
    /// voted, whatever they brought.
    joined: BTreeSet<(usize, i64, ServerId)>,
}

/// A vote that was decided on is that of a candidate, with what it has, and none of those who made
/// it final had more when it voted in that round.
pub fn best_of_its_quorum(plan: &Plan, entries: &[Entry]) -> Result<(), Violation> {
    let mut rounds = Rounds::default();
    let mut now: BTreeMap<usize, (i64, i64)> = BTreeMap::new();
    let mut proposed: BTreeMap<usize, Vote> = BTreeMap::new();
    for Entry { member, deed, .. } in entries {
        match deed {
            Deed::Looks { zxid, epoch } => {
                now.insert(*member, (*epoch, *zxid));
            }
            Deed::Round(round) => {
                let standing = now.get(member).ok_or("history: a round of nobody who looks")?;
                rounds.brought.entry((*member, *round)).or_default().insert(*standing);
            }
            Deed::Proposes(vote) => {
                proposed.insert(*member, *vote);
            }
            Deed::Decided { vote, joined: true, .. } => {
                rounds.joined.insert((*member, vote.election_epoch, vote.leader));
                // Between this role and its next election a Java server says that it looks, and
                // votes in the round that it has joined for whom it proposed before.
                if let Some(old) = proposed.get(member).filter(|_| is_java(plan, *member))
                    && let Some(place) = plan.place_of(old.leader.0)
                {
                    let of_round = rounds.brought.entry((place, vote.election_epoch)).or_default();
                    of_round.insert((old.peer_epoch, old.zxid.0));
                }
            }
            // Looking voters tell who does not vote whom they followed last, and Java believes it.
            Deed::Decided { vote, supporters, .. } if !is_gullible(plan, *member) => {
                judge_decision(plan, &rounds, *member, (vote, supporters))?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_gullible(plan: &Plan, member: usize) -> bool {
    is_java(plan, member) && !plan.members[member].votes
}

fn is_java(plan: &Plan, member: usize) -> bool {
    plan.members[member].kind != Kind::Zkd
}

fn judge_decision(
    plan: &Plan,
    rounds: &Rounds,
    member: usize,
    (vote, supporters): (&Vote, &BTreeSet<ServerId>),
) -> Result<(), Violation> {
    let oldest = |place: usize| plan.members[place].kind == Kind::Java(Form::Bytes28);
    let place = |server: ServerId| plan.place_of(server.0).ok_or("best: a voter of no plan");
    let brought = |place: usize| {
        let of_round = rounds.brought.get(&(place, vote.election_epoch));
        of_round.into_iter().flatten().copied().collect::<Vec<(i64, i64)>>()
    };
    let places: BTreeSet<usize> =
        supporters.iter().map(|server| place(*server)).collect::<Result<_, &str>>()?;
    if !plan.is_enough(&places) {
        return Err(format!("best: {supporters:?} are not enough for {vote:?}"));
    }
    let leader = place(vote.leader)?;
    let of_vote = (vote.peer_epoch, vote.zxid.0);
    // What the oldest say of epochs is not what anybody has, and nor is what they hear.
    if places.iter().copied().chain([leader, member]).any(oldest) {
        return Ok(());
    }
    // Others may have heard of it from them.
    let is_retold = (0..plan.members.len()).any(oldest) && of_vote.0 == of_vote.1 >> 32;
    let is_of = |had: &(i64, i64)| had.1 == of_vote.1 && (had.0 == of_vote.0 || is_retold);
    if !brought(leader).iter().any(is_of) {
        return Err(format!("best: {vote:?} is not what {} brought", vote.leader.0));
    }
    for supporter in supporters {
        let at = place(*supporter)?;
        let weighs = !plan.is_grouped || plan.members[at].weight > 0;
        let joined = rounds.joined.contains(&(at, vote.election_epoch, vote.leader));
        let of_vote = (of_vote.0, of_vote.1, vote.leader);
        let had_less = |had: &(i64, i64)| (had.0, had.1, *supporter) <= of_vote;
        if weighs && !joined && !brought(at).iter().any(had_less) {
            return Err(format!("best: {vote:?}, though {} brought more", supporter.0));
        }
    }
    Ok(())
}

/// What a member knows of the others in the round it is in.
#[derive(Default)]
struct Ear {
    round: i64,
    proposal: Option<(Instant, Vote)>,
    /// In which round each was heard to look.
    looks: BTreeMap<ServerId, i64>,
    settled: BTreeSet<ServerId>,
    refused: BTreeSet<ServerId>,
}

/// Who decides before its vote has waited has heard all others: each has voted in this round or is
/// down, and is of zkd; or has settled.
pub fn early_with_reason(plan: &Plan, entries: &[Entry]) -> Result<(), Violation> {
    let mut ears: BTreeMap<usize, Ear> = BTreeMap::new();
    for Entry { at, member, deed } in entries {
        let ear = ears.entry(*member).or_default();
        match deed {
            Deed::Born => *ear = Ear::default(),
            // What was said before still counts, if it is of the new round.
            Deed::Looks { .. } => {
                ear.proposal = None;
                ear.settled.clear();
            }
            Deed::Round(round) => ear.round = *round,
            Deed::Proposes(vote) => ear.proposal = Some((*at, *vote)),
            Deed::Refused { server, is_so: true } => {
                ear.refused.insert(*server);
            }
            Deed::Refused { server, is_so: false } => {
                ear.refused.remove(server);
            }
            Deed::Heard { from, state, vote } => on_heard(ear, *from, *state, vote),
            Deed::Decided { vote, joined: false, .. } => {
                let since = ear.proposal.filter(|(_, proposal)| proposal.leader == vote.leader);
                let since = since.ok_or_else(|| format!("early: {vote:?} was never proposed"))?;
                if at.ns_since(since.0) < FINALIZE_NS {
                    judge_haste(plan, *member, ear)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn on_heard(ear: &mut Ear, from: ServerId, state: PeerState, vote: &Vote) {
    match state {
        // The last word counts: who has started again looks in an older round.
        PeerState::Looking => {
            ear.settled.remove(&from);
            ear.looks.insert(from, vote.election_epoch);
        }
        PeerState::Following | PeerState::Leading => {
            ear.settled.insert(from);
        }
        PeerState::Observing => {}
    }
}

fn judge_haste(plan: &Plan, member: usize, ear: &Ear) -> Result<(), Violation> {
    for (place, other) in plan.members.iter().enumerate() {
        let server = ServerId(other.id);
        if place == member || !other.votes || ear.settled.contains(&server) {
            continue;
        }
        let hurries = plan.is_early && other.kind == Kind::Zkd;
        let has_voted = ear.looks.get(&server).is_some_and(|round| *round >= ear.round);
        let heard = has_voted || ear.refused.contains(&server);
        if !hurries || !heard {
            let why = if hurries { "was not heard" } else { "takes its time" };
            return Err(format!("early: {member} does not wait for {place}, which {why}"));
        }
    }
    Ok(())
}

/// What is on a disk is not undone: epochs rise, and nobody follows in one it has not accepted.
pub fn epochs_rise(entries: &[Entry]) -> Result<(), Violation> {
    let mut had: BTreeMap<usize, (i64, i64)> = BTreeMap::new();
    for Entry { member, deed, .. } in entries {
        let Deed::Epochs { accepted, current } = deed else { continue };
        let before = had.insert(*member, (*accepted, *current)).unwrap_or((i64::MIN, i64::MIN));
        if *accepted < before.0 || *current < before.1 || current > accepted {
            return Err(format!("disk: {member} had {before:?}, has {accepted} and {current}"));
        }
    }
    Ok(())
}

/// Whoever is established has all that was committed before.
pub fn nothing_committed_is_left_behind(entries: &[Entry]) -> Result<(), Violation> {
    let mut committed = i64::MIN;
    for Entry { member, deed, .. } in entries {
        match deed {
            Deed::Committed { zxid } => committed = committed.max(*zxid),
            Deed::Established { zxid, .. } if *zxid < committed => {
                let gone = format!("0x{committed:x} is gone");
                return Err(format!("lost: {member} leads with 0x{zxid:x}, {gone}"));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use zkd::base::Zxid;

    use super::*;

    fn entry(ms: u64, member: usize, deed: Deed) -> Entry {
        Entry { at: Instant(0).plus_ms(ms), member, deed }
    }

    fn settled(member: usize, leader: i64) -> Entry {
        let leads = leader == member as i64 + 1;
        let role = if leads { PeerState::Leading } else { PeerState::Following };
        entry(1, member, Deed::Settled { role, leader: ServerId(leader), round: 4 })
    }

    fn vote(leader: i64, zxid: i64, round: i64, peer_epoch: i64) -> Vote {
        Vote { leader: ServerId(leader), zxid: Zxid(zxid), election_epoch: round, peer_epoch }
    }

    fn decided(ms: u64, member: usize, vote: Vote, supporters: &[i64]) -> Entry {
        let supporters = supporters.iter().map(|id| ServerId(*id)).collect();
        let role = PeerState::Following;
        entry(ms, member, Deed::Decided { vote, role, supporters, joined: false })
    }

    fn looks(member: usize, round: i64, epoch: i64, zxid: i64) -> [Entry; 2] {
        [entry(1, member, Deed::Looks { zxid, epoch }), entry(1, member, Deed::Round(round))]
    }

    fn heard(member: usize, from: i64, round: i64) -> Entry {
        let (state, vote) = (PeerState::Looking, vote(3, 9, round, 1));
        entry(2, member, Deed::Heard { from: ServerId(from), state, vote })
    }

    fn name(result: Result<(), Violation>) -> Option<String> {
        result.err().map(|text| text.split(':').next().expect("a name").to_owned())
    }

    #[test]
    fn two_leaders_with_a_quorum_each_are_not_let_pass() {
        let plan = Plan::calm(5);
        let good = vec![settled(4, 5), settled(0, 5), settled(1, 5), settled(2, 3), settled(3, 3)];
        assert_eq!(one_leader(&plan, &good), Ok(()), "one is not followed by enough");
        let left = [good.clone(), vec![entry(1, 0, Deed::Left), settled(0, 3)]].concat();
        assert_eq!(one_leader(&plan, &left), Ok(()));
        let died = [good.clone(), vec![entry(1, 4, Deed::Died), settled(0, 3)]].concat();
        assert_eq!(one_leader(&plan, &died), Ok(()));
        let bad = [good, vec![settled(0, 3)]].concat();
        assert_eq!(name(one_leader(&plan, &bad)).as_deref(), Some("leaders"));
    }

    #[test]
    fn two_leaders_in_one_round_are_not_let_pass() {
        let (first, then) = (settled(0, 5), settled(0, 3));
        let between = |deed| [first.clone(), entry(1, 0, deed), then.clone()];
        let other = Deed::Settled { role: PeerState::Following, leader: ServerId(3), round: 5 };
        assert_eq!(one_leader_a_round(&[first.clone(), entry(1, 0, other)]), Ok(()));
        assert_eq!(one_leader_a_round(&between(Deed::Born)), Ok(()));
        let mut joins = decided(1, 0, vote(3, 1, 4, 1), &[3, 4, 5]);
        let Deed::Decided { joined, .. } = &mut joins.deed else { panic!("it decides") };
        *joined = true;
        assert_eq!(one_leader_a_round(&between(joins.deed)), Ok(()));
        let bad = one_leader_a_round(&between(Deed::Left));
        assert_eq!(name(bad).as_deref(), Some("rounds"));
    }

    #[test]
    fn an_epoch_of_two_leaders_is_not_let_pass() {
        let established =
            |member, epoch| entry(1, member, Deed::Established { epoch, zxid: 1, epoch_before: 0 });
        let good = [established(1, 4), established(2, 5), established(1, 6), established(1, 6)];
        assert_eq!(one_leader_an_epoch(&good), Ok(()));
        let bad = [established(1, 4), established(2, 5), established(2, 4)];
        assert_eq!(name(one_leader_an_epoch(&bad)).as_deref(), Some("epochs"));
    }

    #[test]
    fn a_leader_that_is_not_the_best_of_its_quorum_is_not_let_pass() {
        let plan = Plan::calm(3);
        let rounds = [looks(0, 4, 1, 7), looks(1, 4, 1, 5), looks(2, 4, 1, 5)].concat();
        let judge = |more: &[Entry]| {
            name(best_of_its_quorum(&plan, &[rounds.clone(), more.to_vec()].concat()))
        };
        assert_eq!(judge(&[decided(3, 0, vote(1, 7, 4, 1), &[1, 2])]), None);
        assert_eq!(judge(&[decided(3, 1, vote(3, 5, 4, 1), &[2, 3])]), None, "1 was not heard");
        let bad = Some("best".to_owned());
        assert_eq!(judge(&[decided(3, 1, vote(3, 5, 4, 1), &[1, 3])]), bad, "1 has more");
        assert_eq!(judge(&[decided(3, 1, vote(2, 5, 4, 1), &[2, 3])]), bad, "3 is greater");
        assert_eq!(judge(&[decided(3, 1, vote(3, 9, 4, 1), &[2, 3])]), bad, "3 has not so much");
        assert_eq!(judge(&[decided(3, 1, vote(3, 5, 3, 1), &[2, 3])]), bad, "another round");
        assert_eq!(judge(&[decided(3, 1, vote(3, 5, 4, 1), &[3])]), bad, "one is not enough");
        // It does not vote for 2: it has joined those who follow it.
        let joins = |mut entry: Entry| {
            if let Deed::Decided { joined, .. } = &mut entry.deed {
                *joined = true;
            }
            entry
        };
        let join = joins(decided(2, 2, vote(2, 5, 4, 1), &[1, 2]));
        assert_eq!(judge(&[join.clone(), decided(3, 1, vote(2, 5, 4, 1), &[2, 3])]), None);
        assert_eq!(judge(&[join, decided(3, 1, vote(2, 5, 5, 1), &[2, 3])]), bad, "not then");
        // It had less when it voted, and more when it came to that round again.
        let again = [looks(1, 1, 1, 9), looks(1, 4, 1, 9)].concat();
        assert_eq!(judge(&[again, vec![decided(3, 0, vote(3, 5, 4, 1), &[2, 3])]].concat()), None);
    }

    #[test]
    fn what_the_oldest_hear_of_epochs_is_nobody_s() {
        let mut plan = Plan::calm(3);
        let (zxid, of_zxid) = (0x2_0000_0007, 2);
        let rounds = [looks(0, 4, 3, zxid), looks(1, 4, 3, zxid), looks(2, 4, 3, zxid)].concat();
        let judge = |plan: &Plan, member, epoch| {
            let end = vec![decided(3, member, vote(2, zxid, 4, epoch), &[1, 2])];
            name(best_of_its_quorum(plan, &[rounds.clone(), end].concat()))
        };
        let bad = Some("best".to_owned());
        assert_eq!((judge(&plan, 0, 3), judge(&plan, 2, 3)), (None, None));
        assert_eq!((judge(&plan, 0, of_zxid), judge(&plan, 2, 1)), (bad.clone(), bad.clone()));
        // The third says it, whoever believes it; itself, it hears nothing else.
        plan.members[2].kind = Kind::Java(Form::Bytes28);
        assert_eq!((judge(&plan, 2, of_zxid), judge(&plan, 2, 1)), (None, None));
        assert_eq!((judge(&plan, 1, 1), judge(&plan, 1, 3)), (bad, None));
    }

    #[test]
    fn haste_without_reason_is_not_let_pass() {
        let mut plan = Plan::calm(3);
        let own = vote(3, 9, 4, 1);
        let began = [looks(2, 4, 1, 9).to_vec(), vec![entry(1, 2, Deed::Proposes(own))]].concat();
        let judge = |plan: &Plan, more: &[Entry], ms| {
            let end = vec![decided(ms, 2, own, &[2, 3])];
            name(early_with_reason(plan, &[began.clone(), more.to_vec(), end].concat()))
        };
        let refused = |is_so| entry(2, 2, Deed::Refused { server: ServerId(1), is_so });
        let bad = Some("early".to_owned());
        assert_eq!(judge(&plan, &[heard(2, 2, 4)], 201), None, "it has waited");
        assert_eq!(judge(&plan, &[heard(2, 2, 4)], 200), bad);
        assert_eq!(judge(&plan, &[heard(2, 2, 4), heard(2, 1, 4)], 3), None);
        assert_eq!(judge(&plan, &[heard(2, 2, 4), heard(2, 1, 3)], 3), bad, "an older round");
        assert_eq!(judge(&plan, &[heard(2, 2, 4), refused(true)], 3), None);
        assert_eq!(judge(&plan, &[heard(2, 2, 4), refused(true), refused(false)], 3), bad);
        plan.members[0].kind = Kind::Java(Form::Version2);
        assert_eq!(judge(&plan, &[heard(2, 2, 4), heard(2, 1, 4)], 3), bad, "Java waits");
    }

    #[test]
    fn epochs_that_fall_are_not_let_pass() {
        let epochs = |accepted, current| entry(1, 0, Deed::Epochs { accepted, current });
        assert_eq!(epochs_rise(&[epochs(2, 1), epochs(3, 3), epochs(3, 3)]), Ok(()));
        for bad in [[epochs(3, 1), epochs(2, 2)], [epochs(3, 3), epochs(4, 2)]] {
            assert_eq!(name(epochs_rise(&bad)).as_deref(), Some("disk"));
        }
        assert_eq!(name(epochs_rise(&[epochs(2, 3)])).as_deref(), Some("disk"));
    }

    #[test]
    fn a_leader_without_what_was_committed_is_not_let_pass() {
        let established = |zxid| entry(1, 0, Deed::Established { epoch: 4, zxid, epoch_before: 0 });
        let committed = entry(1, 1, Deed::Committed { zxid: 8 });
        let judge =
            |zxid| name(nothing_committed_is_left_behind(&[committed.clone(), established(zxid)]));
        assert_eq!((judge(8), judge(7).as_deref()), (None, Some("lost")));
    }
}
