//! Identity numbers: text to [`Identity`] to [`Ordinal`] and back.
//!
//! Identity numbers are not random keys. A personnummer is a date and three digits (the check digit is redundant), an
//! organisationsnummer nine digits, a fødselsnummer a date, three digits and one of four remainders. So valid
//! identities map to dense 32-bit [`Ordinal`]s by arithmetic. Ordinals are the keys of all indexes and lists in the
//! crate.
//!
//! The functions are pure. No input panics, and no error contains the number.
//!
//! ```
//! use nabar::identities::{Country, Identity, Rejection, Space, Today};
//!
//! let today = Today::new(2026, 6, 1).unwrap();
//! let identity = Identity::parse(b"900102-2384", Country::Sweden, today)?;
//! assert_eq!(identity.as_str(), "199001022384");
//! assert_eq!(identity.space(), Space::Personnummer);
//! assert_eq!(Identity::from_ordinal(identity.ordinal()), Some(identity));
//!
//! let mistyped = Identity::parse(b"19900102-2385", Country::Sweden, today);
//! assert_eq!(mistyped, Err(Rejection::BadCheckDigit));
//! # Ok::<(), Rejection>(())
//! ```

mod calendar;
mod norwegian;
mod rejection;
mod space;
mod spelling;
mod swedish;
#[cfg(test)]
mod tests;
mod words;

pub use rejection::Rejection;
pub use space::{Country, Ordinal, Space};

pub(crate) use spelling::separator_bytes;
use spelling::{Digits, Spelling};

/// A valid identity number of one of the [`Space`]s.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    ordinal: Ordinal,
    /// Canonical ASCII digits. A Norwegian identity has eleven, followed by a zero byte.
    digits: [u8; 12],
}

/// The day on which a list is read, which determines the century of a number with ten digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Today {
    year: u32,
    month: u32,
    day: u32,
}

impl Today {
    /// The first day of the last century in the contract, where the day does not matter.
    pub(crate) const CONTRACT: Today = Today { year: 2000, month: 1, day: 1 };

    /// A day between 2000-01-01 and 2099-12-31, or `None`.
    pub fn new(year: u32, month: u32, day: u32) -> Option<Today> {
        if !(2000..2100).contains(&year) {
            return None;
        }
        calendar::day_number(year, month, day).map(|_| Today { year, month, day })
    }

    /// The day as a date.
    pub(crate) fn date(self) -> jiff::civil::Date {
        // 2000 to 2099.
        jiff::civil::Date::new(self.year as i16, self.month as i8, self.day as i8).unwrap_or_default()
    }

    /// The same for a date.
    pub fn from_date(date: jiff::civil::Date) -> Option<Today> {
        Today::new(date.year().unsigned_abs().into(), date.month() as u32, date.day() as u32)
    }
}

impl Identity {
    /// Parses an identity in any spelling that occurs in lists.
    ///
    /// Swedish: 12 or 10 digits, optionally with `-` (or `+` from the age of 100) before the last four; an
    /// organisationsnummer with or without `16`; a leading zero lost in a spreadsheet. Norwegian: 11 digits, or 10 if
    /// the leading zero is lost, optionally with a separator before the last five. Blanks and invisible characters are
    /// ignored, other dashes and full-width digits are converted, and the decoration of spreadsheets (`="…"`, `'…`,
    /// `….0`) is removed. `docs/identities.md` lists all spellings.
    ///
    /// Errors: the first [`Rejection`] that applies. Cost: 3 to 4 ns for 12 digits, some 20 ns for other spellings.
    #[inline(always)]
    pub fn parse(text: &[u8], country: Country, today: Today) -> Result<Identity, Rejection> {
        if country == Country::Sweden
            && let Ok(canonical) = <&[u8; 12]>::try_from(text)
        {
            match swedish::from_canonical(canonical) {
                Err(Rejection::BadCharacter) => {} // 12 bytes that are not 12 digits: 850101 - 1234
                result => return result,
            }
        }
        Self::parse_spelling(text, country, today)
    }

    /// Parses the canonical 12 digits of a Swedish identity; `None` for any other bytes. This is the fast path for
    /// lists: it does not need the end of the cell.
    #[inline(always)]
    pub(crate) fn from_canonical_12(text: &[u8; 12], country: Country) -> Option<Identity> {
        match country {
            Country::Sweden => swedish::from_canonical(text).ok(),
            Country::Norway => None,
        }
    }

