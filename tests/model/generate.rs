//! Random sequences, from a seed alone.

use crate::model::{SUPER, digest_id};
use crate::ops::*;

pub const SLOTS: usize = 4;

/// Operations a sequence has at least.
const OPERATIONS: usize = 100;

/// A small generator of its own: the same seed gives the same sequence on every machine.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sent in one go, answered before the next step.
    Burst(usize, Vec<Op>),
    /// The socket is closed and the session opened again.
    Reopen(usize),
    /// The session is opened again while its old connection is still there.
    TakeOver(usize),
    /// A wrong password: refused, and the live connection goes too.
    WrongPassword(usize),
    /// Another client says it has seen the future: closed without a word.
    FromTheFuture,
}

pub fn sequence(seed: u64) -> Vec<Step> {
    let mut chance = Chance::new(seed);
    let quotas = chance.one_in(3);
    let (mut steps, mut operations) = (Vec::new(), 0);
    if quotas {
        steps.push(Step::Burst(0, limited(&mut chance)));
    }
    while operations < OPERATIONS {
        let slot = chance.below(SLOTS);
        let step = match chance.below(40) {
            0 => Step::Reopen(slot),
            1 => Step::TakeOver(slot),
            2 => Step::WrongPassword(slot),
            3 => Step::FromTheFuture,
            4..=6 => Step::Burst(slot, vec![lonely(&mut chance)]),
            _ => {
                let most = if chance.one_in(3) { 50 } else { 15 };
                let count = 1 + chance.below(most);
                Step::Burst(slot, (0..count).map(|_| operation(&mut chance, quotas)).collect())
            }
        };
        if let Step::Burst(_, ops) = &step {
            operations += ops.len();
        }
        steps.push(step);
    }
    steps
}

fn lonely(chance: &mut Chance) -> Op {
    match chance.below(12) {
        0..=5 => {
            let users = ["u1:p1", "u2:p2", "u1:other", "nopassword", "u3:a:b"];
            Op::Auth("digest".to_owned(), chance.pick(&users).to_owned())
        }
        6 => Op::Auth("digest".to_owned(), SUPER.to_owned()),
        7 => Op::Auth(chance.pick(&["ip", "nosuch", "world", ""]).to_owned(), "x".to_owned()),
        8 => Op::Sasl,
        9 => Op::Unknown(chance.pick(&[0, 10, 13, 23, 99, 108, 1000, -1, -2])),
        _ => Op::CloseSession,
    }
}

fn operation(chance: &mut Chance, quotas: bool) -> Op {
    if quotas && chance.one_in(5) {
        return quota(chance);
    }
    match chance.below(100) {
        0..=21 => Op::Create(new_node(chance, false)),
        22..=29 => Op::Delete(path(chance), version(chance)),
        30..=37 => Op::SetData(path(chance), data(chance), version(chance)),
        38..=41 => set_acl(chance),
        42..=46 => Op::Multi(writes(chance)),
        47..=49 => Op::MultiRead(reads(chance)),
        50..=62 => {
            let code = chance.pick(&[EXISTS, GET_DATA, GET_CHILDREN, GET_CHILDREN2]);
            let path = read_path(chance);
            Op::Read(code, path, chance.one_in(2))
        }
        63..=65 => Op::GetAcl(read_path(chance)),
        66..=70 => Op::AddWatch(path(chance), chance.pick(&[0, 0, 0, 1, 1, 1, 2, -1])),
        71..=75 => Op::Watches(CHECK_WATCHES, path(chance), chance.below(7) as i32),
        76..=80 => Op::Watches(REMOVE_WATCHES, path(chance), chance.below(7) as i32),
        81..=82 => Op::SetWatches(lists(chance)),
        83..=84 => Op::SetWatches2(lists(chance)),
        85..=86 => {
            let prefixes = ["/", "", " ", "/a", "/b/", "x", "/a/b"];
            let prefix = chance.pick(&prefixes).to_owned();
            Op::GetEphemerals(if chance.one_in(6) { None } else { Some(prefix) })
        }
        87..=88 => Op::GetAllChildrenNumber(read_path(chance)),
        89 => Op::WhoAmI,
        90..=91 => Op::Sync(read_path(chance)),
        92 => Op::Ping,
        93 => Op::Reconfig,
        94..=96 => Op::DeleteContainer(path(chance)),
        97 => Op::NullPath(chance.pick(&[EXISTS, GET_DATA, GET_CHILDREN, GET_CHILDREN2])),
        _ => Op::Short(chance.pick(&[
            EXISTS,
            GET_DATA,
            GET_CHILDREN,
            GET_CHILDREN2,
            GET_ACL,
            SYNC,
            CHECK_WATCHES,
            REMOVE_WATCHES,
            GET_EPHEMERALS,
            GET_ALL_CHILDREN_NUMBER,
            SET_WATCHES,
            SET_WATCHES2,
            ADD_WATCH,
            MULTI_READ,
        ])),
    }
}

