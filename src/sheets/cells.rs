//! Cells as text, and text as cells.
//!
//! Each type of cell has one way of being written. A column remembers which types it had, and whether one of its texts looks
//! like such a cell: if none does, a part's texts become the cells that they were.

use super::{CellType, SheetColumn};
use calamine::{DataRef, ExcelDateTime};
use std::fmt::Write;

/// What a text is to become.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    Text(&'a str),
    Number(f64),
    /// As [`rust_xlsxwriter::ExcelDateTime`] reads it.
    Time(&'a str),
    /// In days.
    Duration(f64),
    Truth(bool),
}

impl SheetColumn {
    fn has(&self, kind: CellType) -> bool {
        let bit = 1 << kind as u8;
        self.types & bit != 0 && self.ambiguous & bit == 0
    }

    /// Adds a cell, which is written as `text`.
    pub(super) fn add(&mut self, kind: Option<CellType>, text: &str) {
        self.width = self.width.max(text.lines().map(|line| line.chars().count()).max().unwrap_or(0));
        match kind {
            Some(kind) => self.types |= 1 << kind as u8,
            None => {
                for kind in [CellType::Number, CellType::Time, CellType::Duration, CellType::Truth] {
                    if looks_like(kind, text) {
                        self.ambiguous |= 1 << kind as u8;
                    }
                }
            }
        }
    }

    /// The cell that a text was.
    pub(super) fn cell<'t>(&self, text: &'t str) -> Cell<'t> {
        let is = |kind| self.has(kind) && looks_like(kind, text);
        let number = || text.parse().unwrap_or_default();
        match () {
            () if is(CellType::Number) => Cell::Number(number()),
            () if is(CellType::Time) => Cell::Time(text),
            () if is(CellType::Duration) => Cell::Duration(days(text).unwrap_or_default()),
            () if is(CellType::Truth) => Cell::Truth(text == "TRUE"),
            () => Cell::Text(text),
        }
    }
}

/// Whether a text is how a cell of a type is written.
fn looks_like(kind: CellType, text: &str) -> bool {
    let Some(&first) = text.as_bytes().first() else { return false };
    match kind {
        CellType::Number if first == b'-' || first.is_ascii_digit() => {
            // Digits of whole numbers are the usual case.
            let is_whole = text.len() <= 15 && text.bytes().all(|byte| byte.is_ascii_digit());
            let is_canonical = |number: f64| number.is_finite() && number.to_string() == text;
            is_whole && (first != b'0' || text.len() == 1)
                || !is_whole && text.parse().is_ok_and(is_canonical)
        }
        CellType::Time => is_time(text.as_bytes()),
        CellType::Duration => days(text).is_some(),
        CellType::Truth => matches!(text, "TRUE" | "FALSE"),
        CellType::Number => false,
    }
}

/// `2026-06-01`, `2026-06-01T12:30:00`, `12:30:00`, perhaps with thousandths.
fn is_time(text: &[u8]) -> bool {
    let (date, clock) = match text.len() {
        10 => (Some(text), None),
        8 | 12 => (None, Some(text)),
        19 | 23 if text[10] == b'T' => (Some(&text[..10]), Some(&text[11..])),
        _ => return false,
    };
    date.is_none_or(|date| has_form(date, b"0000-00-00"))
        && clock.is_none_or(|clock| has_form(clock, &b"00:00:00.000"[..clock.len()]))
}

/// Whether a text has digits where a form has zeros, and is equal elsewhere.
fn has_form(text: &[u8], form: &[u8]) -> bool {
    let fits = |(byte, form): (&u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form };
    text.len() == form.len() && text.iter().zip(form).all(fits)
}

/// A duration `PT27H30M15S`, in days.
fn days(text: &str) -> Option<f64> {
    let (hours, rest) = text.strip_prefix("PT")?.split_once('H')?;
    let (minutes, rest) = rest.split_once('M')?;
    let seconds = rest.strip_suffix('S')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if ![hours, minutes, seconds].into_iter().all(is_number) || hours.len() > 9 {
        return None;
    }
    let seconds: f64 = seconds.parse().ok()?;
    Some((hours.parse::<f64>().ok()? * 3600.0 + minutes.parse::<f64>().ok()? * 60.0 + seconds) / 86_400.0)
}

