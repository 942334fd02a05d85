//! Runs a plan and checks everything it shows.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use zkd::base::Rng;
use zkd::config::Config;
use zkd::disk::StorageSettings;
use zkd::history::{Frame, LOG_HEADER_BYTES, frame};
use zkd::proto::Entry;
use zkd::state::State;

use crate::model::{Model, ModelNode};
use crate::plan::{Plan, Step, Strike, stream};
use crate::world::client::{Client, Oracle, Violation};
use crate::world::disk::Fault;
use crate::world::machine::{Breakage, Machine};
use crate::world::watches::Changes;

/// What a run did and whether it was right.
#[derive(Debug)]
pub struct Outcome {
    pub violation: Option<Violation>,
    pub counters: BTreeMap<&'static str, u64>,
    pub trace: u64,
    pub files: u64,
}

/// The canonical history: what was proposed, and the tree after each txn.
struct History {
    entries: Vec<Entry>,
    models: Vec<Model>,
    changes: Changes,
    acknowledged: i64,
    counters: BTreeMap<&'static str, u64>,
}

impl History {
    fn extend(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Frame::Record { entry, bytes, .. } = frame(rest) else {
                panic!("the node appends whole records")
            };
            rest = &rest[bytes..];
            let entry = Entry::read(entry).expect("the node appends entries");
            let mut model = self.models.last().expect("the fresh tree").clone();
            model.apply(&entry);
            self.changes.add(model.zxid, &model.changes);
            self.models.push(model);
            self.entries.push(entry);
        }
    }
}

impl Oracle for History {
    fn model_at(&self, zxid: i64) -> Option<&Model> {
        self.models.get(usize::try_from(zxid).ok()?)
    }

    fn changes(&self) -> &Changes {
        &self.changes
    }

    fn on_acknowledged(&mut self, zxid: i64, session: i64, cxid: i32) -> Result<(), Violation> {
        let index = usize::try_from(zxid - 1).map_err(|_| "an acknowledgement of nothing")?;
        let entry = self.entries.get(index).ok_or("acknowledged and never proposed")?;
        if (entry.header.session.0, entry.header.cxid) != (session, cxid) {
            return Err(format!("0x{zxid:x} acknowledges {cxid} but is {:?}", entry.header));
        }
        self.acknowledged = self.acknowledged.max(zxid);
        Ok(())
    }

    fn count(&mut self, what: &'static str) {
        *self.counters.entry(what).or_default() += 1;
    }
}

/// Runs `plan` to its end.
pub fn run(plan: &Plan, breakage: Breakage) -> Outcome {
    let mut run = Run::new(plan, breakage);
    // A broken invariant of the server's own is a violation like any other.
    let violation = match catch_unwind(AssertUnwindSafe(|| run.all())) {
        Ok(result) => result.err(),
        Err(panic) => Some(format!("panic: {}", message(panic.as_ref()))),
    };
    let files = run.machine.files.borrow().fingerprint();
    Outcome { violation, counters: run.history.counters, trace: run.machine.trace, files }
}

fn message(panic: &dyn Any) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// More than a plan's clients send between two syncs.
const UNSYNCED_BYTES: usize = 64 * 1024;

