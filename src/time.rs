//! Lengths of time in configurations.

use jiff::{SignedDuration, Span, SpanRelativeTo};
use serde::Deserialize;
use std::str::FromStr;

/// A time, such as `30s`, `36h` or `7d`. A day has 24 hours.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(try_from = "String")]
pub struct Time(pub SignedDuration);

impl FromStr for Time {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Time, &'static str> {
        let span = text.parse::<Span>().ok();
        let time = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
        time.filter(|time| time.is_positive()).map(Time).ok_or("write it as 30m, 24h or 7d")
    }
}

impl TryFrom<String> for Time {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Time, &'static str> {
        text.parse()
    }
}
