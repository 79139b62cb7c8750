//! Texts of identities against the model, which reads them digit by digit.

use crate::data::head;
use crate::model::identities::{Country as ModelCountry, Day, read};
use nabar::identities::Country;
use nabar::{Identity, Today};

/// The first byte chooses country and day, the rest is the text.
pub(crate) fn run(data: &[u8]) {
    let ([choice], text) = head::<1>(data);
    let (country, model_country) = match choice & 1 {
        0 => (Country::Sweden, ModelCountry::Sweden),
        _ => (Country::Norway, ModelCountry::Norway),
    };
    let days = [(2026, 6, 1), (2024, 2, 29), (2032, 1, 1), (2099, 12, 31)];
    let (year, month, day) = days[usize::from(choice >> 1 & 3)];
    let today = Today::new(year, month, day).expect("a day");
    let found = Identity::parse(text, country, today);
    let found_text = found.as_ref().map(Identity::as_str).map_err(|rejection| rejection.name());
    let expected = read(text, model_country, Day::new(year, month, day));
    let expected_text = expected.as_ref().map(String::as_str).map_err(|reason| *reason);
    assert_eq!(found_text, expected_text, "\"{}\", {country:?}, {year}-{month}-{day}", text.escape_ascii());

    let Ok(identity) = found else { return };
    assert_eq!(Identity::from_ordinal(identity.ordinal()), Some(identity), "by its ordinal");
    assert_eq!(Identity::parse(identity.as_bytes(), country, today), Ok(identity), "its canonical text");
}
