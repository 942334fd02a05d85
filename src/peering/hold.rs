//! Bytes of one unfinished message. What came whole is never copied.

use crate::base::limits::PEER_BUFFER_BYTES;

/// The front of a stream: what is held of it and, behind that, what has come now.
#[derive(Debug, Default)]
pub(super) struct Hold {
    bytes: Vec<u8>,
    /// `take` gave them away; they go when the next message is asked for.
    is_given: bool,
}

impl Hold {
    /// What `take` gave is no longer looked at.
    pub(super) fn forget(&mut self) {
        if !self.is_given {
            return;
        }
        self.is_given = false;
        if self.bytes.capacity() > PEER_BUFFER_BYTES {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
    }

    /// The first `wanted` bytes of the message; `None` while they are not all there, and then the
    /// input is held and empty. Asked for more and more of one message; `most` is its bound.
    pub(super) fn front<'h, 'i: 'h>(
        &'h mut self,
        input: &mut &'i [u8],
        wanted: usize,
        most: usize,
    ) -> Option<&'h [u8]> {
        assert!(!self.is_given, "what was given is forgotten first");
        assert!(wanted <= most, "a message is judged before it is waited for");
        if self.bytes.is_empty() && input.len() >= wanted {
            return Some(&input[..wanted]);
        }
        assert!(self.bytes.len() <= wanted, "no byte of the next message is held");
        let missing = wanted - self.bytes.len();
        let (now, later) = input.split_at(missing.min(input.len()));
        self.keep(now, most);
        *input = later;
        (self.bytes.len() == wanted).then_some(self.bytes.as_slice())
    }

    /// A whole message, which `front` has shown.
    pub(super) fn take<'h, 'i: 'h>(&'h mut self, input: &mut &'i [u8], bytes: usize) -> &'h [u8] {
        if self.bytes.is_empty() {
            let (message, later) = input.split_at(bytes);
            *input = later;
            return message;
        }
        assert_eq!(self.bytes.len(), bytes, "what is held is one message");
        self.is_given = true;
        &self.bytes
    }

    /// Bytes of a message that is not whole.
    pub(super) fn held(&self) -> usize {
        if self.is_given { 0 } else { self.bytes.len() }
    }

    /// Grows by doubling, for a length in the input must not decide what is allocated, and not
    /// beyond what a message may have.
    fn keep(&mut self, bytes: &[u8], most: usize) {
        let needed = self.bytes.len() + bytes.len();
        if needed > self.bytes.capacity() {
            let room = (2 * needed).min(most);
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}
