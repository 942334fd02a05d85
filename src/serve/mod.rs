//! What one connection sees: the order of its requests, its reads, its replies, the handshake.
//!
//! Decides what is answered and in which order. Never changes the replicated state; writes go
//! through `prepare` and come back applied.

mod count;
mod handshake;
mod multi_read;
mod order;
mod read;
mod write;

pub use count::{Count, count};
pub use handshake::{HandshakeContext, Refusal, Verdict, judge};
pub use order::{Cursor, Order, Slot};
pub use read::{ReadContext, Reader, answer, catch_up};
pub use write::{WriteReply, write_reply_body};
