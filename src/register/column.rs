//! Arrays that lie in bytes which somebody else owns: a mapped file, or memory.

use bytemuck::Pod;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// The bytes that columns lie in. They never move while it lives.
pub(crate) type Storage = Arc<dyn Bytes>;

/// Bytes that may be those of a mapped file.
pub(crate) trait Bytes: AsRef<[u8]> + Send + Sync {
    /// Whether they are what they were in the beginning: what was read before is true only then.
    fn is_intact(&self) -> bool {
        true
    }
}

impl Bytes for crate::memory::Mapped {
    fn is_intact(&self) -> bool {
        self.is_intact()
    }
}

/// An array of `T` at a place in a [`Storage`].
pub(crate) struct Column<T> {
    storage: Storage,
    range: Range<usize>,
    of: PhantomData<T>,
}

impl<T: Pod> Column<T> {
    /// `None` if the range lies outside, is not aligned for `T`, or is no whole number of them.
    pub(crate) fn new(storage: &Storage, range: Range<usize>) -> Option<Column<T>> {
        let bytes = (**storage).as_ref().get(range.clone())?;
        bytemuck::try_cast_slice::<u8, T>(bytes).ok()?;
        Some(Column { storage: Arc::clone(storage), range, of: PhantomData })
    }

    /// The bytes that it lies in.
    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The array.
    pub(crate) fn get(&self) -> &[T] {
        bytemuck::cast_slice(&(*self.storage).as_ref()[self.range.clone()])
    }
}

/// A part of a register whose checksum does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the section {name} is damaged: its checksum does not hold")]
pub struct DamagedSection {
    /// Name of the section.
    pub name: &'static str,
}

/// A column that is checked as a whole when it is first asked for.
pub(crate) struct Guarded<T> {
    column: Column<T>,
    name: &'static str,
    sum: [u8; 32],
    holds: OnceLock<bool>,
}

impl<T: Pod> Guarded<T> {
    /// `sum` is the BLAKE3 hash of the column's bytes.
    pub(crate) fn new(column: Column<T>, name: &'static str, sum: [u8; 32]) -> Guarded<T> {
        Guarded { column, name, sum, holds: OnceLock::new() }
    }

    pub(crate) fn get(&self) -> Result<&[T], DamagedSection> {
        let values = self.column.get();
        let holds = *self.holds.get_or_init(|| blake3::hash(bytemuck::cast_slice(values)) == self.sum);
        if holds { Ok(values) } else { Err(DamagedSection { name: self.name }) }
    }
}
