//! The tokens of XML, as ranges of bytes in any encoding that has ASCII as it is.
//!
//! The reader of the crate quick-xml takes text in UTF-8 as a whole; a run is cut where letters begin, in the encoding that it
//! has, and its bytes pass through. So only what separates elements is found here; texts and attributes are decoded where an
//! id is read.

use crate::runs::LETTER_BYTES_MAX;
use memchr::{memchr, memchr3, memmem};
use std::ops::Range;

/// Maximum length in bytes of a tag: attributes may have files in them.
const TAG_BYTES_MAX: usize = LETTER_BYTES_MAX;

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A start tag, or the tag of an empty element.
    Start {
        /// The name with its prefix.
        name: Range<usize>,
        /// What follows the name.
        attributes: Range<usize>,
        is_empty: bool,
    },
    /// An end tag, and its name.
    End(Range<usize>),
    /// Characters and references.
    Text(Range<usize>),
    /// The characters of a CDATA section.
    Cdata(Range<usize>),
    /// A comment, a processing instruction, the XML declaration, or a document type without declarations of its own.
    Other,
}

/// Why there is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoToken {
    /// The bytes end before it does.
    CutOff,
    /// It is no XML.
    Malformed,
    /// Declarations of entities and elements, which no print run needs and attacks use.
    Declarations,
}

/// The token that begins at `at`, which is below the length of the bytes, and its end.
#[inline(always)]
pub(super) fn next(bytes: &[u8], at: usize) -> Result<(Token, usize), NoToken> {
    let rest = &bytes[at..];
    if rest[0] != b'<' {
        let end = memchr(b'<', rest).map_or(bytes.len(), |length| at + length);
        return Ok((Token::Text(at..end), end));
    }
    match rest.get(1).ok_or(NoToken::CutOff)? {
        b'/' => {
            let length = memchr(b'>', &rest[..rest.len().min(TAG_BYTES_MAX)]).ok_or(cut_off(rest))?;
            let name = at + 2..at + 2 + name_length(&rest[2..length]);
            let is_whole = bytes[name.end..at + length].iter().all(u8::is_ascii_whitespace);
            match name.is_empty() || !is_whole {
                true => Err(NoToken::Malformed),
                false => Ok((Token::End(name), at + length + 1)),
            }
        }
        b'?' => Ok((Token::Other, at + after(rest, 2, b"?>")?)),
        b'!' => declared(rest, at),
        _ => start_tag(rest, at),
    }
}

fn cut_off(rest: &[u8]) -> NoToken {
    if rest.len() > TAG_BYTES_MAX { NoToken::Malformed } else { NoToken::CutOff }
}

/// The length of what ends with `closing`, searched from `from` on.
fn after(rest: &[u8], from: usize, closing: &[u8]) -> Result<usize, NoToken> {
    let ahead = rest.get(from..).ok_or(NoToken::CutOff)?;
    memmem::find(ahead, closing).map(|length| from + length + closing.len()).ok_or(NoToken::CutOff)
}

fn declared(rest: &[u8], at: usize) -> Result<(Token, usize), NoToken> {
    const CDATA: &[u8] = b"<![CDATA[";
    const DOCTYPE: &[u8] = b"<!DOCTYPE";
    if rest.starts_with(b"<!--") {
        return Ok((Token::Other, at + after(rest, 4, b"-->")?));
    }
    if rest.starts_with(CDATA) {
        let end = after(rest, CDATA.len(), b"]]>")?;
        return Ok((Token::Cdata(at + CDATA.len()..at + end - 3), at + end));
    }
    if rest.starts_with(DOCTYPE) {
        let end = rest.iter().take(TAG_BYTES_MAX).position(|byte| matches!(byte, b'>' | b'['));
        return match end.map(|end| (end, rest[end])) {
            Some((end, b'>')) => Ok((Token::Other, at + end + 1)),
            Some(_) => Err(NoToken::Declarations),
            None => Err(cut_off(rest)),
        };
    }
    let may_continue = [&b"<!--"[..], CDATA, DOCTYPE].iter().any(|whole| whole.starts_with(rest));
    Err(if may_continue { NoToken::CutOff } else { NoToken::Malformed })
}

#[inline(always)]
fn start_tag(rest: &[u8], at: usize) -> Result<(Token, usize), NoToken> {
    let mut length = 1;
    let ahead = &rest[..rest.len().min(TAG_BYTES_MAX)];
    loop {
        length += memchr3(b'>', b'"', b'\'', &ahead[length..]).ok_or(cut_off(rest))?;
        let found = ahead[length];
        length += 1;
        if found == b'>' {
            break;
        }
        length += memchr(found, &ahead[length..]).ok_or(cut_off(rest))? + 1;
    }
    let is_empty = rest[length - 2] == b'/';
    let inner = &rest[1..length - 1 - usize::from(is_empty)];
    let name = name_length(inner);
    let is_name =
        inner.first().is_some_and(|byte| is_name_byte(*byte) && !matches!(byte, b'0'..=b'9' | b'-' | b'.'));
    let is_separated = inner.get(name).is_none_or(u8::is_ascii_whitespace);
    // A tag within a tag: the end of this one is missing.
    let has_tag = inner.len() > name && memchr(b'<', &inner[name..]).is_some();
    if !is_name || !is_separated || has_tag {
        return Err(NoToken::Malformed);
    }
    let (name, attributes) = (at + 1..at + 1 + name, at + 1 + name..at + 1 + inner.len());
    Ok((Token::Start { name, attributes, is_empty }, at + length))
}

#[inline(always)]
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'-' | b'.') || !byte.is_ascii()
}

