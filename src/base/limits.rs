//! Every bound of the server, each with its reason. Those an operator may set are defaults here.

mod peers;

pub use peers::*;

/// `jute.maxbuffer`: the largest frame a client may send, as Java.
pub const JUTE_MAX_BUFFER: usize = 0xf_ffff;

/// Bytes read from all connections in one turn: what one turn may copy and decode beside the
/// requests it answers, which `REQUEST_COST_BYTES` holds to a few milliseconds of CPU.
pub const TURN_INPUT_BYTES: usize = 512 * 1024;

/// What a read counts of them at least: the call costs as much as these bytes, and ten thousand
/// clients that come at once have sent next to nothing each.
pub const READ_COST_BYTES: usize = 512;

/// What each request in them counts besides its own bytes: a write takes some microseconds, however
/// short it is.
pub const REQUEST_COST_BYTES: usize = 3072;

/// Bytes read from one connection in one turn: no client may fill a whole turn, and those of small
/// requests are not counted before they are read.
pub const CONN_INPUT_BYTES: usize = 16 * 1024;

/// Writes that waited for the log, and requests of the server's own, that one turn takes up
/// besides those it has read.
pub const TAKEN_UP_PER_TURN: usize = 128;

/// Txns applied in one turn, at some microseconds each. More than a turn reads, so that what a slow
/// sync has held back is caught up with.
pub const APPLIES_PER_TURN: usize = 288;

/// Reply bytes of one turn. Past it the turn ends and the rest runs in the next one.
pub const TURN_ARENA_BYTES: usize = 4 * 1024 * 1024;

/// Nodes that a turn's reads may go through for short answers: counts of descendants, ephemerals
/// below a prefix. Past it the turn ends likewise.
pub const TURN_VISITS: usize = 50_000;

/// Unsent bytes after which a connection's requests are no longer read.
pub const CONN_BACKLOG_PAUSE: usize = 1024 * 1024;

/// Unsent bytes after which a connection that only receives (notifications) is closed.
pub const CONN_BACKLOG_CLOSE: usize = 64 * 1024 * 1024;

/// The longest answer to one multiRead, which may name a large node as often as a frame has room
/// for names: no connection may have more unsent.
pub const MULTI_READ_BYTES: usize = CONN_BACKLOG_CLOSE;

/// Half-received frames of all connections together: 100,000 connections times a legal partial
/// frame would be 100 GB. The largest holder is closed first.
pub const PARTIAL_FRAMES_BYTES: usize = 256 * 1024 * 1024;

/// Unsent bytes of all connections together; the largest holder is closed first.
pub const BACKLOG_BYTES: usize = 512 * 1024 * 1024;

/// Requests one connection may have queued; past it, it is not read.
pub const CONN_QUEUED_REQUESTS: usize = 4096;

/// Bytes of queued requests one connection may have; past it, it is not read.
pub const CONN_QUEUED_BYTES: usize = 4 * 1024 * 1024;

/// A sync that covers so many records shows that the disk is the clients' common wait: what comes
/// meanwhile goes to the log in one piece behind it. Half as many syncs, a seventh of the CPU.
pub const GATHERING_RECORDS: i64 = 32;

/// More than this does not wait for a sync: the log thread has something to copy meanwhile.
pub const GATHERED_BYTES: usize = 256 * 1024;

/// Log bytes handed over and not yet durable. More waits unprepared. Recovery relies on it: what
/// a power cut may have torn lies within this distance of the end.
pub const UNSYNCED_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of requests that wait for `prepare` while the log is behind; past it reading pauses.
pub const UNPREPARED_BYTES: usize = 64 * 1024 * 1024;

/// Failed tries of one SASL user from one network before the next second: enough for a service
/// that restarts with an old password, and no more than 90,000 guesses a day.
pub const SASL_FAILED_TRIES: u32 = 20;

/// Pairs of network and user whose failed tries are counted: a megabyte or two.
pub const SASL_TRIED_PAIRS: usize = 10_000;

