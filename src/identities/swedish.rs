//! personnummer, samordningsnummer and organisationsnummer.
//!
//! The canonical form is the 12 digits of the FaR contract: `YYYYMMDDNNNC`, or `16` and the ten digits
//! of an organisationsnummer. It is parsed and written eight digits at a time; see [`super::words`].

use super::calendar::{self, FIRST_YEAR};
use super::space::{DAYS_WITHOUT_MONTH, PER_DAY, PER_ORGANISATION_PREFIX, Space, UNKNOWN_SLOTS_PER_YEAR};
use super::words::{LANES, Words, lane, pairs};
use super::{Digits, Identity, Ordinal, Rejection, Today};

/// The Luhn sum of the ten digits after the first two, which is a multiple of 10. `words` holds digit values.
#[inline(always)]
fn luhn_sum(words: Words) -> u64 {
    // The digits at even positions count double, minus 9 from 5 upwards; the century does not count.
    const TEN_DIGITS: u64 = !0xFFFF;
    let doubled = |digits: u64| {
        let digits = digits & LANES;
        let over_four = ((digits + 0x007B_007B_007B_007B) >> 7) & 0x0001_0001_0001_0001;
        2 * digits - 9 * over_four
    };
    let head = words.head & TEN_DIGITS;
    let sums = doubled(head) + ((head >> 8) & LANES) + doubled(words.tail) + ((words.tail >> 8) & LANES);
    sums.wrapping_mul(0x0001_0001_0001_0001) >> 48
}

/// Parses twelve canonical digits.
///
/// Cost: 3 to 4 ns, of which the Luhn check takes one.
#[inline(always)]
pub(super) fn from_canonical(text: &[u8; 12]) -> Result<Identity, Rejection> {
    let Some(words) = Words::of(text).digits() else {
        return Err(Rejection::BadCharacter);
    };
    let (head, tail) = (pairs(words.head), pairs(words.tail));
    let (century, year, month, day) = (lane(head, 0), lane(head, 1), lane(head, 2), lane(head, 3));
    let (first_two, last_two) = (lane(tail, 0), lane(tail, 1));
    let ordinal = if century == 16 {
        let third = month / 10;
        if third < 2 {
            return Err(Rejection::BadOrganisationNumber);
        }
        let six = (month % 10) * 100_000 + day * 1000 + first_two * 10 + last_two / 10;
        Space::Organisationsnummer.base() + year * PER_ORGANISATION_PREFIX + (third - 2) * 1_000_000 + six
    } else {
        if century.wrapping_sub(FIRST_YEAR / 100) >= 3 {
            return Err(Rejection::BadCentury);
        }
        let coordination = u32::from(day > 60);
        let birth_number = first_two * 10 + last_two / 10;
        match calendar::day_number(century * 100 + year, month, day - 60 * coordination) {
            Some(number) => {
                const APART: u32 = Space::Samordningsnummer.base() - Space::Personnummer.base();
                Space::Personnummer.base() + coordination * APART + number * PER_DAY + birth_number
            }
            None => match unknown_date(century * 100 + year, month, day) {
                Some(slot) => Space::SamordningsnummerUnknownDate.base() + slot * PER_DAY + birth_number,
                None => return Err(Rejection::BadDate),
            },
        }
    };
    if !luhn_sum(words).is_multiple_of(10) {
        return Err(Rejection::BadCheckDigit);
    }
    Ok(Identity { ordinal: Ordinal(ordinal), digits: *text })
}

/// The slot of a samordningsnummer whose date of birth is not fully known: month 00, or day 60 (00 + 60), or both.
///
/// Source: Skatteverket uses 00 for an unknown month or day, and adds 60 to the day in all cases.
#[cold]
fn unknown_date(year: u32, month: u32, day: u32) -> Option<u32> {
    let day = day.checked_sub(60)?;
    let slot_in_year = match (month, day) {
        (0, 0..DAYS_WITHOUT_MONTH) => day,
        (1..=12, 0) => DAYS_WITHOUT_MONTH + month - 1,
        _ => return None,
    };
    Some((year - FIRST_YEAR) * UNKNOWN_SLOTS_PER_YEAR + slot_in_year)
}

