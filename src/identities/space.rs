//! The identity spaces and their ranges of ordinals.
//!
//! Every space is a range of [`Ordinal`]s. All spaces together fit in 32 bits, so an ordinal determines an identity.
//! Ranges begin at multiples of the index's block size.

use super::calendar;
use crate::limits::BLOCK_ORDINALS;
use std::ops::Range;

/// The position of an identity among all identities of all spaces.
///
/// Created only from valid identities, or checked by [`super::Identity::from_ordinal`]. It is the key of all indexes
/// and lists in the crate.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Ordinal(pub(crate) u32);

impl Ordinal {
    /// Sentinel outside all spaces, used in lookups for rows without an identity. No register has it.
    pub(crate) const ABSENT: Ordinal = Ordinal(u32::MAX);
}

/// Does not show the ordinal, which is as personal as the number.
impl std::fmt::Debug for Ordinal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ordinal(..)")
    }
}

/// The country of the identity numbers in a list or a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Country {
    /// personnummer, samordningsnummer, organisationsnummer: 12 digits.
    Sweden,
    /// fødselsnummer, D-nummer and their synthetic series: 11 digits.
    Norway,
}

impl Country {
    /// Number of digits of a canonical identity: 12 or 11.
    pub const fn digits(self) -> usize {
        match self {
            Country::Sweden => 12,
            Country::Norway => 11,
        }
    }

    /// The other one.
    pub(crate) const fn other(self) -> Country {
        match self {
            Country::Sweden => Country::Norway,
            Country::Norway => Country::Sweden,
        }
    }

    /// The space of nearly all recipients.
    pub(crate) const fn main_space(self) -> Space {
        match self {
            Country::Sweden => Space::Personnummer,
            Country::Norway => Space::Fodselsnummer,
        }
    }

    /// The ordinals of the country's first spaces, which are consecutive. Both ends are multiples of the block size.
    /// Spaces that were added later follow those of all countries; see [`span`](Self::span).
    pub fn ordinals(self) -> Range<u32> {
        match self {
            Country::Sweden => BASES[0]..BASES[FIRST_NORWEGIAN],
            Country::Norway => BASES[FIRST_NORWEGIAN]..BASES[FIRST_LATER],
        }
    }

    /// The smallest range that includes all spaces of the country: [`ordinals`](Self::ordinals) and the spaces added
    /// later. The span of Sweden includes the ordinals of Norway. Both ends are multiples of the block size.
    pub fn span(self) -> Range<u32> {
        match self {
            Country::Sweden => BASES[0]..BASES[SPACES],
            Country::Norway => self.ordinals(),
        }
    }

    /// Number of ordinals of all spaces of the country, with padding.
    pub(crate) fn size(self) -> u32 {
        let first = self.ordinals();
        let later = if self == Country::Sweden { BASES[SPACES] - BASES[FIRST_LATER] } else { 0 };
        first.end - first.start + later
    }

    /// Whether an ordinal belongs to one of the country's spaces, or to the padding after one.
    #[inline]
    pub(crate) fn has(self, ordinal: Ordinal) -> bool {
        let later = self == Country::Sweden && (BASES[FIRST_LATER]..BASES[SPACES]).contains(&ordinal.0);
        later || self.ordinals().contains(&ordinal.0)
    }
}

/// A series of identity numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum Space {
    /// Swedish personnummer: date of birth, birth number, Luhn digit.
    Personnummer = 0,
    /// Swedish samordningsnummer: a personnummer with day + 60.
    Samordningsnummer = 1,
    /// Swedish organisationsnummer, on the wire with the prefix 16.
    Organisationsnummer = 2,
    /// Norwegian fødselsnummer.
    Fodselsnummer = 3,
    /// Norwegian D-nummer: day + 40.
    DNummer = 4,
    /// Synthetic fødselsnummer with month + 40 (H-number and others).
    Fodselsnummer40 = 5,
    /// Synthetic D-nummer with month + 40.
    DNummer40 = 6,
    /// Synthetic fødselsnummer with month + 65 (Norsk Helsenett).
    Fodselsnummer65 = 7,
    /// Synthetic D-nummer with month + 65.
    DNummer65 = 8,
    /// Synthetic fødselsnummer with month + 80 (Skatteetaten).
    Fodselsnummer80 = 9,
    /// Synthetic D-nummer with month + 80.
    DNummer80 = 10,
    /// Swedish samordningsnummer of a person whose date of birth is not fully known: month 00, day 60
    /// (00 + 60), or both.
    SamordningsnummerUnknownDate = 11,
}

