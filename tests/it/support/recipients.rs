//! Recipients for a register, spread over the index; all are test numbers.

use nabar::identities::{Country, Identity, Today};
use std::fs;
use std::path::Path;

/// Days that have recipients: 70 years of 12 months of 28 days.
const DAYS: usize = 70 * 12 * 28;

/// `count` personnummer. Neighbours in the list are in different blocks of the index.
pub(crate) fn recipients(count: usize) -> Vec<(String, Identity)> {
    let today = Today::new(2026, 6, 1).expect("a day");
    let recipient = |index: usize| {
        // A step that is coprime to the number of days visits each of them once.
        let (day, number) = (index * 7919 % DAYS, [238, 239, 980, 981][index / DAYS]);
        let (year, month) = (1930 + day / 336, 1 + day / 28 % 12);
        let digits = format!("{year}{month:02}{:02}{number}", 1 + day % 28);
        let id = format!("{digits}{}", check_digit(&digits.as_bytes()[2..]));
        let identity = Identity::parse(id.as_bytes(), Country::Sweden, today).expect("an id");
        (id, identity)
    };
    (0..count).map(recipient).collect()
}

/// Makes a data directory of a register with these recipients and the organisations of the fixture `far`.
pub(crate) fn init(recipients: &[(String, Identity)], directory: &Path) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/far");
    let extract = directory.with_extension("extract");
    fs::create_dir(&extract).expect("made");
    for name in ["register.toml", "operators.csv", "senders.csv", "dispatchers.csv"] {
        fs::copy(fixture.join(name), extract.join(name)).expect("copied");
    }
    let rows: String = recipients.iter().map(|(id, _)| format!("{id},Secure,false,164921000016\n")).collect();
    let table = format!("recipient_id,type,pending,operator_id\n{rows}");
    fs::write(extract.join("recipients.csv"), table).expect("written");
    let made = nabar::store::init(&extract, directory).expect("made");
    assert!(
        made.is_some_and(|summary| summary.recipients as usize == recipients.len()),
        "a recipient was rejected"
    );
}

fn check_digit(digits: &[u8]) -> u32 {
    let weighed = digits.iter().zip([2, 1].into_iter().cycle()).map(|(digit, weight)| {
        let product = u32::from(digit - b'0') * weight;
        product / 10 + product % 10
    });
    (10 - weighed.sum::<u32>() % 10) % 10
}
