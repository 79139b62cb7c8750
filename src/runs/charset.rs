//! Character sets of print runs.

use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// The character set of ids, types and texts of a run. Bytes pass through unchanged in any of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Charset {
    /// UTF-8, or ASCII.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// ISO-8859-1, read as its superset Windows-1252.
    #[serde(rename = "iso-8859-1")]
    Latin1,
    /// EBCDIC of Finland and Sweden: code page 278.
    #[serde(rename = "ebcdic-278")]
    Ebcdic278,
    /// International EBCDIC: code page 500.
    #[serde(rename = "ebcdic-500")]
    Ebcdic500,
    /// EBCDIC of Finland and Sweden with the euro sign: code page 1143.
    #[serde(rename = "ebcdic-1143")]
    Ebcdic1143,
}

/// The characters 40 to FF of EBCDIC, after the control characters. No maintained crate has these pages; the registry of IBM's
/// coded character set identifiers (CDRA) defines them, and a test compares them with those of other programs.
const PAGE_278: &str = concat!(
    " \u{A0}â{àáã}çñ§.<(+!&`êëèíîïìß¤Å*);^-/Â#ÀÁÃ$ÇÑö,%_>?øÉÊËÈÍÎÏÌé:ÄÖ'=\"",
    "Øabcdefghi«»ðýþ±°jklmnopqrªºæ¸Æ]µüstuvwxyz¡¿ÐÝÞ®¢£¥·©[¶¼½¾¬|¯¨´×",
    "äABCDEFGHI\u{AD}ô¦òóõåJKLMNOPQR¹û~ùúÿ\\÷STUVWXYZ²Ô@ÒÓÕ0123456789³ÛÜÙÚ\u{9F}"
);
const PAGE_500: &str = concat!(
    " \u{A0}âäàáãåçñ[.<(+!&éêëèíîïìß]$*);^-/ÂÄÀÁÃÅÇÑ¦,%_>?øÉÊËÈÍÎÏÌ`:#@'=\"",
    "Øabcdefghi«»ðýþ±°jklmnopqrªºæ¸Æ¤µ~stuvwxyz¡¿ÐÝÞ®¢£¥·©§¶¼½¾¬|¯¨´×",
    "{ABCDEFGHI\u{AD}ôöòóõ}JKLMNOPQR¹ûüùúÿ\\÷STUVWXYZ²ÔÖÒÓÕ0123456789³ÛÜÙÚ\u{9F}"
);
const PAGE_1143: &str = concat!(
    " \u{A0}â{àáã}çñ§.<(+!&`êëèíîïìß€Å*);^-/Â#ÀÁÃ$ÇÑö,%_>?ø\\ÊËÈÍÎÏÌé:ÄÖ'=\"",
    "Øabcdefghi«»ðýþ±°jklmnopqrªºæ¸Æ]µüstuvwxyz¡¿ÐÝÞ®¢£¥·©[¶¼½¾¬|¯¨´×",
    "äABCDEFGHI\u{AD}ô¦òóõåJKLMNOPQR¹û~ùúÿÉ÷STUVWXYZ²Ô@ÒÓÕ0123456789³ÛÜÙÚ\u{9F}"
);

/// The pages as characters.
static CHARACTERS: LazyLock<[Vec<char>; 3]> =
    LazyLock::new(|| [PAGE_278, PAGE_500, PAGE_1143].map(|page| page.chars().collect()));

impl Charset {
    fn page(self) -> Option<&'static [char]> {
        match self {
            Charset::Utf8 | Charset::Latin1 => None,
            Charset::Ebcdic278 => Some(&CHARACTERS[0]),
            Charset::Ebcdic500 => Some(&CHARACTERS[1]),
            Charset::Ebcdic1143 => Some(&CHARACTERS[2]),
        }
    }

    /// Whether it is EBCDIC.
    pub fn is_ebcdic(self) -> bool {
        !matches!(self, Charset::Utf8 | Charset::Latin1)
    }

    /// The blank.
    pub(super) fn blank(self) -> u8 {
        if self.is_ebcdic() { 0x40 } else { b' ' }
    }

    /// The bytes of a text; `None` if it has characters of another set.
    pub fn encode(self, text: &str) -> Option<Vec<u8>> {
        match self.page() {
            Some(page) => {
                let byte =
                    |wanted: char| page.iter().position(|one| *one == wanted).map(|at| at as u8 + 0x40);
                text.chars().map(byte).collect()
            }
            None if self == Charset::Utf8 => Some(text.as_bytes().to_vec()),
            None => {
                let (bytes, _, has_others) = encoding_rs::WINDOWS_1252.encode(text);
                (!has_others).then(|| bytes.into_owned())
            }
        }
    }

    /// Appends bytes as text in UTF-8. Control characters of EBCDIC become U+FFFD.
    pub fn decode(self, bytes: &[u8], text: &mut Vec<u8>) {
        match self.page() {
            Some(page) => {
                let mut buffer = [0; 4];
                for byte in bytes {
                    let character = byte.checked_sub(0x40).map_or('\u{FFFD}', |at| page[usize::from(at)]);
                    text.extend(character.encode_utf8(&mut buffer).as_bytes());
                }
            }
            None if self == Charset::Utf8 || bytes.is_ascii() => text.extend(bytes),
            None => {
                text.extend(encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0.as_bytes());
            }
        }
    }

    /// Bytes without blanks around them.
    pub(super) fn trimmed(self, mut bytes: &[u8]) -> &[u8] {
        let is_blank = |byte: u8| byte == self.blank() || !self.is_ebcdic() && byte.is_ascii_whitespace();
        while let [first, rest @ ..] = bytes
            && is_blank(*first)
        {
            bytes = rest;
        }
        while let [rest @ .., last] = bytes
            && is_blank(*last)
        {
            bytes = rest;
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_each_character_once_and_agree_in_digits_and_latin_letters() {
        for charset in [Charset::Ebcdic278, Charset::Ebcdic500, Charset::Ebcdic1143] {
            let page = charset.page().expect("a page");
            assert_eq!(page.len(), 192);
            let invariant = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz +-/.,:()";
            let encoded = charset.encode(invariant).expect("encoded");
            assert_eq!(encoded, Charset::Ebcdic500.encode(invariant).expect("encoded"));
            assert_eq!(encoded[..10], [0xF0, 0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9]);
            let all: Vec<u8> = (0x40..=0xFF).collect();
            let mut text = Vec::new();
            charset.decode(&all, &mut text);
            let text = String::from_utf8(text).expect("UTF-8");
            assert_eq!(charset.encode(&text).expect("encoded"), all, "there and back");
        }
        assert_eq!(Charset::Ebcdic278.encode("Åäö"), Some(vec![0x5B, 0xC0, 0x6A]));
        assert_eq!(Charset::Ebcdic1143.encode("€"), Some(vec![0x5A]));
        assert_eq!(Charset::Ebcdic500.encode("€"), None);
    }
}
