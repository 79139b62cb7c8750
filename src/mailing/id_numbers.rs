//! Which identity numbers a list has.

use crate::identities::{Country, Identity, Rejection, Today};

/// The identity numbers of a list: those of a country, and in jobs with registers of two countries those of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IdNumbers {
    /// The country of the job's register.
    pub(super) country: Country,
    /// The country of a further register of the channel rules, if it is another one.
    pub(super) other: Option<Country>,
    /// The day that determines the century of numbers with ten digits.
    pub(super) today: Today,
}

impl IdNumbers {
    /// The identity of a text. A text that is one of each country is ambiguous, such as ten digits that are a personnummer, or
    /// a fødselsnummer without its first zero.
    #[inline(always)]
    pub(super) fn identity(&self, text: &[u8]) -> Result<Identity, Rejection> {
        let own = Identity::parse(text, self.country, self.today);
        match self.other {
            None => own,
            Some(other) => match (own, Identity::parse(text, other, self.today)) {
                (Ok(_), Ok(_)) => Err(Rejection::Ambiguous),
                (Err(_), Ok(other)) => Ok(other),
                (own, Err(_)) => own,
            },
        }
    }

    /// The countries.
    pub(super) fn countries(&self) -> impl Iterator<Item = Country> {
        [self.country].into_iter().chain(self.other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_two_countries() {
        let today = Today::new(2026, 6, 1).expect("a day");
        let of = |country, other| IdNumbers { country, other, today };
        let both = of(Country::Sweden, Some(Country::Norway));
        let (swedish, norwegian) = ("196810199809", "17912099997");
        assert!(both.identity(swedish.as_bytes()).is_ok() && both.identity(norwegian.as_bytes()).is_ok());
        let one = of(Country::Sweden, None);
        assert_eq!(one.identity(norwegian.as_bytes()), Err(Rejection::BadLength));
        assert_eq!(both.identity(b"196810199808"), Err(Rejection::BadCheckDigit), "why it is no Swedish one");
    }

    /// Ten digits may be a Swedish number, or a Norwegian one that a spreadsheet has taken for a number.
    #[test]
    fn a_number_of_both_countries_is_ambiguous() {
        let today = Today::new(2026, 6, 1).expect("a day");
        let both = IdNumbers { country: Country::Sweden, other: Some(Country::Norway), today };
        let is_of = |text: &str, country| Identity::parse(text.as_bytes(), country, today).is_ok();
        let found = (0..9999u32)
            .map(|last| format!("1001{:02}{last:04}", 1))
            .find(|text| is_of(text, Country::Sweden) && is_of(text, Country::Norway));
        if let Some(text) = found {
            assert_eq!(both.identity(text.as_bytes()), Err(Rejection::Ambiguous));
        }
    }
}
