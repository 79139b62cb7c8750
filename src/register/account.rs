//! FaR: what a sender is told of a recipient's account.

use super::moment;
use super::state::{FarState, StateRule};
use super::{Damage, DamagedSection, Register};
use crate::identities::Ordinal;
use crate::index::{Found, Slot};
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
        let (index, rules) = (&self.index(), self.rules()?);
        let sender = self.version.senders.number(sender);
        let mut accounts = Vec::with_capacity(ordinals.len());
        let (mut found, mut listed) = ([Found::default(); GROUP_IDS], Vec::new());
        // In groups, as the kernel does: each stage asks for the memory that the next one reads.
        for group in ordinals.chunks(GROUP_IDS) {
            let found = &mut found[..group.len()];
            self.look_up(group, found)?;
            let mut rule_numbers = [0; GROUP_IDS];
            listed.clear();
            for (place, (ordinal, found)) in group.iter().zip(&*found).enumerate() {
                if found.slot == Slot::default() {
                    continue;
                }
                self.ask_for_times_of(index, *ordinal, *found);
                match FarState::from(self.state(found.code)).rule {
                    StateRule::AcceptsAll => {}
                    StateRule::Shared(rule) => rule_numbers[place] = rule,
                    StateRule::Listed => listed.push((place, (*ordinal, found.slot))),
                }
            }
            let recipients: Vec<(Ordinal, Slot)> = listed.iter().map(|(_, recipient)| *recipient).collect();
            index.rules_of(&recipients, |at, rule| rule_numbers[listed[at].0] = rule);
            for ((ordinal, found), rule) in group.iter().zip(&*found).zip(rule_numbers) {
                if found.slot == Slot::default() {
                    accounts.push(None);
                    continue;
                }
                let accepted = rules.accepts(rule, sender).ok_or(DamagedSection { name: "rule_heads" })?;
                let times = self.times_of(index, *ordinal, *found)?;
                let [last_registration, last_sender_accept_change] = times.map(moment::time);
                let (code, state) = (found.code, FarState::from(self.state(found.code)));
                accounts.push(Some(Account {
                    code,
                    state,
                    accepted,
                    last_registration,
                    last_sender_accept_change,
                }));
            }
        }
        Ok(accounts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::Recipient;
    use crate::store::{self, Lines, Writer};
    use std::path::Path;

    /// As [`Register::recipient`] has it, in a file and in a register that has changed.
    #[test]
    fn accounts_are_recipients_and_a_sender() {
        let directory = tempfile::tempdir().expect("directory");
        let fixture = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
        let data = directory.path().join("far");
        store::init(&fixture("far"), &data).expect("a data directory");
        let writer = Writer::open(&data).expect("a writer");
        compare(&writer.register());
        let changes = std::fs::read(fixture("changes/far.jsonl")).expect("changes");
        for batch in changes.split_inclusive(|&byte| byte == b'\n').collect::<Vec<_>>().chunks(40) {
            writer.apply(Lines::parse(&batch.concat(), writer.kind()), None).expect("applied");
            compare(&writer.register());
        }
    }

    fn compare(register: &Register) {
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
