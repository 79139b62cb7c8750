//! Dates and points in time, without a time zone database.

use crate::text::push_padded;

pub const DAY_SECONDS: i64 = 86_400;

/// A point in time: seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z, within 1678 to 2261.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(i64);

/// A date of the Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    pub year: i64,
    pub month: i64,
    pub day: i64,
}

impl Date {
    pub const fn new(year: i64, month: i64, day: i64) -> Self {
        Date { year, month, day }
    }

    /// Days since 1970-01-01. The year is taken to begin in March, so that a leap day comes last.
    pub const fn days(self) -> i64 {
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * ((self.month + 9) % 12) + 2) / 5 + self.day - 1;
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
    }

    pub const fn from_days(days: i64) -> Self {
        let days = days + 719_468;
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
        Date::new(year, month, day_of_year - (153 * shifted_month + 2) / 5 + 1)
    }

    /// The first day of the month `months` months earlier.
    pub const fn months_before(self, months: i64) -> Self {
        let index = self.year * 12 + self.month - 1 - months;
        Date::new(index.div_euclid(12), index.rem_euclid(12) + 1, self.day)
    }
}

/// The number of days in a month.
pub fn month_length(year: i64, month: i64) -> i64 {
    let next = if month == 12 { Date::new(year + 1, 1, 1) } else { Date::new(year, month + 1, 1) };
    next.days() - Date::new(year, month, 1).days()
}

impl Moment {
    pub fn date(self) -> Date {
        Date::from_days(self.0.div_euclid(DAY_SECONDS))
    }

    /// Parses `2026-06-01T04:00:00Z`, years 2016 to 2099 only.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::read(text)
            .filter(|moment| (2016..=2099).contains(&moment.date().year))
            .ok_or_else(|| format!("expected a time such as 2026-06-01T04:00:00Z, found {text:?}"))
    }

    /// Reads `2026-06-01T04:00:00Z` of any year.
    fn read(text: &str) -> Option<Self> {
        let pattern = b"dddd-dd-ddTdd:dd:ddZ";
        let matches = |(byte, &kind): (u8, &u8)| match kind {
            b'd' => byte.is_ascii_digit(),
            literal => byte == literal,
        };
        if text.len() != pattern.len() || !text.bytes().zip(pattern).all(matches) {
            return None;
        }
        let digits = |from: usize, to: usize| {
            text.as_bytes()[from..to].iter().fold(0, |value, byte| value * 10 + i64::from(byte - b'0'))
        };
        let date = Date::new(digits(0, 4), digits(5, 7), digits(8, 10));
        let (hour, minute, second) = (digits(11, 13), digits(14, 16), digits(17, 19));
        let known = Date::from_days(date.days()) == date && hour < 24 && minute < 60 && second < 60;
        known.then(|| Moment(date.days() * DAY_SECONDS + hour * 3600 + minute * 60 + second))
    }

    /// Appends `2019-05-03T10:11:12`, the time shifted to a zone `offset_hours` east of Greenwich.
    pub fn push_local(self, out: &mut Vec<u8>, offset_hours: i64) {
        let local = self.0 + offset_hours * 3600;
        let date = Date::from_days(local.div_euclid(DAY_SECONDS));
        let second = local.rem_euclid(DAY_SECONDS) as u64;
        push_padded(out, date.year as u64, 4);
        out.push(b'-');
        push_padded(out, date.month as u64, 2);
        out.push(b'-');
        push_padded(out, date.day as u64, 2);
        out.push(b'T');
        push_padded(out, second / 3600, 2);
        out.push(b':');
        push_padded(out, second / 60 % 60, 2);
        out.push(b':');
        push_padded(out, second % 60, 2);
    }

    /// Appends `2019-05-03T10:11:12Z`.
    pub fn push_utc(self, out: &mut Vec<u8>) {
        self.push_local(out, 0);
        out.push(b'Z');
    }
}

