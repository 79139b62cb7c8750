//! Valid and invalid changes as lines of JSON and as bytes of the log.

use super::*;
use crate::limits::SEQUENCE_MAX;

/// A line of each kind of change of FaR, without sequence and time.
const FAR: &str = r#"
"put_recipient":{"recipient_id":"199001022384","type":"Secure","pending":true,"operator_id":"164920000009","acceptance":"only","exceptions":["164820000000"]}
"remove_recipient":{"recipient_id":"199001022384"}
"set_acceptance":{"recipient_id":"900102-2384","acceptance":"only","exceptions":["164830000008","164820000000"],"last_sender_accept_change":"2026-01-01T00:00:00Z"}
"put_operator":{"id":"164920000009","name":"Brevia AB","service_address":"https://a.example/"}
"remove_operator":{"id":"4920000009"}
"put_sender":{"id":"164820000000","name":"Kommun \"A\" \u00e5","attention":"Enhet"}
"remove_sender":{"id":"482000-0000"}
"put_dispatcher":{"id":"164720000001","name":"Utskick","senders":["164830000008","164820000000"]}
"remove_dispatcher":{"id":"164720000001"}"#;

const KRR: &str = r#"
"put_person":{"personidentifikator":"01819012365","reservasjon":"JA","status":"SLETTET","kontaktinformasjon":{"epostadresse":"a@example.com","epostadresse_oppdatert":"2026-01-02T10:14:52+01"},"digital_post":{"postkasseadresse":"a.b#1","postkasseleverandoeradresse":"984661185"},"sertifikat":"AAAA","annet":[1]}
"remove_person":{"personidentifikator":"01819012365"}
"put_persons":{"previous":3,"persons":[{"personidentifikator":"01819012365"},{"personidentifikator":"01819012365","sertifikat":"B"}]}"#;

const FOR_BOTH: &str = r#""set_aside":{"reason":"bad_time","column":"time"}"#;

/// Reasons, and bad lines. `<R>` stands for the beginning of a recipient, `<A>` for that of an acceptance, `<P>` for
/// that of a person.
const BAD_FAR: &str = r#"
unknown_field: "put":{}
unknown_field: "put_sender":{"id":"164820000000","name":"","x":1}
unknown_field: <R>,"Type":"Secure"}
bad_json: "put_sender":{"id":"164820000000"}
bad_json: "put_sender":7
bad_json: <R>,"pending":"true"}
bad_json: <R>,"type":"Not"}
bad_json: "set_acceptance":{"recipient_id":"199001022384","exceptions":[]}
no_change: "remove_sender":null
several_changes: "remove_sender":{"id":"164820000000"},"remove_operator":{"id":"164820000000"}
empty in recipient_id: "remove_recipient":{"recipient_id":""}
bad_character in recipient_id: "remove_recipient":{"recipient_id":"1990o1022384"}
bad_length in recipient_id: "remove_recipient":{"recipient_id":"19900102238"}
bad_century in recipient_id: "remove_recipient":{"recipient_id":"179001022384"}
bad_date in recipient_id: "remove_recipient":{"recipient_id":"199013022384"}
bad_organisation_number in recipient_id: "remove_recipient":{"recipient_id":"161210000007"}
bad_check_digit in recipient_id: "remove_recipient":{"recipient_id":"199001022385"}
ambiguous in recipient_id: "remove_recipient":{"recipient_id":"1022383"}
bad_check_digit in recipient_id: "put_recipient":{"recipient_id":"199001022385","type":"secure"}
bad_check_digit in recipient_id: "set_acceptance":{"recipient_id":"199001022385","acceptance":"Only"}
bad_type in type: "put_recipient":{"recipient_id":"199001022384","type":"secure"}
unknown_operator in operator_id: <R>,"operator_id":"199001022384"}
bad_time in last_registration: <R>,"last_registration":"199001022384"}
bad_time in last_sender_accept_change: <R>,"last_sender_accept_change":"2026-01-01"}
bad_acceptance in acceptance: <R>,"acceptance":"some"}
unknown_sender in exceptions: <R>,"exceptions":["199001022384"]}
bad_acceptance in acceptance: "set_acceptance":{"recipient_id":"199001022384","acceptance":"Only"}
unknown_sender in exceptions: <A>,"exceptions":[""]}
bad_time in last_sender_accept_change: <A>,"last_sender_accept_change":"1"}
bad_organisation_number in id: "put_operator":{"id":"199001022384","name":""}
bad_organisation_number in id: "remove_operator":{"id":""}
bad_organisation_number in id: "put_sender":{"id":"164820000001","name":""}
bad_organisation_number in id: "remove_sender":{"id":"48200-0000"}
bad_organisation_number in id: "put_dispatcher":{"id":"1","name":""}
unknown_sender in senders: "put_dispatcher":{"id":"164720000001","name":"","senders":["1"]}
bad_organisation_number in id: "remove_dispatcher":{"id":"x"}"#;