struct Run<'a> {
    plan: &'a Plan,
    machine: Machine,
    clients: Vec<Client>,
    history: History,
    strikes: Vec<Strike>,
    cuts: Rng,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, breakage: Breakage) -> Run<'a> {
        let mut config = Config::for_tests();
        config.storage.snap_count = plan.snap_count.max(2) as i32;
        let mut settings = StorageSettings::new("/data");
        settings.preallocate_bytes = u64::from(plan.pre_alloc_kib) * 1024;
        settings.unsynced_bytes = UNSYNCED_BYTES as u64;
        let machine = Machine::new(plan.seed, config, settings, breakage);
        if let Some(kib) = plan.capacity_kib {
            machine.files.borrow_mut().capacity = u64::from(kib) * 1024;
        }
        Run {
            plan,
            machine,
            clients: (0..plan.clients).map(|_| Client::default()).collect(),
            history: History {
                entries: Vec::new(),
                models: Vec::new(),
                changes: Changes::default(),
                acknowledged: 0,
                counters: BTreeMap::new(),
            },
            strikes: plan.strikes.iter().rev().copied().collect(),
            cuts: stream(plan.seed, 3, 0),
        }
    }

    fn all(&mut self) -> Result<(), Violation> {
        self.start()?;
        for step in &self.plan.steps {
            self.step(step)?;
            self.settle_if_struck()?;
        }
        self.finish()
    }

    /// Starts, as often as something strikes during recovery itself.
    fn start(&mut self) -> Result<(), Violation> {
        loop {
            let strike = self.strikes.pop();
            let at = self.machine.files.borrow().calls;
            self.machine.files.borrow_mut().fault = strike.map(|s| (at + s.call, s.fault));
            match self.machine.start() {
                Ok(()) => break,
                Err(fatal) => {
                    let struck = self.machine.files.borrow().struck;
                    let Some(fault) = struck else {
                        return Err(format!("does not start: {fatal:?}"));
                    };
                    self.history.count("struck during recovery");
                    self.machine.stop(fault);
                }
            }
        }
        self.check_recovered()?;
        self.check_logs()?;
        self.machine.turn();
        self.absorb()
    }

    /// Recovery leaves no log with anything behind its last record: what was torn is cut off.
    fn check_logs(&self) -> Result<(), Violation> {
        let files = self.machine.files.borrow();
        for (path, bytes) in files.log_bytes() {
            let mut rest = bytes.get(LOG_HEADER_BYTES..).unwrap_or_default();
            while let Frame::Record { bytes, .. } = frame(rest) {
                rest = &rest[bytes..];
            }
            if rest.iter().any(|byte| *byte != 0) {
                return Err(format!("logs: {} has a torn tail after recovery", path.display()));
            }
        }
        Ok(())
    }

    /// The recovered state is the history up to some point not before the last acknowledgement.
    fn check_recovered(&mut self) -> Result<(), Violation> {
        let node = self.machine.node().ok_or("it started")?;
        let last = node.view().applied.0;
        if self.history.models.is_empty() {
            self.history.models.push(Model::fresh(dump(node.state())));
        }
        if last < self.history.acknowledged {
            let acknowledged = self.history.acknowledged;
            return Err(format!(
                "durability: 0x{acknowledged:x} was acknowledged, 0x{last:x} is there"
            ));
        }
        let Some(model) = self.history.model_at(last) else {
            return Err(format!("history: 0x{last:x} was never proposed"));
        };
        compare(node.state(), model, &[])?;
        let keep = usize::try_from(last).unwrap_or(0);
        self.history.entries.truncate(keep);
        self.history.models.truncate(keep + 1);
        self.history.changes.cut(last);
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), Violation> {
        match step {
            Step::Burst { client, ops } => {
                self.connect(*client)?;
                let mut bytes = Vec::new();
                let client = &mut self.clients[usize::from(*client)];
                ops.iter().for_each(|op| client.send(op, &mut bytes));
                let conn = client.conn;
                self.history
                    .counters
                    .entry("operations")
                    .and_modify(|n| *n += ops.len() as u64)
                    .or_insert(ops.len() as u64);
                // The stream is cut where it pleases the network.
                let at = self.cuts.below(bytes.len() as u64 + 1) as usize;
                for part in [&bytes[..at], &bytes[at..]] {
                    if let Some(link) = conn.and_then(|conn| self.machine.link(conn)) {
                        link.from_client.extend_from_slice(part);
                    }
                    self.machine.turn();
                    self.absorb()?;
                }
            }
            Step::Storage => {
                self.machine.storage();
                self.machine.turn();
                self.absorb()?;
            }
            Step::Wait { ms } => {
                self.machine.wait(u64::from(*ms));
                self.absorb()?;
            }
            Step::Cut { client } => self.cut(*client),
            Step::Die { client } => {
                self.cut(*client);
                self.clients[usize::from(*client)] = Client::default();
                self.history.count("clients died");
            }
        }
        Ok(())
    }

    fn cut(&mut self, client: u8) {
        if let Some(conn) = self.clients[usize::from(client)].conn {
            self.machine.cut(conn);
            self.clients[usize::from(client)].on_disconnected();
        }
    }

    /// Connects a client that is not, and waits for its session.
    fn connect(&mut self, client: u8) -> Result<(), Violation> {
        let index = usize::from(client);
        for _ in 0..3 {
            if self.clients[index].conn.is_some() || !self.machine.is_up() {
                return Ok(());
            }
            let conn = self.machine.connect();
            let mut hello = Vec::new();
            self.clients[index].on_connected(conn, &mut hello);
            if let Some(link) = self.machine.link(conn) {
                link.from_client = hello;
            }
            for _ in 0..3 {
                self.machine.turn();
                self.absorb()?;
                self.machine.storage();
            }
            self.machine.turn();
            self.absorb()?;
        }
        Ok(())
    }

    /// Takes what the node proposed and what it told its clients.
    fn absorb(&mut self) -> Result<(), Violation> {
        for bytes in std::mem::take(&mut self.machine.appended) {
            self.history.extend(&bytes);
        }
        for client in &mut self.clients {
            let Some(conn) = client.conn else { continue };
            let Some(link) = self.machine.link(conn) else {
                client.on_disconnected();
                continue;
            };
            let bytes = std::mem::take(&mut link.to_client);
            let is_closed = link.is_closed;
            client.receive(&bytes, &mut self.history)?;
            if is_closed {
                client.on_disconnected();
                self.machine.cut(conn);
            }
        }
        Ok(())
    }

    fn settle_if_struck(&mut self) -> Result<(), Violation> {
        let struck = self.machine.files.borrow().struck;
        let Some(fault) = struck else {
            return match self.machine.fatal.take() {
                None => Ok(()),
                Some(fatal) => Err(format!("stopped by itself: {fatal:?}")),
            };
        };
        // An error may have hit what no request waits for: then the server goes on.
        if matches!(fault, Fault::Error(_)) && self.machine.fatal.is_none() {
            self.machine.files.borrow_mut().struck = None;
            self.history.count("errors survived");
            return Ok(());
        }
        self.history.count(match fault {
            Fault::PowerCut => "power cuts",
            Fault::Kill => "kills",
            Fault::Error(_) => "stopped by errors",
        });
        self.machine.stop(fault);
        self.keep_files();
        self.clients.iter_mut().for_each(Client::on_disconnected);
        self.start()
    }

    /// For others to look at: what a crash has left, and what was acknowledged before it.
    fn keep_files(&self) {
        let Some(folder) = std::env::var_os("ZKD_SIM_FILES") else { return };
        let calls = self.machine.files.borrow().calls;
        let folder = std::path::Path::new(&folder).join(format!("call-{calls}"));
        let kept = self.machine.files.borrow().copy_to(&folder);
        let said = format!("{}\n", self.history.acknowledged);
        let kept = kept.and_then(|()| std::fs::write(folder.join("acknowledged"), said));
        kept.expect("there is room for what is to be looked at");
    }

    /// Nothing strikes any more: everything asked is answered, and the state is the model's.
    fn finish(&mut self) -> Result<(), Violation> {
        self.machine.files.borrow_mut().fault = None;
        for _ in 0..20 {
            self.machine.storage();
            self.machine.turn();
            self.absorb()?;
            self.settle_if_struck()?;
        }
        for client in &self.clients {
            if client.conn.is_some() && !client.outstanding.is_empty() {
                return Err(format!("liveness: {:?} is not answered", client.outstanding[0]));
            }
        }
        let node = self.machine.node().ok_or("it is up at the end")?;
        let model = self.history.models.last().expect("the fresh tree");
        compare(node.state(), model, &[])?;
        self.damage()
    }

    /// At last a byte of the log turns over, all of which was synced: the server refuses to
    /// start, or serves nothing but the truth.
    fn damage(&mut self) -> Result<(), Violation> {
        let draw = stream(self.plan.seed, 4, 0).next_u64();
        self.machine.stop(Fault::Kill);
        let damaged = self.machine.files.borrow_mut().damage_log(draw, UNSYNCED_BYTES);
        if damaged.is_none() {
            return Ok(());
        }
        self.history.count("logs damaged");
        match self.machine.start() {
            Err(_) => {
                self.history.count("damage refused");
                Ok(())
            }
            Ok(()) => self.check_recovered(),
        }
    }
}

