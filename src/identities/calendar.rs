//! Day numbers of the proleptic Gregorian calendar for the identity spaces.
//!
//! The tables are computed at compile time. Validating a date and computing its day number takes two adjacent loads
//! from one table.

/// First year of the Swedish spaces. The contract's pattern allows the centuries 18, 19 and 20.
pub(super) const FIRST_YEAR: u32 = 1800;
/// Years covered by [`DAYS_BEFORE_MONTH`]: 1800 to 2099.
pub(super) const YEARS: u32 = 300;
/// Number of days from 1800-01-01 to 2099-12-31, inclusive.
pub(super) const DAYS: u32 = days_before_month()[(YEARS * 12) as usize];

/// `DAYS_BEFORE_MONTH[(year - 1800) * 12 + month - 1]` is the number of days from 1800-01-01 to the first of that
/// month. One more entry ends the last month.
pub(super) static DAYS_BEFORE_MONTH: [u32; (YEARS * 12 + 1) as usize] = days_before_month();

/// Days before each month of a leap year; one more entry ends December. The Norwegian spaces have these day slots in
/// every year, because they have two digits of the year.
pub(super) static LEAP_DAYS_BEFORE_MONTH: [u32; 13] =
    [0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335, 366];

/// Whether `year` is a leap year.
pub(super) const fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_before_month() -> [u32; (YEARS * 12 + 1) as usize] {
    const LENGTHS: [u32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut table = [0; (YEARS * 12 + 1) as usize];
    let mut days = 0;
    let mut month = 0;
    while month < (YEARS * 12) as usize {
        table[month] = days;
        days += LENGTHS[month % 12];
        if month % 12 == 1 && is_leap(FIRST_YEAR + month as u32 / 12) {
            days += 1;
        }
        month += 1;
    }
    table[month] = days;
    table
}

/// Day number (0 is 1800-01-01) of a date, or `None` if the date does not exist.
///
/// The caller ensures that `year` is 1800 to 2099. `month` and `day` may have any value.
#[inline(always)]
pub(super) fn day_number(year: u32, month: u32, day: u32) -> Option<u32> {
    debug_assert!((FIRST_YEAR..FIRST_YEAR + YEARS).contains(&year));
    if month.wrapping_sub(1) >= 12 {
        return None;
    }
    let index = ((year - FIRST_YEAR) * 12 + month - 1) as usize;
    let (first, next) = (DAYS_BEFORE_MONTH[index], DAYS_BEFORE_MONTH[index + 1]);
    let number = first.wrapping_add(day).wrapping_sub(1);
    (day != 0 && number < next).then_some(number)
}

/// The date of a day number below [`DAYS`]: year, month, day.
pub(super) fn date_of(day_number: u32) -> (u32, u32, u32) {
    debug_assert!(day_number < DAYS);
    // 400 years have 4800 months and 146 097 days, so the estimate of the month is off by at most one.
    let mut index = (day_number * 160 / 4870) as usize;
    while DAYS_BEFORE_MONTH[index + 1] <= day_number {
        index += 1;
    }
    while DAYS_BEFORE_MONTH[index] > day_number {
        index -= 1;
    }
    let (year, month) = (index as u32 / 12, index as u32 % 12);
    (FIRST_YEAR + year, month + 1, day_number - DAYS_BEFORE_MONTH[index] + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn day_numbers_agree_with_jiff() {
        let first = jiff::civil::date(1800, 1, 1);
        for number in 0..DAYS {
            let (year, month, day) = date_of(number);
            assert_eq!(day_number(year, month, day), Some(number));
            if number % 97 == 0 {
                let date = jiff::civil::date(year as i16, month as i8, day as i8);
                assert_eq!((date - first).get_days() as u32, number);
            }
        }
    }

    #[test]
    fn invalid_dates_have_no_number() {
        for (year, month, day) in [
            (1900, 2, 29),
            (2001, 2, 29),
            (2000, 2, 30),
            (1999, 4, 31),
            (1999, 0, 1),
            (1999, 13, 1),
            (1999, 1, 0),
            (1999, 1, 32),
            (2099, 12, 32),
        ] {
            assert_eq!(day_number(year, month, day), None, "{year}-{month}-{day}");
        }
        assert!(day_number(2000, 2, 29).is_some());
    }
}
