//! Kivra's contract, asked: `usermatch` and `companymatch` of version 2, which return those of a list who can be reached.
//!
//! The answer has no row for an id that cannot be reached. So it is believed only if all that it has was asked; an answer
//! that is cut off is no JSON.

use super::answer::{Answers, CallError};
use crate::changes::{ChangeBody, NamedRule, OrganisationId, PutRecipient};
use crate::consent::Acceptance;
use crate::identities::{Identity, Ordinal, Space};
use crate::register::moment::NO_NANOSECONDS;
use crate::register::{AccountType, Operator};
use serde::Deserialize;
use std::borrow::Cow;

/// The organisation number of Kivra AB, as FaR names it as a mailbox operator.
pub(super) const OPERATOR: &str = "165568402266";
const NAME: &str = "Kivra";
/// What status 404 means: Kivra does not say that a tenant exists to whom may not know it.
pub(super) const NO_TENANT: &str = "Kivra does not know the tenant, or the client may not ask for it (status 404): check \
                                    [token] tenant, client_id and address";
pub(super) const NO_SCOPE: &str = "Kivra refuses the token: check that the client has the scopes of [token], for \
                                   organisations also that of companymatch";
/// Bytes of an answer, at most: a part for the answer and one for each id.
const ANSWER_BYTES: usize = 64 << 10;
const ANSWER_BYTES_PER_ID: usize = 64;

/// What a call asks for: the two have addresses of their own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// Persons, by personnummer or samordningsnummer.
    Users,
    /// Organisations, by VAT number.
    Companies,
}

impl Match {
    fn of(ordinal: Ordinal) -> Match {
        let space = Identity::from_ordinal(ordinal).map(|identity| identity.space());
        match space == Some(Space::Organisationsnummer) {
            true => Match::Companies,
            false => Match::Users,
        }
    }

    /// The address for a tenant.
    pub(super) fn address(self, base: &str, tenant: &str) -> String {
        let path = match self {
            Match::Users => "usermatch/ssn",
            Match::Companies => "companymatch/vatnr",
        };
        format!("{}/v2/tenant/{tenant}/{path}", base.trim_end_matches('/'))
    }

    /// Appends an id as this contract writes it. An organisation's is `SE`, ten digits and `01`.
    fn push(self, id: &str, out: &mut String) {
        let parts = match self {
            Match::Users => ["", id, ""],
            Match::Companies => ["SE", &id[2..], "01"],
        };
        parts.into_iter().for_each(|part| out.push_str(part));
    }

    /// The id that this contract writes so. `None` if it is none.
    fn ordinal(self, text: &str) -> Option<Ordinal> {
        match self {
            Match::Users => super::answer::canonical(text),
            Match::Companies => {
                let digits = text.strip_prefix("SE")?.strip_suffix("01")?;
                (digits.len() == 10).then(|| super::answer::canonical(&format!("16{digits}")))?
            }
        }
        .filter(|ordinal| Match::of(*ordinal) == self)
    }
}

/// How many of some ids, which ascend, are asked in one call: persons and organisations have calls of their own.
pub(super) fn together(ids: &[Ordinal]) -> usize {
    let Some(first) = ids.first() else { return 0 };
    let kind = Match::of(*first);
    ids.iter().position(|id| Match::of(*id) != kind).unwrap_or(ids.len())
}

/// The message that asks for some ids, and what it asks for.
pub(super) fn request(ids: &[Ordinal]) -> (Match, String) {
    let kind = ids.first().map_or(Match::Users, |first| Match::of(*first));
    let mut out = String::with_capacity(16 + ids.len() * 17);
    out.push_str("{\"list\":[");
    for (index, id) in ids.iter().filter_map(|ordinal| Identity::from_ordinal(*ordinal)).enumerate() {
        out.push_str(if index > 0 { ",\"" } else { "\"" });
        kind.push(id.as_str(), &mut out);
        out.push('"');
    }
    out.push_str("]}");
    (kind, out)
}

/// Bytes of the answer for some ids, at most.
pub(super) fn answer_bytes(ids: usize) -> usize {
    ANSWER_BYTES + ids * ANSWER_BYTES_PER_ID
}

#[derive(Deserialize)]
struct Reachable<'a> {
    #[serde(borrow)]
    list: Vec<Text<'a>>,
}

/// A text, without a copy unless it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads the answer to [`request`] for some ids, which ascend: each that it lists can be reached, the others not. Fields
/// that are not known are ignored.
pub(super) fn read(
    body: &[u8],
    kind: Match,
    ids: &[Ordinal],
    (operator, address): (OrganisationId, &str),
) -> Result<Answers, CallError> {
    let bad = |why: String| CallError::BadAnswer(format!("the answer {why}"));
    // The error of serde would name content.
    let Reachable { list } = serde_json::from_slice(body).map_err(|error| {
        bad(format!("is no list, or is cut off, at line {} column {}", error.line(), error.column()))
    })?;
    let (mut foreign, mut doubled) = (0usize, 0usize);
    let mut reachable = vec![false; ids.len()];
    for Text(text) in &list {
        let index = kind.ordinal(text).and_then(|ordinal| ids.binary_search(&ordinal).ok());
        match index {
            None => foreign += 1,
            Some(index) => doubled += usize::from(std::mem::replace(&mut reachable[index], true)),
        }
    }
    if foreign > 0 || doubled > 0 {
        return Err(bad(format!("lists {foreign} ids that were not asked for, and {doubled} twice")));
    }
    let answers = ids.iter().zip(&reachable).map(|(id, reachable)| match reachable {
        true => put(*id, operator),
        false => ChangeBody::Remove(*id),
    });
    Ok(Answers { answers: answers.collect(), operators: vec![operator_of(operator, address)] })
}

