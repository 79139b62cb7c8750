//! Times as stored in register files, and day numbers.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;

/// Nanoseconds since 1970-01-01T00:00:00Z that mean "no time".
pub(crate) const NO_NANOSECONDS: i64 = i64::MIN;
/// Seconds since 1970-01-01T00:00:00Z that mean "no time".
pub(crate) const NO_SECONDS: u32 = u32::MAX;

/// Parses an RFC 3339 time. Also accepts offsets without minutes (`+02`), which KRR writes.
///
/// `None` if it is not a time, or outside 1678 to 2261, the range of 64-bit nanoseconds.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let time = match in_utc(text.as_bytes()) {
        Some(time) => time,
        None => text.parse().ok()?,
    };
    nanoseconds(time).map(|_| time)
}

/// Parses `YYYY-MM-DDTHH:MM:SSZ`, also with a fraction of three digits: the forms of most times of KRR. `None` for any
/// other text, which may still be a time. Cost: a fifth of that of all forms.
fn in_utc(text: &[u8]) -> Option<Timestamp> {
    let digits = |from: usize, count: usize| {
        text[from..from + count].iter().try_fold(0i16, |number, digit| match digit {
            b'0'..=b'9' => Some(10 * number + i16::from(digit - b'0')),
            _ => None,
        })
    };
    let milliseconds = match text.len() {
        20 => 0,
        24 if text[19] == b'.' => digits(20, 3)?,
        _ => return None,
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (text.len() - 1, b'Z')];
    marks.iter().all(|(at, mark)| text[*at] == *mark).then_some(())?;
    let two = |from: usize| digits(from, 2).map(|number| number as i8);
    let (year, month, day) = (digits(0, 4)?, two(5)?, two(8)?);
    let nanoseconds = i32::from(milliseconds) * 1_000_000;
    let time = DateTime::new(year, month, day, two(11)?, two(14)?, two(17)?, nanoseconds).ok()?;
    Offset::UTC.to_timestamp(time).ok()
}

/// Nanoseconds since 1970-01-01T00:00:00Z.
pub(crate) fn nanoseconds(time: Timestamp) -> Option<i64> {
    i64::try_from(time.as_nanosecond()).ok().filter(|&nanoseconds| nanoseconds != NO_NANOSECONDS)
}

/// The time of a number of nanoseconds since 1970-01-01T00:00:00Z. All 64-bit values are within range.
pub(crate) fn of_nanoseconds(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or_default()
}

/// The time of a number of nanoseconds since 1970-01-01T00:00:00Z, `None` for [`NO_NANOSECONDS`].
pub(crate) fn time(nanoseconds: i64) -> Option<Timestamp> {
    (nanoseconds != NO_NANOSECONDS).then(|| of_nanoseconds(nanoseconds))
}

/// Parses `YYYY-MM-DD`. `None` for every other text, also for other forms of ISO 8601, such as `20260601`.
pub fn date_of(text: &str) -> Option<Date> {
    text.parse().ok().filter(|date: &Date| date.to_string() == text)
}

/// Days from 1970-01-01 to a date; 0 for earlier dates.
pub fn day_number(date: Date) -> u32 {
    let midnight = Offset::UTC.to_timestamp(date.to_datetime(jiff::civil::Time::midnight()));
    let days = match midnight {
        Ok(midnight) => midnight.as_second() / 86_400,
        // The last day of the calendar.
        Err(_) => date.duration_since(jiff::civil::date(1970, 1, 1)).as_hours() / 24,
    };
    u32::try_from(days).unwrap_or(0)
}

