//! FaR: what a sender is told of a recipient's account.

use super::moment;
use super::state::FarState;
use super::{At, Damage, DamagedSection, Register};
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

impl Register {
    /// FaR: the accounts of some recipients, `None` for those that the register does not know, as they are to
    /// the sender at a place.
    pub(crate) fn accounts(&self, sender: u16, ordinals: &[Ordinal]) -> Result<Vec<Option<Account>>, Damage> {
        let (index, rules) = (self.index(), self.rules()?);
        let sender = self.version.senders.number(sender);
        let account = |at: At<'_>| -> Result<Account, Damage> {
            let code = at.view.codes.get(Slot(at.record));
            let state = FarState::from(self.state(code));
            let accepted = rules.accepts(at.rule(state), sender);
            let accepted = accepted.ok_or(DamagedSection { name: "rule_heads" })?;
            let [last_registration, last_sender_accept_change] = self.times(&at)?.map(moment::time);
            Ok(Account { code, state, accepted, last_registration, last_sender_accept_change })
        };
        let mut accounts = Vec::with_capacity(ordinals.len());
        // In groups, as the kernel does: each stage asks for the memory that the next one reads.
        for group in ordinals.chunks(GROUP_IDS) {
            let known = || group.iter().filter(|ordinal| index.part_of(**ordinal) < index.parts());
            known().for_each(|ordinal| {
                index.ask_for_page(self.trust(), *ordinal);
                index.ask_for(index.part_of(*ordinal));
            });
            known().for_each(|ordinal| self.ask_for_times(&index, *ordinal));
            for ordinal in group {
                accounts.push(self.locate(&index, *ordinal)?.map(account).transpose()?);
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
            assert_eq!(register.sender(&sender.id), Some(place));
            let accounts = register.accounts(place, &ordinals).expect("undamaged");
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
