//! Records: state numbers of one, two or four bytes.

use super::Slot;
use bytemuck::Pod;

/// A record of one width.
pub(super) trait Code: Pod {
    fn number(self) -> u32;
    /// The record of a state number, which must fit the width.
    fn of(number: u32) -> Self;
}

macro_rules! code {
    ($($width:ty),*) => {$(
        impl Code for $width {
            #[inline(always)]
            fn number(self) -> u32 {
                u32::from(self)
            }

            #[inline(always)]
            fn of(number: u32) -> Self {
                debug_assert!(Self::try_from(number).is_ok());
                number as $width
            }
        }
    )*};
}
code!(u8, u16, u32);

/// Width of records in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Width {
    One = 1,
    Two = 2,
    Four = 4,
}

impl Width {
    /// The smallest width for state numbers below `states`.
    pub(crate) const fn of_states(states: usize) -> Width {
        match states {
            ..=0x100 => Width::One,
            0x101..=0x1_0000 => Width::Two,
            _ => Width::Four,
        }
    }
}

/// Borrowed records of one of the widths.
#[derive(Clone, Copy)]
pub(crate) enum Codes<'a> {
    One(&'a [u8]),
    Two(&'a [u16]),
    Four(&'a [u32]),
}

/// Instantiates an expression for each record width.
macro_rules! with_codes {
    ($codes:expr, $name:ident => $body:expr) => {
        match $codes {
            Codes::One($name) => $body,
            Codes::Two($name) => $body,
            Codes::Four($name) => $body,
        }
    };
}
pub(super) use with_codes;

/// The state number of a slot, as in [`Codes::get`].
#[inline(always)]
pub(super) fn code_at<C: Code>(codes: &[C], slot: u32) -> u32 {
    codes.get(slot as usize).map_or(0, |code| code.number())
}

impl<'a> Codes<'a> {
    pub(crate) fn len(&self) -> usize {
        with_codes!(self, codes => codes.len())
    }

    pub(crate) fn width(&self) -> Width {
        match self {
            Codes::One(_) => Width::One,
            Codes::Two(_) => Width::Two,
            Codes::Four(_) => Width::Four,
        }
    }

    /// The state number of a slot; 0 beyond the records, which only a file has that was overwritten after it was checked:
    /// what is read then is thrown away ([`Register::is_intact`](crate::register::Register::is_intact)).
    pub(crate) fn get(&self, slot: Slot) -> u32 {
        with_codes!(self, codes => code_at(codes, slot.0))
    }

    /// A range of the records; none beyond them, as in [`get`](Self::get).
    pub(super) fn slice(&self, records: std::ops::Range<usize>) -> Codes<'a> {
        match self {
            Codes::One(codes) => Codes::One(codes.get(records).unwrap_or_default()),
            Codes::Two(codes) => Codes::Two(codes.get(records).unwrap_or_default()),
            Codes::Four(codes) => Codes::Four(codes.get(records).unwrap_or_default()),
        }
    }

    /// The state numbers, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + 'a {
        let codes = *self;
        (0..codes.len() as u32).map(move |slot| codes.get(Slot(slot)))
    }

    /// The bytes of the records.
    pub(super) fn bytes(&self) -> &'a [u8] {
        match *self {
            Codes::One(codes) => codes,
            Codes::Two(codes) => bytemuck::cast_slice(codes),
            Codes::Four(codes) => bytemuck::cast_slice(codes),
        }
    }

    /// The largest state number, 0 without records. A fold, because the compiler does not vectorize `Iterator::max`.
    pub(super) fn max(&self) -> u32 {
        with_codes!(self, codes => codes.iter().fold(0, |most, &code| most.max(code)).number())
    }

    /// Copies the records to the same or another width.
    pub(super) fn copy_to<C: Code>(&self, to: &mut [C]) {
        with_codes!(self, codes => match bytemuck::try_cast_slice(codes) {
            Ok(same) if size_of_val(*codes) == size_of_val(to) => to.copy_from_slice(same),
            _ => to.iter_mut().zip(codes.iter()).for_each(|(to, code)| *to = C::of(code.number())),
        })
    }
}
