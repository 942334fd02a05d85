//! The nodes a run works on: made before it, removed after it.

use zkd::base::Xid;
use zkd::client::{Call, Client, NewNode};
use zkd::proto::ErrorCode;

use super::engine::Session;
use super::server::{Server, explained};
use super::traffic::{Op, Traffic};

/// Calls under way while nodes are made or removed.
const AT_ONCE: usize = 500;

/// Calls in groups; an answer other than success or `tolerated` ends it.
pub struct Batch<'a> {
    client: &'a mut Client,
    under_way: Vec<Xid>,
    tolerated: Option<ErrorCode>,
    /// Answers that were the tolerated code.
    pub refused: u64,
}

impl<'a> Batch<'a> {
    pub fn new(client: &'a mut Client, tolerated: Option<ErrorCode>) -> Batch<'a> {
        Batch { client, under_way: Vec::with_capacity(AT_ONCE), tolerated, refused: 0 }
    }

    pub fn call(&mut self, call: &Call<'_>) -> Result<(), String> {
        let xid = self.client.submit(call).map_err(|e| explained(&e))?;
        self.under_way.push(xid);
        if self.under_way.len() < AT_ONCE { Ok(()) } else { self.settle() }
    }

    pub fn settle(&mut self) -> Result<(), String> {
        for xid in std::mem::take(&mut self.under_way) {
            let answer = self.client.wait(xid).and_then(|reply| reply.answer());
            match answer {
                Ok(_) => {}
                Err(e) if e.code().is_some() && e.code() == self.tolerated => self.refused += 1,
                Err(e) => return Err(explained(&e)),
            }
        }
        Ok(())
    }
}

/// Makes the root and every key with its value. A root that is there stays what it is, with all
/// below it, so it has to be named as one that may be used.
pub fn prepare(
    server: &Server,
    traffic: &Traffic,
    sessions: u64,
    reuse: bool,
) -> Result<(), String> {
    let told = |why: String| format!("{}: preparing {}: {why}", server.address, traffic.root);
    let mut client = server.client()?;
    match client.create(NewNode::persistent(&traffic.root, b"made by zkbench")) {
        Ok(_) => {}
        Err(e) if reuse && e.code() == Some(ErrorCode::NodeExists) => {}
        Err(e) if e.code() == Some(ErrorCode::NodeExists) => {
            return Err(told(
                "it exists; --reuse takes it, and removes its nodes later".to_owned(),
            ));
        }
        Err(e) => return Err(told(explained(&e))),
    }
    let mut batch = Batch::new(&mut client, Some(ErrorCode::NodeExists));
    for key in 0..traffic.keys {
        let (path, value) = (traffic.key_path(key), traffic.value_of(key));
        batch.call(&Call::Create(NewNode::persistent(&path, &value))).map_err(told)?;
    }
    if traffic.mix.has(Op::Create) || traffic.mix.has(Op::Delete) {
        for session in 0..sessions {
            let home = traffic.home(session);
            batch.call(&Call::Create(NewNode::persistent(&home, b""))).map_err(told)?;
        }
    }
    batch.settle().map_err(told)?;
    let found_any = batch.refused > 0;
    let mut batch = Batch::new(&mut client, None);
    if found_any {
        for key in 0..traffic.keys {
            let (path, value) = (traffic.key_path(key), traffic.value_of(key));
            let call = Call::SetData { path: &path, data: Some(&value), version: -1 };
            batch.call(&call).map_err(told)?;
        }
    }
    batch.settle().map_err(told)?;
    client.close().map_err(|e| told(explained(&e)))?;
    // Whoever reads at another member finds them there.
    server.members().skip(1).try_for_each(|member| {
        let mut client = member.client()?;
        client.sync(&traffic.root).map_err(|e| told(explained(&e)))?;
        client.close().map_err(|e| told(explained(&e)))
    })
}

/// Removes what a run made, and the root if nothing else is below it.
pub fn remove<'s>(
    server: &Server,
    traffic: &Traffic,
    sessions: impl Iterator<Item = &'s Session>,
) -> Result<(), String> {
    let told = |why: String| format!("{}: removing {}: {why}", server.address, traffic.root);
    let mut client = server.client()?;
    let mut batch = Batch::new(&mut client, Some(ErrorCode::NoNode));
    for (number, session) in sessions.enumerate() {
        for node in session.nodes() {
            let path = traffic.node_path(number as u64, node);
            batch.call(&Call::Delete { path: &path, version: -1 }).map_err(told)?;
        }
        let home = traffic.home(number as u64);
        batch.call(&Call::Delete { path: &home, version: -1 }).map_err(told)?;
    }
    for key in 0..traffic.keys {
        let path = traffic.key_path(key);
        batch.call(&Call::Delete { path: &path, version: -1 }).map_err(told)?;
    }
    batch.settle().map_err(told)?;
    match client.delete(&traffic.root, -1) {
        Ok(()) => {}
        Err(e) if e.code() == Some(ErrorCode::NotEmpty) => {}
        Err(e) => return Err(told(explained(&e))),
    }
    client.close().map_err(|e| told(explained(&e)))
}
