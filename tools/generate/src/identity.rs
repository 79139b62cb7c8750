//! Check digits of Swedish and Norwegian identity numbers.
//!
//! This is a separate implementation on purpose: nabar validates numbers with other code, and the
//! two are compared through the files written here.
//!
//! A number without its check digits is called a *stem*. Swedish stems have eleven digits: the
//! century, six digits and a serial of three (`19850101238`), or `16` and nine digits of an
//! organisationsnummer. Norwegian stems have nine digits, DDMMYYIII.

use crate::random::{MILLION, Random, Stream};

/// The register a number belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    Far,
    Krr,
}

/// Share of the Norwegian numbers whose first control digit follows the rule of 2032, in millionths.
const RELAXED_MILLIONTHS: u64 = 5_000;

const FIRST_WEIGHTS: [u64; 9] = [3, 7, 6, 1, 8, 9, 4, 5, 2];
const SECOND_WEIGHTS: [u64; 10] = [5, 4, 3, 2, 7, 6, 5, 4, 3, 2];

impl Register {
    /// Digits of a number in its canonical form.
    pub fn width(self) -> usize {
        match self {
            Register::Far => 12,
            Register::Krr => 11,
        }
    }

    /// The number made of `stem` and its check digits, or `None` where none exists.
    ///
    /// A stem gives at most one number, so distinct stems give distinct numbers.
    pub fn complete(self, stem: u64) -> Option<u64> {
        match self {
            Register::Far => Some(swedish(stem)),
            Register::Krr => norwegian(stem, remainder(stem)),
        }
    }
}

/// The eleven-digit `stem` and its check digit.
pub fn swedish(stem: u64) -> u64 {
    stem * 10 + luhn(stem % 1_000_000_000)
}

/// The check digit after nine digits, by Luhn's method: every other digit is doubled, from the right.
fn luhn(nine_digits: u64) -> u64 {
    let mut rest = nine_digits;
    let mut sum = 0;
    for position in 0..9 {
        let digit = rest % 10;
        rest /= 10;
        let product = if position % 2 == 0 { digit * 2 } else { digit };
        sum += product / 10 + product % 10;
    }
    (10 - sum % 10) % 10
}

/// The nine-digit `stem` and its two control digits, or `None` when a control digit would be ten.
///
/// `remainder` is what the weighted sum including the first control digit leaves modulo 11: zero by
/// the present rule, zero to three by the rule of 2032.
pub fn norwegian(stem: u64, remainder: u64) -> Option<u64> {
    let mut digits = [0; 10];
    let mut rest = stem;
    for digit in digits[..9].iter_mut().rev() {
        *digit = rest % 10;
        rest /= 10;
    }
    digits[9] = (11 - weighted_sum(&digits, &FIRST_WEIGHTS) % 11 + remainder) % 11;
    let second = (11 - weighted_sum(&digits, &SECOND_WEIGHTS) % 11) % 11;
    (digits[9] < 10 && second < 10).then_some(stem * 100 + digits[9] * 10 + second)
}

fn weighted_sum(digits: &[u64], weights: &[u64]) -> u64 {
    digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum()
}

/// The remainder a stem's first control digit is made for. A property of the stem alone, so that
/// every seed agrees on which number a stem stands for.
fn remainder(stem: u64) -> u64 {
    let mut random = Random::new(0, Stream::Relaxed, stem);
    if random.below(MILLION) < RELAXED_MILLIONTHS { 1 + random.below(3) } else { 0 }
}

/// Whether a Swedish number of twelve digits is an organisation's.
pub fn is_organisation(id: u64) -> bool {
    id / 10_000_000_000 == 16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published examples: the Tax Agency's test number and two authorities.
    #[test]
    fn swedish_check_digits() {
        assert_eq!(swedish(19_121_212_121), 191_212_121_212);
        assert_eq!(swedish(16_202_100_544), 162_021_005_448);
        assert_eq!(swedish(16_212_000_014), 162_120_000_142);
    }

    /// Numbers of Skatteetaten's synthetic population, which belong to no real person.
    #[test]
    fn norwegian_control_digits() {
        for id in [17_912_099_997, 29_822_099_635, 5_840_399_895, 12_829_499_914] {
            assert_eq!(norwegian(id / 100, 0), Some(id), "{id}");
        }
    }

    /// Exactly the definition, stated the other way round: the full weighted sums leave the remainder.
    #[test]
    fn control_digits_satisfy_their_equations() {
        let mut found = 0;
        for stem in (10_185_000..10_186_000).chain(251_299_900..251_300_000) {
            for remainder in 0..4 {
                let Some(id) = norwegian(stem, remainder) else { continue };
                let text = format!("{id:011}");
                let digits: Vec<u64> = text.bytes().map(|byte| u64::from(byte - b'0')).collect();
                let first: u64 = (0..9).map(|i| digits[i] * FIRST_WEIGHTS[i]).sum();
                let second: u64 = (0..10).map(|i| digits[i] * SECOND_WEIGHTS[i]).sum();
                assert_eq!((first + digits[9]) % 11, remainder);
                assert_eq!((second + digits[10]) % 11, 0);
                found += 1;
            }
        }
        assert!(found > 3000);
    }

    #[test]
    fn some_numbers_follow_the_rule_of_2032() {
        let relaxed = (10_185_000..10_285_000).filter(|&stem| remainder(stem) > 0).count();
        assert!((400..600).contains(&relaxed), "{relaxed}");
    }
}