/// First day on which a time is older than 18 months: the same day of the month 18 months later, or the last day of
/// that month. Days are in UTC.
pub(crate) fn eighteen_months_after(time: Timestamp) -> u32 {
    let date = Offset::UTC.to_datetime(time).date();
    let month = i32::from(date.year()) * 12 + i32::from(date.month()) - 1 + 18;
    let (year, month) = (i16::try_from(month.div_euclid(12)), (month.rem_euclid(12) + 1) as i8);
    let later = year.ok().and_then(|year| {
        let first = Date::new(year, month, 1).ok()?;
        Date::new(year, month, date.day().min(first.days_in_month())).ok()
    });
    later.map_or(0, day_number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan;

    #[test]
    fn dates_are_years_months_and_days() {
        assert_eq!(date_of("2026-06-01"), Some(jiff::civil::date(2026, 6, 1)));
        for bad in [
            "",
            "20260601",
            "2026-6-1",
            "2026-06-01 ",
            "2026-06-01T12:00",
            "+002026-06-01",
            "2026-W23-1",
            "2026-06-01[u-ca=gregory]",
            "2026-02-30",
            "2026-06",
        ] {
            assert_eq!(date_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_three_spellings_of_krr() {
        for (text, utc) in [
            ("2023-06-29T10:14:52+02", "2023-06-29T08:14:52Z"),
            ("2015-03-11T19:57:52.000+01:00", "2015-03-11T18:57:52Z"),
            ("2023-08-05T10:45:15.768Z", "2023-08-05T10:45:15.768Z"),
        ] {
            assert_eq!(parse(text).map(|time| time.to_string()).as_deref(), Some(utc), "{text}");
        }
        for text in ["", "2023-06-29", "2023-13-01T00:00:00Z", "9999-01-01T00:00:00Z", "igår"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest::proptest! {
        /// The quick way reads what the library reads, and nothing else.
        #[test]
        fn the_quick_way_agrees_with_the_library(
            text in "[0-2][0-9]{3}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{3})?Z",
            at in 0..24usize,
            other in proptest::char::range(' ', '~'),
        ) {
            let parsed = |text: &str| text.parse::<Timestamp>().ok();
            if let Some(time) = in_utc(text.as_bytes()) {
                proptest::prop_assert_eq!(Some(time), parsed(&text));
            }
            let mut other_text: Vec<char> = text.chars().collect();
            other_text[at % text.len()] = other;
            let other_text: String = other_text.into_iter().collect();
            if let Some(time) = in_utc(other_text.as_bytes()) {
                proptest::prop_assert_eq!(Some(time), parsed(&other_text));
            }
        }
    }

    #[test]
    fn the_quick_way_is_taken() {
        for text in ["2026-06-21T00:33:43Z", "2026-05-04T02:20:41.654Z", "0000-01-01T00:00:00Z"] {
            assert!(in_utc(text.as_bytes()).is_some(), "{text}");
        }
    }

    proptest::proptest! {
        /// The same as the calendar of the library.
        #[test]
        fn eighteen_months_are_those_of_the_calendar(nanoseconds: i64) {
            let time = of_nanoseconds(nanoseconds);
            let date = Offset::UTC.to_datetime(time).date().checked_add(18.months()).expect("a date");
            let days = date.duration_since(jiff::civil::date(1970, 1, 1)).as_hours() / 24;
            proptest::prop_assert_eq!(eighteen_months_after(time), u32::try_from(days).unwrap_or(0));
        }

        #[test]
        fn days_are_those_of_the_calendar(year in 1900..=9999i16, month in 1..=12i8, day in 28..=31i8) {
            if let Ok(date) = Date::new(year, month, day) {
                let days = date.duration_since(jiff::civil::date(1970, 1, 1)).as_hours() / 24;
                proptest::prop_assert_eq!(day_number(date), u32::try_from(days).unwrap_or(0));
            }
        }
    }

    #[test]
    fn eighteen_months_end_with_the_month() {
        for (time, last) in [
            ("2025-01-15T12:00:00Z", "2026-07-15"),
            ("2024-08-31T00:00:00Z", "2026-02-28"),
            ("2022-08-31T23:59:59Z", "2024-02-29"),
        ] {
            let date: Date = last.parse().expect("date");
            assert_eq!(eighteen_months_after(parse(time).expect("time")), day_number(date), "{time}");
        }
        assert_eq!(day_number(jiff::civil::date(1969, 12, 31)), 0);
        assert_eq!(day_number(jiff::civil::date(2026, 6, 1)), 20_605);
    }
}
