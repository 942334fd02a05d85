//! Counts what is allocated, so that a length in the input never decides it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// Passes every call on to the system's allocator and counts what the thread holds.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: isize) {
    // A thread that ends has no counters left, and nothing to count.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        PEAK.try_with(|peak| peak.set(peak.get().max(live.get())))
    });
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's layout, unchanged.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's layout, unchanged.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: it came from `System` with this layout.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: it came from `System` with this layout; the size is the caller's.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// The most that `decode` held at a time, its result included.
pub fn held<T>(decode: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = decode();
    (result, usize::try_from(PEAK.get() - before).unwrap_or(0))
}

/// Runs `decode` and asserts that it held at most four times `input` bytes and the fixed cost of
/// so many items; `SLACK_BYTES` besides, for inputs of a few bytes.
pub fn bounded<T>(input: usize, items: usize, decode: impl FnOnce() -> T) -> T {
    let (result, held) = held(decode);
    let bound = 4 * input + items + SLACK_BYTES;
    assert!(held <= bound, "{held} bytes held for an input of {input}, {bound} at most");
    result
}

/// What as many items as fit into `input` bytes cost above four times their bytes, each `wire`
/// bytes at least there and `item` in memory.
pub fn fixed_cost(input: usize, item: usize, wire: usize) -> usize {
    (input / wire) * item.saturating_sub(4 * wire)
}

/// The least room that a string with a replaced byte takes besides itself.
pub const REPAIRED_BYTES: usize = 8;

const SLACK_BYTES: usize = 512;