/// Number of spaces.
const SPACES: usize = 12;
/// Index of the first Norwegian space.
const FIRST_NORWEGIAN: usize = Space::Fodselsnummer as usize;
/// Index of the first space that was added later. Ordinals never change, so later spaces follow those of all countries.
const FIRST_LATER: usize = Space::SamordningsnummerUnknownDate as usize;

/// Offset of the month in each Norwegian series.
pub(super) const MONTH_OFFSETS: [u32; 4] = [0, 40, 65, 80];

/// Ordinals per day: the birth numbers or individual numbers 000 to 999.
pub(super) const PER_DAY: u32 = 1000;
/// Ordinals per value of the first two digits of an organisationsnummer; the third digit is 2 to 9.
pub(super) const PER_ORGANISATION_PREFIX: u32 = 8_000_000;
/// Day slots per year with month 00: the days 00 to 31.
pub(super) const DAYS_WITHOUT_MONTH: u32 = 32;
/// Day slots per year in [`Space::SamordningsnummerUnknownDate`]: those without a month, and day 00 of each month.
pub(super) const UNKNOWN_SLOTS_PER_YEAR: u32 = DAYS_WITHOUT_MONTH + 12;
/// Day slots per Norwegian year; every year has a slot for 29 February.
pub(super) const SLOTS_PER_YEAR: u32 = 366;
/// Norwegian ordinals per remainder of the first control digit. Numbers assigned before 2032 have remainder 0; they
/// come first, so that they are dense.
pub(super) const PER_REMAINDER: u32 = 100 * SLOTS_PER_YEAR * PER_DAY;
/// Remainders of the first control digit that are accepted: 0, 1, 2 and 3.
pub(super) const REMAINDERS: u32 = 4;

impl Space {
    /// All spaces in the order of their ordinals.
    pub const ALL: [Space; SPACES] = [
        Space::Personnummer,
        Space::Samordningsnummer,
        Space::Organisationsnummer,
        Space::Fodselsnummer,
        Space::DNummer,
        Space::Fodselsnummer40,
        Space::DNummer40,
        Space::Fodselsnummer65,
        Space::DNummer65,
        Space::Fodselsnummer80,
        Space::DNummer80,
        Space::SamordningsnummerUnknownDate,
    ];

    /// Number of ordinals of the space. Every Swedish ordinal has an identity. Some Norwegian ordinals would need a
    /// control digit 10 or a date that does not exist in any century, and have no identity.
    pub const fn size(self) -> u32 {
        match self {
            Space::Personnummer | Space::Samordningsnummer => calendar::DAYS * PER_DAY,
            Space::Organisationsnummer => 100 * PER_ORGANISATION_PREFIX,
            Space::SamordningsnummerUnknownDate => calendar::YEARS * UNKNOWN_SLOTS_PER_YEAR * PER_DAY,
            Space::Fodselsnummer
            | Space::DNummer
            | Space::Fodselsnummer40
            | Space::DNummer40
            | Space::Fodselsnummer65
            | Space::DNummer65
            | Space::Fodselsnummer80
            | Space::DNummer80 => REMAINDERS * PER_REMAINDER,
        }
    }

    /// The ordinals of the space.
    pub const fn ordinals(self) -> Range<u32> {
        let base = BASES[self as usize];
        base..base + self.size()
    }