/// Parses the digits of another spelling: `digits` without separators, of which `sign` was before the last four.
pub(super) fn from_spelling(digits: &Digits, sign: Option<u8>, today: Today) -> Result<Identity, Rejection> {
    match (digits.len(), sign) {
        (12, Some(b'+')) if digits.as_slice().starts_with(b"16") => Err(Rejection::BadCharacter),
        (12, _) => from_canonical(&digits.array::<12>()),
        (10, _) => from_ten(&digits.array::<10>(), sign, today),
        (7..=9, None) => from_spreadsheet(digits, today),
        _ => Err(Rejection::BadLength),
    }
}

/// Parses ten digits: an organisationsnummer, or a personnummer whose century follows from the sign and the day.
fn from_ten(ten: &[u8; 10], sign: Option<u8>, today: Today) -> Result<Identity, Rejection> {
    let mut twelve = [0; 12];
    twelve[2..].copy_from_slice(ten);
    if ten[2] >= b'2' {
        if sign == Some(b'+') {
            return Err(Rejection::BadCharacter);
        }
        twelve[..2].copy_from_slice(b"16");
    } else {
        let value = |index: usize| u32::from(ten[index] - b'0') * 10 + u32::from(ten[index + 1] - b'0');
        // An unknown month or day is 00, which is before 01.
        let day = value(4) - if value(4) >= 60 { 60 } else { 0 };
        let mut year = today.year / 100 * 100 + value(0);
        // Without a plus the age is 0 to 99. The plus is used from the beginning of the year of the 100th birthday
        // (folkbokföringslagen 18 §).
        let plus = sign == Some(b'+');
        let not_yet = (year, value(2), day) > (today.year, today.month, today.day);
        if year > today.year || not_yet && !plus {
            year -= 100;
        }
        if plus {
            year -= 100;
        }
        let century = year / 100;
        twelve[0] = b'0' + (century / 10) as u8;
        twelve[1] = b'0' + (century % 10) as u8;
    }
    from_canonical(&twelve)
}

/// Parses seven to nine digits without a separator: a number with year of birth 2000 to 2009 whose leading zeros a
/// spreadsheet has removed. One zero is restored if date and check digit are then valid. With more zeros, too many
/// truncated numbers would be accepted, so the number is [ambiguous](Rejection::Ambiguous).
fn from_spreadsheet(digits: &Digits, today: Today) -> Result<Identity, Rejection> {
    let mut ten = [b'0'; 10];
    ten[10 - digits.len()..].copy_from_slice(digits.as_slice());
    if ten[2] >= b'2' {
        return Err(Rejection::BadLength);
    }
    match from_ten(&ten, None, today) {
        Ok(identity) if digits.len() == 9 => Ok(identity),
        Ok(_) => Err(Rejection::Ambiguous),
        Err(_) => Err(Rejection::BadLength),
    }
}

/// The canonical digits at an offset in a Swedish space.
pub(super) fn canonical(space: Space, offset: u32) -> [u8; 12] {
    let person = |(year, month, day): (u32, u32, u32)| ((year * 100 + month) * 100 + day, offset % PER_DAY);
    let (head, tail) = match space {
        Space::Organisationsnummer => {
            let (prefix, rest) = (offset / PER_ORGANISATION_PREFIX, offset % PER_ORGANISATION_PREFIX);
            let nine = prefix * 10_000_000 + rest + 2_000_000;
            (16_000_000 + nine / 1000, nine % 1000)
        }
        Space::Samordningsnummer => {
            let (year, month, day) = calendar::date_of(offset / PER_DAY);
            person((year, month, day + 60))
        }
        Space::SamordningsnummerUnknownDate => {
            let slot = offset / PER_DAY;
            let (year, in_year) = (FIRST_YEAR + slot / UNKNOWN_SLOTS_PER_YEAR, slot % UNKNOWN_SLOTS_PER_YEAR);
            match in_year.checked_sub(DAYS_WITHOUT_MONTH) {
                Some(month) => person((year, month + 1, 60)),
                None => person((year, 0, in_year + 60)),
            }
        }
        Space::Personnummer
        | Space::Fodselsnummer
        | Space::DNummer
        | Space::Fodselsnummer40
        | Space::DNummer40
        | Space::Fodselsnummer65
        | Space::DNummer65
        | Space::Fodselsnummer80
        | Space::DNummer80 => person(calendar::date_of(offset / PER_DAY)),
    };
    // The last digit, which is 0 here, counts once in the sum.
    let words = Words::of_numbers(head, tail * 10);
    let check_digit = (10 - luhn_sum(words) % 10) % 10;
    Words { tail: words.tail | (check_digit << 24), ..words }.text()
}
