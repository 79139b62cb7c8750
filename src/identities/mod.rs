//! Identity numbers: text to [`Identity`] to [`Ordinal`] and back.
//!
//! Identity numbers are not random keys. A personnummer is a date and three digits (the check digit
//! adds nothing), an organisationsnummer nine digits, a fødselsnummer a date, three digits and one of
//! four remainders. So every valid identity has a place in one dense row, its [`Ordinal`], and the row
//! is computed, not stored. Everything else in the project is keyed by it.
//!
//! Pure and total: no input panics, and no error carries the number it is about.
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

pub use rejection::Rejection;
pub use space::{Country, Ordinal, Space};

pub(crate) use spelling::separator_bytes;
use spelling::{Digits, Spelling};

/// A valid identity number of one of the [`Space`]s.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    ordinal: Ordinal,
    /// Canonical ASCII digits; a Norwegian identity has eleven, and a zero byte behind them.
    digits: [u8; 12],
}

/// The day on which a list is read: it tells the century of a number with ten digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Today {
    year: u32,
    month: u32,
    day: u32,
}

impl Today {
    /// The first day of the contract's last century: for what has no day of its own.
    pub(crate) const CONTRACT: Today = Today { year: 2000, month: 1, day: 1 };

    /// A day between 2000-01-01 and 2099-12-31, or `None`.
    pub fn new(year: u32, month: u32, day: u32) -> Option<Today> {
        if !(2000..2100).contains(&year) {
            return None;
        }
        calendar::day_number(year, month, day).map(|_| Today { year, month, day })
    }
}

impl Identity {
    /// Reads an identity from any spelling that lists contain.
    ///
    /// Swedish: 12 digits, 10 digits, either with `-` (or `+` for those aged 100 or more) before the
    /// last four, an organisationsnummer with or without `16`, a leading zero lost in a spreadsheet.
    /// Norwegian: 11 digits, or 10 where the leading zero was lost, with or without a separator before
    /// the last five. Blanks and invisible marks are passed over, other dashes and full-width digits are
    /// read as what they stand for, and what spreadsheets write around a number (`="…"`, `'…`, `….0`)
    /// is taken off. `docs/identities.md` lists all of it.
    ///
    /// Errors: the first [`Rejection`] that applies. Cost: 3 to 4 ns for 12 digits, some 20 ns
    /// for the other spellings.
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

    /// The identity that twelve bytes are, if they are the digits of a Swedish one as FaR writes them. Most of a list is,
    /// and whoever reads it need not know where their cell ends: what has anything else in it is none.
    #[inline(always)]
    pub(crate) fn of_twelve(text: &[u8; 12], country: Country) -> Option<Identity> {
        match country {
            Country::Sweden => swedish::from_canonical(text).ok(),
            Country::Norway => None,
        }
    }

    #[inline(never)]
    fn parse_spelling(text: &[u8], country: Country, today: Today) -> Result<Identity, Rejection> {
        let spelling = Spelling::read(text)?;
        let after_sign = |places: usize| match spelling.sign_place {
            Some(place) => spelling.digits.len() == place + places,
            None => true,
        };
        match country {
            Country::Sweden if !after_sign(4) => Err(spelling.misplaced_sign(&[10, 12])),
            Country::Sweden => swedish::from_spelling(&spelling.digits, spelling.sign, today),
            Country::Norway if spelling.sign == Some(b'+') => Err(Rejection::BadCharacter),
            Country::Norway if !after_sign(5) => Err(spelling.misplaced_sign(&[11])),
            Country::Norway => norwegian::from_spelling(&spelling.digits, spelling.sign.is_some()),
        }
    }

    /// The identity at a place, unless it is nobody's.
    pub fn from_ordinal(ordinal: Ordinal) -> Option<Identity> {
        let (space, within) = Space::locate(ordinal)?;
        let digits = match space.country() {
            Country::Sweden => swedish::canonical(space, within),
            Country::Norway => norwegian::canonical(space, within)?,
        };
        Some(Identity { ordinal, digits })
    }

    /// The place of the identity in the row of all identities.
    #[inline(always)]
    pub fn ordinal(&self) -> Ordinal {
        self.ordinal
    }

    /// The space that the identity belongs to.
    pub fn space(&self) -> Space {
        Space::locate(self.ordinal).map_or(Space::Personnummer, |(space, _)| space)
    }

    /// The year of birth, as far as the number tells it.
    ///
    /// `None` for an organisationsnummer, and for a Norwegian number whose century is not known: from 2032
    /// the individual number no longer tells it. A Norwegian number that could have been given out before
    /// 2032 is read by the rule of that time. Cost: some nanoseconds.
    pub fn year_of_birth(&self) -> Option<u32> {
        match (self.space(), self.space().country()) {
            (Space::Organisationsnummer, _) => None,
            (_, Country::Sweden) => self.as_str().get(..4)?.parse().ok(),
            (space, Country::Norway) => norwegian::year_of_birth(space, self.digits.first_chunk()?),
        }
    }

    /// The canonical digits: 12 as FaR writes them, 11 as KRR does.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// The canonical digits as ASCII bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        let length = if self.digits[11] == 0 { 11 } else { 12 };
        &self.digits[..length]
    }

    /// Whether a text is the canonical digits. Without a call: most cells of most lists are.
    #[inline(always)]
    pub(crate) fn is_spelt(&self, text: &[u8]) -> bool {
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

/// Never shows the number.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.space().name())
    }
}

/// Writes `value` in decimal with leading zeros, filling `digits`.
fn write_decimal(digits: &mut [u8], mut value: u32) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}
