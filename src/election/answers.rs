//! What each server was answered last, so that no two go on answering each other.
//!
//! A voter answers whoever does not vote, and whoever looks calls those behind it into its round:
//! two servers that see each other so would talk as fast as their links carry it, until one of
//! them has a leader. The same words are not answered alike again before a pause has passed.

use std::collections::BTreeMap;

use crate::base::limits::ELECTION_ANSWERS;
use crate::base::{Instant, ServerId};
use crate::peering::{Notification, PeerState, Vote};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Words {
    heard: (PeerState, Vote),
    said: (PeerState, Vote),
}

#[derive(Debug, Default)]
pub(super) struct Answers(BTreeMap<ServerId, (Words, Instant)>);

impl Answers {
    /// Whether this is to be said, which was said before only if something has changed since, or
    /// if the pause has passed.
    pub fn are_due(
        &mut self,
        now: Instant,
        to: ServerId,
        (heard, said): (&Notification, &Notification),
        pause_ms: u64,
    ) -> bool {
        let words = Words { heard: (heard.state, heard.vote), said: (said.state, said.vote) };
        let is_same = |(last, at): &(Words, Instant)| *last == words && now < at.plus_ms(pause_ms);
        if self.0.get(&to).is_some_and(is_same) {
            return false;
        }
        self.0.insert(to, (words, now));
        if self.0.len() > ELECTION_ANSWERS {
            let oldest = self.0.iter().min_by_key(|(server, (_, at))| (*at, **server));
            let oldest = oldest.map(|(server, _)| *server).expect("there are many");
            self.0.remove(&oldest);
        }
        true
    }

    /// Its link is another: what was said on the last one may be lost.
    pub fn forget(&mut self, server: ServerId) {
        self.0.remove(&server);
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use crate::base::Zxid;

    use super::super::fast_tests::{Bench, decided, electorate, majority, vote};
    use super::super::{ElectionOutput, Reach, Standing};
    use super::*;

    const STANDING: Standing = Standing { zxid: Zxid(0x500), peer_epoch: 4 };

    /// One for whom these vote, and who has been through so many elections.
    fn server(me: i64, voters: &[i64], round: i64) -> Bench {
        let observer = !voters.contains(&me);
        let mut bench = Bench::new(me, electorate(majority(voters), None), observer, STANDING);
        for _ in 1..round {
            bench.election.stand_down(&mut bench.out);
            bench.election.start(bench.now, STANDING, &mut bench.out);
        }
        bench
    }

    /// What two say to each other before the clock moves, if they ever stop.
    fn talk(servers: &mut [(i64, Bench); 2], first: usize, word: Notification) -> usize {
        let mut said = VecDeque::from([(first, word)]);
        let mut count = 0;
        while let Some((from, word)) = said.pop_front() {
            count += 1;
            assert!(count < 20, "they answer each other for ever");
            let speaker = servers[from].0;
            let (me, listener) = &mut servers[1 - from];
            assert_ne!(*me, speaker);
            for output in listener.hear_word(speaker, word) {
                if let ElectionOutput::Tell { to, notification } = output
                    && to.0 == speaker
                {
                    said.push_back((1 - from, notification));
                }
            }
        }
        count
    }

    fn talks(mut servers: [(i64, Bench); 2]) -> [usize; 2] {
        let word = servers[0].1.election.proposal_word();
        let before = talk(&mut servers, 0, word.clone());
        for (_, bench) in &mut servers {
            bench.now = bench.now.plus_ms(200);
        }
        [before, talk(&mut servers, 0, word)]
    }

    #[test]
    fn who_looks_in_another_round_and_does_not_vote_is_answered_once() {
        for (voter, observer) in [(1, 7), (7, 1), (3, 3)] {
            let all = [1, 2, 3];
            let found = talks([(9, server(9, &all, observer)), (1, server(1, &all, voter))]);
            assert_eq!(found, [2, 2], "rounds {voter} and {observer}");
        }
    }

    #[test]
    fn a_settled_observer_and_a_voter_that_looks_fall_silent() {
        let had = vote(3, 0x500, 1, 4);
        let mut observer = server(9, &[1, 2, 3], 1);
        observer.hear(2, PeerState::Following, had);
        assert!(decided(&observer.hear(3, PeerState::Leading, had)).is_some());
        let servers = [(1, server(1, &[1, 2, 3], 2)), (9, observer)];
        assert!(talks(servers).iter().all(|count| *count <= 4));
    }

    #[test]
    fn members_of_two_configurations_fall_silent() {
        // Neither knows that the other votes; and one knows that the other does.
        for theirs in [&[4, 5, 6][..], &[1, 2, 3, 4, 5]] {
            for (mine, other) in [(1, 7), (7, 1)] {
                let servers = [(1, server(1, &[1, 2, 3], mine)), (4, server(4, theirs, other))];
                assert!(talks(servers).iter().all(|count| *count <= 6));
            }
        }
    }

    #[test]
    fn what_has_changed_is_said_at_once_and_a_new_link_forgets() {
        let mut bench = server(1, &[1, 2, 3], 1);
        let asked = vote(9, 0x999, 1, 9);
        let answers = |out: &[ElectionOutput]| {
            out.iter().filter(|output| matches!(output, ElectionOutput::Tell { .. })).count()
        };
        assert_eq!(answers(&bench.hear(9, PeerState::Looking, asked)), 1);
        assert_eq!(answers(&bench.hear(9, PeerState::Looking, asked)), 0, "nothing is new");
        let later = Vote { election_epoch: 2, ..asked };
        assert_eq!(answers(&bench.hear(9, PeerState::Looking, later)), 1, "it asks something else");
        bench.reach(9, Reach::Linked);
        assert_eq!(answers(&bench.hear(9, PeerState::Looking, later)), 1, "it may be lost");
        bench.now = bench.now.plus_ms(200);
        assert_eq!(answers(&bench.hear(9, PeerState::Looking, later)), 1, "it asks again");
    }

    #[test]
    fn so_many_are_known_and_no_more() {
        let mut bench = server(1, &[1, 2, 3], 1);
        for from in 0..2 * ELECTION_ANSWERS as i64 {
            bench.hear(1000 + from, PeerState::Looking, vote(9, 0x999, 1, 9));
            assert!(bench.election.answers.0.len() <= ELECTION_ANSWERS);
        }
    }
}
