//! Reads FlatBuffers fields by their offsets, checking nothing but lengths.

/// A table inside a frame.
#[derive(Clone, Copy)]
pub struct Table<'a> {
    frame: &'a [u8],
    pos: usize,
    vtable: usize,
    vtable_bytes: usize,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_le_bytes(*b))
}
fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
}

/// Body type and body of a size-prefixed frame. `None` when an offset leads out of it.
pub fn body(frame: &[u8]) -> Option<(u8, Table<'_>)> {
    use schema::wire::Frame;
    let root = Table::at(frame, 4 + u32_at(frame, 4)? as usize)?;
    let kind = *frame.get(root.field(Frame::VT_BODY_TYPE)?)?;
    Some((kind, root.table(Frame::VT_BODY)?))
}

impl<'a> Table<'a> {
    fn at(frame: &'a [u8], pos: usize) -> Option<Self> {
        let back = u32_at(frame, pos)?.cast_signed();
        let vtable = usize::try_from(i64::try_from(pos).ok()? - i64::from(back)).ok()?;
        Some(Self { frame, pos, vtable, vtable_bytes: usize::from(u16_at(frame, vtable)?) })
    }

    /// Where a field is in the frame. `vt`: the generated `VT_…` constant.
    pub fn field(&self, vt: u16) -> Option<usize> {
        if usize::from(vt) >= self.vtable_bytes {
            return None;
        }
        match u16_at(self.frame, self.vtable + usize::from(vt))? {
            0 => None,
            offset => Some(self.pos + usize::from(offset)),
        }
    }

    fn target(&self, vt: u16) -> Option<usize> {
        let at = self.field(vt)?;
        Some(at + u32_at(self.frame, at)? as usize)
    }

    /// A nested table.
    pub fn table(&self, vt: u16) -> Option<Self> {
        Self::at(self.frame, self.target(vt)?)
    }

    /// Where a byte vector's content is in the frame.
    pub fn bytes_range(&self, vt: u16) -> Option<core::ops::Range<usize>> {
        let at = self.target(vt)?;
        let len = u32_at(self.frame, at)? as usize;
        let range = at + 4..(at + 4).checked_add(len)?;
        (range.end <= self.frame.len()).then_some(range)
    }

    /// A byte vector, empty when absent.
    pub fn bytes(&self, vt: u16) -> &'a [u8] {
        self.bytes_range(vt).map_or(&[], |range| &self.frame[range])
    }

    /// A u64, 0 when absent.
    pub fn u64(&self, vt: u16) -> u64 {
        self.field(vt).and_then(|at| self.frame.get(at..)?.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b))
    }

    /// A byte, 0 when absent.
    pub fn u8(&self, vt: u16) -> u8 {
        self.field(vt).and_then(|at| self.frame.get(at).copied()).unwrap_or(0)
    }

    /// A struct of so many bytes.
    pub fn array<const N: usize>(&self, vt: u16) -> Option<[u8; N]> {
        self.frame.get(self.field(vt)?..)?.first_chunk().copied()
    }

    /// A vector of u64, empty when absent.
    pub fn u64s(&self, vt: u16) -> impl Iterator<Item = u64> {
        let content = || {
            let at = self.target(vt)?;
            let bytes = (u32_at(self.frame, at)? as usize).checked_mul(8)?;
            self.frame.get(at + 4..(at + 4).checked_add(bytes)?)
        };
        let (numbers, _) = content().unwrap_or(&[]).as_chunks();
        numbers.iter().map(|number| u64::from_le_bytes(*number))
    }
}
