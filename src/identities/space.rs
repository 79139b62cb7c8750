//! The identity spaces and their places in one row of ordinals.
//!
//! Every space is a range of [`Ordinal`]s; all of them together fit 32 bits, so that an ordinal alone
//! says which identity it is. Ranges begin at multiples of the index's block size.

use super::calendar;
use crate::limits::BLOCK_ORDINALS;
use std::ops::Range;

/// The place of an identity in the row of all identities of all spaces.
///
/// Made only from valid identities, or checked by [`super::Identity::from_ordinal`]. Every index and
/// list in the project is keyed by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Ordinal(pub(crate) u32);

impl Ordinal {
    /// Belongs to no space: what a rejected row is looked up as. No register has it.
    pub(crate) const NOBODY: Ordinal = Ordinal(u32::MAX);
}

/// An ordinal is as personal as the number it stands for.
impl std::fmt::Debug for Ordinal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ordinal(..)")
    }
}

/// Whose identity numbers a list or a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Country {
    /// personnummer, samordningsnummer, organisationsnummer: 12 digits.
    Sweden,
    /// fødselsnummer, D-nummer and their synthetic series: 11 digits.
    Norway,
}

impl Country {
    /// Digits of a canonical identity: 12 or 11.
    pub const fn digits(self) -> usize {
        match self {
            Country::Sweden => 12,
            Country::Norway => 11,
        }
    }

    /// The space that nearly everybody is in.
    pub(crate) const fn people(self) -> Space {
        match self {
            Country::Sweden => Space::Personnummer,
            Country::Norway => Space::Fodselsnummer,
        }
    }

    /// The ordinals of the country's first spaces, which follow one another. A multiple of the block size
    /// at both ends. Spaces that came later lie behind those of all countries: see
    /// [`span`](Self::span).
    pub fn ordinals(self) -> Range<u32> {
        match self {
            Country::Sweden => BASES[0]..BASES[FIRST_NORWEGIAN],
            Country::Norway => BASES[FIRST_NORWEGIAN]..BASES[FIRST_LATER],
        }
    }

    /// The ordinals that a country's spaces lie between: [`ordinals`](Self::ordinals), and what was
    /// added behind the spaces of all countries. Sweden's has Norway's in its middle. A multiple of the
    /// block size at both ends.
    pub fn span(self) -> Range<u32> {
        match self {
            Country::Sweden => BASES[0]..BASES[SPACES],
            Country::Norway => self.ordinals(),
        }
    }

    /// Whether an ordinal belongs to one of the country's spaces, or to a gap behind one.
    #[inline]
    pub(crate) fn has(self, ordinal: Ordinal) -> bool {
        let later = self == Country::Sweden && (BASES[FIRST_LATER]..BASES[SPACES]).contains(&ordinal.0);
        later || self.ordinals().contains(&ordinal.0)
    }
}

/// A kind of identity number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
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
/// Place of the first Norwegian space.
const FIRST_NORWEGIAN: usize = Space::Fodselsnummer as usize;
/// Place of the first space that was added later. Ordinals never change, so such spaces lie behind those
/// of all countries.
const FIRST_LATER: usize = Space::SamordningsnummerUnknownDate as usize;

/// What a Norwegian synthetic series adds to the month, by series.
pub(super) const MONTH_OFFSETS: [u32; 4] = [0, 40, 65, 80];

/// Ordinals of a day: the birth numbers or individual numbers 000 to 999.
pub(super) const PER_DAY: u32 = 1000;
/// Ordinals of the first two digits of an organisationsnummer: the third digit is 2 to 9.
pub(super) const PER_ORGANISATION_PREFIX: u32 = 8_000_000;
/// Slots of a year in which the month is 00: the days 00 to 31.
pub(super) const DAYS_WITHOUT_MONTH: u32 = 32;
/// Slots of a year in [`Space::SamordningsnummerUnknownDate`]: those without a month, and day 00 of each month.
pub(super) const UNKNOWN_SLOTS_PER_YEAR: u32 = DAYS_WITHOUT_MONTH + 12;
/// Day slots of a Norwegian year: 29 February always has one.
pub(super) const SLOTS_PER_YEAR: u32 = 366;
/// Norwegian ordinals that share a remainder of the first control digit. Remainder 0 is the rule
/// until 2032; the remainders 1 to 3 follow after it, so that the present numbers lie close.
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

    /// Number of ordinals of the space. Each Swedish one is an identity; of the Norwegian ones some
    /// would need a control digit 10 or a date that no century has, and belong to no identity.
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

    /// The country whose register numbers its recipients so.
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

    /// The space and the place in it of an ordinal, if it lies in one.
    pub(crate) fn locate(ordinal: Ordinal) -> Option<(Space, u32)> {
        let index = BASES.partition_point(|&base| base <= ordinal.0).checked_sub(1)?;
        let space = *Self::ALL.get(index)?;
        let within = ordinal.0 - space.base();
        (within < space.size()).then_some((space, within))
    }

    /// The word for the space in reports: the field's own term in lower case.
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

/// `BASES[space]` is the first ordinal of a space; the last entry closes the row.
const BASES: [u32; SPACES + 1] = bases();

const fn bases() -> [u32; SPACES + 1] {
    let mut bases = [0; SPACES + 1];
    let mut index = 0;
    while index < SPACES {
        let end = bases[index] as u64 + Space::ALL[index].size() as u64;
        let padded = end.next_multiple_of(BLOCK_ORDINALS as u64);
        assert!(padded < u32::MAX as u64, "all spaces fit 32 bits, and one value is nobody's");
        bases[index + 1] = padded as u32;
        index += 1;
    }
    bases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_follow_one_another_without_overlap() {
        let mut end = 0;
        for space in Space::ALL {
            assert!(space.ordinals().start >= end, "{}", space.name());
            assert_eq!(space.ordinals().start % BLOCK_ORDINALS, 0);
            end = space.ordinals().end;
            assert_eq!(Space::locate(Ordinal(end - 1)), Some((space, space.size() - 1)));
            assert_eq!(Space::locate(Ordinal(space.base())), Some((space, 0)));
        }
        assert_eq!(Space::locate(Ordinal::NOBODY), None);
        assert_eq!(Space::locate(Ordinal(Space::Personnummer.ordinals().end)), None, "padding");
    }

    #[test]
    fn a_country_has_its_own_spaces_and_no_others() {
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
        assert!(!Country::Sweden.has(Ordinal::NOBODY) && !Country::Norway.has(Ordinal::NOBODY));
    }

    #[test]
    fn the_names_of_an_ordinal_are_hidden() {
        assert_eq!(format!("{:?}", Ordinal(12_345)), "Ordinal(..)");
    }
}