/// Nodes whose memory one turn gives back after they were removed.
pub const NODES_GIVEN_BACK_PER_TURN: usize = 4096;

/// Bytes of a token for Kerberos: what Windows makes at most, with every group of its user in it.
pub const KERBEROS_TOKEN_BYTES: usize = 64 * 1024;

/// Tokens of one exchange: two are usual, four come of mutual authentication in three steps.
pub const KERBEROS_TOKENS: u32 = 8;

/// Failed Kerberos tries of one network at once, and a second. There is nothing to guess, and a
/// host full of clients with old tickets fails a lot without harm: what is bounded is the time of
/// the Kerberos thread.
pub const KERBEROS_FAILED_TRIES: u32 = 1000;
pub const KERBEROS_FAILED_A_SECOND: u32 = 100;

/// Bytes of tokens that wait for the Kerberos thread: 40,000 clients that come back at once, with
/// usual tickets. Who comes then is closed, and comes again.
pub const KERBEROS_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// What a token that waits counts besides its own bytes.
pub const KERBEROS_ASK_BYTES: usize = 256;

/// Exchanges that are begun and not over, some KiB each, by clients who have shown a ticket. The
/// oldest is dropped for a new one.
pub const KERBEROS_EXCHANGES: usize = 16_384;

/// Nodes a snapshot cursor emits in one turn: small beside what clients may ask of it.
pub const SNAPSHOT_NODES_PER_TURN: usize = 100;

/// Bytes after which it stops short of them: a thousand of the largest nodes are a gigabyte.
pub const SNAPSHOT_BYTES_PER_TURN: usize = 1024 * 1024;

/// Snapshot bytes handed to the chore thread and not yet written; past it the cursor rests, and
/// what changes emit meanwhile counts toward `SNAPSHOT_QUEUE_BYTES`.
pub const SNAPSHOT_PACE_BYTES: usize = 8 * 1024 * 1024;

/// Snapshot bytes queued after which the snapshot is given up and retried.
pub const SNAPSHOT_QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// Containers and TTL nodes looked at in one turn, some hundred microseconds; the next goes on.
pub const REAP_LOOKS_PER_TURN: usize = 5000;

/// How much of the reaper's rate may be caught up with in one turn: at most a thousand removals,
/// of which there is one a millisecond, whatever an operator allows.
pub const REAP_CATCH_UP_MS: u64 = 1000;

/// Sessions the expiry may close in one turn; the rest of the bucket follows in the next turns.
pub const EXPIRIES_PER_TURN: usize = 64;

/// A setWatches longer than this goes through its paths in slices of so many, some tenths of a
/// microsecond each.
pub const SET_WATCHES_AT_ONCE_BYTES: usize = 64 * 1024;
pub const SET_WATCHES_PATHS_PER_TURN: usize = 4096;

/// Connections written to in one turn, some ten microseconds each.
pub const WRITES_PER_TURN: usize = 64;

/// Bytes that wait for the next turn's writes in one piece of memory, what many receive only once.
/// What is beyond waits with its connection.
pub const LATE_BYTES: usize = 4 * 1024 * 1024;

/// New connections accepted in one turn.
pub const ACCEPTS_PER_TURN: usize = 64;

/// Sockets of clients closed in one turn, at 15 us each: a member that has lost its leader parts
/// with all of them, and is to vote first.
pub const CLOSES_PER_TURN: usize = 64;

/// Steps of TLS handshakes in one turn: one may sign, which is 0.7 ms with RSA of 2048 bits.
pub const HANDSHAKES_PER_TURN: usize = 2;

/// Connections that are not through their TLS handshake, each of which may hold some 32 KiB.
pub const HANDSHAKES_AT_ONCE: usize = 8192;

/// Lines the log ring holds before it drops and counts.
pub const LOG_RING_LINES: usize = 8192;

/// Bytes of one log line; longer ones are cut. A pipe takes as many at once.
pub const LOG_LINE_BYTES: usize = 4096;

