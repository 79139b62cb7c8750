//! What cells of lists hold beside the digits of an identity, and what it stands for.
//!
//! Lists pass through spreadsheets, word processors and web pages before they come here. What those leave around
//! and among the digits is read as what it stands for; the row itself passes through byte for byte. The bytes are
//! read as UTF-8; a byte that is no part of a character is one of Windows-1252.

use super::Rejection;

/// Up to twelve ASCII digits without what stood between them.
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
        std::array::from_fn(|place| self.bytes[place])
    }
}

/// What a cell contains: digits and at most one sign.
pub(super) struct Spelling {
    pub(super) digits: Digits,
    pub(super) sign: Option<u8>,
    /// Digits before the sign.
    pub(super) sign_place: Option<usize>,
}

impl Spelling {
    pub(super) fn read(text: &[u8]) -> Result<Spelling, Rejection> {
        match Spelling::of_marks(text) {
            // What spreadsheets put around a number has a character in it that stands for nothing.
            None => Spelling::of_marks(without_wrapping(text)).unwrap_or_else(|| {
                let rounded = is_scientific(without_wrapping(text));
                Err(if rounded { Rejection::ScientificNotation } else { Rejection::BadCharacter })
            }),
            Some(read) => read,
        }
    }

    /// What characters that stand for something say; `None` if there is another.
    #[inline(always)]
    fn of_marks(text: &[u8]) -> Option<Result<Spelling, Rejection>> {
        let mut digits = Digits { bytes: [0; 12], length: 0 };
        let (mut sign, mut sign_place, mut too_long) = (None, None, false);
        let mut at = 0;
        while let Some(&byte) = text.get(at) {
            let mut mark = byte;
            at += 1;
            if byte >= 0x80 {
                let (stands_for, length) = beyond_ascii(&text[at - 1..]);
                (mark, at) = (stands_for, at - 1 + length);
            }
            match mark {
                b'0'..=b'9' if digits.length < 12 => {
                    digits.bytes[digits.length] = mark;
                    digits.length += 1;
                }
                b'0'..=b'9' => too_long = true,
                b'-' | b'+' if sign.is_none() && digits.length > 0 => {
                    (sign, sign_place) = (Some(mark), Some(digits.length));
                }
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ => return None,
            }
        }
        Some(match digits.length {
            0 => Err(Rejection::Empty),
            _ if too_long => Err(Rejection::BadLength),
            _ => Ok(Spelling { digits, sign, sign_place }),
        })
    }

    /// Why a sign is not where it belongs: it is the length unless the digits are as many as they
    /// should be.
    pub(super) fn misplaced_sign(&self, lengths: &[usize]) -> Rejection {
        if lengths.contains(&self.digits.len()) { Rejection::BadCharacter } else { Rejection::BadLength }
    }
}

/// Bytes of the separator that a text begins with: a sign, a blank, or another dash or blank of Unicode.
pub(crate) fn separator_bytes(text: &[u8]) -> Option<usize> {
    let (stands_for, length) = match text.first()? {
        0x80.. => beyond_ascii(text),
        byte => (*byte, 1),
    };
    matches!(stands_for, b'-' | b'+' | b' ').then_some(length)
}

/// What stands for nothing.
const OTHER: u8 = b'?';

/// The ASCII character that a character beyond ASCII stands for, a space for what cannot be seen, and its length in bytes.
#[inline(never)]
fn beyond_ascii(bytes: &[u8]) -> (u8, usize) {
    let longest = bytes.len().min(4);
    let character = (2..=longest).find_map(|length| {
        let text = std::str::from_utf8(&bytes[..length]).ok()?;
        Some((text.chars().next()?, length))
    });
    let Some((character, length)) = character else {
        return (of_windows_1252(bytes[0]), 1);
    };
    let mark = match character {
        // No-break, figure, narrow and all other blanks.
        '\u{A0}' | '\u{1680}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{205F}' | '\u{3000}' => b' ',
        // Soft hyphen, zero-width marks, directions of writing, byte order mark.
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

/// The same of a byte that is no part of a character of UTF-8.
fn of_windows_1252(byte: u8) -> u8 {
    match byte {
        0xA0 | 0xAD => b' ', // no-break space, soft hyphen
        0x96 | 0x97 => b'-', // en dash, em dash
        _ => OTHER,
    }
}

/// A cell without what keeps spreadsheets from taking zeros: `="0123"` (with its quotation marks doubled in a quoted
/// cell), `'0123`, `'0123'`; and without the `.0` that a table of decimal numbers puts behind one.
fn without_wrapping(text: &[u8]) -> &[u8] {
    let mut text = text.trim_ascii();
    if let Some(formula) = text.strip_prefix(b"=") {
        text = formula;
    }
    for mark in [&b"\"\""[..], b"\"", b"'"] {
        // Behind a leading apostrophe there need not be another.
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

/// Whether a cell is a number as spreadsheets round it: `1,99001E+11`, `1.99E11`.
fn is_scientific(text: &[u8]) -> bool {
    let Some(at) = text.iter().position(|byte| byte.eq_ignore_ascii_case(&b'e')) else { return false };
    let (mantissa, exponent) = (text[..at].trim_ascii(), text[at + 1..].trim_ascii());
    let exponent = exponent.strip_prefix(b"+").unwrap_or(exponent);
    let is_number = |text: &[u8], marks: &[u8]| {
        text.first().is_some_and(u8::is_ascii_digit)
            && text.iter().all(|byte| byte.is_ascii_digit() || marks.contains(byte))
    };
    is_number(mantissa, b".,") && is_number(exponent, b"") && exponent.len() <= 3
}
