//! Spellings of identity numbers: separators, typographic characters, and the decoration of spreadsheets.
//!
//! Lists pass through spreadsheets, word processors and web pages, which change the characters around and between the
//! digits. Parsing normalizes them; the row itself is copied byte for byte. The text is read as UTF-8, and bytes that
//! are not valid UTF-8 as Windows-1252.

use super::Rejection;

/// Up to twelve ASCII digits, without separators.
pub(super) struct Digits {
    bytes: [u8; 12],
    length: usize,
}

impl Digits {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The first `N` digits.
    pub(super) fn array<const N: usize>(&self) -> [u8; N] {
        std::array::from_fn(|index| self.bytes[index])
    }
}

/// The content of a cell: digits and at most one sign.
pub(super) struct Spelling {
    pub(super) digits: Digits,
    pub(super) sign: Option<u8>,
    /// Number of digits before the sign.
    pub(super) sign_position: Option<usize>,
}

impl Spelling {
    pub(super) fn read(text: &[u8]) -> Result<Spelling, Rejection> {
        match Spelling::of_characters(text) {
            // The decoration of spreadsheets includes a character that is not allowed in a number.
            None => Spelling::of_characters(without_wrapping(text)).unwrap_or_else(|| {
                let rounded = is_scientific(without_wrapping(text));
                Err(if rounded { Rejection::ScientificNotation } else { Rejection::BadCharacter })
            }),
            Some(read) => read,
        }
    }

    /// Parses digits, signs and blanks; `None` if the text has other characters.
    #[inline(always)]
    fn of_characters(text: &[u8]) -> Option<Result<Spelling, Rejection>> {
        let mut digits = Digits { bytes: [0; 12], length: 0 };
        let (mut sign, mut sign_position, mut too_long) = (None, None, false);
        let mut next = 0;
        while let Some(&byte) = text.get(next) {
            let mut mark = byte;
            next += 1;
            if byte >= 0x80 {
                let (normalized, length) = normalize(&text[next - 1..]);
                (mark, next) = (normalized, next - 1 + length);
            }
            match mark {
                b'0'..=b'9' if digits.length < 12 => {
                    digits.bytes[digits.length] = mark;
                    digits.length += 1;
                }
                b'0'..=b'9' => too_long = true,
                b'-' | b'+' if sign.is_none() && digits.length > 0 => {
                    (sign, sign_position) = (Some(mark), Some(digits.length));
                }
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ => return None,
            }
        }
        Some(match digits.length {
            0 => Err(Rejection::Empty),
            _ if too_long => Err(Rejection::BadLength),
            _ => Ok(Spelling { digits, sign, sign_position }),
        })
    }

    /// The rejection of a sign at the wrong position: the length is wrong unless it is one of `lengths`.
    pub(super) fn misplaced_sign(&self, lengths: &[usize]) -> Rejection {
        if lengths.contains(&self.digits.len()) { Rejection::BadCharacter } else { Rejection::BadLength }
    }
}

/// Length in bytes of the separator at the beginning of a text: a sign, a blank, or another Unicode dash or blank.
pub(crate) fn separator_bytes(text: &[u8]) -> Option<usize> {
    let (mark, length) = match text.first()? {
        0x80.. => normalize(text),
        byte => (*byte, 1),
    };
    matches!(mark, b'-' | b'+' | b' ').then_some(length)
}

/// Result of [`normalize`] for all other characters.
const OTHER: u8 = b'?';

/// The ASCII equivalent of a non-ASCII character, a space for invisible characters, and its length in bytes.
#[inline(never)]
fn normalize(bytes: &[u8]) -> (u8, usize) {
    let longest = bytes.len().min(4);
    let character = (2..=longest).find_map(|length| {
        let text = std::str::from_utf8(&bytes[..length]).ok()?;
        Some((text.chars().next()?, length))
    });
    let Some((character, length)) = character else {
        return (of_windows_1252(bytes[0]), 1);
    };
    let mark = match character {
        // No-break, figure, narrow and other spaces.
        '\u{A0}' | '\u{1680}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{205F}' | '\u{3000}' => b' ',
        // Soft hyphen, zero-width characters, directional marks, byte order mark.
        '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' => b' ',
        '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}' => b' ',
        // Hyphens, dashes, minus signs.
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{FE58}' | '\u{FE63}' | '\u{FF0D}' => b'-',
        '\u{FF0B}' => b'+',
        '\u{FF10}'..='\u{FF19}' => b'0' + (character as u32 - 0xFF10) as u8,
        _ => OTHER,
    };
    (mark, length)
}

/// The ASCII equivalent of a byte that is not valid UTF-8.
fn of_windows_1252(byte: u8) -> u8 {
    match byte {
        0xA0 | 0xAD => b' ', // no-break space, soft hyphen
        0x96 | 0x97 => b'-', // en dash, em dash
        _ => OTHER,
    }
}

/// Removes the decoration that keeps leading zeros in spreadsheets: `="0123"` (with doubled quotation marks in a quoted
/// cell), `'0123`, `'0123'`; and a trailing `.0` of a decimal number.
fn without_wrapping(text: &[u8]) -> &[u8] {
    let mut text = text.trim_ascii();
    if let Some(formula) = text.strip_prefix(b"=") {
        text = formula;
    }
    for mark in [&b"\"\""[..], b"\"", b"'"] {
        // A leading apostrophe does not need a closing one.
        match (text.strip_prefix(mark), mark) {
            (Some(inner), b"'") => text = inner.strip_suffix(mark).unwrap_or(inner),
            (Some(inner), _) => text = inner.strip_suffix(mark).unwrap_or(text),
            (None, _) => {}
        }
    }
    match text.strip_suffix(b".0").or_else(|| text.strip_suffix(b",0")) {
        Some(whole) if whole.last().is_some_and(u8::is_ascii_digit) => whole,
        _ => text,
    }
}

/// Whether a cell is a number in scientific notation: `1,99001E+11`, `1.99E11`.
fn is_scientific(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let Some(exponent) = text.iter().position(|byte| byte.eq_ignore_ascii_case(&b'e')) else { return false };
    let (mantissa, exponent) = (&text[..exponent], &text[exponent + 1..]);
    let exponent = exponent.strip_prefix(b"+").unwrap_or(exponent);
    let is_number = |text: &[u8], marks: &[u8]| {
        text.first().is_some_and(u8::is_ascii_digit)
            && text.iter().all(|byte| byte.is_ascii_digit() || marks.contains(byte))
    };
    is_number(mantissa, b".,") && is_number(exponent, b"") && exponent.len() <= 3
}
