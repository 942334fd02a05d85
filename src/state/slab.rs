//! Storage in pages: growing never moves what is there, so no insert pays for the whole.

const PAGE_BITS: u32 = 12;
const PAGE: usize = 1 << PAGE_BITS;

/// Values under 4-byte ids; an id is used again after its value went.
pub(super) struct Slab<T> {
    pages: Vec<Vec<T>>,
    free: Vec<u32>,
    len: u32,
}

impl<T> Slab<T> {
    pub fn new() -> Slab<T> {
        Slab { pages: Vec::new(), free: Vec::new(), len: 0 }
    }

    /// Ids ever given out: all ids are below this.
    pub fn end(&self) -> u32 {
        self.len
    }

    pub fn used(&self) -> usize {
        self.len as usize - self.free.len()
    }

    pub fn insert(&mut self, value: T) -> u32 {
        if let Some(id) = self.free.pop() {
            *self.at_mut(id) = value;
            return id;
        }
        let id = self.len;
        assert!(id < super::nodes::NONE - 1, "the slab's ids are used up");
        if id as usize % PAGE == 0 {
            self.pages.push(Vec::with_capacity(PAGE));
        }
        self.pages[id as usize / PAGE].push(value);
        self.len += 1;
        id
    }

    /// The id may be given out again; `blank` takes the place of what was there.
    pub fn release(&mut self, id: u32, blank: T) {
        *self.at_mut(id) = blank;
        self.free.push(id);
    }

    /// So many ids will be released.
    pub fn reserve_free(&mut self, count: usize) {
        self.free.reserve(count);
    }

    pub fn at(&self, id: u32) -> &T {
        &self.pages[(id >> PAGE_BITS) as usize][id as usize % PAGE]
    }

    pub fn at_mut(&mut self, id: u32) -> &mut T {
        &mut self.pages[(id >> PAGE_BITS) as usize][id as usize % PAGE]
    }
}
