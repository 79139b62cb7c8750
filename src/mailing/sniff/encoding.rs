//! The encoding of a list.

/// The byte order mark of UTF-8.
pub(super) const BOM: &[u8] = b"\xEF\xBB\xBF";

/// The encoding of a list, as far as its beginning shows. Bytes pass through unchanged in any encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encoding {
    /// UTF-8, or plain ASCII.
    Utf8,
    /// UTF-8 with a byte order mark.
    Utf8Bom,
    /// Windows-1252, a superset of ISO-8859-1.
    Windows1252,
}

impl Encoding {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Utf8 => "utf-8",
            Encoding::Utf8Bom => "utf-8-bom",
            Encoding::Windows1252 => "windows-1252",
        }
    }

    /// The encoding of a list that begins with `sample`.
    pub(super) fn of(sample: &[u8]) -> Encoding {
        if sample.starts_with(BOM) {
            return Encoding::Utf8Bom;
        }
        // UTF-8 has valid multi-byte characters, and perhaps some broken ones; in Windows-1252 sequences that are valid
        // UTF-8 are rare. A character that is cut at the end of the sample does not count.
        let (mut valid_characters, mut broken, mut rest) = (0, 0, sample);
        loop {
            let Err(error) = std::str::from_utf8(rest) else {
                valid_characters += long_characters(rest);
                break;
            };
            let (valid, after) = rest.split_at(error.valid_up_to());
            valid_characters += long_characters(valid);
            let Some(length) = error.error_len() else { break };
            broken += 1;
            rest = &after[length..];
        }
        if broken > valid_characters { Encoding::Windows1252 } else { Encoding::Utf8 }
    }

    /// A cell as text.
    pub(in crate::mailing) fn text(self, cell: &[u8]) -> String {
        let text = match self {
            Encoding::Windows1252 => encoding_rs::WINDOWS_1252.decode_without_bom_handling(cell).0,
            Encoding::Utf8 | Encoding::Utf8Bom => String::from_utf8_lossy(cell),
        };
        text.trim().to_owned()
    }
}

/// Number of characters of more than one byte. Counted in bytes, 255 at most, so that the loop is compiled to vector
/// instructions.
fn long_characters(text: &[u8]) -> usize {
    let count = |part: &[u8]| part.iter().map(|&byte| u8::from(byte >= 0xC0)).sum::<u8>();
    text.chunks(255).map(|part| usize::from(count(part))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_the_sample_cuts_does_not_count_and_those_before_it_count_once() {
        let latin: &[u8] = b"\xE5 \xE5 \xC3\xA5";
        assert_eq!(Encoding::of(latin), Encoding::Windows1252, "two broken, one valid");
        assert_eq!(Encoding::of(&[latin, b"\xE5"].concat()), Encoding::Windows1252, "and one that is cut");
        assert_eq!(Encoding::of(b"\xE5 \xC3\xA5 \xE5"), Encoding::Utf8, "one of each");
        assert_eq!(Encoding::of(b"\xE5"), Encoding::Utf8);
    }
}
