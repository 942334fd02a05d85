//! Images: a state is the history that made it, so its nodes are the txns.

use bytes::Bytes;

use crate::base::Zxid;
use crate::history::{SnapshotItem, SnapshotReader, SnapshotTrailers};
use crate::proto::Writer;
use crate::zab::Recent;

/// The stream that a learner is sent.
pub fn encode(history: &[Recent]) -> Bytes {
    let mut out = Vec::new();
    // Sessions and access control lists.
    out.put_i32(0);
    out.put_i32(0);
    node("", b"root", &mut out);
    for record in history {
        node(&format!("/{:x}", record.zxid), &record.data, &mut out);
    }
    out.put_string("/");
    Bytes::from(out)
}

fn node(path: &str, data: &[u8], out: &mut Vec<u8>) {
    out.put_string(path);
    out.put_buffer(Some(data));
    out.put_slice(&[0; 68]);
}

/// Takes an item of an image into the state that it makes.
pub fn take(item: &SnapshotItem<'_>, state: &mut Vec<Recent>) {
    let SnapshotItem::Node(node) = item else { return };
    let Some(name) = node.path.strip_prefix('/') else { return };
    let zxid = Zxid(i64::from_str_radix(name, 16).expect("a node is named after its txn"));
    let data = Bytes::copy_from_slice(node.data.unwrap_or_default());
    state.push(Recent { zxid, data });
}

/// What a snapshot file stands for.
pub fn read_file(bytes: &[u8]) -> Vec<Recent> {
    let mut reader = SnapshotReader::file();
    reader.feed(bytes);
    reader.end_input();
    let mut state = Vec::new();
    loop {
        match reader.next_item().expect("a whole file") {
            SnapshotItem::End(trailers) => {
                assert_eq!(trailers, SnapshotTrailers::default(), "nobody says that it is exact");
                return state;
            }
            SnapshotItem::More => panic!("the file ends"),
            item => take(&item, &mut state),
        }
    }
}
