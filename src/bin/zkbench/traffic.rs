//! What is asked: operations, their mix, and their bytes, encoded once and patched per request.

use zkd::base::Rng;
use zkd::client::{Call, NewNode};

/// Digits of a key's number, in its path and at the front of its value.
pub const KEY_DIGITS: usize = 7;
const SESSION_DIGITS: usize = 5;
const NODE_DIGITS: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Get,
    Set,
    Exists,
    Create,
    Delete,
    /// Bytes for the echo server, which gives them back.
    Echo,
}

impl Op {
    pub const NAMED: [(&'static str, Op); 5] = [
        ("get", Op::Get),
        ("set", Op::Set),
        ("exists", Op::Exists),
        ("create", Op::Create),
        ("delete", Op::Delete),
    ];
}

/// Operations and their weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    weights: Vec<(Op, u64)>,
    total: u64,
}

impl Mix {
    pub fn only(op: Op) -> Mix {
        Mix { weights: vec![(op, 1)], total: 1 }
    }

    /// `get`, or `get=80,set=20`.
    pub fn parse(text: &str) -> Result<Mix, String> {
        let mut weights = Vec::new();
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let known = Op::NAMED.iter().find(|(known, _)| *known == name.trim());
            let Some((_, op)) = known else {
                let names: Vec<&str> = Op::NAMED.iter().map(|(name, _)| *name).collect();
                return Err(format!("--op: {name} is none of {}", names.join(", ")));
            };
            let weight = weight.trim().parse::<u32>();
            weights.push((*op, u64::from(weight.map_err(|_| format!("--op: {part}: a weight"))?)));
        }
        let total = weights.iter().map(|(_, weight)| weight).sum();
        if total == 0 { Err("--op: no weight".to_owned()) } else { Ok(Mix { weights, total }) }
    }

    pub fn pick(&self, rng: &mut Rng) -> Op {
        if let [(op, _)] = self.weights.as_slice() {
            return *op;
        }
        let mut at = rng.below(self.total);
        for (op, weight) in &self.weights {
            if at < *weight {
                return *op;
            }
            at -= weight;
        }
        self.weights[0].0
    }

    pub fn has(&self, op: Op) -> bool {
        self.weights.iter().any(|(known, weight)| *known == op && *weight > 0)
    }
}

/// Where a number's digits stand.
struct Place {
    at: usize,
    digits: usize,
}

/// One request's bytes with its gaps.
struct Template {
    bytes: Vec<u8>,
    numbers: Vec<Place>,
}

impl Template {
    /// `mark` stands for each number, as digits of nines.
    fn new(op: i32, body: &[u8], widths: &[usize]) -> Template {
        let mut bytes = ((body.len() + 8) as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(&0i32.to_be_bytes());
        bytes.extend_from_slice(&op.to_be_bytes());
        bytes.extend_from_slice(body);
        let mut numbers = Vec::new();
        let mut from = 12;
        for digits in widths {
            let nines = vec![b'9'; *digits];
            let found = bytes[from..].windows(*digits).position(|window| window == nines);
            let at = from + found.expect("the template holds every number");
            numbers.push(Place { at, digits: *digits });
            from = at + digits;
        }
        Template { bytes, numbers }
    }

    fn append(&self, out: &mut Vec<u8>, xid: i32, numbers: &[u64]) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        out[start + 4..start + 8].copy_from_slice(&xid.to_be_bytes());
        for (place, number) in self.numbers.iter().zip(numbers) {
            let at = start + place.at;
            put_digits(&mut out[at..at + place.digits], *number);
        }
    }
}

