use proptest::prelude::*;

use super::*;

fn z(epoch: u32, counter: u32) -> Zxid {
    Zxid::new(epoch, counter)
}

fn data(zxid: Zxid, bytes: usize) -> Bytes {
    Bytes::from(vec![zxid.0 as u8; bytes])
}

/// After `z(1, 0)`: four of epoch 1, three of epoch 3.
fn ring() -> Ring {
    let mut ring = Ring::new(z(1, 0));
    for zxid in [z(1, 1), z(1, 2), z(1, 3), z(1, 4), z(3, 1), z(3, 2), z(3, 3)] {
        assert_eq!(ring.push(zxid, &data(zxid, 10)), Continuity::Next);
    }
    ring.check();
    ring
}

#[test]
fn a_zxid_is_placed_among_what_is_held() {
    let ring = ring();
    let place = |at_or_before, after| Some(Place { at_or_before: Some(at_or_before), after });
    assert_eq!(ring.place(z(1, 2)), place(z(1, 2), Some(z(1, 3))));
    assert_eq!(ring.place(z(1, 0)), place(z(1, 0), Some(z(1, 1))));
    assert_eq!(ring.place(z(1, 9)), place(z(1, 4), Some(z(3, 1))));
    assert_eq!(ring.place(z(3, 3)), place(z(3, 3), None));
    assert_eq!(ring.place(z(9, 9)), place(z(3, 3), None));
    assert_eq!(ring.place(z(0, 9)), None, "this is before what is held");
    assert_eq!(ring.find(z(3, 2)).map(|entry| entry.zxid), Some(z(3, 2)));
    assert_eq!(ring.find(z(2, 1)), None);
}

#[test]
fn a_gap_or_a_step_back_lets_everything_go_and_a_duplicate_changes_nothing() {
    let mut at_gap = ring();
    assert_eq!(at_gap.push(z(3, 5), &data(z(3, 5), 1)), Continuity::Gap);
    assert_eq!((at_gap.len(), at_gap.after(), at_gap.last()), (0, z(3, 5), z(3, 5)));
    assert_eq!(at_gap.push(z(3, 6), &data(z(3, 6), 1)), Continuity::Next);
    let mut back = ring();
    assert_eq!(back.push(z(3, 1), &data(z(3, 1), 1)), Continuity::Back);
    assert_eq!((back.len(), back.after()), (0, z(3, 1)));
    let mut again = ring();
    assert_eq!(again.push(z(3, 3), &data(z(3, 3), 1)), Continuity::Duplicate);
    assert_eq!(again.len(), 7);
    for ring in [at_gap, back, again] {
        ring.check();
    }
}

#[test]
fn the_oldest_go_first_and_never_what_is_not_durable() {
    let mut ring = Ring::bounded(z(1, 0), 3 * (ENTRY_BYTES + 10));
    for counter in 1..=6 {
        ring.push(z(1, counter), &data(z(1, counter), 10));
    }
    ring.shed(z(1, 2));
    assert_eq!((ring.len(), ring.after()), (4, z(1, 2)), "1.3 is not on disk yet");
    ring.shed(z(1, 6));
    assert_eq!((ring.len(), ring.after()), (3, z(1, 3)));
    assert!(ring.covers(z(1, 3)) && !ring.covers(z(1, 2)));
    ring.check();
}

#[test]
fn a_cut_ends_the_history_and_one_outside_of_it_begins_anew() {
    let mut within = ring();
    within.cut(z(1, 3));
    assert_eq!((within.len(), within.last()), (3, z(1, 3)));
    let mut at_start = ring();
    at_start.cut(z(1, 0));
    assert_eq!((at_start.len(), at_start.last()), (0, z(1, 0)));
    let mut before = ring();
    before.cut(z(0, 4));
    assert_eq!((before.len(), before.after()), (0, z(0, 4)));
    // What it is cut to is not in it: then nothing of it can be relied on.
    let mut between = ring();
    between.cut(z(2, 9));
    assert_eq!((between.len(), between.after()), (0, z(2, 9)));
    for ring in [within, at_start, before, between] {
        ring.check();
    }
}

#[derive(Clone, Debug)]
enum Op {
    Push { epochs: u32, counters: u32, bytes: usize },
    Cut { back: usize },
    Shed { back: usize },
}

fn op() -> impl Strategy<Value = Op> {
    let push = (0u32..2, 0u32..3, 0usize..200).prop_map(|(epochs, counters, bytes)| Op::Push {
        epochs,
        counters,
        bytes,
    });
    prop_oneof![
        8 => push,
        1 => (0usize..9).prop_map(|back| Op::Cut { back }),
        2 => (0usize..4).prop_map(|back| Op::Shed { back }),
    ]
}

proptest! {
    #[test]
    fn the_ring_is_the_end_of_a_naive_history(
        bound in 0usize..2000,
        ops in prop::collection::vec(op(), 1..60),
        asked in prop::collection::vec((0u32..12, 0u32..40), 20),
    ) {
        let mut ring = Ring::bounded(z(1, 0), bound);
        // The whole history since it last began anew, and how much of its front was let go.
        let mut history = vec![z(1, 0)];
        for op in ops {
            let last = *history.last().unwrap();
            match op {
                Op::Push { epochs, counters, bytes } => {
                    let zxid = match epochs {
                        0 => z(last.epoch(), last.counter() + counters),
                        _ => z(last.epoch() + epochs, counters),
                    };
                    match ring.push(zxid, &data(zxid, bytes)) {
                        Continuity::Next => history.push(zxid),
                        Continuity::Duplicate => prop_assert_eq!(zxid, last),
                        Continuity::Gap | Continuity::Back => history = vec![zxid],
                    }
                }
                Op::Cut { back } => {
                    let keep = history.len().saturating_sub(back).max(1);
                    let zxid = history[keep - 1];
                    let held = ring.covers(zxid);
                    ring.cut(zxid);
                    history.truncate(keep);
                    if !held {
                        history = vec![zxid];
                    }
                }
                Op::Shed { back } => {
                    let durable = history[history.len().saturating_sub(back + 1)];
                    ring.shed(durable);
                    prop_assert!(ring.bytes() <= bound || ring.after() >= durable
                        || ring.next_after(ring.after()).is_none_or(|e| e.zxid > durable));
                }
            }
            ring.check();
            prop_assert_eq!(ring.last(), *history.last().unwrap());
            let from = history.iter().position(|zxid| *zxid == ring.after());
            let held = &history[from.expect("it begins behind something that was there")..];
            prop_assert_eq!(ring.len(), held.len() - 1);
            for (epoch, counter) in &asked {
                let zxid = z(*epoch, *counter);
                prop_assert_eq!(ring.covers(zxid), zxid >= held[0]);
                let place = ring.covers(zxid).then(|| Place {
                    at_or_before: held.iter().copied().filter(|h| *h <= zxid).max(),
                    after: held.iter().copied().filter(|h| *h > zxid).min(),
                });
                prop_assert_eq!(ring.place(zxid), place);
            }
        }
    }
}