    #[inline(never)]
    fn parse_spelling(text: &[u8], country: Country, today: Today) -> Result<Identity, Rejection> {
        if country == Country::Norway
            && let Ok(canonical) = <&[u8; 11]>::try_from(text)
        {
            match norwegian::from_canonical(canonical) {
                Err(Rejection::BadCharacter) => {} // 11 bytes that are not 11 digits: 01819 12365
                result => return result,
            }
        }
        let spelling = Spelling::read(text)?;
        let precedes_last = |digits: usize| match spelling.sign_position {
            Some(position) => spelling.digits.len() == position + digits,
            None => true,
        };
        match country {
            Country::Sweden if !precedes_last(4) => Err(spelling.misplaced_sign(&[10, 12])),
            Country::Sweden => swedish::from_spelling(&spelling.digits, spelling.sign, today),
            Country::Norway if spelling.sign == Some(b'+') => Err(Rejection::BadCharacter),
            Country::Norway if !precedes_last(5) => Err(spelling.misplaced_sign(&[11])),
            Country::Norway => norwegian::from_spelling(&spelling.digits, spelling.sign.is_some()),
        }
    }

    /// The identity of an ordinal, `None` if the ordinal has no identity.
    pub fn from_ordinal(ordinal: Ordinal) -> Option<Identity> {
        let (space, offset) = Space::locate(ordinal)?;
        let digits = match space.country() {
            Country::Sweden => swedish::canonical(space, offset),
            Country::Norway => norwegian::canonical(space, offset)?,
        };
        Some(Identity { ordinal, digits })
    }

    /// The ordinal of the identity.
    #[inline(always)]
    pub fn ordinal(&self) -> Ordinal {
        self.ordinal
    }

    /// The identity space.
    pub fn space(&self) -> Space {
        Space::locate(self.ordinal).map_or(Space::Personnummer, |(space, _)| space)
    }

    /// The year of birth, if the number determines it.
    ///
    /// `None` for an organisationsnummer, and for a Norwegian number whose century is unknown: from 2032 the individual
    /// number no longer determines the century. A Norwegian number that could have been assigned before 2032 is read by
    /// the rule before 2032. Cost: some nanoseconds.
    pub fn year_of_birth(&self) -> Option<u32> {
        match self.space() {
            Space::SamordningsnummerUnknownDate => self.as_str().get(..4)?.parse().ok(),
            _ => self.birth().map(|(year, ..)| year),
        }
    }

    /// The date of birth, if the number determines it.
    ///
    /// `None` as for [`year_of_birth`](Self::year_of_birth), and for a samordningsnummer without month or day. Cost: some
    /// nanoseconds.
    pub fn date_of_birth(&self) -> Option<jiff::civil::Date> {
        let (year, month, day) = self.birth()?;
        jiff::civil::Date::new(year as i16, month as i8, day as i8).ok()
    }

    /// The whole years that a person has been alive on a day: the age changes on the birthday, of 29 February on 1 March
    /// in other years. `None` before birth, and as for [`date_of_birth`](Self::date_of_birth).
    pub fn age_on(&self, day: jiff::civil::Date) -> Option<u32> {
        let (year, month, day_of_month) = self.birth()?;
        let years = u32::try_from(day.year()).ok()?.checked_sub(year)?;
        let is_before = (day.month() as u32, day.day() as u32) < (month, day_of_month);
        years.checked_sub(u32::from(is_before))
    }

    /// Year, month and day of birth.
    #[inline]
    fn birth(&self) -> Option<(u32, u32, u32)> {
        let number =
            |digits: &[u8]| digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit & 15));
        let swedish = |day_offset| {
            let digits = &self.digits;
            Some((number(&digits[..4]), number(&digits[4..6]), number(&digits[6..8]) - day_offset))
        };
        match self.space() {
            Space::Organisationsnummer | Space::SamordningsnummerUnknownDate => None,
            Space::Personnummer => swedish(0),
            Space::Samordningsnummer => swedish(60),
            space => norwegian::birth(space, self.digits.first_chunk()?),
        }
    }

    /// The identity with an ordinal and its canonical digits, both from another one.
    #[inline]
    pub(crate) fn of_parts(ordinal: Ordinal, digits: [u8; 12]) -> Identity {
        Identity { ordinal, digits }
    }

    /// The canonical digits: 12 in FaR, 11 in KRR.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The canonical digits as ASCII bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        let length = if self.digits[11] == 0 { 11 } else { 12 };
        &self.digits[..length]
    }

    /// Whether a text equals the canonical digits. Inlined, because it is called for most cells of a list.
    #[inline(always)]
    pub(crate) fn is_canonical_text(&self, text: &[u8]) -> bool {
        match (text.first_chunk::<12>(), text.first_chunk::<11>()) {
            (Some(text12), _) => text.len() == 12 && *text12 == self.digits,
            (None, Some(text11)) => text11[..] == self.digits[..11] && self.digits[11] == 0,
            (None, None) => false,
        }
    }

    /// The canonical digits in an array; the twelfth byte of a Norwegian identity is zero.
    #[inline(always)]
    pub(crate) fn padded(&self) -> [u8; 12] {
        self.digits
    }
}

/// Does not show the number.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.space().name())
    }
}
