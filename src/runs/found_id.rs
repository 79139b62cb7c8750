//! The id of a letter while it is read.

use super::LetterProblem;

/// The ids that were found in a letter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FoundId {
    text: Vec<u8>,
    is_found: bool,
    has_several: bool,
}

impl FoundId {
    /// Begins with another letter.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        (self.is_found, self.has_several) = (false, false);
    }

    /// Adds a text where the id may be. An empty one is the id only if there is no other.
    pub(super) fn add(&mut self, text: &[u8]) {
        let text = text.trim_ascii();
        if !self.is_found || self.text.is_empty() {
            self.text.clear();
            self.text.extend_from_slice(text);
            self.is_found = true;
        } else if !text.is_empty() && !is_same(&self.text, text) {
            self.has_several = true;
        }
    }

    /// The id. Errors: there is none, or several.
    pub(super) fn result(&self) -> Result<&[u8], LetterProblem> {
        match (self.is_found, self.has_several) {
            (_, true) => Err(LetterProblem::SeveralIds),
            (true, false) => Ok(&self.text),
            (false, false) => Err(LetterProblem::NoId),
        }
    }

    /// Whether both are the same id.
    pub(super) fn is_same_as(&self, other: &FoundId) -> bool {
        let both = self.result().ok().zip(other.result().ok());
        both.is_some_and(|(one, other)| !one.is_empty() && is_same(one, other))
    }
}

/// Whether two spellings have the same digits, such as with and without a separator.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let digits = |text: &[u8]| -> Vec<u8> { text.iter().copied().filter(u8::is_ascii_digit).collect() };
    one == other || one.iter().any(u8::is_ascii_digit) && digits(one) == digits(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_spellings_are_one_id() {
        let of = |texts: &[&str]| {
            let mut id = FoundId::default();
            texts.iter().for_each(|text| id.add(text.as_bytes()));
            id.result().map(|id| String::from_utf8_lossy(id).into_owned())
        };
        assert_eq!(of(&[]), Err(LetterProblem::NoId));
        assert_eq!(of(&["", " 19681019-9809 "]), Ok("19681019-9809".to_owned()));
        assert_eq!(of(&["19681019-9809", "196810199809", ""]), Ok("19681019-9809".to_owned()));
        assert_eq!(of(&["19681019-9809", "199001022384"]), Err(LetterProblem::SeveralIds));
        assert_eq!(of(&["", ""]), Ok(String::new()));
        assert_eq!(of(&["x", "y"]), Err(LetterProblem::SeveralIds));
    }
}