    /// First ordinal of the space.
    #[inline(always)]
    pub(super) const fn base(self) -> u32 {
        BASES[self as usize]
    }

    /// The country of the space.
    pub const fn country(self) -> Country {
        match self {
            Space::Personnummer
            | Space::Samordningsnummer
            | Space::Organisationsnummer
            | Space::SamordningsnummerUnknownDate => Country::Sweden,
            Space::Fodselsnummer
            | Space::DNummer
            | Space::Fodselsnummer40
            | Space::DNummer40
            | Space::Fodselsnummer65
            | Space::DNummer65
            | Space::Fodselsnummer80
            | Space::DNummer80 => Country::Norway,
        }
    }

    /// The space of an ordinal and the offset in it, `None` if the ordinal is in no space.
    pub(crate) fn locate(ordinal: Ordinal) -> Option<(Space, u32)> {
        let index = BASES.partition_point(|&base| base <= ordinal.0).checked_sub(1)?;
        let space = *Self::ALL.get(index)?;
        let offset = ordinal.0 - space.base();
        (offset < space.size()).then_some((space, offset))
    }

    /// The name in reports: the official term in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Space::Personnummer => "personnummer",
            Space::Samordningsnummer => "samordningsnummer",
            Space::Organisationsnummer => "organisationsnummer",
            Space::Fodselsnummer => "fodselsnummer",
            Space::DNummer => "d_nummer",
            Space::Fodselsnummer40 => "fodselsnummer_plus_40",
            Space::DNummer40 => "d_nummer_plus_40",
            Space::Fodselsnummer65 => "fodselsnummer_plus_65",
            Space::DNummer65 => "d_nummer_plus_65",
            Space::Fodselsnummer80 => "fodselsnummer_plus_80",
            Space::DNummer80 => "d_nummer_plus_80",
            Space::SamordningsnummerUnknownDate => "samordningsnummer_unknown_date",
        }
    }
}

/// `BASES[space]` is the first ordinal of a space; the last entry is the end of the last space.
const BASES: [u32; SPACES + 1] = bases();

const fn bases() -> [u32; SPACES + 1] {
    let mut bases = [0; SPACES + 1];
    let mut index = 0;
    while index < SPACES {
        let end = bases[index] as u64 + Space::ALL[index].size() as u64;
        let padded = end.next_multiple_of(BLOCK_ORDINALS as u64);
        assert!(padded < u32::MAX as u64, "all spaces fit in 32 bits, with one value left for the sentinel");
        bases[index + 1] = padded as u32;
        index += 1;
    }
    bases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_ascend_without_overlap() {
        let mut end = 0;
        for space in Space::ALL {
            assert!(space.ordinals().start >= end, "{}", space.name());
            assert_eq!(space.ordinals().start % BLOCK_ORDINALS, 0);
            end = space.ordinals().end;
            assert_eq!(Space::locate(Ordinal(end - 1)), Some((space, space.size() - 1)));
            assert_eq!(Space::locate(Ordinal(space.base())), Some((space, 0)));
        }
        assert_eq!(Space::locate(Ordinal::ABSENT), None);
        assert_eq!(Space::locate(Ordinal(Space::Personnummer.ordinals().end)), None, "padding");
    }

    #[test]
    fn countries_have_disjoint_spaces() {
        for space in Space::ALL {
            for country in [Country::Sweden, Country::Norway] {
                let range = space.ordinals();
                for ordinal in [range.start, range.end - 1] {
                    assert_eq!(country.has(Ordinal(ordinal)), space.country() == country, "{}", space.name());
                }
                let spanned = country.span().contains(&range.start);
                assert!(spanned || space.country() != country);
            }
        }
        assert!(!Country::Sweden.has(Ordinal::ABSENT) && !Country::Norway.has(Ordinal::ABSENT));
    }

    #[test]
    fn debug_output_does_not_show_the_ordinal() {
        assert_eq!(format!("{:?}", Ordinal(12_345)), "Ordinal(..)");
    }
}