const GOOD: [&str; 14] = [
    "/a", "/a", "/a", "/b", "/b", "/b", "/c", "/a/a", "/a/b", "/a/b", "/b/a", "/b/é", "/a/b/c",
    "/a/b/d",
];

fn path(chance: &mut Chance) -> String {
    let system = ["/", "/zookeeper", "/zookeeper/config", "/zookeeper/quota", "/zookeeper/x"];
    let bad = [
        "",
        "a",
        "/a/",
        "//",
        "/a//b",
        "/a/.",
        "/a/../b",
        "/.a",
        "/a\u{1}",
        "/a\0",
        "/\u{e000}",
        "/x/y",
        "/a/\u{fff0}",
        "/a/\u{85}",
        "/a\u{d7ff}",
    ];
    match chance.below(30) {
        0 => chance.pick(&system).to_owned(),
        1 => chance.pick(&bad).to_owned(),
        2..=4 => format!("{}{:010}", chance.pick(&GOOD), chance.below(4)),
        _ => chance.pick(&GOOD).to_owned(),
    }
}

/// Reads also find the system nodes.
fn read_path(chance: &mut Chance) -> String {
    if chance.one_in(8) {
        return chance.pick(&["/", "", "/zookeeper", "/zookeeper/quota"]).to_owned();
    }
    path(chance)
}

fn version(chance: &mut Chance) -> i32 {
    chance.pick(&[-1, -1, -1, -1, 0, 0, 1, 2, 5, -2])
}

fn data(chance: &mut Chance) -> Option<Vec<u8>> {
    match chance.below(8) {
        0 => None,
        1 => Some(Vec::new()),
        2 => Some(vec![7; 1000 + chance.below(3000)]),
        _ => Some((0..1 + chance.below(30)).map(|i| i as u8).collect()),
    }
}

fn entry(perms: i32, scheme: &str, id: &str) -> Entry {
    Entry { perms, scheme: Some(scheme.to_owned()), id: id.to_owned() }
}

fn acl(chance: &mut Chance) -> Option<Vec<Entry>> {
    let open = entry(31, "world", "anyone");
    if !chance.one_in(4) {
        return Some(vec![open]);
    }
    let perms = chance.pick(&[31, 31, 1, 2, 4, 8, 16, 17, 30, 0, 63, -1]);
    let digest = digest_id(chance.pick(&["u1:p1", "u2:p2"]));
    Some(match chance.below(13) {
        0 => return None,
        1 => Vec::new(),
        2 | 3 => vec![entry(perms, "digest", &digest)],
        4 => vec![entry(perms, "auth", "")],
        5 => vec![entry(1, "world", "anyone"), entry(perms, "digest", &digest)],
        6 => vec![entry(perms, "ip", chance.pick(&["127.0.0.1", "127.0.0.0/8", "10.0.0.1"]))],
        7 => vec![entry(31, "ip", "bad")],
        8 => vec![entry(31, "world", "someone")],
        9 => vec![Entry { perms: 31, scheme: None, id: "x".to_owned() }],
        10 => vec![open.clone(), open],
        11 => vec![entry(31, "digest", chance.pick(&["x", "a:b:c"]))],
        _ => vec![entry(31, "nosuch", "x")],
    })
}

/// The root stays open: an ACL on it is under two names while it is under way.
fn set_acl(chance: &mut Chance) -> Op {
    let path = match path(chance) {
        root if root == "/" => "/a".to_owned(),
        path => path,
    };
    Op::SetAcl(path, acl(chance), version(chance))
}

