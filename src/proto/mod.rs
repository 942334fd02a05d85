//! Bytes to records and back: the client protocol, the transaction records, and their primitives.
//!
//! Decodes by borrowing from the frame, encodes into the caller's buffer. Decides what a sequence
//! of bytes says; never whether it is allowed.

mod acl;
mod catch_up;
mod code;
mod connect;
mod frame;
mod jute;
mod multi;
mod node_stat;
mod path;
mod paths;
mod reply;
mod request;
mod txn;
mod utf;

pub use acl::{Acl, Perms, RawAcl};
pub use catch_up::CatchUp;
pub use code::ErrorCode;
pub use connect::{ConnectRequest, ConnectResponse};
pub use frame::{FrameError, Splitter, cut};
pub use jute::{DecodeError, Reader, Writer};
pub use multi::{MultiOp, MultiResult, write_header as write_multi_header};
pub use node_stat::NodeStat;
pub use path::{PathFault, parent_and_name, validate_path};
pub use paths::PathList;
pub use reply::{
    EventKind, KeeperState, ReplyHeader, Stat, begin_frame, end_frame, write_event, write_reply,
};
pub use request::leading_path;
pub use request::{
    AddWatchMode, Create, CreateKind, CreateMode, OpCode, Request, RequestHeader, SetWatches,
};
pub use txn::{CreateTxn, DIGEST_VERSION, Entry, SubTxn, Txn, TxnDigest, TxnHeader, kind};
pub use utf::decode as decode_utf8;
