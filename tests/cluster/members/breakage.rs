//! Deliberate mistakes that checkers must notice: of a member's disk and threads, and of what it
//! says to others.

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Breakage {
    #[default]
    None,
    /// Syncs do nothing.
    NoSync,
    /// Commands are told durable as soon as they are handed over.
    AckBeforeSync,
    /// The current epoch is on disk before the txns that were handed over before it.
    EpochBeforeTxns,
    /// Now and then an append is left out, though it is told durable.
    AppendLost,
    /// Accepted epochs are told durable and never written.
    EpochForgotten,
    /// A server thinks that it has one txn more than there is on its disk.
    VoteAboveDisk,
    /// Nothing is written of what a learner logs while it is brought up, though all of it is told
    /// durable.
    SyncAppendsLost,
    /// What was handed over last before a cut is written once more behind it, as by a log thread
    /// that outlives its role.
    OldThreadLives,
    /// A disk that fails passes for one that does not.
    ErrorsSwallowed,
    /// Cuts are told to be done.
    CutsNothing,
    /// One txn more goes than should.
    CutsOneMore,
    /// What follows a cut is written where the log ended before it.
    AppendsAtOldPlace,
    /// Images have their names before they are on disk.
    ImageNotSynced,
    /// A server does not start whose log is ahead of its current epoch.
    RefusesNewerTxns,
    /// The ACK of a proposal overtakes that of NEWLEADER.
    AcksOvertake,
    /// A leader leaves out the last txn of what it began with.
    LastOfHistoryLost,
    /// COMMITs between NEWLEADER and UPTODATE are lost.
    CommitsInSyncLost,
    /// A learner says that it has one txn more than it has.
    AckEpochAhead,
    /// An image claims to hold the txn that follows its last one.
    ImageClaimsMore,
    /// NEWLEADER overtakes what follows an image.
    NewLeaderEarly,
    /// A learner does not say whom it has heard.
    TouchesLost,
    /// A learner says that it has heard every session there is.
    TouchesInvented,
    /// Two learners are let in, and nobody else is.
    AcceptorDies,
    /// A learner takes a proposal for committed.
    ReplyBeforeCommit,
    /// A leader takes a learner's ACK for given as soon as it has proposed.
    AckForeseen,
    /// A learner that was not told a proposal goes on with the next one, where now and then one is
    /// lost.
    ContinuitySkipped,
    /// A leader forgets whom its learners have heard.
    ExpiresEarly,
    /// Members' own images hold the txn that follows, by their names.
    ImageAboveCommitted,
    /// Now and then an event is not told.
    WatchLost,
    /// Events are told twice.
    EventTwice,
    /// Events come behind the answer that shows what they tell.
    EventLate,
    /// Watches that are asked for once more are forgotten.
    WatchesForgotten,
    /// Now and then a request is answered before one that was made before it.
    AnswersOvertake,
}

impl Breakage {
    const ALL: [Breakage; 33] = {
        use Breakage::*;
        [
            NoSync,
            AckBeforeSync,
            EpochBeforeTxns,
            AppendLost,
            EpochForgotten,
            VoteAboveDisk,
            SyncAppendsLost,
            OldThreadLives,
            ErrorsSwallowed,
            CutsNothing,
            CutsOneMore,
            AppendsAtOldPlace,
            ImageNotSynced,
            RefusesNewerTxns,
            AcksOvertake,
            LastOfHistoryLost,
            CommitsInSyncLost,
            AckEpochAhead,
            ImageClaimsMore,
            NewLeaderEarly,
            TouchesLost,
            TouchesInvented,
            AcceptorDies,
            ReplyBeforeCommit,
            AckForeseen,
            ContinuitySkipped,
            ExpiresEarly,
            ImageAboveCommitted,
            WatchLost,
            EventTwice,
            EventLate,
            WatchesForgotten,
            AnswersOvertake,
        ]
    };

    pub fn by_name(name: &str) -> Option<Breakage> {
        Breakage::ALL.into_iter().find(|breakage| format!("{breakage:?}") == name)
    }
}
