//! What peers may cost, each bound with its reason.

use super::JUTE_MAX_BUFFER;

/// Bytes of the addresses in the first message of an election link, as Java.
pub const ELECTION_ADDRESS_BYTES: usize = 2048;

/// Bytes of one message of an election link, as Java: it holds the text of a configuration.
pub const ELECTION_MESSAGE_BYTES: usize = 512 * 1024;

/// Links on the election port whose first message is not there yet. The oldest makes room.
pub const ELECTION_GREETINGS: usize = 64;

/// Servers that no configuration names and that speak on the election port: those that are to join
/// and do not know so yet. Who was silent longest makes room.
pub const ELECTION_STRANGERS: usize = 64;

/// Servers of which it is known what they were answered last: 255 members and the strangers. Who is
/// forgotten is only answered once more.
pub const ELECTION_ANSWERS: usize = 255 + ELECTION_STRANGERS;

/// The pause before a server that could not be reached is dialled again on the election port. It
/// doubles up to a tick.
pub const ELECTION_REDIAL_MS: u64 = 20;

/// How long a server of a greater id that was spoken to has for dialling back: another word in
/// between would make it give up the link it is making. As long as Java's first pause.
pub const ELECTION_DIAL_BACK_MS: u64 = 200;

/// How long what was said on an election link may go unacknowledged before the link is given up
/// and dialled anew. A net that drops packets for a while and heals would otherwise bring the votes
/// with TCP's next try, up to two minutes later. Four or five tries within a data centre; the
/// kernel of a server that stands still acknowledges for it.
pub const ELECTION_UNACKNOWLEDGED_MS: u32 = 6000;

/// How long a vote that has its quorum waits for a better one, as Java.
pub const ELECTION_FINALIZE_MS: u64 = 200;

/// Bytes of the data of one quorum packet: Java's two maximal buffers. Other settings of
/// `jute.maxbuffer` and `jute.maxbuffer.extrasize` add up to another bound.
pub const QUORUM_DATA_BYTES: usize = 2 * JUTE_MAX_BUFFER;

/// The same before a learner was told that it is up to date: who it is takes 20, and nobody else
/// may make a server hold more.
pub const QUORUM_GREETING_BYTES: usize = 1024;

/// Bytes of learners' packets that are not whole, of all links together. Past it the largest holder
/// that does not vote goes. Whole packets are some hundred bytes, so even a thousand observers that
/// forward at once are far below.
pub const LEARNERS_HELD_BYTES: usize = 256 * 1024 * 1024;

/// Bytes of the ids in one quorum packet. Java bounds each string and not their number; a client
/// adds one with every frame of auth, so this is sixteen frames of nothing else.
pub const QUORUM_IDS_BYTES: usize = 16 * JUTE_MAX_BUFFER;

/// Sessions that one answer to a ping can name.
pub const QUORUM_TOUCHES: usize = QUORUM_DATA_BYTES / 12;

/// What a peer's link keeps of its buffer between two messages: most are shorter.
pub const PEER_BUFFER_BYTES: usize = 64 * 1024;

/// Bytes sent to a peer that it has not taken: what is sent to a learner waits for room in this.
pub const PEER_UNSENT_BYTES: usize = 1024 * 1024;

/// A peer that has taken so many bytes makes room worth telling of.
pub const PEER_TOLD_BYTES: usize = PEER_UNSENT_BYTES / 4;

/// The same of all peers together; the largest holder is closed first. So many learners that take
/// nothing at once are observers, which find another server to follow.
pub const PEERS_BACKLOG_BYTES: usize = 512 * 1024 * 1024;

/// Bytes read from one peer in one turn: an image that flows in leaves room for a vote.
pub const PEER_INPUT_BYTES: usize = 256 * 1024;

/// Bytes read from all peers in one turn, as much as from all clients.
pub const PEERS_INPUT_BYTES: usize = 512 * 1024;

/// Links that have come to one of the ports for peers: every learner, and on the other port as many
/// with those who have not said who they are or are not known. The next is turned away.
pub const PEER_PORT_LINKS: usize = LEARNERS + ELECTION_GREETINGS + ELECTION_STRANGERS + VOTERS;

/// New links accepted in one turn at each address: members come once, strangers may come often.
pub const PEER_ACCEPTS_PER_TURN: usize = 32;

