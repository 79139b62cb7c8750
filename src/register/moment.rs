//! Times as stored in register files, and day numbers.

use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{Timestamp, ToSpan};

/// Nanoseconds since 1970-01-01T00:00:00Z that mean "no time".
pub(crate) const NO_NANOSECONDS: i64 = i64::MIN;
/// Seconds since 1970-01-01T00:00:00Z that mean "no time".
pub(crate) const NO_SECONDS: u32 = u32::MAX;

/// Parses an RFC 3339 time. Also accepts offsets without minutes (`+02`), which KRR writes.
///
/// `None` if it is not a time, or outside 1678 to 2261, the range of 64-bit nanoseconds.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let time: Timestamp = text.parse().ok()?;
    nanoseconds(time).map(|_| time)
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
    let days = date.duration_since(jiff::civil::date(1970, 1, 1)).as_hours() / 24;
    u32::try_from(days).unwrap_or(0)
}

/// First day on which a time is older than 18 months: the same day of the month 18 months later, or the last day of
/// that month. Days are in UTC.
pub(crate) fn eighteen_months_after(time: Timestamp) -> u32 {
    let date = Offset::UTC.to_datetime(time).date();
    date.checked_add(18.months()).map_or(0, day_number)
}

#[cfg(test)]
mod tests {
    use super::*;

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
