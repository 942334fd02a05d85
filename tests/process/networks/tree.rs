//! What each member holds in the end, node by node, and whether they hold the same.

use std::collections::BTreeMap;

use zkd::client::{Client, Settings};
use zkd::proto::Stat;

use super::history::{Told, judge};
use super::members::Ensemble;

#[derive(Debug, PartialEq)]
pub struct Node {
    pub data: Vec<u8>,
    pub stat: Stat,
}

/// By path.
pub type Tree = BTreeMap<String, Node>;

/// Each member says this for itself, from its own file until it is changed.
const OWN: &str = "/zookeeper/config";

/// Everything a member has, after everything that was proposed before it was asked.
fn read(settings: Settings) -> Tree {
    let mut client = Client::open(settings).expect("a session");
    client.sync("/").expect("synced");
    let (mut tree, mut left) = (Tree::new(), vec!["/".to_owned()]);
    while let Some(path) = left.pop() {
        let (data, stat) = client.data(&path, false).expect("a node that was listed");
        let parent = if path == "/" { "" } else { &path };
        let names = client.children(&path, false).expect("a node that was listed");
        left.extend(names.iter().map(|name| format!("{parent}/{name}")));
        if path != OWN {
            tree.insert(path, Node { data: data.unwrap_or_default(), stat });
        }
    }
    client.close().expect("closed");
    tree
}

/// All members serve and hold the same tree, with everything in it that the sessions were told.
pub fn finish(ensemble: &Ensemble, told: &[Told]) {
    ensemble.await_all();
    let ids = ensemble.ids();
    let first = read(ensemble.settings(&ids[..1]));
    judge(&first, told).unwrap_or_else(|finding| panic!("{finding}"));
    for id in &ids[1..] {
        let other = read(ensemble.settings(&[*id]));
        if let Some(what) = difference(&first, &other) {
            panic!("members {} and {id} differ: {what}", ids[0]);
        }
    }
    let acknowledged: usize =
        told.iter().map(|told| told.tokens.len() + told.version as usize).sum();
    let lost: u64 = told.iter().map(|told| told.lost).sum();
    println!(
        "{} nodes alike in {} members, {acknowledged} acknowledged writes, {lost} without answer",
        first.len(),
        ids.len()
    );
}

/// The first node that is not the same in both.
pub fn difference(one: &Tree, other: &Tree) -> Option<String> {
    let paths = one.keys().chain(other.keys());
    let mut differing = paths.filter(|path| one.get(*path) != other.get(*path));
    let path = differing.next()?;
    Some(format!("{path}: {:?} and {:?}", one.get(path), other.get(path)))
}

/// What the judges must refuse: one that refuses nothing proves nothing.
mod red {
    use zkd::base::Zxid;

    use super::*;

    const SESSION: i64 = 7;

    fn node(data: &str, version: i32, ephemeral_owner: i64) -> Node {
        let stat = Stat {
            czxid: Zxid(1),
            mzxid: Zxid(1),
            ctime: 0,
            mtime: 0,
            version,
            cversion: 0,
            aversion: 0,
            ephemeral_owner,
            data_length: data.len() as i32,
            num_children: 0,
            pzxid: Zxid(1),
        };
        Node { data: data.as_bytes().to_vec(), stat }
    }

    fn written() -> (Tree, Told) {
        let token = |n: i32| (format!("w1:{n}"), format!("/tokens/n-{n}"));
        let told = Told {
            name: "w1".to_owned(),
            session: SESSION,
            number: 5,
            version: 5,
            tokens: (1..=3).map(token).collect(),
            perhaps: ["w1:4".to_owned()].into(),
            lost: 1,
            ..Told::default()
        };
        let mut tree: Tree =
            told.tokens.iter().map(|(token, path)| (path.clone(), node(token, 0, 0))).collect();
        tree.insert("/tokens".to_owned(), node("", 0, 0));
        tree.insert("/w1".to_owned(), node("5", 5, 0));
        tree.insert("/w1-lives".to_owned(), node("", 0, SESSION));
        (tree, told)
    }

    #[test]
    fn a_history_that_did_not_happen_is_refused() {
        type Change = (&'static str, &'static str, Option<Node>, bool);
        let changes: [Change; 13] = [
            ("nothing", "/other", None, true),
            ("one without answer", "/tokens/n-4", Some(node("w1:4", 0, 0)), true),
            ("a token lost", "/tokens/n-2", None, false),
            ("a token twice", "/tokens/n-9", Some(node("w1:2", 0, 0)), false),
            ("a token elsewhere", "/tokens/n-2", Some(node("w1:3", 0, 0)), false),
            ("a token of nobody", "/tokens/n-4", Some(node("w1:5", 0, 0)), false),
            ("the node lost", "/w1", None, false),
            ("the node behind", "/w1", Some(node("4", 4, 0)), false),
            ("the node ahead", "/w1", Some(node("6", 6, 0)), false),
            ("the node written twice", "/w1", Some(node("5", 6, 0)), false),
            ("the node with other data", "/w1", Some(node("4", 5, 0)), false),
            ("the ephemeral gone", "/w1-lives", None, false),
            ("the ephemeral another's", "/w1-lives", Some(node("", 0, 8)), false),
        ];
        for (what, path, node, is_sound) in changes {
            let (mut tree, told) = written();
            match node {
                Some(node) => tree.insert(path.to_owned(), node),
                None => tree.remove(path),
            };
            assert_eq!(judge(&tree, &[told]).is_ok(), is_sound, "{what}");
        }
        let (mut tree, mut told) = written();
        told.is_open = true;
        tree.insert("/w1".to_owned(), node("6", 6, 0));
        assert_eq!(judge(&tree, &[told]), Ok(()), "a write without answer may have happened");
    }

    #[test]
    fn members_that_differ_are_told_apart() {
        let (one, _) = written();
        let changes = [
            ("/w1", Some(node("6", 5, 0))),
            ("/w1", Some(node("5", 6, 0))),
            ("/w1", None),
            ("/more", Some(node("", 0, 0))),
        ];
        for (path, node) in changes {
            let (mut other, _) = written();
            match node {
                Some(node) => other.insert(path.to_owned(), node),
                None => other.remove(path),
            };
            assert!(difference(&one, &other).is_some_and(|what| what.starts_with(path)));
            assert!(difference(&other, &one).is_some_and(|what| what.starts_with(path)));
        }
        assert_eq!(difference(&one, &written().0), None);
    }
}