impl Instant {
    const SECOND: i64 = 1_000_000_000;

    /// Parses `2024-10-21T19:16:40Z` or `2024-10-21T19:16:40.5Z`, the two forms of `nabar export`.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::read(text)
            .ok_or_else(|| "expected a time such as 2026-06-01T04:00:00Z, up to nine decimals".to_owned())
    }

    fn read(text: &str) -> Option<Self> {
        let Some((whole, decimals)) = text.split_once('.') else {
            return Moment::read(text).and_then(|moment| Instant::new(moment, 0));
        };
        let decimals = decimals.strip_suffix('Z')?;
        if !(1..=9).contains(&decimals.len()) || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let nanoseconds = format!("{decimals:0<9}").parse().ok()?;
        Instant::new(Moment::read(&format!("{whole}Z"))?, nanoseconds)
    }

    /// The time so many nanoseconds into a second; none outside 1678 to 2261.
    pub fn new(second: Moment, nanoseconds: i64) -> Option<Self> {
        let known = (1678..=2261).contains(&second.date().year);
        known.then(|| Instant(second.0 * Self::SECOND + nanoseconds))
    }

    /// The second that has begun.
    pub fn moment(self) -> Moment {
        Moment(self.0.div_euclid(Self::SECOND))
    }

    /// Appends `2024-10-21T19:16:40Z`, with three or nine decimals where they are needed.
    pub fn push_utc(self, out: &mut Vec<u8>) {
        self.moment().push_local(out, 0);
        let nanoseconds = self.0.rem_euclid(Self::SECOND) as u64;
        if nanoseconds > 0 {
            out.push(b'.');
            let milliseconds = nanoseconds / 1_000_000;
            let whole = milliseconds * 1_000_000 == nanoseconds;
            let (value, width) = if whole { (milliseconds, 3) } else { (nanoseconds, 9) };
            push_padded(out, value, width);
        }
        out.push(b'Z');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree_with_a_count() {
        let mut days = Date::new(1899, 12, 31).days();
        for year in 1900..2101 {
            for month in 1..=12 {
                for day in 1..=month_length(year, month) {
                    days += 1;
                    assert_eq!(Date::new(year, month, day).days(), days);
                    assert_eq!(Date::from_days(days), Date::new(year, month, day));
                }
            }
        }
        assert_eq!(Date::new(1970, 1, 1).days(), 0);
        assert_eq!(month_length(2000, 2), 29);
        assert_eq!(month_length(1900, 2), 28);
    }

    #[test]
    fn times_are_read_and_written_alike() {
        let moment = Moment::parse("2026-06-01T04:05:06Z").unwrap();
        let mut out = Vec::new();
        moment.push_utc(&mut out);
        assert_eq!(out, b"2026-06-01T04:05:06Z");
        for wrong in ["", "2026-06-01", "2026-02-30T04:00:00Z", "2026-06-01T24:00:00Z"] {
            assert!(Moment::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn instants_keep_their_decimals() {
        for (text, expected) in [
            ("2024-10-21T19:16:40Z", "2024-10-21T19:16:40Z"),
            ("2024-10-21T19:16:40.01Z", "2024-10-21T19:16:40.010Z"),
            ("1969-12-31T23:59:59.123456789Z", "1969-12-31T23:59:59.123456789Z"),
        ] {
            let mut out = Vec::new();
            Instant::parse(text).unwrap().push_utc(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        for wrong in ["", "2024-10-21T19:16:40.Z", "2024-10-21T19:16:40.0123456789Z", "1677-01-01T00:00:00Z"]
        {
            assert!(Instant::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn months_are_counted_back_over_years() {
        assert_eq!(Date::new(2026, 6, 1).months_before(18), Date::new(2024, 12, 1));
        assert_eq!(Date::new(2026, 1, 1).months_before(1), Date::new(2025, 12, 1));
    }
}
