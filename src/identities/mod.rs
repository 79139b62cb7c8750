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
mod swedish;
#[cfg(test)]
mod tests;

pub use rejection::Rejection;
pub use space::{Country, Ordinal, Space};

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
    /// the last five. White space (also the no-break space of UTF-8 and Windows-1252) is passed over.
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

/// Up to twelve ASCII digits without what stood between them.
struct Digits {
    bytes: [u8; 12],
    length: usize,
}

impl Digits {
    fn len(&self) -> usize {
        self.length
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The first `N` digits.
    fn array<const N: usize>(&self) -> [u8; N] {
        std::array::from_fn(|place| self.bytes[place])
    }
}

/// What a cell contains: digits and at most one sign.
struct Spelling {
    digits: Digits,
    sign: Option<u8>,
    /// Digits before the sign.
    sign_place: Option<usize>,
}

impl Spelling {
    fn read(text: &[u8]) -> Result<Spelling, Rejection> {
        let mut digits = Digits { bytes: [0; 12], length: 0 };
        let (mut sign, mut sign_place, mut too_long) = (None, None, false);
        let mut rest = text.iter().copied().enumerate();
        while let Some((at, byte)) = rest.next() {
            match byte {
                b'0'..=b'9' if digits.length < 12 => {
                    digits.bytes[digits.length] = byte;
                    digits.length += 1;
                }
                b'0'..=b'9' => too_long = true,
                b'-' | b'+' if sign.is_none() && digits.length > 0 => {
                    sign = Some(byte);
                    sign_place = Some(digits.length);
                }
                b' ' | b'\t' | b'\r' | b'\n' | 0xA0 => {}
                0xC2 if text.get(at + 1) == Some(&0xA0) => _ = rest.next(),
                _ => return Err(Rejection::BadCharacter),
            }
        }
        match digits.length {
            0 => Err(Rejection::Empty),
            _ if too_long => Err(Rejection::BadLength),
            _ => Ok(Spelling { digits, sign, sign_place }),
        }
    }

    /// Why a sign is not where it belongs: it is the length unless the digits are as many as they
    /// should be.
    fn misplaced_sign(&self, lengths: &[usize]) -> Rejection {
        if lengths.contains(&self.digits.len()) { Rejection::BadCharacter } else { Rejection::BadLength }
    }
}

/// Writes `value` in decimal with leading zeros, filling `digits`.
fn write_decimal(digits: &mut [u8], mut value: u32) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}
