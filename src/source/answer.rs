//! What a register answers, and how a call can fail.

use crate::changes::{ChangeBody, OrganisationId};
use crate::identities::{Identity, Ordinal};
use crate::register::Operator;
use std::time::Duration;

/// The answer for one id, in the form in which the journal keeps it.
pub(super) type Answer = ChangeBody;

/// The reason of [`Answer`]s for ids that the register refused. The column holds the id.
const REFUSED: &str = "refused_by_register";

/// The answer for an id that the register refused.
pub(super) fn refused(id: &Identity) -> Answer {
    ChangeBody::SetAside { reason: REFUSED.into(), column: id.as_str().into() }
}

/// The id that an answer is for; `None` if it is for no recipient.
pub(super) fn subject(answer: &Answer) -> Option<Ordinal> {
    match answer {
        ChangeBody::PutRecipient(put) => Some(put.recipient),
        ChangeBody::PutPerson(put) => Some(put.person),
        ChangeBody::Remove(ordinal) => Some(*ordinal),
        ChangeBody::SetAside { reason, column } if &**reason == REFUSED => canonical(column),
        _ => None,
    }
}

/// The ordinal of an id of 12 or 11 digits.
pub(super) fn canonical(id: &str) -> Option<Ordinal> {
    use crate::identities::{Country, Today};
    let country = if id.len() == 11 { Country::Norway } else { Country::Sweden };
    let identity = Identity::parse(id.as_bytes(), country, Today::CONTRACT).ok()?;
    (identity.as_str() == id).then(|| identity.ordinal())
}

/// What a call brought.
#[derive(Default)]
pub(super) struct Answers {
    /// One answer for each id of the call, in any order.
    pub(super) answers: Vec<Answer>,
    /// The mailbox operators that the answers name.
    pub(super) operators: Vec<Operator>,
}

/// Why a call failed, and so what happens next.
#[derive(Debug)]
pub(super) enum CallError {
    /// Passing: the same call is made again later.
    Again {
        /// Why, without content of the call.
        why: String,
        /// The time that the register wants to be left alone.
        after: Option<Duration>,
    },
    /// The answer does not fit the question: the call is made again, a few times.
    BadAnswer(String),
    /// Some id of the call is refused.
    BadIds,
    /// There are more ids in the call than the register takes.
    TooMany,
    /// The access token is not valid any longer.
    TokenRefused(String),
    /// The register does not answer for this sender: trying again is of no use.
    SenderRefused(String),
    /// Trying again is of no use.
    Stop(String),
}

impl CallError {
    pub(super) fn again(why: impl Into<String>) -> CallError {
        CallError::Again { why: why.into(), after: None }
    }
}

/// Checks that there is exactly one answer for each id. `ids` ascend.
pub(super) fn check(ids: &[Ordinal], answers: &[Answer]) -> Result<(), CallError> {
    let mut answered: Vec<Ordinal> = answers.iter().filter_map(subject).collect();
    answered.sort_unstable();
    let doubled = answered.windows(2).filter(|pair| pair[0] == pair[1]).count();
    answered.dedup();
    let foreign = answered.iter().filter(|ordinal| ids.binary_search(ordinal).is_err()).count();
    let missing = ids.len() + foreign - answered.len();
    match (answers.len() > answered.len() + doubled, missing, doubled, foreign) {
        (false, 0, 0, 0) => Ok(()),
        (unknown, missing, doubled, foreign) => Err(CallError::BadAnswer(format!(
            "of {} ids, {missing} have no answer, {doubled} have more than one, and {foreign} were not asked for{}",
            ids.len(),
            if unknown { ", and some answers name no id" } else { "" }
        ))),
    }
}

/// The id of an organisation on the wire. Errors: it is not one.
pub(super) fn organisation(id: &str) -> Result<OrganisationId, CallError> {
    let bad = || CallError::BadAnswer("an operator's id is not 16 and ten digits".to_owned());
    OrganisationId::parse(id).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answer_for_each_id() {
        let [a, b, c] =
            ["196810199809", "195904109807", "199001022384"].map(|id| canonical(id).expect("an id"));
        let mut ids = [a, b];
        ids.sort_unstable();
        let of = |answered: &[Ordinal]| {
            let answers: Vec<Answer> = answered.iter().map(|ordinal| ChangeBody::Remove(*ordinal)).collect();
            match check(&ids, &answers) {
                Ok(()) => String::new(),
                Err(CallError::BadAnswer(why)) => why,
                Err(other) => panic!("{other:?}"),
            }
        };
        assert_eq!(of(&[b, a]), "", "any order");
        assert!(of(&[a]).contains("1 have no answer, 0 have more"));
        assert!(of(&[a, b, a]).contains("0 have no answer, 1 have more than one, and 0 were"));
        assert!(of(&[a, c]).contains("1 have no answer, 0 have more than one, and 1 were"));
        assert!(of(&[]).contains("2 have no answer"));
    }

    #[test]
    fn refused_ids_are_kept() {
        let ordinal = canonical("196810199809").expect("an id");
        let identity = Identity::from_ordinal(ordinal).expect("an identity");
        assert_eq!(subject(&refused(&identity)), Some(ordinal));
    }
}
