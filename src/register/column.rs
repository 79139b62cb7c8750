//! Arrays in shared bytes: a mapped file, or memory.

use bytemuck::Pod;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// The bytes of columns. Their address does not change.
pub(crate) type Storage = Arc<dyn Bytes>;

/// Bytes that may be mapped from a file.
pub(crate) trait Bytes: AsRef<[u8]> + Send + Sync {
    /// Whether the bytes are unchanged since they were mapped. If not, values read from them may be wrong.
    fn is_intact(&self) -> bool {
        true
    }
}

impl Bytes for crate::memory::Mapped {
    fn is_intact(&self) -> bool {
        self.is_intact()
    }
}

/// An array of `T` in a range of a [`Storage`].
pub(crate) struct Column<T> {
    storage: Storage,
    range: Range<usize>,
    of: PhantomData<T>,
}

impl<T: Pod> Column<T> {
    /// `None` if the range is out of bounds, is not aligned for `T`, or is not a whole number of elements.
    pub(crate) fn new(storage: &Storage, range: Range<usize>) -> Option<Column<T>> {
        let bytes = (**storage).as_ref().get(range.clone())?;
        bytemuck::try_cast_slice::<u8, T>(bytes).ok()?;
        Some(Column { storage: Arc::clone(storage), range, of: PhantomData })
    }

    /// The bytes that contain the array.
    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The array.
    pub(crate) fn get(&self) -> &[T] {
        bytemuck::cast_slice(&(*self.storage).as_ref()[self.range.clone()])
    }
}

/// A section of a register whose content does not match its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the section {name} is damaged: its checksum does not match")]
pub struct DamagedSection {
    /// Name of the section.
    pub name: &'static str,
}

/// A column whose checksum is checked at the first access.
pub(crate) struct Guarded<T> {
    column: Column<T>,
    name: &'static str,
    sum: [u8; 32],
    matches: OnceLock<bool>,
}

impl<T: Pod> Guarded<T> {
    /// `sum` is the BLAKE3 hash of the column's bytes.
    pub(crate) fn new(column: Column<T>, name: &'static str, sum: [u8; 32]) -> Guarded<T> {
        Guarded { column, name, sum, matches: OnceLock::new() }
    }

    pub(crate) fn get(&self) -> Result<&[T], DamagedSection> {
        let values = self.column.get();
        let matches = *self.matches.get_or_init(|| blake3::hash(bytemuck::cast_slice(values)) == self.sum);
        if matches { Ok(values) } else { Err(DamagedSection { name: self.name }) }
    }
}