/// Descriptors that clients of a member leave to its peers: a server without peers has none to
/// serve. At most an eighth of all.
pub const PEER_FILES: usize = 256;

/// Dials under way: there is one for each server that is sought, however many it has named.
pub const PEER_DIALS: usize = 1024;

/// Addresses of one dial; servers with more than one network have two or three.
pub const DIAL_ADDRESSES: usize = 16;

/// Addresses that one name stands for.
pub const NAME_ADDRESSES: usize = 8;

/// How long an address has for its answer before the next is tried beside it: longer than it takes
/// within a data centre.
pub const DIAL_RACE_MS: u64 = 50;

/// How long a name has for its answer before what was known of it is tried: an address of before
/// may be another server's today.
pub const LOOK_UP_HEAD_START_MS: u64 = 100;

/// Look-ups under way, each on a thread that a dead name server holds for half a minute. A name
/// that finds no room is dialled at the address it had.
pub const LOOK_UPS: usize = 64;

/// Names whose addresses are kept for the next dial; strangers may name any.
pub const NAMES_KEPT: usize = 256;

/// Voters of one configuration: who has acknowledged a proposal is a bit each in one word. More
/// than nine are rarely useful, since each write waits for most of them.
pub const VOTERS: usize = 64;

/// Recent proposals that are kept in memory: what a learner is sent from that was away for a moment
/// or takes its time. Behind them the log is read.
pub const RING_BYTES: usize = 32 * 1024 * 1024;

/// Bytes of the log or of an image that are read for one learner at a time, and sent at once.
pub const LEARNER_PIECE_BYTES: usize = 256 * 1024;

/// Answers to SYNC and REVALIDATE that wait for one learner to be told of what came before them,
/// some 40 bytes each: its clients have no more requests under way than that.
pub const LEARNER_NOTES: usize = 256 * 1024;

/// Syncs and sessions that observers behind one follower may have asked the leader for at once. The
/// leader bounds what waits for the follower by `LEARNER_NOTES`: its own clients keep half of that.
pub const OBSERVERS_ASKED: usize = LEARNER_NOTES / 2;

/// Log bytes that a leader has proposed and no quorum has acknowledged. Past it nothing is prepared
/// before the slowest server that is needed has caught up.
pub const LEADER_UNCOMMITTED_BYTES: usize = 32 * 1024 * 1024;

/// Bytes of learners' requests that wait because the leader's log is behind. They bound their own
/// share of it, so only many at once come close.
pub const LEADER_FORWARDED_BYTES: usize = 128 * 1024 * 1024;

/// Links to the quorum port that wait to see whether this server will lead, and as many to the port
/// for observers. The oldest makes room.
pub const QUORUM_EARLY_LINKS: usize = 64;

/// Bytes that one of them may have said: who it is.
pub const QUORUM_EARLY_BYTES: usize = 4096;

/// Links of learners, those included that have not said who they are. More observers than this
/// are served by observer masters.
pub const LEARNERS: usize = 4096;

/// Record bytes that a learner holds because its log is behind. Past it the leader is not read
/// until the log has caught up: a slow disk shall cost its own server's place, not its memory.
pub const LEARNER_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of txns that a leader has proposed and not committed. Java's leaders take up a thousand
/// requests at once and these may be large, but a leader with more than this proposes for ever.
pub const LEARNER_PENDING_BYTES: usize = 512 * 1024 * 1024;

/// Txns that are committed and wait for a turn to apply them. Past it the leader is not read.
pub const LEARNER_BACKLOG_TXNS: usize = 8192;

/// Record bytes behind a snapshot for which it is still sent to a learner, who holds them all until
/// the leader has said NEWLEADER. Past it another snapshot is taken first. A quarter of what it can
/// hold: the rest is for what is logged while snapshots are taken and sent.
pub const IMAGE_BEHIND_BYTES: u64 = LEARNER_PENDING_BYTES as u64 / 4;

/// The same while nobody serves, and all wait for that learner: only where it could not hold what
/// lies behind the snapshot is another worth the time.
pub const IMAGE_BEHIND_MOST_BYTES: u64 = LEARNER_PENDING_BYTES as u64 / 4 * 3;
