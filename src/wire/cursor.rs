//! Bounded reading of hostile octets.

/// Reads octets from the front of a slice and knows how far it is from the beginning of the message.
///
/// Never reads past its end; a nested field gets a cursor of its own with [`Cursor::take`], so that it cannot reach
/// what follows it.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
    offset: usize,
}

/// Fewer octets were left than a field needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{needed} octets needed, {left} left")]
pub struct Truncated {
    /// Where the field begins, from the beginning of the message.
    pub offset: usize,
    /// Octets that the field has.
    pub needed: usize,
    /// Octets that were there.
    pub left: usize,
}

impl<'a> Cursor<'a> {
    /// Reads `bytes`, which begin `offset` octets into the message.
    pub fn new(bytes: &'a [u8], offset: usize) -> Self {
        Self {
            rest: bytes,
            offset,
        }
    }

    /// Octets from the beginning of the message to the next one that is read.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Octets left.
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    /// True when all is read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` octets.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Truncated> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                self.offset += count;
                Ok(taken)
            }
            None => Err(Truncated {
                offset: self.offset,
                needed: count,
                left: self.rest.len(),
            }),
        }
    }

    /// A cursor over the next `count` octets.
    pub fn take(&mut self, count: usize) -> Result<Cursor<'a>, Truncated> {
        let offset = self.offset;
        Ok(Cursor {
            rest: self.bytes(count)?,
            offset,
        })
    }

    /// The next `N` octets.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let bytes = self.bytes(N)?;
        Ok(bytes
            .try_into()
            .expect("bytes() returns as many as asked for"))
    }

    /// The next octet.
    pub fn u8(&mut self) -> Result<u8, Truncated> {
        Ok(self.array::<1>()?[0])
    }

    /// Two octets, most significant first.
    pub fn u16(&mut self) -> Result<u16, Truncated> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// Four octets, most significant first.
    pub fn u32(&mut self) -> Result<u32, Truncated> {
        Ok(u32::from_be_bytes(self.array()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_past_the_end_takes_nothing_and_names_the_place() {
        let mut cursor = Cursor::new(&[1, 2, 3], 100);
        assert_eq!(cursor.u8(), Ok(1));
        let truncated = Truncated {
            offset: 101,
            needed: 4,
            left: 2,
        };
        assert_eq!(cursor.u32(), Err(truncated));
        assert_eq!(truncated.to_string(), "4 octets needed, 2 left");
        assert_eq!(cursor.u16(), Ok(0x0203));
        assert!(cursor.is_empty());
    }

    #[test]
    fn a_nested_field_ends_where_it_ends() {
        let mut outer = Cursor::new(&[1, 2, 3, 4], 10);
        outer.u8().unwrap();
        let mut inner = outer.take(2).unwrap();
        assert_eq!((inner.offset(), inner.len()), (11, 2));
        assert_eq!(inner.array(), Ok([2, 3]));
        assert!(inner.u8().is_err());
        assert_eq!((outer.offset(), outer.rest()), (13, [4].as_slice()));
    }
}
