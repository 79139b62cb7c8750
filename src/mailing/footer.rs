//! Rows that end a report, such as totals.

use super::cells::without_line_end;
use crate::limits::FOOTER_BYTES;

/// Words of totals. A footer has at least one of them.
const TOTALS: &[&[u8]] = &[
    b"antal",
    b"antall",
    b"summa",
    b"sum",
    b"total",
    b"totalt",
    b"totalsumma",
    b"totalsum",
    b"totals",
    b"count",
    b"eof",
    b"slut",
    b"slutt",
    b"end",
    b"affected",
    b"rader",
    b"rows",
    b"poster",
    b"records",
];
/// Other words of footers.
const BESIDE_TOTALS: &[&[u8]] = &[
    b"of",
    b"file",
    b"list",
    b"listan",
    b"rad",
    b"row",
    b"post",
    b"record",
    b"st",
    b"stk",
    b"kr",
    b"sek",
    b"nok",
    b"eur",
    b"pverkades",
    b"personer",
    b"person",
    b"mottagare",
    b"mottakere",
    b"brev",
    b"adresser",
];

/// Whether a row is clearly the end of a report.
pub(super) fn is_footer(row: &[u8]) -> bool {
    if without_line_end(row).len() > FOOTER_BYTES {
        return false;
    }
    if row.contains(&0x1A) && row.iter().all(|&byte| byte == 0x1A || byte.is_ascii_whitespace()) {
        return true;
    }
    // A word without its non-ASCII bytes. A row with a longer word is not a footer.
    let (mut word, mut length, mut totals) = ([0; FOOTER_WORD_BYTES], 0, 0);
    for &byte in row.iter().chain(b" ") {
        if byte.is_ascii_alphanumeric() {
            let Some(letter) = word.get_mut(length) else { return false };
            *letter = byte.to_ascii_lowercase();
            length += 1;
        } else if byte.is_ascii() && length > 0 {
            let text = &word[..length];
            let total = TOTALS.contains(&text);
            if !total && !text.iter().all(u8::is_ascii_digit) && !BESIDE_TOTALS.contains(&text) {
                return false;
            }
            totals += usize::from(total);
            length = 0;
        }
    }
    totals > 0
}

/// Maximum length of a word of a footer.
const FOOTER_WORD_BYTES: usize = 20;
