//! Cells of a delimited record, with the rules for quotation marks of RFC 4180.

use memchr::memchr;
use std::ops::Range;

/// The cells of a record one after another, without quotation marks around them; doubled marks within stay.
pub(super) fn ranges(record: &[u8], delimiter: u8) -> impl Iterator<Item = Range<usize>> {
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let start = next?;
        let (cell, end) = match record.get(start) {
            Some(b'"') => quoted(record, start, delimiter),
            _ => {
                let end = memchr(delimiter, &record[start..]).map_or(record.len(), |length| start + length);
                (start..end, end)
            }
        };
        next = (end < record.len()).then_some(end + 1);
        Some(cell)
    })
}

/// A cell that begins with a quotation mark, and where the delimiter behind it is. If the mark is not closed before a delimiter
/// or the end, it is text.
fn quoted(record: &[u8], start: usize, delimiter: u8) -> (Range<usize>, usize) {
    let mut at = start + 1;
    while let Some(length) = memchr(b'"', &record[at..]) {
        let closing = at + length;
        match record.get(closing + 1) {
            Some(b'"') => at = closing + 2,
            None => return (start + 1..closing, record.len()),
            Some(byte) if *byte == delimiter => return (start + 1..closing, closing + 1),
            Some(_) => break,
        }
    }
    let end = memchr(delimiter, &record[start..]).map_or(record.len(), |length| start + length);
    (start..end, end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cells(record: &str) -> Vec<String> {
        ranges(record.as_bytes(), b';').map(|cell| record[cell].to_owned()).collect()
    }

    #[test]
    fn cells_with_and_without_marks() {
        assert_eq!(cells(""), [""]);
        assert_eq!(cells("a;;\"b;c\";"), ["a", "", "b;c", ""]);
        assert_eq!(cells("\"a \"\"b\"\" c\";d"), ["a \"\"b\"\" c", "d"]);
        assert_eq!(cells("\"a\" b;c"), ["\"a\" b", "c"]);
        assert_eq!(cells("\"never;closed"), ["\"never", "closed"]);
    }

    proptest! {
        /// Records that are well-formed have the cells that the crate csv reads.
        #[test]
        fn agree_with_csv(texts in proptest::collection::vec("[a;\"b]{0,4}", 1..5)) {
            let mut writer = csv::WriterBuilder::new().delimiter(b';').from_writer(Vec::new());
            writer.write_record(&texts).expect("written");
            let record = String::from_utf8(writer.into_inner().expect("written")).expect("text");
            let found: Vec<String> =
                cells(record.trim_end_matches('\n')).iter().map(|cell| cell.replace("\"\"", "\"")).collect();
            prop_assert_eq!(found, texts);
        }
    }
}
