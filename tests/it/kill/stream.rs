//! An endless stream of changes for which the register at every sequence number can be computed.

use crate::support::random::Random;
use crate::support::workspace::lines_of;
use jiff::Timestamp;
use nabar::identities::{Country, Identity, Today};
use nabar::register::{Recipient, Register};
use std::fmt::Write;

/// Sequence number of the fixture.
pub(crate) const FIRST: u64 = 1000;
/// Changes of a batch.
pub(crate) const BATCH: u64 = 20;
/// Changes of a batch to other recipients than the two that always change together.
const OTHERS: usize = BATCH as usize - 2;

/// Batch `n` (from 1) writes the same values to the first two recipients, as its first and its last change, and between
/// them puts or removes others in turn. All its values carry its time.
pub(crate) struct Stream {
    ids: Vec<String>,
    identities: Vec<Identity>,
    operators: Vec<String>,
    senders: Vec<String>,
}

impl Stream {
    /// Over the recipients of the fixture `far`.
    pub(crate) fn new() -> Stream {
        let column = |name: &str| -> Vec<String> {
            let rows = lines_of(&format!("far/{name}")).into_iter().skip(1);
            rows.map(|row| row.split(',').next().expect("id").to_owned()).collect()
        };
        let ids = column("recipients.csv");
        let today = Today::new(2026, 6, 1).expect("a day");
        let parse = |id: &String| Identity::parse(id.as_bytes(), Country::Sweden, today).expect("an id");
        let identities = ids.iter().map(parse).collect();
        Stream { ids, identities, operators: column("operators.csv"), senders: column("senders.csv") }
    }

    /// The lines of a batch.
    pub(crate) fn batch(&self, number: u64) -> String {
        let mut text = String::new();
        for change in 0..BATCH as usize {
            let place = match change {
                0 => 0,
                last if last == OTHERS + 1 => 1,
                other => self.other(number, other - 1),
            };
            let (sequence, time) = (FIRST + (number - 1) * BATCH + change as u64 + 1, time(number));
            let id = &self.ids[place];
            write!(text, "{{\"sequence\":{sequence},\"time\":\"{time}\",").expect("written");
            if removes(number, change) {
                writeln!(text, "\"remove_recipient\":{{\"recipient_id\":\"{id}\"}}}}").expect("written");
                continue;
            }
            // The same for the first two: what is random depends on the batch alone.
            let mut random = Random::new(number << 8 | if place < 2 { 0 } else { change as u64 });
            let operator = random.pick(&self.operators);
            let exceptions: Vec<&String> = self.senders.iter().filter(|_| random.percent(20)).collect();
            let acceptance = *random.pick(&["all-except", "only"]);
            let (pending, account) = (random.percent(10), *random.pick(&["Secure", "Not"]));
            writeln!(
                text,
                "\"put_recipient\":{{\"recipient_id\":\"{id}\",\"type\":\"{account}\",\"pending\":{pending},\
                 \"operator_id\":\"{operator}\",\"last_registration\":\"{time}\",\"acceptance\":\"{acceptance}\",\
                 \"exceptions\":{exceptions:?}}}}}"
            )
            .expect("written");
        }
        text
    }

    /// Index of the recipient of a change between the first and the last of a batch.
    fn other(&self, number: u64, other: usize) -> usize {
        2 + ((number - 1) as usize * OTHERS + other) % (self.ids.len() - 2)
    }

    /// The number of batches that a register has; fails if it has part of one, or the two recipients differ.
    pub(crate) fn check_two(&self, register: &Register) -> u64 {
        let changes = register.sequence() - FIRST;
        assert_eq!(changes % BATCH, 0, "sequence {} is in the middle of a batch", register.sequence());
        let batches = changes / BATCH;
        let [first, second] = [0, 1].map(|place| self.recipient(register, place));
        if batches > 0 {
            assert_eq!(registered(&first), Some(time(batches)), "sequence {}", register.sequence());
            assert_eq!(first, second, "sequence {}", register.sequence());
        }
        batches
    }

    /// Also checks that every recipient is as the last batch with it has left it.
    pub(crate) fn check_all(&self, register: &Register) -> u64 {
        let batches = self.check_two(register);
        let others = self.ids.len() - 2;
        let changes = batches as usize * OTHERS;
        for place in 0..others {
            let Some(round) = changes.checked_sub(place + 1).map(|rest| rest / others) else { continue };
            let last = place + round * others;
            let (number, change) = ((last / OTHERS) as u64 + 1, last % OTHERS + 1);
            let expected = (!removes(number, change)).then(|| time(number));
            let found = self.recipient(register, place + 2);
            assert_eq!(registered(&found), expected, "recipient {place}, sequence {}", register.sequence());
        }
        batches
    }

    fn recipient(&self, register: &Register, place: usize) -> Option<Recipient> {
        register.recipient(&self.identities[place]).expect("undamaged")
    }
}

/// Whether a change of a batch is a removal.
fn removes(number: u64, change: usize) -> bool {
    change == 1 + (number % OTHERS as u64) as usize
}

/// The time of a batch: one second after the previous one.
fn time(number: u64) -> Timestamp {
    Timestamp::from_second(1_780_300_000 + number as i64).expect("in range")
}

fn registered(recipient: &Option<Recipient>) -> Option<Timestamp> {
    match recipient {
        Some(Recipient::Far { last_registration, .. }) => *last_registration,
        _ => None,
    }
}