#[inline(always)]
fn name_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !is_name_byte(*byte)).unwrap_or(bytes.len())
}

/// The attributes of a tag, one after another: name with prefix, and value as it stands.
pub(super) fn attributes(
    bytes: &[u8],
    within: Range<usize>,
) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let mut at = within.start;
    std::iter::from_fn(move || {
        let skipped = |at: usize| {
            at + bytes[at..within.end].iter().take_while(|byte| byte.is_ascii_whitespace()).count()
        };
        let name = skipped(at)..skipped(at) + name_length(&bytes[skipped(at)..within.end]);
        let equals = skipped(name.end);
        if name.is_empty() || bytes[..within.end].get(equals) != Some(&b'=') {
            return None;
        }
        let opening = skipped(equals + 1);
        let quote = *bytes[..within.end].get(opening).filter(|byte| matches!(byte, b'"' | b'\''))?;
        let length = memchr(quote, &bytes[opening + 1..within.end])?;
        at = opening + length + 2;
        Some((name, opening + 1..opening + 1 + length))
    })
}

/// A name without its prefix.
pub(super) fn local_name(name: &[u8]) -> &[u8] {
    memchr(b':', name).map_or(name, |colon| &name[colon + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(text: &str) -> Result<Vec<String>, NoToken> {
        let (bytes, mut at, mut tokens) = (text.as_bytes(), 0, Vec::new());
        while at < bytes.len() {
            let (token, end) = next(bytes, at)?;
            assert!(end > at);
            at = end;
            tokens.push(match token {
                Token::Start { name, attributes: within, is_empty } => {
                    let pairs = attributes(bytes, within);
                    let pairs: Vec<String> =
                        pairs.map(|(name, value)| format!(" {}={}", &text[name], &text[value])).collect();
                    format!("<{}{}{}", &text[name], pairs.concat(), if is_empty { "/" } else { "" })
                }
                Token::End(name) => format!("/{}", &text[name]),
                Token::Text(text_of) => format!("T{}", &text[text_of]),
                Token::Cdata(text_of) => format!("C{}", &text[text_of]),
                Token::Other => "?".to_owned(),
            });
        }
        Ok(tokens)
    }

    #[test]
    fn tokens_of_a_document() {
        let text = "<?xml version='1.0'?><!DOCTYPE a SYSTEM 'a.dtd'><a:b x = \"1>2\" y='\"'>t<!-- <c> --><![CDATA[<d>]]>]</a:b ><e/>";
        let expected = ["?", "?", "<a:b x=1>2 y=\"", "Tt", "?", "C<d>", "T]", "/a:b", "<e/"];
        assert_eq!(all(text).expect("tokens"), expected);
        for cut in 1..text.len() {
            // A part is cut off, or ends with a text or a tag.
            assert!(matches!(all(&text[..cut]), Ok(_) | Err(NoToken::CutOff)), "{}", &text[..cut]);
        }
        for (text, why) in [
            ("<!DOCTYPE a [<!ENTITY b 'c'>]>", NoToken::Declarations),
            ("<1a>", NoToken::Malformed),
            ("<a<b>", NoToken::Malformed),
            ("<>", NoToken::Malformed),
            ("</a b>", NoToken::Malformed),
            ("<!ENTITY a>", NoToken::Malformed),
            ("<a x='>", NoToken::CutOff),
            ("<a x=1 <b>", NoToken::Malformed),
        ] {
            assert_eq!(all(text), Err(why), "{text}");
        }
    }

    /// What quick-xml reads of the same text.
    fn model(text: &str) -> Option<Vec<String>> {
        use quick_xml::events::Event;
        let mut reader = quick_xml::Reader::from_str(text);
        reader.config_mut().check_end_names = false;
        reader.config_mut().allow_unmatched_ends = true;
        reader.config_mut().allow_dangling_amp = true;
        let mut tokens: Vec<String> = Vec::new();
        loop {
            let name = |tag: &quick_xml::events::BytesStart<'_>| tag.name().as_ref().to_owned();
            match reader.read_event().ok()? {
                Event::Start(tag) => tokens.push(format!("<{}", name(&tag))),
                Event::Empty(tag) => tokens.push(format!("<{}/", name(&tag))),
                Event::End(tag) => tokens.push(format!("/{}", tag.name().as_ref())),
                Event::CData(text) => tokens.push(format!("C{}", &*text)),
                Event::Text(_) | Event::GeneralRef(_) => {}
                Event::Comment(_) | Event::PI(_) | Event::Decl(_) | Event::DocType(_) => {
                    tokens.push("?".to_owned())
                }
                Event::Eof => return Some(tokens),
            }
        }
    }

    proptest! {
        #[test]
        fn agree_with_quick_xml(pieces in proptest::collection::vec(
            prop_oneof!["<[ab]>", "</[ab]>", "<[ab]/>", "<a x=\"[ab<>']{0,3}\">", "[a-c ]{1,4}", "<!--[a<>-]{0,3}-->",
                "<!\\[CDATA\\[[a<\\]>]{0,4}\\]\\]>", "<\\?p[a>]{0,2}\\?>"], 0..12)) {
            let text = pieces.concat();
            if let (Some(expected), Ok(found)) = (model(&text), all(&text)) {
                let found = found.into_iter().filter(|token| !token.starts_with('T'));
                let found: Vec<String> = found
                    .map(|token| match token.split_once(' ').filter(|_| token.starts_with('<')) {
                        Some((name, _)) => name.to_owned() + if token.ends_with('/') { "/" } else { "" },
                        None => token,
                    })
                    .collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
