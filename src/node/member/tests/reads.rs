//! Reads that take more than one turn.

use super::*;
use crate::base::limits::TURN_VISITS;
use crate::proto::NodeStat;

const NODES: usize = 2 * TURN_VISITS + 7;

fn leads() -> Alone {
    let mut alone = Alone::among(1, |_, start| {
        let mut loader = State::loader(&StateSettings::default());
        let stat = NodeStat {
            czxid: Zxid(1),
            mzxid: Zxid(1),
            pzxid: Zxid(1),
            ctime: 0,
            mtime: 0,
            version: 0,
            cversion: 0,
            aversion: 0,
            owner: 0,
        };
        loader.node("/many", None, -1, stat).expect("a node");
        for n in 0..NODES {
            loader.node(&format!("/many/{n}"), None, -1, stat).expect("a node");
        }
        start.state = loader.finish(Zxid(0));
    });
    alone.lead();
    alone.settle(&[]);
    alone.connect(conn(0), 0, false);
    alone.connect(conn(1), 0, false);
    alone
}

fn frame(xid: i32, op: OpCode, body: &[u8]) -> Vec<u8> {
    [&xid.to_be_bytes(), &op.number().to_be_bytes(), body].concat()
}

fn counted(answer: &[u8]) -> i32 {
    assert_eq!(reply(answer), (1, 0));
    i32::from_be_bytes(answer[20..].try_into().expect("a number"))
}

#[test]
fn others_are_served_while_the_nodes_below_one_are_counted() {
    let mut alone = leads();
    let mut many = Vec::new();
    many.put_string("/many");
    let count = frame(1, OpCode::GetAllChildrenNumber, &many);
    let behind = frame(2, OpCode::Exists, &path("/"));
    let asked = [&count, &behind].map(|body| Event::Frame { conn: conn(0), body });
    assert_eq!(alone.turn(&asked), [], "half of them are counted");
    let other = frame(3, OpCode::Exists, &path("/many"));
    let answer = alone.turn(&[Event::Frame { conn: conn(1), body: &other }]);
    assert_eq!(reply(&answer), (3, 0), "and another's question is answered first");
    let answers = alone.settle(&[]);
    let (first, second) = answers.split_at(24);
    assert_eq!(counted(first), NODES as i32);
    assert_eq!(reply(second), (2, 0), "what was asked behind comes behind");
}
