//! FaR: what a sender is told of a recipient's account.

use super::moment;
use super::question::Question;
use super::state::{FarState, StateRule};
use super::{At, Damage, DamagedSection};
use crate::identities::Ordinal;
use crate::index::Slot;
use crate::limits::GROUP_IDS;
use jiff::Timestamp;

/// The account of a recipient, as `isReachable` asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// Number of the state; the same for all recipients that are alike but for their times.
    pub(crate) code: u32,
    pub(crate) state: FarState,
    /// Whether the recipient accepts the sender.
    pub(crate) accepted: bool,
    pub(crate) last_registration: Option<Timestamp>,
    pub(crate) last_sender_accept_change: Option<Timestamp>,
}

impl Question<'_> {
    /// The accounts of some recipients, `None` for those that the register does not know.
    pub(crate) fn accounts(&self, ordinals: &[Ordinal]) -> Result<Vec<Option<Account>>, Damage> {
        let register = self.register();
        let index = register.index();
        let account = |ordinal: &Ordinal| -> Result<Option<Account>, Damage> {
            let part = index.part_of(*ordinal);
            if part >= index.parts() {
                return Ok(None);
            }
            let Some(view) = index.view(register.trust(), part)? else { return Ok(None) };
            let offset = (ordinal.0 - index.first_of(part).0) as u16;
            let (present, record) = view.rank(offset);
            if present == 0 {
                return Ok(None);
            }
            let code = view.codes.get(Slot(record));
            let state = FarState::from(register.state(code));
            let rule = match state.rule {
                StateRule::AcceptsAll => 0,
                StateRule::Shared(rule) => rule,
                StateRule::Listed => view.rule(record),
            };
            let accepted = self.accepts(rule).ok_or(DamagedSection { name: "rule_heads" })?;
            let times = register.times(&At { index: &index, part, offset, record, view })?;
            let [last_registration, last_sender_accept_change] = times.map(moment::time);
            Ok(Some(Account { code, state, accepted, last_registration, last_sender_accept_change }))
        };
        let mut accounts = Vec::with_capacity(ordinals.len());
        // In groups, as the kernel does: each stage asks for the memory that the next one reads.
        for group in ordinals.chunks(GROUP_IDS) {
            let known = || group.iter().filter(|ordinal| index.part_of(**ordinal) < index.parts());
            known().for_each(|ordinal| {
                index.ask_for_page(register.trust(), *ordinal);
                index.ask_for(index.part_of(*ordinal));
            });
            known().for_each(|ordinal| register.ask_for_times(&index, *ordinal));
            for ordinal in group {
                accounts.push(account(ordinal)?);
            }
        }
        Ok(accounts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::Recipient;
    use crate::snapshot::Snapshot;

    /// As [`Register::recipient`](crate::register::Register::recipient) has it.
    #[test]
    fn accounts_are_recipients_and_a_sender() {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("far.nabar");
        let fixture = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/far");
        crate::extract::build(&fixture, &file, true).expect("built");
        let register = Snapshot::open(&file).and_then(|snapshot| snapshot.register()).expect("a register");
        let (mut ordinals, mut recipients) = (vec![Ordinal(0), Ordinal::NOBODY], vec![None, None]);
        let all = register.for_each::<Damage>(|identity, recipient| {
            ordinals.push(identity.ordinal());
            recipients.push(Some(recipient));
            Ok(())
        });
        all.expect("undamaged");
        for (place, sender) in (0..).zip(register.senders()) {
            let question = register.question(Some(&sender.id), jiff::civil::date(2026, 6, 1)).expect("asked");
            let accounts = question.accounts(&ordinals).expect("undamaged");
            for (account, recipient) in accounts.into_iter().zip(&recipients) {
                let expected = recipient.as_ref().map(|recipient| {
                    let Recipient::Far { state, rule, last_registration, last_sender_accept_change } =
                        recipient
                    else {
                        panic!("FaR")
                    };
                    (*state, rule.accepts(place), *last_registration, *last_sender_accept_change)
                });
                let account = account.map(|account| {
                    let Account { state, accepted, last_registration, last_sender_accept_change, .. } =
                        account;
                    (state, accepted, last_registration, last_sender_accept_change)
                });
                assert_eq!(account, expected);
            }
        }
    }
}
