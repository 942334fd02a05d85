//! Every opcode with every error code a standalone server can answer it with.

use crate::model::{IN_MULTI, IN_MULTI_READ, Seen, UNKNOWN};
use crate::ops::*;

/// What every write that makes a node can meet.
const CREATES: [i32; 8] = [0, -8, -101, -102, -108, -110, -114, -125];

const ROWS: [(&str, i32, &[i32]); 33] = [
    ("create", CREATE, &CREATES),
    ("create2", CREATE2, &CREATES),
    ("createContainer", CREATE_CONTAINER, &CREATES),
    ("createTTL", CREATE_TTL, &CREATES),
    ("delete", DELETE, &[0, -8, -101, -102, -103, -111]),
    ("deleteContainer", DELETE_CONTAINER, &[0, -8, -101, -102, -103, -111]),
    ("setData", SET_DATA, &[0, -8, -101, -102, -103, -125]),
    ("setACL", SET_ACL, &[0, -8, -101, -102, -103, -114]),
    ("multi", MULTI, &[0, -5]),
    ("exists", EXISTS, &[0, -5, -8, -101, -102]),
    ("getData", GET_DATA, &[0, -5, -101, -102]),
    ("getChildren", GET_CHILDREN, &[0, -5, -101, -102]),
    ("getChildren2", GET_CHILDREN2, &[0, -5, -101, -102]),
    ("getACL", GET_ACL, &[0, -5, -101, -102]),
    ("getAllChildrenNumber", GET_ALL_CHILDREN_NUMBER, &[0, -5, -101, -102]),
    ("getEphemerals", GET_EPHEMERALS, &[0, -5]),
    ("sync", SYNC, &[0, -5]),
    ("ping", PING, &[0]),
    ("multiRead", MULTI_READ, &[0, -5]),
    ("checkWatches", CHECK_WATCHES, &[0, -5, -121]),
    ("removeWatches", REMOVE_WATCHES, &[0, -5, -121]),
    ("addWatch", ADD_WATCH, &[0, -5]),
    ("setWatches", SET_WATCHES, &[0, -5]),
    ("setWatches2", SET_WATCHES2, &[0, -5]),
    ("whoAmI", WHO_AM_I, &[0]),
    ("auth", AUTH, &[0, -115]),
    ("sasl", SASL, &[0]),
    ("reconfig", RECONFIG, &[-123]),
    ("check alone", CHECK, &[-6]),
    ("closeSession", CLOSE_SESSION, &[0]),
    ("unknown", UNKNOWN, &[-6]),
    ("first fault in multi", IN_MULTI, &[-8, -101, -102, -103, -108, -110, -111, -114, -125]),
    ("fault in multiRead", IN_MULTI_READ, &[-101, -102]),
];

/// A server that guards its reaper answers a client's request in one way only; Apache never so.
fn is_reachable(op: i32, code: i32, guards_reaper: bool) -> bool {
    op != DELETE_CONTAINER || guards_reaper == (code == -102)
}

/// Prints the table; answers the rows that no operation reached.
pub fn table(seen: &Seen, guards_reaper: bool) -> Vec<String> {
    let mut missing = Vec::new();
    let mut shown = Vec::new();
    for (name, op, codes) in ROWS {
        let codes = codes.iter().filter(|code| is_reachable(op, **code, guards_reaper));
        let mut line = format!("  {name:21}");
        for code in codes {
            let count = seen.get(&(op, *code)).copied().unwrap_or(0);
            line.push_str(&format!(" {code}:{count}"));
            shown.push((op, *code));
            if count == 0 {
                missing.push(format!("{name} {code}"));
            }
        }
        println!("{line}");
    }
    let others = seen.iter().filter(|(key, _)| !shown.contains(key));
    for ((op, code), count) in others {
        println!("  other opcode {op} {code}:{count}");
    }
    missing
}
