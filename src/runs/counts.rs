//! Numbers in what is around the letters of a run, which depend on the letters: each part of a run gets its own.

use super::charset::Charset;
use super::{RunError, RunProblem};
use std::ops::Range;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountOf {
    /// Letters.
    Letters,
    /// Records of letters.
    Records,
    /// Records of letters, and those before and after them.
    AllRecords,
    /// The sum of this index.
    Sum(usize),
}

/// What is counted of the letters of a run, or of a part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Letters.
    pub letters: u64,
    /// Their records.
    pub records: u64,
    /// Records before and after the letters.
    pub around: u64,
    /// Sums.
    pub sums: Vec<i128>,
}

impl Totals {
    /// Adds letters, their records, and their sums, one letter after another.
    pub(crate) fn add(&mut self, letters: u64, records: u64, sums: &[i64]) {
        self.letters += letters;
        self.records += records;
        for of_letter in sums.chunks_exact(self.sums.len().max(1)) {
            self.sums.iter_mut().zip(of_letter).for_each(|(sum, value)| *sum += i128::from(*value));
        }
    }

    fn of(&self, count: CountOf) -> i128 {
        match count {
            CountOf::Letters => self.letters.into(),
            CountOf::Records => self.records.into(),
            CountOf::AllRecords => (self.records + self.around).into(),
            CountOf::Sum(sum) => self.sums.get(sum).copied().unwrap_or(0),
        }
    }
}

/// A number in what is before the first letter of a run or after the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountPlace {
    /// Its bytes.
    pub range: Range<usize>,
    /// What it counts.
    pub of: CountOf,
    /// Its character set.
    pub charset: Charset,
    /// Bytes behind the number, such as an end tag, before which nothing is filled up: a shorter number moves them to the left,
    /// and blanks follow them. 0 for a number in a field of fixed width.
    pub movable: usize,
    /// What it is called in messages.
    pub name: String,
}

/// The parts of a number as it is written.
struct Written {
    value: i128,
    decimals: usize,
    separator: Option<u8>,
    /// A sign, and whether it is behind the digits.
    sign: Option<bool>,
}

impl CountPlace {
    /// Checks that the number is that of all letters. Offsets are from the beginning of `around`.
    pub fn check(&self, around: &[u8], totals: &Totals) -> Result<(), RunError> {
        let said = self.read(around)?.value;
        let found = totals.of(self.of);
        match said == found {
            true => Ok(()),
            false => {
                let count = self.name.clone();
                Err(RunProblem::OtherNumber { count, said, found }.at(self.range.start))
            }
        }
    }

    /// Writes the number of a part of the letters in the place of that of all, in as many bytes.
    pub fn write(&self, around: &mut [u8], totals: &Totals) -> Result<(), RunError> {
        let written = self.read(around)?;
        let too_long = || RunProblem::NumberTooLong(self.name.clone()).at(self.range.start);
        let value = totals.of(self.of);
        if self.movable > 0 {
            let has_plus = around[self.range.start] == b'+' && value >= 0;
            let text = if has_plus { format!("+{value}") } else { value.to_string() };
            let end = self.range.end + self.movable;
            let place = &mut around[self.range.start..end];
            let spare = self.range.len().checked_sub(text.len()).ok_or_else(too_long)?;
            place.copy_within(self.range.len().., text.len());
            place[..text.len()].copy_from_slice(text.as_bytes());
            let filled = place.len() - spare;
            place[filled..].fill(b' ');
            return Ok(());
        }
        let old: Vec<u8> = self.ascii(around);
        let is_left = old.last() == Some(&b' ') && old[0] != b' ';
        let has_blanks = old.first() == Some(&b' ') || is_left;
        let width = old.len();
        let room = width - usize::from(written.sign.is_some());
        let least = if has_blanks { 1 } else { room - usize::from(written.separator.is_some()) };
        let digits = format!("{:0>least$}", value.unsigned_abs(), least = least.max(written.decimals + 1));
        let (whole, decimals) = digits.split_at(digits.len() - written.decimals);
        let mut text = whole.to_owned();
        if let Some(separator) = written.separator {
            text.push(char::from(separator));
            text.push_str(decimals);
        }
        let sign = match (value < 0, written.sign) {
            (false, None) => "",
            // A minus sign takes a blank or a leading zero.
            (true, None) if text.starts_with('0') && text.len() == width => {
                text.remove(0);
                "-"
            }
            (true, _) => "-",
            (false, Some(_)) if old.contains(&b'+') => "+",
            (false, Some(true)) => " ",
            (false, Some(false)) => {
                if has_blanks {
                    ""
                } else {
                    "0"
                }
            }
        };
        text = if written.sign == Some(true) { text + sign } else { sign.to_owned() + &text };
        let text = match is_left {
            true => format!("{text:<width$}"),
            false => format!("{text:>width$}"),
        };
        let bytes = self.charset.encode(&text).filter(|bytes| bytes.len() == width).ok_or_else(too_long)?;
        around[self.range.clone()].copy_from_slice(&bytes);
        Ok(())
    }