/// How long a connection that is being closed may leave its last bytes untaken.
pub const CLOSE_GRACE_MS: u64 = 10_000;

/// How long accepting rests where descriptors ran out and none could be freed.
pub const ACCEPT_REST_MS: u64 = 100;

/// Bytes of one long listing that an operator asked for, written in one turn.
pub const WORD_CHUNK_BYTES: usize = 32 * 1024;

/// Long listings under way at once; who asks for another waits. Each may hold an id for every
/// session.
pub const WORD_LISTINGS: usize = 16;

/// How long a listing that nobody takes is kept.
pub const WORD_STALL_MS: u64 = 60_000;

/// How long an answer waits for a measurement of the directories; then the last one must do.
pub const WORD_MEASURE_MS: u64 = 2000;

/// Watches one connection may hold.
pub const WATCHES_PER_CONN: usize = 2_000_000;

/// Bytes of paths without a node that one connection may watch: a legal path is as long as a
/// frame, so a count alone is no bound.
pub const WATCH_NAME_BYTES_PER_CONN: usize = 256 * 1024 * 1024;

/// Watched places of closed connections cleared away in one go: some milliseconds at most.
pub const WATCH_SWEEP_PLACES: usize = 20_000;

/// Auth identities one connection may gather; more is a client gone wrong.
pub const AUTH_IDS_PER_CONN: usize = 256;

/// Bytes that the entries of scheme `auth` in one ACL may become: every one stands for all ids of
/// its connection, and what does not fit a frame no client could read back.
pub const ACL_EXPANDED_BYTES: usize = JUTE_MAX_BUFFER;

/// Encoded bytes of one txn: what a peer that reads Java's two maximal buffers takes, less room
/// for header and digest. A longer list of a closing session is left out; a longer write refused.
pub const TXN_BYTES: usize = 2 * JUTE_MAX_BUFFER - 4096;

/// The same for another `jute.maxbuffer`.
pub fn txn_bytes(jute_max_buffer: usize) -> usize {
    jute_max_buffer.saturating_mul(2).saturating_sub(4096).max(TXN_BYTES)
}

/// The slice of the chore thread: bytes written before it looks at its queue again.
pub const CHORE_SLICE_BYTES: usize = 1024 * 1024;

/// Who may read the log and snapshots at once, each with an open file. Who was silent longest makes
/// room for another.
pub const READERS: usize = 256;

/// Log bytes behind a learner after which it is not looked for in the log where its image is
/// smaller still: sending that costs less, and some seconds of reading would come before.
pub const PROBED_LOG_BYTES: u64 = 256 * 1024 * 1024;

/// Bytes that one node of a snapshot may have: beyond any sensible `jute.maxbuffer`. A length that
/// is damaged shall not bring the whole file into memory.
pub const IMAGE_ITEM_BYTES: usize = 256 * 1024 * 1024;

/// Keys of one metric that is kept by a name from outside, such as a namespace.
pub const METRIC_KEYS: usize = 1000;

/// Lines a rate-limited warning may write each second and kind.
pub const WARNINGS_PER_SECOND: u32 = 5;

/// What an empty buffer keeps of the room that it has grown to.
pub const KEPT_BYTES: usize = 1024 * 1024;
pub const KEPT_ENTRIES: usize = 8192;
/// The same of what one turn sends.
pub const ARENA_KEPT_BYTES: usize = 4 * 1024 * 1024;

/// The largest tree beside which a learner that has been brought up gives memory back: its clients
/// wait meanwhile, about a millisecond for 10,000 nodes, a third of which went.
pub const GIVE_BACK_NODES: usize = 50_000;

/// Sessions that have just ended, which a leader tells from other servers' own. Ten seconds of as
/// many ends as a leader can commit; whichever ended first makes room.
pub const ENDED_SESSIONS: usize = 128 * 1024;

/// How many epochs ahead of its leader's a learner's promise may be, for that leader to make room
/// for one that outdoes it. Each failed election is one; more were never promised in this ensemble.
pub const EPOCHS_YIELDED_TO: i64 = 1000;
