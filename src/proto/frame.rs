//! Frames: a 32-bit length, then that many bytes.

/// Why a stream cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The length is negative or above the limit.
    Length(i32),
}

/// Cuts the first frame off `bytes`: its body and how many bytes it took, `None` while it is
/// incomplete. A length is judged as soon as its four bytes are there.
pub fn cut(bytes: &[u8], max: usize) -> Result<Option<(&[u8], usize)>, FrameError> {
    let Some((head, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let length = i32::from_be_bytes(*head);
    let n = usize::try_from(length).map_err(|_| FrameError::Length(length))?;
    if n > max {
        return Err(FrameError::Length(length));
    }
    Ok(rest.get(..n).map(|body| (body, 4 + n)))
}

/// Collects a stream's bytes and gives its frames: for clients and simulated sockets.
#[derive(Debug, Default)]
pub struct Splitter {
    bytes: Vec<u8>,
    start: usize,
}

impl Splitter {
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub fn next(&mut self, max: usize) -> Result<Option<&[u8]>, FrameError> {
        let from = self.start;
        match cut(&self.bytes[from..], max)? {
            None => Ok(None),
            Some((_, taken)) => {
                self.start += taken;
                Ok(Some(&self.bytes[from + 4..from + taken]))
            }
        }
    }

    /// Bytes held that are not yet a whole frame.
    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}