/// Writes a cell as text, and says its type; `None` is text.
pub(super) fn text_of(cell: &DataRef<'_>, text: &mut String) -> Option<CellType> {
    text.clear();
    // Writing to a string cannot fail.
    match cell {
        DataRef::Empty => None,
        DataRef::String(own) => {
            text.push_str(own);
            None
        }
        DataRef::SharedString(shared) => {
            text.push_str(shared);
            None
        }
        DataRef::Int(number) => {
            let _ = write!(text, "{number}");
            Some(CellType::Number)
        }
        DataRef::Float(number) => {
            // What has no sign is written without one.
            let _ = write!(text, "{}", if *number == 0.0 { 0.0 } else { *number });
            Some(CellType::Number)
        }
        DataRef::Bool(truth) => {
            text.push_str(if *truth { "TRUE" } else { "FALSE" });
            Some(CellType::Truth)
        }
        DataRef::DateTime(time) => Some(time_text(time, text)),
        DataRef::DateTimeIso(time) => {
            let time = time.strip_suffix("T00:00:00").unwrap_or(time);
            text.push_str(time);
            is_time(time.as_bytes()).then_some(CellType::Time)
        }
        DataRef::DurationIso(duration) => {
            text.push_str(duration);
            days(duration).map(|_| CellType::Duration)
        }
        DataRef::Error(error) => {
            let _ = write!(text, "{error}");
            None
        }
    }
}

/// A date, a time of a day, both, or a duration in whole seconds; else a number.
fn time_text(time: &ExcelDateTime, text: &mut String) -> CellType {
    /// The day after the last one that Excel has, 9999-12-31.
    const DAYS_END: f64 = 2_958_466.0;
    let days = time.as_f64();
    if !(0.0..DAYS_END).contains(&days) {
        // No date, with the format of one.
        let _ = write!(text, "{days}");
        return CellType::Number;
    }
    if time.is_duration() {
        let seconds = (days * 86_400.0).round();
        let (hours, rest) = ((seconds / 3600.0).floor(), seconds % 3600.0);
        let _ = write!(text, "PT{hours:02}H{:02}M{:02}S", (rest / 60.0).floor(), rest % 60.0);
        return CellType::Duration;
    }
    let (year, month, day, hours, minutes, seconds, milliseconds) = time.to_ymd_hms_milli();
    let is_clock = (0.0..1.0).contains(&days);
    if !is_clock {
        let _ = write!(text, "{year:04}-{month:02}-{day:02}");
    }
    if is_clock || days.fract() != 0.0 {
        let separator = if is_clock { "" } else { "T" };
        let _ = write!(text, "{separator}{hours:02}:{minutes:02}:{seconds:02}");
        if milliseconds > 0 {
            let _ = write!(text, ".{milliseconds:03}");
        }
    }
    CellType::Time
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_the_cells_that_they_were() {
        let mut column = SheetColumn::default();
        let mut text = String::new();
        for cell in [
            DataRef::Float(198_001_011_234.0),
            DataRef::Float(-0.5),
            DataRef::Int(7),
            DataRef::Float(1e21),
            DataRef::Bool(true),
            DataRef::DateTimeIso("2026-06-01T00:00:00".to_owned()),
            DataRef::DurationIso("PT27H30M00S".to_owned()),
            DataRef::SharedString("Ingrid"),
        ] {
            let kind = text_of(&cell, &mut text);
            column.add(kind, &text);
        }
        for (text, cell) in [
            ("198001011234", Cell::Number(198_001_011_234.0)),
            ("-0.5", Cell::Number(-0.5)),
            ("1000000000000000000000", Cell::Number(1e21)),
            ("007", Cell::Text("007")),
            ("1e3", Cell::Text("1e3")),
            ("1.50", Cell::Text("1.50")),
            ("", Cell::Text("")),
            ("NaN", Cell::Text("NaN")),
            ("TRUE", Cell::Truth(true)),
            ("2026-06-01", Cell::Time("2026-06-01")),
            ("2026-06-01T12:30:00", Cell::Time("2026-06-01T12:30:00")),
            ("PT27H30M00S", Cell::Duration(27.5 / 24.0)),
        ] {
            assert_eq!(column.cell(text), cell, "{text}");
        }
        // A text that looks like a number: which of them were numbers cannot be known.
        column.add(None, "41");
        assert_eq!(column.cell("7"), Cell::Text("7"));
        assert_eq!(column.cell("TRUE"), Cell::Truth(true));
    }
}
