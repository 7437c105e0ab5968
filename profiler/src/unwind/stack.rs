//! The snapshot of a stack, and what was asked of it in vain.

/// Bytes of a stack from its pointer upward. Remembers the last address above its end that was asked for.
pub struct Snapshot<'a> {
    sp: u64,
    bytes: &'a [u8],
    beyond: Option<u64>,
}

impl<'a> Snapshot<'a> {
    pub fn new(sp: u64, bytes: &'a [u8]) -> Self {
        Self { sp, bytes, beyond: None }
    }

    /// The eight bytes at `address`. Below the stack pointer there is nothing: unwinding asks for it at times, where a
    /// function's end has popped what its table still calls saved.
    pub fn read(&mut self, address: u64) -> Result<u64, ()> {
        let word = self.peek(address);
        if word.is_err() && address >= self.sp {
            self.beyond = Some(address);
        }
        word
    }

    /// The same, to look whether something is there.
    pub fn peek(&self, address: u64) -> Result<u64, ()> {
        let offset = address.checked_sub(self.sp).ok_or(())?;
        let word = usize::try_from(offset).ok().and_then(|from| self.bytes.get(from..)?.first_chunk::<8>());
        word.map(|word| u64::from_le_bytes(*word)).ok_or(())
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How far above the snapshot's end the last refused address lay. Forgets it.
    pub fn take_beyond(&mut self) -> Option<u64> {
        let end = self.sp.wrapping_add(self.bytes.len() as u64);
        Some(self.beyond.take()?.saturating_sub(end))
    }
}
