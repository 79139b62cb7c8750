//! Forged bytes of the log: valid sums are no reason to believe them. What is read from bytes must be what a line of
//! JSON may say.

use super::lines::{changes, number_from};
use super::*;
use crate::changes::OrganisationId;
use crate::limits::SEQUENCE_MAX;
use crate::register::moment::NO_NANOSECONDS;

const AFTER: u64 = 7;

fn encoded(change: &Change) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(change, &mut bytes);
    bytes
}

fn decoded(bytes: &[u8]) -> Option<Vec<Change>> {
    ChangeDecoder::new(bytes, AFTER).collect()
}

/// The change that a line of JSON with the same content says; `None` if that line is refused.
fn of_its_line(change: &Change) -> Option<Change> {
    let kind = change.what.kind().unwrap_or(Kind::Far);
    json::parse(json::text(change).as_bytes(), kind).ok()
}

/// Any single damaged bit is refused, or gives a change that a line may say as well.
#[test]
fn bytes_say_nothing_that_a_line_cannot_say() {
    let mut refused = 0;
    for mut all in [Kind::Far, Kind::Krr].map(changes) {
        number_from(AFTER, &mut all);
        for (change, before) in all.iter().zip(AFTER..) {
            let bytes = encoded(change);
            assert_eq!(
                ChangeDecoder::new(&bytes, before).collect::<Option<Vec<_>>>(),
                Some(vec![change.clone()])
            );
            for (at, bit) in (0..bytes.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
                let mut forged = bytes.clone();
                forged[at] ^= 1 << bit;
                let read: Vec<Change> = ChangeDecoder::new(&forged, before).flatten().collect();
                refused += usize::from(read.is_empty());
                for change in read {
                    assert_eq!(of_its_line(&change).as_ref(), Some(&change), "byte {at}, bit {bit}");
                }
            }
        }
    }
    assert!(refused > 1000, "{refused}");
}

proptest! {
    #[test]
    fn any_bytes_say_nothing_that_a_line_cannot_say(
        parts in vec((1..14u8, 0..9u8, vec(prop_oneof![3 => Just(0u8), 1 => Just(1), 1 => any::<u8>()], 14..60)), 0..6),
    ) {
        let bytes: Vec<u8> = parts.into_iter().flat_map(|(kind, flags, rest)| [vec![kind, flags], rest].concat()).collect();
        for change in ChangeDecoder::new(&bytes, 0).flatten() {
            prop_assert_eq!(of_its_line(&change), Some(change));
        }
    }
}

fn change(what: ChangeBody) -> Change {
    Change { sequence: AFTER + 1, time: 0, what }
}

/// What only a forger writes: each is refused, and what it was made of is not.
#[test]
fn forged_changes_are_refused() {
    let id = |text: &str| OrganisationId::parse(text).expect("an organisation");
    let (one, two) = (id("164820000000"), id("164830000008"));
    let recipient = Space::Personnummer.ordinals().start;
    let rule =
        |senders: &[OrganisationId]| NamedRule { acceptance: Acceptance::Only, senders: senders.into() };
    let accept = |recipient: u32, senders: &[OrganisationId]| {
        let rule = rule(senders);
        let last_sender_accept_change = NO_NANOSECONDS;
        change(ChangeBody::SetAcceptance(SetAcceptance {
            recipient: Ordinal(recipient),
            last_sender_accept_change,
            rule,
        }))
    };
    let sender = |id: &str| {
        change(ChangeBody::PutSender(Box::new(Sender {
            id: id.to_owned(),
            name: String::new(),
            attention: String::new(),
        })))
    };
    let others = |previous, sequence| Change { sequence, time: 0, what: ChangeBody::Others { previous } };
    let norwegian =
        Space::Fodselsnummer.ordinals().find(|&ordinal| Identity::from_ordinal(Ordinal(ordinal)).is_none());
    let without_identity = norwegian.expect("a date that does not exist");
    let good = [
        accept(recipient, &[one, two]),
        sender("164820000000"),
        change(ChangeBody::RemoveSender(one)),
        others(AFTER, AFTER + 5),
        others(AFTER, SEQUENCE_MAX),
        change(ChangeBody::Remove(Ordinal(recipient))),
    ];
    for change in good {
        assert_eq!(decoded(&encoded(&change)), Some(vec![change]));
    }
    let forged = [
        ("a rule out of order", accept(recipient, &[two, one])),
        ("a sender twice", accept(recipient, &[one, one])),
        ("a sender that is a person", accept(recipient, &[OrganisationId(Ordinal(recipient))])),
        ("a recipient of another country", accept(Space::Fodselsnummer.ordinals().start, &[])),
        ("no recipient", accept(u32::MAX, &[])),
        ("an id in another spelling", sender("482000-0000")),
        ("an id with a wrong check digit", sender("164820000001")),
        ("no organisation", change(ChangeBody::RemoveSender(OrganisationId(Ordinal(recipient))))),
        ("an ordinal without an identity", change(ChangeBody::Remove(Ordinal(without_identity)))),
        ("no time", Change { time: NO_NANOSECONDS, ..sender("164820000000") }),
        ("numbers backwards", others(AFTER, AFTER)),
        ("a gap in the numbers", others(AFTER + 1, AFTER + 2)),
        ("the last number of 64 bits", others(AFTER, u64::MAX)),
        ("a number above the highest", others(AFTER, SEQUENCE_MAX + 1)),
    ];
    for (what, change) in forged {
        assert_eq!(decoded(&encoded(&change)), None, "{what}");
    }
}
