//! fødselsnummer, D-nummer and the synthetic series: `DDMMYY III KK`.

use super::calendar::{self, LEAP_DAYS_BEFORE_MONTH};
use super::space::{MONTH_OFFSETS, PER_DAY, PER_REMAINDER, REMAINDERS, SLOTS_PER_YEAR, Space};
use super::words::{Weights, Words, lane, pairs};
use super::{Digits, Identity, Ordinal, Rejection};

/// The sum of the first nine digits with the weights of the first control digit, which has the weight 1 itself. `words`
/// holds digit values.
#[inline(always)]
fn first_sum(words: Words) -> u32 {
    const WEIGHTS: Weights = Weights::new([3, 7, 6, 1, 8, 9, 4, 5]);
    WEIGHTS.sum(words.head) + 2 * digit(words, 8)
}

/// The sum of the first ten digits with the weights of the second control digit, which has the weight 1 itself.
#[inline(always)]
fn second_sum(words: Words) -> u32 {
    const WEIGHTS: Weights = Weights::new([5, 4, 3, 2, 7, 6, 5, 4]);
    WEIGHTS.sum(words.head) + 3 * digit(words, 8) + 2 * digit(words, 9)
}

/// One of the last three digits.
#[inline(always)]
fn digit(words: Words, index: u32) -> u32 {
    (words.tail >> (8 * (index - 8))) as u32 & 0xF
}

/// Spaces by month series, of fødselsnummer and of D-nummer.
const SPACES: [[Space; 2]; 4] = [
    [Space::Fodselsnummer, Space::DNummer],
    [Space::Fodselsnummer40, Space::DNummer40],
    [Space::Fodselsnummer65, Space::DNummer65],
    [Space::Fodselsnummer80, Space::DNummer80],
];

/// The year of birth of a fødselsnummer, from two digits of the year and the individual number, by the rule for numbers
/// assigned before 2032. `None` if that rule does not assign the combination.
///
/// Source: forskrift til folkeregisterloven § 2-2; Skatteetaten, "Fødselsnummer".
fn year_of_fodselsnummer(year: u32, individual: u32) -> Option<u32> {
    match (individual, year) {
        (0..=499, _) => Some(1900 + year),
        (500..=749, 54..) => Some(1800 + year),
        (500..=999, 0..=39) => Some(2000 + year),
        (900..=999, 40..) => Some(1900 + year),
        _ => None,
    }
}

/// The year of birth of a D-nummer. Their ranges were extended in August 2021; `None` where the two rules differ.
///
/// Source: Skatteetaten, folkeregisteret-api-dokumentasjon, news of 2021-06-24.
fn year_of_d_number(year: u32, individual: u32) -> Option<u32> {
    let widened = match (individual, year) {
        (500..=599, 58..) => 1800 + year,
        (0..=199, 0..=39) | (0..=499 | 600..=999, 40..) => 1900 + year,
        (200..=999, 0..=39) => 2000 + year,
        _ => return year_of_fodselsnummer(year, individual),
    };
    year_of_fodselsnummer(year, individual).is_none_or(|before| before == widened).then_some(widened)
}

/// The slot of a day of birth with two digits of the year, if the day exists in any century: 29 February needs a year
/// divisible by four, including 00 for 2000.
fn day_slot(year: u32, month: u32, day: u32) -> Option<u32> {
    calendar::day_number(2000 + year, month, day)?;
    Some(year * SLOTS_PER_YEAR + LEAP_DAYS_BEFORE_MONTH[month as usize - 1] + day - 1)
}

/// Year, month and day of birth of eleven canonical digits, if they determine them.
pub(super) fn birth(space: Space, text: &[u8; 11]) -> Option<(u32, u32, u32)> {
    // Other remainders are assigned from 2032 only, when the individual number does not determine the century.
    let words = Words::of(&padded(text)).digits()?;
    (first_sum(words) + digit(words, 9)).is_multiple_of(11).then_some(())?;
    let (day, month, year, individual) = parts(words);
    let (series, is_d_number) = series_of(space);
    let (day, month) = (day - 40 * is_d_number, month - MONTH_OFFSETS[series]);
    let year = if is_d_number == 1 {
        year_of_d_number(year, individual)
    } else {
        year_of_fodselsnummer(year, individual)
    }?;
    // A date that does not exist in this year is in another century.
    calendar::day_number(year, month, day).map(|_| (year, month, day))
}

