//! The other ways in which lists spell a valid number.

use crate::extract::Header;
use crate::identity::{Register, is_organisation};
use crate::random::Random;

/// Persons this close to the age of a hundred are spelt with the century, so that ten digits mean the same person on
/// every day on which the list is read.
const AMBIGUOUS_AGES: std::ops::RangeInclusive<i64> = 96..=101;

/// Spells a valid id in one of the ways other than the canonical one.
pub fn spell(header: &Header, id: u64, random: &mut Random) -> String {
    let canonical = format!("{id:0width$}", width = header.register.width());
    let choices = match header.register {
        Register::Krr => norwegian(&canonical),
        Register::Far if is_organisation(id) => organisation(&canonical),
        Register::Far => {
            let year = (id / 100_000_000) as i64;
            person(&canonical, year, header.as_of.date().year - year)
        }
    };
    choices[random.index(choices.len())].clone()
}

fn organisation(canonical: &str) -> Vec<String> {
    let (group, end) = (&canonical[2..8], &canonical[8..]);
    vec![
        format!("{group}-{end}"),
        format!("{group}{end}"),
        format!("16{group}-{end}"),
        format!("{group} {end}"),
        format!("16 {group}-{end}"),
    ]
}

fn person(canonical: &str, year: i64, age: i64) -> Vec<String> {
    let (century, date, end) = (&canonical[..2], &canonical[2..8], &canonical[8..]);
    let mut choices = vec![format!("{century}{date}-{end}"), format!("{century}{date} {end}")];
    if AMBIGUOUS_AGES.contains(&age) {
        return choices;
    }
    if age > *AMBIGUOUS_AGES.end() {
        choices.extend(vec![format!("{date}+{end}"); 4]);
        return choices;
    }
    choices.extend([
        format!("{date}-{end}"),
        format!("{date}-{end}"),
        format!("{date}{end}"),
        format!("{date}{end}"),
        format!("{date} {end}"),
    ]);
    // A spreadsheet took the ten digits for a number.
    if (1..10).contains(&(year % 100)) {
        choices.extend(vec![format!("{}{end}", &date[1..]); 3]);
    }
    choices
}

fn norwegian(canonical: &str) -> Vec<String> {
    let (date, end) = canonical.split_at(6);
    let mut choices = vec![format!("{date} {end}"), format!("{date} {end}"), format!("{date}-{end}")];
    if let Some(shorter) = canonical.strip_prefix('0') {
        choices.extend(vec![shorter.to_owned(); 3]);
    }
    choices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_has_plus_only_when_a_hundred() {
        let plus = |year: i64| {
            let choices = person(&format!("{year}01012380"), year, 2026 - year);
            choices.iter().any(|choice| choice.contains('+'))
        };
        assert!(plus(1924));
        assert!(!plus(1925) && !plus(1930) && !plus(1999));
    }

    #[test]
    fn only_the_first_decade_of_a_century_loses_a_zero() {
        let lost = |year: i64| {
            let choices = person(&format!("{year}01012380"), year, 2026 - year);
            choices.iter().any(|choice| choice.len() == 9)
        };
        assert!(lost(2005) && !lost(2000) && !lost(1985));
    }

    #[test]
    fn digits_are_never_changed() {
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        for choice in organisation("164560001234") {
            assert!("164560001234".ends_with(&digits(&choice)), "{choice}");
        }
        for choice in norwegian("01810112345") {
            assert!("01810112345".ends_with(&digits(&choice)), "{choice}");
        }
    }
}
