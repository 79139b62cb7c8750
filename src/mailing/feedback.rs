//! `feedback.csv`: for every row of the list what became of it.

use super::buffers::Filling;
use super::tally::{Verdict, Verdicts};
use crate::register::{Outcome, Register};

/// First line of the file.
pub(super) const HEADER: &[u8] = b"row,recipient_id,outcome,reason,operator_id\n";

/// The end of a line for each verdict.
pub(super) struct Feedback {
    tails: Vec<Tail>,
}

/// What follows the identity, with the comma before it.
struct Tail {
    /// The bytes, if they fit.
    padded: [u8; Tail::WIDE],
    bytes: Vec<u8>,
    /// Digits of the identity before it.
    identity: usize,
}

impl Tail {
    const WIDE: usize = 64;
}

impl Feedback {
    pub(super) fn new(register: &Register, verdicts: Verdicts) -> Feedback {
        let digits = register.kind().country().digits();
        let tail = |verdict: Verdict| {
            let operator = match verdict {
                Verdict::Answered(Outcome::Digital(operator)) => Some(operator),
                _ => None,
            };
            let operator = operator.and_then(|place| register.operators().get(usize::from(place)));
            let mut bytes = vec![b','];
            let mut csv = csv::WriterBuilder::new().from_writer(&mut bytes);
            let id = operator.map_or("", |operator| &operator.id);
            // Writing to memory cannot fail.
            let _ = csv.write_record([verdict.outcome(), verdict.reason(), id]);
            let _ = csv.flush();
            drop(csv);
            let mut padded = [0; Tail::WIDE];
            let fits = bytes.len().min(Tail::WIDE);
            padded[..fits].copy_from_slice(&bytes[..fits]);
            let identity = if matches!(verdict, Verdict::Rejected(_)) { 0 } else { digits };
            Tail { padded, bytes, identity }
        };
        Feedback { tails: verdicts.all().map(tail).collect() }
    }

    /// Bytes of a line with this verdict, less the digits of its number.
    pub(super) fn bytes_without_number(&self, verdict: usize) -> u64 {
        let tail = &self.tails[verdict];
        (1 + tail.identity + tail.bytes.len()) as u64
    }

    /// Appends a line to a part and counts on.
    #[inline(always)]
    pub(super) fn push(
        &self,
        buffers: &mut Filling<'_>,
        part: usize,
        counter: &mut Counter,
        identity: &[u8; 12],
        verdict: usize,
    ) {
        let tail = &self.tails[verdict];
        buffers.push_array(part, &counter.text, counter.length + 1);
        buffers.push_array(part, identity, tail.identity);
        match tail.bytes.len() {
            length if length <= Tail::WIDE => buffers.push_array(part, &tail.padded, length),
            length => buffers.push(part, &tail.bytes, length),
        }
        counter.advance();
    }
}

/// A number in decimal with a comma behind it, counting up.
pub(super) struct Counter {
    text: [u8; Counter::DIGITS + 4],
    length: usize,
}

impl Counter {
    /// Digits of the largest number.
    const DIGITS: usize = 20;

    pub(super) fn new(number: u64) -> Counter {
        let digits = number.to_string();
        let mut text = [0; Counter::DIGITS + 4];
        text[..digits.len()].copy_from_slice(digits.as_bytes());
        text[digits.len()] = b',';
        Counter { text, length: digits.len() }
    }

    /// The number before this one again.
    pub(super) fn go_back(&mut self) {
        let digits = std::str::from_utf8(&self.text[..self.length]).unwrap_or_default();
        *self = Counter::new(digits.parse::<u64>().unwrap_or(1) - 1);
    }

    #[inline(always)]
    fn advance(&mut self) {
        for place in (0..self.length).rev() {
            if self.text[place] < b'9' {
                self.text[place] += 1;
                return;
            }
            self.text[place] = b'0';
        }
        // All digits were nines.
        self.text.copy_within(0..self.length + 1, 1);
        self.text[0] = b'1';
        self.length += 1;
    }
}

/// Digits of the numbers `first` to `first + count - 1` together.
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
            let mut counter = Counter::new(start);
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