/// The month series of a Norwegian space, and 1 for D-nummer, otherwise 0.
fn series_of(space: Space) -> (usize, u32) {
    let plain = space as u32 - Space::Fodselsnummer as u32;
    (plain as usize / 2, plain % 2)
}

/// Eleven bytes, and a digit that does not count.
#[inline(always)]
fn padded(text: &[u8; 11]) -> [u8; 12] {
    let mut twelve = [b'0'; 12];
    twelve[..11].copy_from_slice(text);
    twelve
}

/// Day, month, year and individual number as they are written. `words` holds digit values.
#[inline(always)]
fn parts(words: Words) -> (u32, u32, u32, u32) {
    let head = pairs(words.head);
    (lane(head, 0), lane(head, 1), lane(head, 2), lane(head, 3) * 10 + digit(words, 8))
}

/// Parses eleven canonical digits.
///
/// The first control digit may have the remainders 0 to 3, as will be required from 2032. Any individual number is
/// accepted with any year, because it does not determine the century from 2032.
pub(super) fn from_canonical(text: &[u8; 11]) -> Result<Identity, Rejection> {
    let mut digits = padded(text);
    let Some(words) = Words::of(&digits).digits() else {
        return Err(Rejection::BadCharacter);
    };
    let (day, month, year, individual) = parts(words);

    let is_d_number = usize::from(day > 40);
    let day = day - 40 * is_d_number as u32;
    let series = MONTH_OFFSETS.iter().rposition(|&offset| month > offset).ok_or(Rejection::BadDate)?;
    let month = month - MONTH_OFFSETS[series];
    let slot = day_slot(year, month, day).ok_or(Rejection::BadDate)?;

    let remainder = (first_sum(words) + digit(words, 9)) % 11;
    if remainder >= REMAINDERS || !(second_sum(words) + digit(words, 10)).is_multiple_of(11) {
        return Err(Rejection::BadCheckDigit);
    }
    let offset = remainder * PER_REMAINDER + slot * PER_DAY + individual;
    digits[11] = 0;
    Ok(Identity { ordinal: Ordinal(SPACES[series][is_d_number].base() + offset), digits })
}

/// Parses the digits of another spelling: eleven digits without separators, or ten if a spreadsheet removed the leading
/// zero of the day.
pub(super) fn from_spelling(digits: &Digits, separated: bool) -> Result<Identity, Rejection> {
    match digits.len() {
        11 => from_canonical(&digits.array::<11>()),
        10 if !separated => {
            let mut eleven = [b'0'; 11];
            eleven[1..].copy_from_slice(digits.as_slice());
            from_canonical(&eleven).map_err(|_| Rejection::BadLength)
        }
        _ => Err(Rejection::BadLength),
    }
}

/// The canonical digits at an offset in a Norwegian space, `None` if the offset has no identity.
pub(super) fn canonical(space: Space, offset: u32) -> Option<[u8; 12]> {
    let (remainder, rest) = (offset / PER_REMAINDER, offset % PER_REMAINDER);
    let (slot, individual) = (rest / PER_DAY, rest % PER_DAY);
    let (year, day_of_year) = (slot / SLOTS_PER_YEAR, slot % SLOTS_PER_YEAR);
    let month = LEAP_DAYS_BEFORE_MONTH.partition_point(|&days| days <= day_of_year) as u32;
    let day = day_of_year - LEAP_DAYS_BEFORE_MONTH[month as usize - 1] + 1;
    day_slot(year, month, day)?;

    let (series, is_d_number) = series_of(space);
    let day = day + 40 * is_d_number;
    let month = month + MONTH_OFFSETS[series];
    let head = ((day * 100 + month) * 100 + year) * 100 + individual / 10;
    let mut words = Words::of_numbers(head, individual % 10 * 1000);
    words.tail |= control_digit(first_sum(words), remainder)? << 8;
    words.tail |= control_digit(second_sum(words), 0)? << 16;
    let mut digits = words.text();
    digits[11] = 0;
    Some(digits)
}

/// The digit that makes `sum` equal to `remainder` modulo 11, `None` if it would be 10.
#[inline(always)]
fn control_digit(sum: u32, remainder: u32) -> Option<u64> {
    let digit = (remainder + 11 - sum % 11) % 11;
    (digit < 10).then_some(digit.into())
}