fn new_node(chance: &mut Chance, inside: bool) -> NewNode {
    let op = chance.pick(&[CREATE, CREATE, CREATE2, CREATE2, CREATE_CONTAINER, CREATE_TTL]);
    let plain = [0, 0, 0, 0, 1, 1, 2, 3];
    let odd = [5, 6, 7, -1];
    // A container's flag under another opcode, and the other way round, is for the wire tests.
    let mut flags = match op {
        CREATE_CONTAINER => 4,
        CREATE_TTL => chance.pick(&[5, 5, 5, 6, 6, 7, -1]),
        _ if chance.one_in(12) => chance.pick(&odd),
        _ => chance.pick(&plain),
    };
    let mut ttl = chance.pick(&[1_000_000, 1_000_000, 0xff_ffff_ffff, 0, -1, 0x100_0000_0000]);
    if op == CREATE_TTL && chance.one_in(6) {
        // Outside a multi a plain flag must come with a ttl, which is refused.
        flags = chance.pick(&[0, 1, 2, 4]);
        ttl = if inside { ttl } else { 5 };
    }
    let mut acl = acl(chance);
    if inside && acl.is_none() {
        acl = Some(Vec::new());
    }
    NewNode { op, path: path(chance), data: data(chance), acl, flags, ttl }
}

fn writes(chance: &mut Chance) -> Vec<Part> {
    let garbled = chance.one_in(12);
    let mut parts: Vec<Part> = (0..chance.below(6)).map(|_| write(chance)).collect();
    if !garbled {
        parts.retain(|p| match p {
            Part::Create(new) => new.op == CREATE_TTL || (0..=4).contains(&new.flags),
            _ => true,
        });
    } else if chance.one_in(2) {
        parts.push(Part::Alien(chance.pick(&[SET_ACL, DELETE_CONTAINER, EXISTS, SYNC, 99])));
    } else {
        parts = reads(chance);
    }
    parts
}

fn write(chance: &mut Chance) -> Part {
    match chance.below(10) {
        0..=4 => Part::Create(new_node(chance, true)),
        5 | 6 => Part::SetData(path(chance), data(chance), version(chance)),
        7 => Part::Check(path(chance), version(chance)),
        _ => Part::Delete(path(chance), version(chance)),
    }
}

fn reads(chance: &mut Chance) -> Vec<Part> {
    let mut parts: Vec<Part> = (0..chance.below(6))
        .map(|_| match chance.one_in(2) {
            true => Part::GetData(read_path(chance)),
            false => Part::GetChildren(read_path(chance)),
        })
        .collect();
    match chance.below(12) {
        0 => parts.push(Part::Delete("/a".to_owned(), -1)),
        1 => parts.push(Part::Alien(EXISTS)),
        2 => parts = vec![Part::Check("/".to_owned(), -1)],
        _ => {}
    }
    parts
}

fn lists(chance: &mut Chance) -> Lists {
    let behind = chance.pick(&[0, 0, 1, 3, 10, 50, i64::MAX]);
    let mut some = || (0..chance.below(4)).map(|_| path(chance)).collect::<Vec<_>>();
    let (data, exist, child, persistent, recursive) = (some(), some(), some(), some(), some());
    Lists { behind, data, exist, child, persistent, recursive }
}

const LIMITS: [&str; 4] = [
    "count=3,bytes=100",
    "count=-1,bytes=-1=;byteHardLimit=30;countHardLimit=2",
    "count=5,bytes=-1=;countHardLimit=2",
    "count=-1,bytes=-1=;byteHardLimit=60",
];

fn make(path: &str, text: &str) -> Op {
    let acl = Some(vec![entry(31, "world", "anyone")]);
    let data = Some(text.as_bytes().to_vec());
    Op::Create(NewNode { op: CREATE, path: path.to_owned(), data, acl, flags: 0, ttl: -1 })
}

/// A quota that holds from the start.
fn limited(chance: &mut Chance) -> Vec<Op> {
    let base = chance.pick(&["/zookeeper/quota/a", "/zookeeper/quota/b"]);
    let limits = chance.pick(&LIMITS);
    vec![
        make(base, ""),
        make(&format!("{base}/zookeeper_limits"), limits),
        make(&format!("{base}/zookeeper_stats"), "count=0,bytes=0"),
    ]
}

/// Quota nodes are made by clients; the server counts into them.
fn quota(chance: &mut Chance) -> Op {
    let base = chance.pick(&["/zookeeper/quota/a", "/zookeeper/quota/a/b", "/zookeeper/quota/b"]);
    let (name, text) = match chance.below(3) {
        0 => ("", ""),
        1 => ("/zookeeper_limits", chance.pick(&LIMITS)),
        _ => ("/zookeeper_stats", "count=0,bytes=0"),
    };
    let path = format!("{base}{name}");
    let data = Some(text.as_bytes().to_vec());
    match chance.below(10) {
        0 => Op::Delete(path, -1),
        1 | 2 => Op::Read(GET_DATA, path, true),
        3 if name == "/zookeeper_limits" => Op::SetData(path, data, -1),
        _ => make(&path, text),
    }
}
