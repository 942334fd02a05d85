//! What operators ask: four-letter words, rendered as a live Apache 3.9.5 renders them.
//!
//! Decides names, lines and their order. Takes every value from a `Report` that others fill and
//! from a `Source` that it walks in portions; never counts anything itself and never changes the
//! server (what a word asks to be changed is handed back as an `Ask`).

mod conf;
mod gather;
mod listing;
mod mntr;
mod report;
mod short;
mod text;
mod word;

pub use conf::{Conf, Environment, QuorumConf};
pub use gather::{Parts, quota_gauges, state_counts, state_report};
pub use listing::{ConnView, ExpiryBuckets, Listing, SessionUse, Source, WatchLine};
pub use report::{
    DirReport, LeaderReport, Mode, NetReport, NodeReport, PeerReport, QuotaGauges, Report,
    WatchSummary,
};
pub use short::{Ask, Begun, begin};
pub use word::{Whitelist, Word};

#[cfg(test)]
mod gather_tests;
#[cfg(test)]
mod tests;