fn put(recipient: Ordinal, operator: OrganisationId) -> ChangeBody {
    ChangeBody::PutRecipient(PutRecipient {
        recipient,
        account_type: AccountType::Secure,
        pending: false,
        operator: Some(operator),
        last_registration: NO_NANOSECONDS,
        last_sender_accept_change: NO_NANOSECONDS,
        // The tenant is no sender of FaR. Who has declined it is not in the list.
        rule: NamedRule::new(Acceptance::AllExcept, Vec::new()),
    })
}

/// Kivra as a mailbox operator.
fn operator_of(id: OrganisationId, address: &str) -> Operator {
    Operator {
        id: id.text(),
        name: NAME.to_owned(),
        service_address: address.to_owned(),
        ..Operator::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::answer::canonical;

    fn ids(texts: &[&str]) -> Vec<Ordinal> {
        let mut ids: Vec<Ordinal> = texts.iter().map(|id| canonical(id).expect("an id")).collect();
        ids.sort_unstable();
        ids
    }

    fn answers(body: &str, kind: Match, ids: &[Ordinal]) -> Result<Vec<bool>, String> {
        let operator = OrganisationId::parse(OPERATOR).expect("an organisation");
        match read(body.as_bytes(), kind, ids, (operator, "https://kivra.example")) {
            Ok(read) => {
                assert_eq!(read.operators[0].id, OPERATOR);
                Ok(read.answers.iter().map(|answer| matches!(answer, ChangeBody::PutRecipient(_))).collect())
            }
            Err(CallError::BadAnswer(why)) => Err(why),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn persons_and_organisations_are_asked_apart() {
        let all = ids(&["164821000025", "199001022384", "196810199809"]);
        let persons = together(&all);
        assert_eq!((persons, together(&all[persons..]), together(&[])), (2, 1, 0));
        let (kind, body) = request(&all[..persons]);
        assert_eq!(body, r#"{"list":["196810199809","199001022384"]}"#);
        assert_eq!(kind.address("https://k.example/", "t1"), "https://k.example/v2/tenant/t1/usermatch/ssn");
        let (kind, body) = request(&all[persons..]);
        assert_eq!(body, r#"{"list":["SE482100002501"]}"#);
        assert_eq!(
            kind.address("https://k.example", "t1"),
            "https://k.example/v2/tenant/t1/companymatch/vatnr"
        );
    }

    #[test]
    fn those_of_the_list_can_be_reached() {
        let persons = ids(&["196810199809", "199001022384"]);
        let body = "{\"new\":{\"list\":1},\"list\":[\"1990\\u00301022384\"]}";
        assert_eq!(answers(body, Match::Users, &persons), Ok(vec![false, true]));
        assert_eq!(answers("{\"list\":[]}", Match::Users, &persons), Ok(vec![false, false]));
        let companies = ids(&["164821000025"]);
        assert_eq!(answers("{\"list\":[\"SE482100002501\"]}", Match::Companies, &companies), Ok(vec![true]));
    }

    #[test]
    fn ids_that_were_not_asked_are_no_answer() {
        let persons = ids(&["196810199809", "199001022384"]);
        for (list, expected) in [
            (r#""195904109807""#, "1 ids that were not asked for, and 0 twice"),
            (r#""196810199809","196810199809""#, "0 ids that were not asked for, and 1 twice"),
            (r#""19681019-9809""#, "1 ids that were not asked for"),
            (r#""SE482100002501""#, "1 ids that were not asked for"),
            (r#""SE681019980901""#, "1 ids that were not asked for"),
            ("1968", "is no list"),
            ("null", "is no list"),
        ] {
            let why = answers(&format!("{{\"list\":[{list}]}}"), Match::Users, &persons).expect_err(list);
            assert!(why.contains(expected) && !why.contains("1968") && !why.contains("SE"), "{why}");
        }
        let companies = ids(&["164821000025"]);
        for list in
            ["164821000025", "SE482100002502", "SE1648210000250101", "FI482100002501", "SE482100002601"]
        {
            let body = format!("{{\"list\":[\"{list}\"]}}");
            assert!(answers(&body, Match::Companies, &companies).is_err(), "{list}");
        }
        let whole = r#"{"list":["196810199809"]}"#;
        for end in 0..whole.len() {
            assert!(answers(&whole[..end], Match::Users, &persons).is_err(), "cut off at {end}");
        }
    }

    #[test]
    fn a_call_fits_what_kivra_takes() {
        let company = ids(&["164821000025"]);
        let (_, one) = request(&company);
        let (_, two) = request(&[company[0], company[0]]);
        assert_eq!(two.len() - one.len(), 17, "as `limits` says");
    }
}