const BAD_KRR: &str = r#"
bad_check_digit in personidentifikator: "put_person":{"personidentifikator":"01819012364"}
empty in personidentifikator: "put_person":{}
bad_check_digit in personidentifikator: "remove_person":{"personidentifikator":"01819012364"}
bad_check_digit in personidentifikator: "put_persons":{"previous":3,"persons":[{"personidentifikator":"01819012365"},{"personidentifikator":"01819012364"}]}
not_registered in status: <P>,"status":"IKKE_REGISTRERT"}
bad_value in status: <P>,"status":"slettet"}
bad_value in reservasjon: <P>,"reservasjon":"KANSKJE"}
bad_value in epostadresse_duplisert: <P>,"kontaktinformasjon":{"epostadresse_duplisert":"01819012365"}}
bad_time in epostadresse_oppdatert: <P>,"kontaktinformasjon":{"epostadresse_oppdatert":"i fjor"}}
bad_json: <P>,"sertifikat":1}
bad_json: "put_persons":{"persons":[]}"#;

fn parse(kind: Kind, change: &str) -> Result<Change, json::BadLine> {
    json::parse(format!(r#"{{"sequence":8,"time":"2026-06-01T04:00:00Z",{change}}}"#).as_bytes(), kind)
}

fn lines(kind: Kind) -> impl Iterator<Item = &'static str> {
    let lines = if kind == Kind::Far { FAR } else { KRR };
    lines.trim().lines().chain([FOR_BOTH])
}

pub(super) fn changes(kind: Kind) -> Vec<Change> {
    lines(kind).map(|line| parse(kind, line).expect("a change")).collect()
}

fn is_bad(kind: Kind, line: &str, why: &str) {
    let bad = parse(kind, line).expect_err(why);
    assert_eq!(
        (bad.sequence, bad.time, &bad.reason.to_string()[..]),
        (Some(8), Some(AS_OF * 1_000_000_000), why)
    );
    let shown = format!("{bad:?}");
    assert!(!["0102", "2384", "2385", "8190", "1236"].iter().any(|part| shown.contains(part)), "{shown}");
}

#[test]
fn bad_lines_are_rejected_with_their_reasons() {
    for (kind, lines) in [(Kind::Far, BAD_FAR), (Kind::Krr, BAD_KRR)] {
        for (why, line) in lines.trim().lines().map(|line| line.split_once(": ").expect("reason and line")) {
            let line = line
                .replace("<R>", r#""put_recipient":{"recipient_id":"199001022384","type":"Secure""#)
                .replace("<A>", r#""set_acceptance":{"recipient_id":"199001022384","acceptance":"only""#)
                .replace("<P>", r#""put_person":{"personidentifikator":"01819012365""#);
            is_bad(kind, &line, why);
        }
    }
    for (kind, other) in [(Kind::Far, Kind::Krr), (Kind::Krr, Kind::Far)] {
        for line in lines(kind).filter(|line| *line != FOR_BOTH) {
            let name = line.split('"').nth(1).expect("a name");
            is_bad(other, line, &format!("not_of_this_register in {name}"));
        }
    }
    let person = KRR.trim().lines().next().expect("a person");
    is_bad(Kind::Krr, &person.replace("a@example.com", &"x".repeat(70_000)), "too_long");
}

#[test]
fn sequence_number_and_time_of_a_bad_line_are_kept() {
    let rejected = |line: &str| {
        let bad = json::parse(line.as_bytes(), Kind::Far).expect_err("bad");
        (bad.sequence, bad.time, bad.reason.to_string())
    };
    let change = r#""remove_sender":{"id":"164820000000"}}"#;
    for time in ["yesterday", "", "1500-01-01T00:00:00Z"] {
        let line = format!(r#"{{"sequence":8,"time":"{time}",{change}"#);
        assert_eq!(rejected(&line), (Some(8), None, "bad_time in time".to_owned()));
    }
    assert_eq!(rejected(&format!(r#"{{"sequence":8,{change}"#)), (Some(8), None, "bad_json".to_owned()));
    for line in ["", "[]", "199001022384", r#"{"sequence":-1}"#, r#"{"sequence":8"#, r#"{"time":""}"#] {
        assert_eq!(rejected(line), (None, None, "bad_json".to_owned()), "{line}");
    }
    for sequence in [SEQUENCE_MAX + 1, u64::MAX] {
        let line = format!(r#"{{"sequence":{sequence},"time":"2026-06-01T04:00:00Z",{change}"#);
        assert_eq!(rejected(&line).2, "bad_value in sequence");
    }
    let not_text = json::parse(b"{\"sequence\":8,\"\xFF\":1}", Kind::Far).expect_err("bad");
    assert_eq!(not_text.reason.to_string(), "bad_json");
}

/// The century of ten digits is that of the day of the change, and no text shows an identity.
#[test]
fn changes_do_not_show_identities() {
    let ordinal = |id: &str, country| {
        Identity::parse(id.as_bytes(), country, Today::CONTRACT).expect("valid").ordinal()
    };
    let (far, krr) = (ordinal("199001022384", Country::Sweden), ordinal("01819012365", Country::Norway));
    let named: Vec<Change> = [changes(Kind::Far), changes(Kind::Krr)].concat();
    assert!(matches!(&named[1].what, ChangeBody::Remove(named) if *named == far));
    assert!(matches!(&named[2].what, ChangeBody::SetAcceptance(set) if set.recipient == far));
    let hidden = ["9001022384", "01819012365", &far.0.to_string(), &krr.0.to_string()].map(str::to_owned);
    for change in named {
        let shown = format!("{change:?}");
        assert!(!hidden.iter().any(|hidden| shown.contains(hidden)), "{}", change.what.name());
    }
}

/// Numbers changes as those after a sequence number.
pub(super) fn number_from(after: u64, changes: &mut [Change]) {
    for (change, before) in changes.iter_mut().zip(after..) {
        change.sequence = before + 1;
        if let ChangeBody::PutPersons { previous, .. } = &mut change.what {
            *previous = before;
        }
    }
}

/// Truncated changes are not read, and damaged ones never panic.
#[test]
fn truncated_and_damaged_changes() {
    for mut changes in [Kind::Far, Kind::Krr].map(changes) {
        number_from(7, &mut changes);
        let (mut bytes, mut ends) = (Vec::new(), vec![0]);
        for change in &changes {
            encode(change, &mut bytes);
            ends.push(bytes.len());
        }
        for length in 0..=bytes.len() {
            let decoded =
                ChangeDecoder::new(&bytes[..length], 7).map(|change| change.map(|change| change.what));
            let whole = changes.iter().zip(&ends[1..]).take_while(|(_, end)| **end <= length);
            let cut = (!ends.contains(&length)).then_some(None);
            assert!(decoded.eq(whole.map(|(change, _)| Some(change.what.clone())).chain(cut)), "{length}");
        }
        for (offset, bit) in (0..bytes.len()).flat_map(|offset| (0..8).map(move |bit| (offset, bit))) {
            let mut damaged = bytes.clone();
            damaged[offset] ^= 1 << bit;
            ChangeDecoder::new(&damaged, 7).flatten().for_each(|change| drop(json::text(&change)));
        }
    }
    assert!(ChangeDecoder::new(&[2; 16], u64::MAX).eq([None]), "there is no number for it");
}

proptest! {
    #[test]
    fn any_bytes_decode_without_panic(
        parts in vec((0..14u8, 0..3u8, vec(prop_oneof![Just(0u8), Just(1), any::<u8>()], 14..60)), 0..6),
    ) {
        let bytes: Vec<u8> = parts.into_iter().flat_map(|(kind, flags, rest)| [vec![kind, flags], rest].concat()).collect();
        ChangeDecoder::new(&bytes, 0).flatten().for_each(|change| drop(json::text(&change)));
    }
}
