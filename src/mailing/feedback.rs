//! `feedback.csv`: the outcome of every row of the list.

use super::buffers::PartsMut;
use super::tally::{Ruled, Verdict, VerdictNumbers};
use crate::channels::ChannelRules;
use crate::register::{Outcome, Register};

/// First line of the file.
const HEADER: &[u8] = b"row,recipient_id,outcome,reason,operator_id\n";
/// The same with channel rules.
const HEADER_WITH_RULES: &[u8] = b"row,recipient_id,outcome,reason,operator_id,channel,rule\n";

/// Writes the lines of `feedback.csv`.
pub(super) struct Feedback {
    /// The end of a line for each verdict.
    tails: Vec<LineTail>,
    has_rules: bool,
}

/// The part of a line after the identity, from the comma on.
struct LineTail {
    /// The bytes, if they fit.
    padded: [u8; LineTail::WIDE],
    bytes: Vec<u8>,
    /// Digits of the identity before it.
    identity_digits: usize,
}

impl LineTail {
    const WIDE: usize = 64;
}

impl Feedback {
    pub(super) fn new(
        register: &Register,
        rules: Option<&ChannelRules>,
        numbers: VerdictNumbers,
    ) -> Feedback {
        let digits = register.kind().country().digits();
        let tail = |Ruled { verdict, rule }: Ruled| {
            let operator = match verdict {
                Verdict::Decided(Outcome::Digital(operator)) => Some(operator),
                _ => None,
            };
            let operator = operator.and_then(|operator| register.operators().get(usize::from(operator)));
            let mut bytes = vec![b','];
            let mut csv = csv::WriterBuilder::new().from_writer(&mut bytes);
            let id = operator.map_or("", |operator| &operator.id);
            // Writing to memory cannot fail.
            let mut record = vec![verdict.outcome(), verdict.reason(), id];
            if let Some(rules) = rules {
                let rule = rule.map(usize::from);
                record.push(rule.map_or("", |rule| &rules.channel_of(rule).name));
                record.push(rule.map_or("", |rule| &rules.rules()[rule].name));
            }
            let _ = csv.write_record(record);
            let _ = csv.flush();
            drop(csv);
            let mut padded = [0; LineTail::WIDE];
            let fits = bytes.len().min(LineTail::WIDE);
            padded[..fits].copy_from_slice(&bytes[..fits]);
            let identity_digits = if matches!(verdict, Verdict::Rejected(_)) { 0 } else { digits };
            LineTail { padded, bytes, identity_digits }
        };
        Feedback { tails: numbers.all().map(tail).collect(), has_rules: rules.is_some() }
    }

    /// The first line of the file.
    pub(super) fn header(&self) -> &'static [u8] {
        if self.has_rules { HEADER_WITH_RULES } else { HEADER }
    }

    /// Bytes of a line with this verdict, without the digits of its row number.
    pub(super) fn bytes_without_number(&self, verdict: usize) -> u64 {
        let tail = &self.tails[verdict];
        (1 + tail.identity_digits + tail.bytes.len()) as u64
    }

    /// Appends a line to a part, and increments the counter.
    #[inline(always)]
    pub(super) fn push(
        &self,
        buffers: &mut PartsMut<'_>,
        part: usize,
        counter: &mut RowCounter,
        identity: &[u8; 12],
        verdict: usize,
    ) {
        let tail = &self.tails[verdict];
        buffers.push_array(part, &counter.text, counter.length + 1);
        buffers.push_array(part, identity, tail.identity_digits);
        match tail.bytes.len() {
            length if length <= LineTail::WIDE => buffers.push_array(part, &tail.padded, length),
            length => buffers.push(part, &tail.bytes, length),
        }
        counter.advance();
    }
}

/// A row number in decimal, followed by a comma.
pub(super) struct RowCounter {
    text: [u8; RowCounter::DIGITS + 4],
    length: usize,
}

impl RowCounter {
    /// Digits of the largest number.
    const DIGITS: usize = 20;

    pub(super) fn new(number: u64) -> RowCounter {
        let digits = number.to_string();
        let mut text = [0; RowCounter::DIGITS + 4];
        text[..digits.len()].copy_from_slice(digits.as_bytes());
        text[digits.len()] = b',';
        RowCounter { text, length: digits.len() }
    }

    /// Decrements the number.
    pub(super) fn go_back(&mut self) {
        let digits = std::str::from_utf8(&self.text[..self.length]).unwrap_or_default();
        *self = RowCounter::new(digits.parse::<u64>().unwrap_or(1) - 1);
    }

    #[inline(always)]
    fn advance(&mut self) {
        for position in (0..self.length).rev() {
            if self.text[position] < b'9' {
                self.text[position] += 1;
                return;
            }
            self.text[position] = b'0';
        }
        // All digits were nines.
        self.text.copy_within(0..self.length + 1, 1);
        self.text[0] = b'1';
        self.length += 1;
    }
}

/// The total digits of the numbers `first` to `first + count - 1`.
pub(super) fn decimal_digits(first: u64, count: u64) -> u64 {
    let (mut digits, mut from, end) = (0, first, first + count);
    while from < end {
        let length = from.checked_ilog10().unwrap_or(0) + 1;
        let next = 10u64.checked_pow(length).map_or(end, |power| power.min(end));
        digits += (next - from) * u64::from(length);
        from = next;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_up() {
        for start in [1, 7, 95, 989, 9_999_990] {
            let mut counter = RowCounter::new(start);
            for number in start..start + 120 {
                let text = format!("{number},");
                assert_eq!(&counter.text[..counter.length + 1], text.as_bytes());
                counter.advance();
                counter.go_back();
                assert_eq!(&counter.text[..counter.length + 1], text.as_bytes());
                counter.advance();
            }
        }
    }

    #[test]
    fn digits_of_ranges() {
        for (first, count) in [(1, 0), (1, 9), (1, 10), (5, 1000), (99, 2), (12_345, 100_000)] {
            let expected: usize = (first..first + count).map(|number| number.to_string().len()).sum();
            assert_eq!(decimal_digits(first, count), expected as u64);
        }
    }
}
