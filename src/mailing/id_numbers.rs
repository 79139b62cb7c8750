//! Which identity numbers a list has.

use crate::identities::{Country, Identity, Ordinal, Rejection, Today};

/// The identity numbers of a list: those of a country, and in jobs with registers of two countries those of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdNumbers {
    /// The country of the job's register.
    pub(crate) country: Country,
    /// The country of a further register of the channel rules, if it is another one.
    pub(crate) other: Option<Country>,
    /// The day that determines the century of numbers with ten digits.
    pub(crate) today: Today,
}

impl IdNumbers {
    /// The identity of a text. A text that is one of each country is ambiguous, such as ten digits that are a personnummer, or
    /// a fødselsnummer without its first zero.
    #[inline(always)]
    pub(crate) fn identity(&self, text: &[u8]) -> Result<Identity, Rejection> {
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

    /// The identities that a text may be, one of each country.
    #[inline(always)]
    pub(super) fn readings(&self, text: &[u8]) -> impl Iterator<Item = Identity> {
        let other = self.other.and_then(|other| Identity::parse(text, other, self.today).ok());
        Identity::parse(text, self.country, self.today).ok().into_iter().chain(other)
    }

    /// The country, if it is the only one.
    pub(super) fn only_country(&self) -> Option<Country> {
        Some(self.country).filter(|_| self.other.is_none())
    }

    /// Whether an ordinal is one of the other country.
    #[inline(always)]
    pub(crate) fn is_foreign(&self, ordinal: Ordinal) -> bool {
        self.other.is_some_and(|other| other.has(ordinal))
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
        let text = b"6902223442";
        assert_eq!(both.identity(text), Err(Rejection::Ambiguous));
        let countries: Vec<bool> = both.readings(text).map(|id| both.is_foreign(id.ordinal())).collect();
        assert_eq!(countries, [false, true]);
    }
}
