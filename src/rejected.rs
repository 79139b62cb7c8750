//! The limit of rejected rows of a job, for lists, extracts and changes.

use std::fmt;
use std::str::FromStr;

/// The maximum of rejected rows of a job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RejectedLimit {
    /// A number of rows.
    Rows(u64),
    /// A percentage of all rows, 0 to 100.
    Percent(f64),
}

impl RejectedLimit {
    /// Whether `rejected` of `rows` rows exceed the limit.
    pub fn is_exceeded(self, rejected: u64, rows: u64) -> bool {
        match self {
            RejectedLimit::Rows(limit) => rejected > limit,
            RejectedLimit::Percent(percent) => rejected as f64 * 100.0 > percent * rows as f64,
        }
    }

    /// Whether every row may be rejected.
    pub fn allows_all(self) -> bool {
        matches!(self, RejectedLimit::Percent(percent) if percent >= 100.0)
    }
}

impl fmt::Display for RejectedLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RejectedLimit::Rows(rows) => write!(f, "{rows}"),
            RejectedLimit::Percent(percent) => write!(f, "{percent} %"),
        }
    }
}

impl FromStr for RejectedLimit {
    type Err = &'static str;

    /// Parses a number of rows, or a percentage such as `1%` or `0,5%`.
    fn from_str(text: &str) -> Result<RejectedLimit, &'static str> {
        let error = "write a number of rows or a percentage, such as 100 or 1%";
        match text.strip_suffix('%') {
            None => text.parse().map(RejectedLimit::Rows).map_err(|_| error),
            Some(percent) => {
                let percent: f64 = percent.trim().replace(',', ".").parse().map_err(|_| error)?;
                (0.0..=100.0).contains(&percent).then_some(RejectedLimit::Percent(percent)).ok_or(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_rejected_rows() {
        for (limit, rejected, rows, exceeded) in [
            ("0", 0, 10, false),
            ("0", 1, 10, true),
            ("10%", 1, 10, false),
            ("9,99 %", 1, 10, true),
            ("0%", 0, 0, false),
            ("100%", 10, 10, false),
        ] {
            let limit: RejectedLimit = limit.parse().expect("a limit");
            assert_eq!(limit.is_exceeded(rejected, rows), exceeded, "{limit} {rejected} of {rows}");
        }
        for text in ["", "-1", "101%", "x%", "1.5"] {
            assert!(text.parse::<RejectedLimit>().is_err(), "{text}");
        }
    }
}