    fn ascii(&self, around: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        self.charset.decode(around.get(self.range.clone()).unwrap_or_default(), &mut text);
        text
    }

    fn read(&self, around: &[u8]) -> Result<Written, RunError> {
        let text = self.ascii(around);
        number(&text).ok_or_else(|| RunProblem::NoNumber(self.name.clone()).at(self.range.start))
    }
}

/// The value of a number without its decimal separator, in ASCII, with blanks around it and a sign before or behind it.
pub(super) fn value_of(text: &[u8]) -> Option<i64> {
    number(text).and_then(|number| number.value.try_into().ok())
}

fn number(text: &[u8]) -> Option<Written> {
    const DIGITS_MAX: usize = 30;
    let text = text.trim_ascii();
    let (sign, digits) = match text {
        [sign @ (b'-' | b'+'), rest @ ..] => (Some((*sign, false)), rest),
        [rest @ .., sign @ (b'-' | b'+')] => (Some((*sign, true)), rest),
        _ => (None, text),
    };
    let (mut value, mut separator, mut decimals, mut count) = (0i128, None, 0, 0);
    for &byte in digits {
        match byte {
            b'0'..=b'9' => {
                value = value * 10 + i128::from(byte - b'0');
                decimals += usize::from(separator.is_some());
                count += 1;
            }
            b'.' | b',' if separator.is_none() && count > 0 => separator = Some(byte),
            _ => return None,
        }
        if count > DIGITS_MAX {
            return None;
        }
    }
    let is_negative = sign.is_some_and(|(sign, _)| sign == b'-');
    (count > 0).then_some(Written {
        value: if is_negative { -value } else { value },
        decimals,
        separator,
        sign: sign.map(|(_, is_behind)| is_behind),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(old: &str, value: i128, charset: Charset, movable: usize) -> Option<String> {
        let mut around = charset.encode(&format!("99{old}!")).expect("encoded");
        let end = around.len() - 1 - movable;
        let place = CountPlace { range: 2..end, of: CountOf::Sum(0), charset, movable, name: String::new() };
        let totals = Totals { sums: vec![value], ..Totals::default() };
        place.write(&mut around, &totals).ok()?;
        let mut text = Vec::new();
        charset.decode(&around, &mut text);
        let text = String::from_utf8(text).expect("UTF-8");
        Some(
            text.strip_prefix("99")
                .and_then(|text| text.strip_suffix('!'))
                .expect("unchanged around")
                .to_owned(),
        )
    }

    #[test]
    fn numbers_keep_their_form() {
        for (old, value, new) in [
            ("000123", 7, "000007"),
            ("   123", 7, "     7"),
            ("123   ", 7, "7     "),
            ("001234,50", 99, "000000,99"),
            ("  1234.50", 5, "     0.05"),
            ("0012345+", 3, "0000003+"),
            ("0012345-", 3, "0000003 "),
            ("-0012345", -3, "-0000003"),
            ("0012345", -3, "-000003"),
            ("  12345", -3, "     -3"),
        ] {
            for charset in [Charset::Utf8, Charset::Ebcdic278] {
                let got = written(old, value, charset, 0);
                assert_eq!(got.as_deref(), Some(new), "{old} becomes {value}");
            }
        }
        assert_eq!(written("12</n>", 7, Charset::Utf8, 4).as_deref(), Some("7</n> "));
        assert_eq!(written("9", 10, Charset::Utf8, 0), None);
        assert_eq!(written("x9", 1, Charset::Utf8, 0), None);
    }

    #[test]
    fn a_number_that_may_be_an_id_is_not_shown() {
        let text = |said: i128, found: i128| {
            RunProblem::OtherNumber { count: "90@2:12".to_owned(), said, found }.to_string()
        };
        assert!(text(12_345_678, -3).starts_with("90@2:12: the run says 12345678, and has -3: "));
        let shown = text(196_810_199_809, -197_602_102_381);
        assert!(shown.contains("says a number of 12 digits, and has a number of 12 digits"), "{shown}");
    }
}
