//! Answers of an earlier register file that may still be used.

use super::answer::{Answers, refused};
use super::asking::Job;
use super::collected::Collected;
use super::{SourceError, Terms};
use crate::changes::{ChangeBody, NamedRule, OrganisationId, PutRecipient, json};
use crate::consent::Acceptance;
use crate::identities::{Identity, Ordinal, Today};
use crate::register::moment::{self, NO_NANOSECONDS};
use crate::register::{Operator, Outcome, Recipient, Register};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Answers in memory before they are written to the journal.
const TAKEN_MAX: usize = 10_000;

/// Takes over the answers of a register for the ids that have none yet, as far as they are young enough.
pub(super) fn take_over(
    known: &Register,
    terms: &Terms<'_>,
    collected: &mut Collected<'_>,
) -> Result<(), SourceError> {
    let fits = known.kind() == terms.kind
        && known.scope().is_some_and(|scope| {
            scope.source == terms.address
                && scope.sender == terms.scope_sender()
                && scope.on_behalf_of == terms.on_behalf_of
        });
    if !fits {
        return Err(SourceError::OtherScope);
    }
    let date = jiff::tz::Offset::UTC.to_datetime(Timestamp::now()).date();
    let question = known.question(terms.sender, date).map_err(|_| SourceError::OtherScope)?;
    let mut by_time: BTreeMap<Timestamp, Answers> = BTreeMap::new();
    let (mut taken, since) = (0, collected.since());
    let mut from = 0;
    while let Some((index, ordinal)) = collected.unanswered(from) {
        from = index + 1;
        let Some(identity) = Identity::from_ordinal(ordinal) else { continue };
        let Some(time) = known.answered(&identity)?.filter(|time| *time >= since) else { continue };
        let answers = by_time.entry(time).or_default();
        let answer = match known.recipient(&identity)? {
            Some(recipient) => answer(known, ordinal, recipient, terms.sender, answers)?,
            None if question.ask(&identity)? == Outcome::Refused => refused(&identity),
            None => ChangeBody::Remove(ordinal),
        };
        answers.answers.push(answer);
        taken += 1;
        if taken == TAKEN_MAX {
            append(std::mem::take(&mut by_time), collected)?;
            taken = 0;
        }
    }
    append(by_time, collected)?;
    collected.sync()
}

fn append(by_time: BTreeMap<Timestamp, Answers>, collected: &mut Collected<'_>) -> Result<(), SourceError> {
    by_time.into_iter().try_for_each(|(time, answers)| collected.append(time, answers))
}

fn answer(
    known: &Register,
    recipient: Ordinal,
    stored: Recipient,
    sender: Option<&str>,
    answers: &mut Answers,
) -> Result<ChangeBody, SourceError> {
    let nanoseconds = |time: Option<Timestamp>| time.and_then(moment::nanoseconds).unwrap_or(NO_NANOSECONDS);
    Ok(match stored {
        Recipient::Far { state, rule, last_registration, last_sender_accept_change } => {
            let operator: Option<&Operator> = state.operator.map(|operator| known.operator(operator));
            if let Some(operator) = operator.filter(|operator| !answers.operators.contains(operator)) {
                answers.operators.push(operator.clone());
            }
            let rule = match (rule.accepts_all(), sender.and_then(OrganisationId::parse)) {
                (true, None) => NamedRule::new(Acceptance::AllExcept, Vec::new()),
                (true, Some(sender)) => NamedRule::new(Acceptance::Only, vec![sender]),
                (false, _) => NamedRule::new(Acceptance::Only, Vec::new()),
            };
            ChangeBody::PutRecipient(PutRecipient {
                recipient,
                account_type: state.account_type,
                pending: state.pending,
                operator: operator.and_then(|operator| OrganisationId::parse(&operator.id)),
                last_registration: nanoseconds(last_registration),
                last_sender_accept_change: nanoseconds(last_sender_accept_change),
                rule,
            })
        }
        Recipient::Krr { person, .. } => {
            let put = json::put_person(&person, Today::CONTRACT).map_err(|_| SourceError::Inconsistent)?;
            ChangeBody::PutPerson(Box::new(put))
        }
    })
}
