//! The body of an image, taken apart for tests.

use crate::base::{SessionId, Zxid};
use crate::proto::{Acl, NodeStat, Reader};

pub struct ImageNode {
    pub path: String,
    pub data: Option<Vec<u8>>,
    pub acl_id: i64,
    pub stat: NodeStat,
}

/// All that a body says, in its order.
pub struct Image {
    pub sessions: Vec<(SessionId, i32)>,
    pub acls: Vec<(i64, Vec<Acl>)>,
    pub nodes: Vec<ImageNode>,
}

impl Image {
    pub fn read(body: &[u8]) -> Image {
        let mut bytes = Bytes(Reader::new(body));
        let sessions = (0..bytes.int()).map(|_| (SessionId(bytes.long()), bytes.int())).collect();
        let acls = (0..bytes.int()).map(|_| (bytes.long(), bytes.acl())).collect();
        let mut nodes = Vec::new();
        loop {
            let path = bytes.0.string().expect("a string").expect("a path").into_owned();
            if path == "/" {
                break;
            }
            let data = bytes.0.buffer().expect("data").map(<[u8]>::to_vec);
            let (acl_id, stat) = (bytes.long(), bytes.stat());
            nodes.push(ImageNode { path, data, acl_id, stat });
        }
        assert!(bytes.0.is_empty(), "the body ends with its end");
        Image { sessions, acls, nodes }
    }
}

struct Bytes<'a>(Reader<'a>);

impl Bytes<'_> {
    fn int(&mut self) -> i32 {
        self.0.i32().expect("an int")
    }

    fn long(&mut self) -> i64 {
        self.0.i64().expect("a long")
    }

    fn acl(&mut self) -> Vec<Acl> {
        Acl::read_list(&mut self.0).expect("an ACL")
    }

    fn stat(&mut self) -> NodeStat {
        let (czxid, mzxid) = (Zxid(self.long()), Zxid(self.long()));
        let (ctime, mtime) = (self.long(), self.long());
        let (version, cversion, aversion) = (self.int(), self.int(), self.int());
        let (owner, pzxid) = (self.long(), Zxid(self.long()));
        NodeStat { czxid, mzxid, pzxid, ctime, mtime, version, cversion, aversion, owner }
    }
}
