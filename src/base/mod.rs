//! Vocabulary: the ids, times, limits and reasons every other room speaks in.
//!
//! Decides what the words mean and how large anything may grow. Never decides what to do.

mod fatal;
mod ids;
pub mod limits;
mod metrics;
mod rng;
mod server_metrics;
mod time;
mod version;

pub use fatal::Fatal;
pub use ids::{ConnId, ServerId, SessionId, Ticket, Xid, Zxid};
pub use metrics::{Counter, Summary};
pub use rng::Rng;
pub use server_metrics::{BufferSizes, Keyed, Metric, ServerMetrics, ServerStats};
pub use time::{Instant, Now, WallMillis};
pub use version::ANNOUNCED_VERSION;