/// The server's whole tree, as the model sees it.
pub fn dump(state: &State) -> Vec<(String, ModelNode)> {
    let mut nodes = Vec::new();
    let mut todo = vec![state.find("/").expect("the root is always there")];
    while let Some(id) = todo.pop() {
        let node = state.node(id);
        let stat = node.node_stat();
        todo.extend(node.children().map(|child| child.id()));
        nodes.push((
            node.path(),
            ModelNode {
                data: node.data().map(<[u8]>::to_vec),
                acl: node.acl().to_vec(),
                czxid: stat.czxid.0,
                mzxid: stat.mzxid.0,
                pzxid: stat.pzxid.0,
                ctime: stat.ctime,
                mtime: stat.mtime,
                version: stat.version,
                cversion: stat.cversion,
                aversion: stat.aversion,
                owner: stat.owner,
                children: node.children().map(|child| child.name().to_owned()).collect(),
            },
        ));
    }
    nodes
}

/// Whether a state is what the model says, these paths left out.
pub fn compare(state: &State, model: &Model, but: &[&str]) -> Result<(), Violation> {
    let actual = dump(state);
    if actual.len() != model.nodes.len() {
        return Err(format!("state: {} nodes where {} are", actual.len(), model.nodes.len()));
    }
    for (path, found) in actual {
        match model.nodes.get(&path) {
            Some(wanted) if **wanted == found || but.contains(&path.as_str()) => {}
            wanted => return Err(format!("state: {path} is {found:?}, should be {wanted:?}")),
        }
    }
    let sessions: BTreeMap<i64, i32> = state.sessions().map(|(s, t)| (s.0, t)).collect();
    if sessions != model.sessions {
        return Err(format!("state: sessions {sessions:?}, should be {:?}", model.sessions));
    }
    Ok(())
}
