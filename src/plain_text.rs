//! Texts of others, made safe to show.
//!
//! Names of operators and senders, titles of columns, file names and what a server answers were written by others. On a
//! terminal a control character can move the cursor or hide a line, in a log a line end forges an entry, and in both a
//! bidirectional mark shows another text than the one that is there. All places that show such a text use [`plain`].
//! (JSON, CSV and the contracts' responses keep the text as it is, in their own escapes: it is data there.)

use std::borrow::Cow;

/// Most characters of a text that are shown.
const CHARACTERS_MAX: usize = 200;

/// A text on one line: characters that do not show, or change how others are shown, are replaced by `U+FFFD`, and a text
/// of more than 200 characters is cut.
pub fn plain(text: &str) -> Cow<'_, str> {
    let is_long = text.char_indices().nth(CHARACTERS_MAX);
    let shown = is_long.map_or(text, |(end, _)| &text[..end]);
    let more = if is_long.is_some() { "…" } else { "" };
    if more.is_empty() && shown.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(shown.chars().map(replaced).chain(more.chars()).collect())
}

/// As [`plain`], where digits are masked that stand together with so many others, or with separators
/// between them.
pub fn masked(text: &str, least: usize) -> String {
    let text = plain(text);
    let mut shown = String::new();
    let mut rest = &*text;
    while let Some(start) = rest.find(|character: char| character.is_ascii_digit()) {
        let is_number = |character: char| character.is_ascii_digit() || "-+ ".contains(character);
        let length = rest[start..].find(|character| !is_number(character)).unwrap_or(rest.len() - start);
        let (number, digits) =
            (&rest[start..start + length], |text: &str| text.bytes().filter(u8::is_ascii_digit).count());
        shown.push_str(&rest[..start]);
        match digits(number) >= least {
            true => shown.extend(number.chars().map(|one| if one.is_ascii_digit() { '*' } else { one })),
            false => shown.push_str(number),
        }
        rest = &rest[start + length..];
    }
    shown + rest
}

/// As [`plain`], for a whole message: line ends stay, and its length.
pub fn plain_lines(text: &str) -> Cow<'_, str> {
    let is_shown = |character| character == '\n' || is_plain(character);
    if text.chars().all(is_shown) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if is_shown(c) { c } else { char::REPLACEMENT_CHARACTER }).collect())
}

fn replaced(character: char) -> char {
    if is_plain(character) { character } else { char::REPLACEMENT_CHARACTER }
}

/// Whether a character shows as itself: not a control character, a mark of direction or order, an invisible character, a
/// line or paragraph separator, a tag, or one without assigned meaning.
fn is_plain(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            '\u{00ad}'
                | '\u{034f}'
                | '\u{061c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{e000}'..='\u{f8ff}'
                | '\u{fdd0}'..='\u{fdef}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{fffe}'..='\u{ffff}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
                | '\u{f0000}'..
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_others_show_as_they_are_or_not_at_all() {
        for text in ["Brevia AB", "Åkes Östra Brevlåda \"AB\"", "Пошта", "郵便", "📮", ""] {
            assert!(matches!(plain(text), Cow::Borrowed(same) if same == text), "{text}");
        }
        for (text, shown) in [
            ("\u{1b}[2J\u{1b}[1;1Hpaper", "\u{fffd}[2J\u{fffd}[1;1Hpaper"),
            ("one\nnabar: two\r\n", "one\u{fffd}nabar: two\u{fffd}\u{fffd}"),
            ("\u{9b}31m", "\u{fffd}31m"),
            ("a\u{202e}b\u{2066}c\u{200f}d", "a\u{fffd}b\u{fffd}c\u{fffd}d"),
            ("a\u{200b}\u{feff}\u{e0041}\u{2028}", "a\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(plain(text), shown);
        }
        assert_eq!(plain(&"å".repeat(200)), "å".repeat(200));
        assert_eq!(plain(&"å".repeat(201)), format!("{}…", "å".repeat(200)));
        assert_eq!(plain_lines("two\nlines\u{1b}c\r"), "two\nlines\u{fffd}c\u{fffd}");
    }

    #[test]
    fn numbers_are_masked() {
        assert_eq!(masked("10 19681019-9809 Ek 4", 6), "** ********-**** Ek 4");
        assert_eq!(masked("page 2 of 3", 6), "page 2 of 3");
        assert_eq!(masked("0701 23 45 67", 6), "**** ** ** **");
        assert_eq!(masked("12\u{1b}[2J", 1), "**?[*J".replace('?', &plain("\u{1b}")));
    }
}
