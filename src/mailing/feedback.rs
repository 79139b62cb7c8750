//! `feedback.csv`: the outcome of every row of the list.

use super::buffers::PartsMut;
use super::ruling::Ruling;
use super::tally::{Ruled, Verdict, VerdictNumbers};
use crate::channels::RegisterAnswer;
use crate::register::Register;

/// Columns of the file.
const COLUMNS: [&str; 5] = ["row", "recipient_id", "outcome", "reason", "operator_id"];
/// The first column of a print run, instead of `row`.
const LETTER_COLUMN: &str = "letter";
/// Columns of a print run, after all others: where the letter is.
pub(super) const PLACE_COLUMNS: [&str; 3] = ["first_record", "records", "bytes"];
/// Further ones with channel rules.
const COLUMNS_OF_RULES: [&str; 2] = ["channel", "rule"];
/// The columns of the outcome and the channel.
pub(super) const OUTCOME_COLUMN: usize = 2;
pub(super) const CHANNEL_COLUMN: usize = 5;
/// Of each further register of the rules: the ends of the names of its columns, after its own name.
const COLUMNS_OF_REGISTER: [&str; 3] = ["_outcome", "_reason", "_operator_id"];

/// Writes the lines of `feedback.csv`.
pub(super) struct Feedback {
    /// The end of a line for each verdict.
    tails: Vec<LineTail>,
    /// The first line of the file.
    header: Vec<u8>,
    /// Whether lines end with where the letter is.
    has_places: bool,
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
    /// Of a print run if it `has_places`.
    pub(super) fn new(
        register: &Register,
        ruling: Option<&Ruling<'_>>,
        numbers: VerdictNumbers,
        has_places: bool,
    ) -> Feedback {
        let own_country = register.kind().country();
        let mut names = match ruling {
            None => COLUMNS.map(str::to_owned).to_vec(),
            Some(ruling) => columns(ruling.rules().registers().iter().map(|one| &*one.name)),
        };
        if has_places {
            names[0] = LETTER_COLUMN.to_owned();
            names.extend(PLACE_COLUMNS.map(str::to_owned));
        }
        let header = line(names);
        let tail = |Ruled { verdict, rule, further, is_foreign }: Ruled| {
            let operator = match verdict {
                Verdict::Decided(outcome) => RegisterAnswer::new(outcome, register.operators()).operator,
                _ => None,
            };
            let mut record =
                vec![verdict.outcome(), verdict.reason(), operator.map_or("", |(operator, _)| operator)];
            if let Some(ruling) = ruling {
                let (rules, rule) = (ruling.rules(), rule.map(usize::from));
                record.push(rule.map_or("", |rule| &rules.channel_of(rule).name));
                record.push(rule.map_or("", |rule| &rules.rules()[rule].name));
                for (operators, answer) in ruling.further().operators().into_iter().zip(further) {
                    let answer = answer.map(|answer| RegisterAnswer::new(answer.outcome(), operators));
                    let operator = answer.and_then(|answer| answer.operator);
                    record.push(answer.map_or("", |answer| answer.outcome.name()));
                    record.push(answer.map_or("", |answer| answer.outcome.reason()));
                    record.push(operator.map_or("", |(operator, _)| operator));
                }
            }
            let mut bytes = vec![b','];
            bytes.extend(line(record));
            if has_places {
                // The places follow.
                bytes.pop();
            }
            let digits = if is_foreign { own_country.other() } else { own_country }.digits();
            let mut padded = [0; LineTail::WIDE];
            let fits = bytes.len().min(LineTail::WIDE);
            padded[..fits].copy_from_slice(&bytes[..fits]);
            let identity_digits = if matches!(verdict, Verdict::Rejected(_)) { 0 } else { digits };
            LineTail { padded, bytes, identity_digits }
        };
        Feedback { tails: numbers.all().map(tail).collect(), header, has_places }
    }

    /// The first line of the file.
    pub(super) fn header(&self) -> &[u8] {
        &self.header
    }

    /// Bytes of a line with this verdict, without the digits of its row number and of where the letter is.
    pub(super) fn bytes_without_number(&self, verdict: usize) -> u64 {
        let tail = &self.tails[verdict];
        let around_places = if self.has_places { PLACE_COLUMNS.len() + 1 } else { 0 };
        (1 + tail.identity_digits + tail.bytes.len() + around_places) as u64
    }

    /// Appends the rest of a line: where the letter is.
    pub(super) fn push_place(&self, buffers: &mut PartsMut<'_>, part: usize, place: [u64; 3]) {
        let [first, records, bytes] = place;
        let text = format!(",{first},{records},{bytes}\n");
        buffers.push(part, text.as_bytes(), text.len());
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

/// The columns of the feedback of a job with rules, which have some further registers.
pub(super) fn columns<'n>(registers: impl Iterator<Item = &'n str>) -> Vec<String> {
    let of_registers = registers.flat_map(|name| COLUMNS_OF_REGISTER.map(|end| format!("{name}{end}")));
    let own = COLUMNS.iter().chain(&COLUMNS_OF_RULES).map(|name| (*name).to_owned());
    own.chain(of_registers).collect()
}

/// The column of the outcome of a further register, after which come reason and operator.
pub(super) fn outcome_column(register: usize) -> usize {
    COLUMNS.len() + COLUMNS_OF_RULES.len() + register * COLUMNS_OF_REGISTER.len()
}

/// A line of CSV.
fn line(record: Vec<impl AsRef<[u8]>>) -> Vec<u8> {
    let mut csv = csv::WriterBuilder::new().from_writer(Vec::new());
    // Writing to memory cannot fail.
    let _ = csv.write_record(record);
    csv.into_inner().unwrap_or_default()
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
