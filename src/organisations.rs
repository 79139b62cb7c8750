//! Indices and numbers of a register's organisations.
//!
//! An *index* is the current position of an organisation in one of the register's lists. It changes when an
//! organisation before it leaves the list.
//!
//! A *number* is stable: states and rules refer to organisations by number. In a register file the two are equal. When
//! an organisation leaves a register in memory, the others keep their numbers, and its number is not reused, so that no
//! state or rule that refers to it has to be rewritten.

use bytemuck::{Pod, Zeroable};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

/// A 16-bit index or number of an organisation.
pub(crate) trait OrganisationKey: Copy {
    fn of_u16(value: u16) -> Self;
    fn to_u16(self) -> u16;
}

macro_rules! organisation_key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Pod, Zeroable)]
        #[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
        #[repr(transparent)]
        pub struct $name(u16);

        impl $name {
            /// Wraps a value.
            #[inline]
            pub const fn new(value: u16) -> $name {
                $name(value)
            }

            /// The value.
            #[inline]
            pub const fn get(self) -> u16 {
                self.0
            }
        }

        impl OrganisationKey for $name {
            #[inline]
            fn of_u16(value: u16) -> $name {
                $name(value)
            }

            #[inline]
            fn to_u16(self) -> u16 {
                self.0
            }
        }

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.0.hash(state);
            }

            /// As for `u16`: all bytes at once.
            fn hash_slice<H: Hasher>(keys: &[$name], state: &mut H) {
                u16::hash_slice(bytemuck::cast_slice(keys), state);
            }
        }

        impl From<$name> for usize {
            #[inline]
            fn from(key: $name) -> usize {
                usize::from(key.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

organisation_key! {
    /// Index of a mailbox operator in [`Register::operators`](crate::register::Register::operators).
    OperatorIndex
}
organisation_key! {
    /// Stable number of a mailbox operator, by which states refer to it.
    OperatorNumber
}
organisation_key! {
    /// Index of a sender in [`Register::senders`](crate::register::Register::senders).
    SenderIndex
}
organisation_key! {
    /// Stable number of a sender, by which rules refer to it.
    SenderNumber
}

impl OperatorIndex {
    /// The number of the operator in a register file, where indices and numbers are equal.
    pub(crate) const fn in_file(self) -> OperatorNumber {
        OperatorNumber(self.0)
    }
}

impl SenderIndex {
    /// The number of the sender in a register file, where indices and numbers are equal.
    pub(crate) const fn in_file(self) -> SenderNumber {
        SenderNumber(self.0)
    }
}

impl SenderNumber {
    /// The values of numbers. The standard library compares and searches slices of integers with vector instructions,
    /// but not slices of wrapped integers.
    #[inline]
    pub(crate) fn values(numbers: &[SenderNumber]) -> &[u16] {
        bytemuck::cast_slice(numbers)
    }
}

/// The numbers of the organisations of a list.
#[derive(Clone, Debug)]
pub(crate) struct NumberTable<Index, Number> {
    /// The number at each index.
    numbers: Vec<u16>,
    /// The index of each number; `None` if that organisation has left.
    indices: Vec<Option<u16>>,
    keys: PhantomData<(Index, Number)>,
}

/// The numbers of mailbox operators.
pub(crate) type OperatorNumbers = NumberTable<OperatorIndex, OperatorNumber>;
/// The numbers of senders.
pub(crate) type SenderNumbers = NumberTable<SenderIndex, SenderNumber>;

impl<Index: OrganisationKey, Number: OrganisationKey> NumberTable<Index, Number> {
    /// The numbers of a list of `count` organisations in a register file.
    pub(crate) fn in_file(count: usize) -> Self {
        let keys = 0..count as u16;
        NumberTable { numbers: keys.clone().collect(), indices: keys.map(Some).collect(), keys: PhantomData }
    }

    /// How many numbers have been assigned, including those of organisations that have left.
    pub(crate) fn assigned(&self) -> u16 {
        self.indices.len() as u16
    }

    /// The index of a number, `None` if that organisation has left.
    pub(crate) fn index(&self, number: Number) -> Option<Index> {
        self.indices.get(usize::from(number.to_u16())).copied().flatten().map(Index::of_u16)
    }

    /// The number at an index.
    pub(crate) fn number(&self, index: Index) -> Number {
        Number::of_u16(self.numbers.get(usize::from(index.to_u16())).copied().unwrap_or(u16::MAX))
    }

    /// Assigns a number to an organisation that joins at the end of the list. `None` if all numbers are assigned: the
    /// next register file starts again at 0.
    pub(crate) fn push(&mut self) -> Option<Number> {
        let number = u16::try_from(self.indices.len()).ok().filter(|&number| number < u16::MAX)?;
        self.indices.push(Some(self.numbers.len() as u16));
        self.numbers.push(number);
        Some(Number::of_u16(number))
    }

    /// Removes the organisation at an index; the indices after it move down by one.
    pub(crate) fn remove(&mut self, index: Index) {
        let index = index.to_u16();
        let removed = self.numbers.remove(usize::from(index));
        self.indices[usize::from(removed)] = None;
        for later in self.indices.iter_mut().flatten().filter(|later| **later > index) {
            *later -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stable_and_not_reused() {
        let mut numbers = OperatorNumbers::in_file(3);
        numbers.remove(OperatorIndex(1));
        let index = |number| numbers.index(OperatorNumber(number)).map(OperatorIndex::get);
        assert_eq!([0, 1, 2].map(index), [Some(0), None, Some(1)]);
        assert_eq!(numbers.push(), Some(OperatorNumber(3)));
        assert_eq!([0, 1, 2].map(|index| numbers.number(OperatorIndex(index)).get()), [0, 2, 3]);
        assert_eq!(numbers.index(OperatorNumber(3)), Some(OperatorIndex(2)));
        assert_eq!(numbers.index(OperatorNumber(9)), None);
    }
}