fn put_digits(into: &mut [u8], mut number: u64) {
    for digit in into.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Everything that is asked of one target.
pub struct Traffic {
    pub root: String,
    pub mix: Mix,
    pub keys: u64,
    pub size: usize,
    value: Vec<u8>,
    get: Template,
    set: Template,
    exists: Template,
    create: Template,
    delete: Template,
    echo: Template,
}

impl Traffic {
    pub fn new(root: &str, mix: Mix, keys: u64, size: usize) -> Traffic {
        // The name of the root is no place for a number.
        let key = format!("{root}/k{}", "9".repeat(KEY_DIGITS));
        let home = format!("{root}/s{}", "9".repeat(SESSION_DIGITS));
        let node = format!("{home}/n{}", "9".repeat(NODE_DIGITS));
        let mut value: Vec<u8> = (0..size).map(|n| b'a' + (n % 26) as u8).collect();
        let front = size.min(KEY_DIGITS);
        value[..front].fill(b'9');
        let whole = front == KEY_DIGITS;
        let template = |call: Call<'_>, widths: &[usize]| {
            let mut body = Vec::new();
            call.write(&mut body);
            Template::new(call.op().number(), &body, widths)
        };
        let set_widths: &[usize] = if whole { &[KEY_DIGITS, KEY_DIGITS] } else { &[KEY_DIGITS] };
        let node_widths = [SESSION_DIGITS, NODE_DIGITS];
        Traffic {
            root: root.to_owned(),
            mix,
            keys,
            size,
            get: template(Call::GetData { path: &key, watch: false }, &[KEY_DIGITS]),
            set: template(
                Call::SetData { path: &key, data: Some(&value), version: -1 },
                set_widths,
            ),
            exists: template(Call::Exists { path: &key, watch: false }, &[KEY_DIGITS]),
            create: template(Call::Create(NewNode::persistent(&node, &value)), &node_widths),
            delete: template(Call::Delete { path: &node, version: -1 }, &node_widths),
            echo: Template::new(0, &vec![b'e'; size], &[]),
            value,
        }
    }

    pub fn key_path(&self, key: u64) -> String {
        format!("{}/k{key:0KEY_DIGITS$}", self.root)
    }

    pub fn home(&self, session: u64) -> String {
        format!("{}/s{session:0SESSION_DIGITS$}", self.root)
    }

    pub fn node_path(&self, session: u64, node: u64) -> String {
        format!("{}/n{node:0NODE_DIGITS$}", self.home(session))
    }

    /// The value of a key: its number, then the alphabet.
    pub fn value_of(&self, key: u64) -> Vec<u8> {
        let mut value = self.value.clone();
        if self.size >= KEY_DIGITS {
            put_digits(&mut value[..KEY_DIGITS], key);
        }
        value
    }

    pub fn is_value_of(&self, key: u64, data: &[u8]) -> bool {
        if data.len() != self.size {
            return false;
        }
        if self.size < KEY_DIGITS {
            return data == self.value;
        }
        let mut digits = [0; KEY_DIGITS];
        put_digits(&mut digits, key);
        data[..KEY_DIGITS] == digits && data[KEY_DIGITS..] == self.value[KEY_DIGITS..]
    }

    /// Appends a whole request. `number` is the key, or the node of `session`.
    pub fn append(&self, out: &mut Vec<u8>, xid: i32, op: Op, session: u64, number: u64) {
        match op {
            Op::Get => self.get.append(out, xid, &[number]),
            Op::Set => self.set.append(out, xid, &[number, number]),
            Op::Exists => self.exists.append(out, xid, &[number]),
            Op::Create => self.create.append(out, xid, &[session, number]),
            Op::Delete => self.delete.append(out, xid, &[session, number]),
            Op::Echo => self.echo.append(out, xid, &[]),
        }
    }
}

#[cfg(test)]
mod tests {
    use zkd::proto::{OpCode, Reader, Request, RequestHeader};

    use super::*;

    fn request(frame: &[u8]) -> (RequestHeader, Request<'_>) {
        assert_eq!(frame.len() - 4, u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize);
        let mut r = Reader::new(&frame[4..]);
        let header = RequestHeader::read(&mut r).expect("a header");
        let op = OpCode::from_number(header.op).expect("a known operation");
        (header, Request::read(op, r.rest()).expect("a body"))
    }

    #[test]
    fn a_patched_request_is_what_the_client_library_would_have_sent() {
        for size in [0, 3, 7, 100] {
            let traffic = Traffic::new("/r", Mix::only(Op::Set), 100, size);
            let mut out = Vec::new();
            traffic.append(&mut out, 77, Op::Set, 0, 42);
            let (header, set) = request(&out);
            assert_eq!(header.xid.0, 77);
            let data = traffic.value_of(42);
            let path = Some(traffic.key_path(42).into());
            assert_eq!(set, Request::SetData { path, data: Some(&data), version: -1 });
            assert!(traffic.is_value_of(42, &data));
            out.clear();
            traffic.append(&mut out, 78, Op::Delete, 3, 9_999_999_999);
            let path = Some(traffic.node_path(3, 9_999_999_999).into());
            assert_eq!(request(&out).1, Request::Delete { path, version: -1 });
            out.clear();
            traffic.append(&mut out, 79, Op::Create, 12, 5);
            let Request::Create(create) = request(&out).1 else { panic!("a create") };
            assert_eq!(create.path.as_deref(), Some(traffic.node_path(12, 5).as_str()));
            assert_eq!(create.data.map(<[u8]>::len), Some(size));
        }
    }

    #[test]
    fn a_value_of_another_key_or_length_is_told_apart() {
        let traffic = Traffic::new("/r", Mix::only(Op::Get), 100, 100);
        let mut value = traffic.value_of(7);
        assert!(!traffic.is_value_of(8, &value));
        assert!(!traffic.is_value_of(7, &value[..99]));
        value[99] ^= 1;
        assert!(!traffic.is_value_of(7, &value));
    }

    #[test]
    fn a_mix_is_picked_in_its_proportion() {
        let mix = Mix::parse("get=80,set=20").expect("a mix");
        let mut rng = Rng::new(1);
        let gets = (0..10_000).filter(|_| mix.pick(&mut rng) == Op::Get).count();
        assert!((7_700..8_300).contains(&gets), "{gets}");
        for bad in ["", "got", "get=x", "get=0", "get=-1"] {
            assert!(Mix::parse(bad).is_err(), "{bad}");
        }
    }
}
