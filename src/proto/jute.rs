//! Jute's primitives: big-endian integers, length-prefixed strings, buffers and vectors.

use std::borrow::Cow;

use super::utf;

/// Why bytes are not the record they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The input ends inside a field.
    Short,
    /// A length below -1.
    Length(i32),
    /// A field that must not be null is.
    Null,
    /// A number outside its enumeration.
    Value(i32),
    /// A type of record that no server writes here.
    Kind(i32),
}

/// Reads primitives off the front of a slice.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(*head)
    }

    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// Any non-zero byte is true.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.u8()? != 0)
    }

    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// A buffer; null and empty are different things.
    pub fn buffer(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        match self.i32()? {
            -1 => Ok(None),
            n if n < 0 => Err(DecodeError::Length(n)),
            n => Ok(Some(self.take(n as usize)?)),
        }
    }

    /// A string; bytes that are not UTF-8 become U+FFFD as in Java.
    pub fn string(&mut self) -> Result<Option<Cow<'a, str>>, DecodeError> {
        Ok(self.buffer()?.map(utf::decode))
    }

    /// The count of a vector: `None` for null; other negative counts read as empty, as in Java.
    pub fn count(&mut self) -> Result<Option<usize>, DecodeError> {
        match self.i32()? {
            -1 => Ok(None),
            n => Ok(Some(n.max(0) as usize)),
        }
    }

    /// A vector of `T`. Room is reserved only for what the remaining bytes could hold.
    pub fn vector<T>(
        &mut self,
        min_item_bytes: usize,
        mut item: impl FnMut(&mut Reader<'a>) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.count()? else { return Ok(None) };
        let possible = self.rest.len() / min_item_bytes.max(1);
        if count > possible {
            return Err(DecodeError::Short);
        }
        let mut items = Vec::with_capacity(count.min(1024));
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(Some(items))
    }

    pub fn strings(&mut self) -> Result<Option<Vec<Cow<'a, str>>>, DecodeError> {
        self.vector(4, |r| r.string()?.ok_or(DecodeError::Null))
    }
}

/// Appends primitives to a buffer.
pub trait Writer {
    fn put_u8(&mut self, v: u8);
    fn put_slice(&mut self, v: &[u8]);

    fn put_bool(&mut self, v: bool) {
        self.put_u8(u8::from(v));
    }

    fn put_i32(&mut self, v: i32) {
        self.put_slice(&v.to_be_bytes());
    }

    fn put_i64(&mut self, v: i64) {
        self.put_slice(&v.to_be_bytes());
    }

    fn put_buffer(&mut self, v: Option<&[u8]>) {
        match v {
            None => self.put_i32(-1),
            Some(bytes) => {
                self.put_i32(bytes.len() as i32);
                self.put_slice(bytes);
            }
        }
    }

    /// A string, encoded as Java does: each UTF-16 unit on its own.
    fn put_string(&mut self, v: &str) {
        self.put_buffer(Some(&utf::encode(v)));
    }

    /// A string by its UTF-8, which is looked at only where Java encodes it another way.
    fn put_utf8(&mut self, v: &[u8]) {
        if utf::is_alike(v) {
            self.put_buffer(Some(v));
        } else {
            self.put_string(std::str::from_utf8(v).expect("what comes from a string"));
        }
    }

    fn put_opt_string(&mut self, v: Option<&str>) {
        match v {
            None => self.put_i32(-1),
            Some(s) => self.put_string(s),
        }
    }
}

impl Writer for Vec<u8> {
    fn put_u8(&mut self, v: u8) {
        self.push(v);
    }

    fn put_slice(&mut self, v: &[u8]) {
        self.extend_from_slice(v);
    }
}
