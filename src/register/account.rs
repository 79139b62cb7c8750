//! FaR: accounts of recipients, as reported to a sender.

use super::moment;
use super::state::{FarState, StateRule};
use super::{Damage, DamagedSection, Register};
use crate::identities::Ordinal;
use crate::index::{Hit, Slot};
use crate::limits::GROUP_IDS;
use crate::organisations::SenderIndex;
use jiff::Timestamp;

/// The account of a recipient, with the fields of an `isReachable` response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// Number of the state: equal for recipients that differ only in their times.
    pub(crate) code: u32,
    pub(crate) state: FarState,
    /// Whether the recipient accepts the sender.
    pub(crate) accepted: bool,
    pub(crate) last_registration: Option<Timestamp>,
    pub(crate) last_sender_accept_change: Option<Timestamp>,
}

impl Register {
    /// FaR: the accounts of recipients as seen by a sender, `None` for recipients that are not registered.
    pub(crate) fn accounts(
        &self,
        sender: SenderIndex,
        ordinals: &[Ordinal],
    ) -> Result<Vec<Option<Account>>, Damage> {
        let (index, rules) = (&self.index(), self.rules()?);
        let sender = self.version.senders.number(sender);
        let mut accounts = Vec::with_capacity(ordinals.len());
        let (mut hits, mut listed) = ([Hit::default(); GROUP_IDS], Vec::new());
        // In groups, as in the lookup kernel: each stage prefetches the memory that the next one reads.
        for group in ordinals.chunks(GROUP_IDS) {
            let hits = &mut hits[..group.len()];
            self.look_up(group, hits)?;
            let mut rule_numbers = [0; GROUP_IDS];
            listed.clear();
            for (in_group, (ordinal, hit)) in group.iter().zip(&*hits).enumerate() {
                if hit.slot == Slot::default() {
                    continue;
                }
                self.prefetch_times_of(index, *ordinal, *hit);
                match self.far_state(hit.code).rule {
                    StateRule::AcceptsAll => {}
                    StateRule::Shared(rule) => rule_numbers[in_group] = rule,
                    StateRule::Listed => listed.push((in_group, (*ordinal, hit.slot))),
                }
            }
            let recipients: Vec<(Ordinal, Slot)> = listed.iter().map(|(_, recipient)| *recipient).collect();
            index.rules_of(&recipients, |nth, rule| rule_numbers[listed[nth].0] = rule);
            for ((ordinal, hit), rule) in group.iter().zip(&*hits).zip(rule_numbers) {
                if hit.slot == Slot::default() {
                    accounts.push(None);
                    continue;
                }
                let accepted = rules.accepts(rule, sender).ok_or(DamagedSection { name: "rule_heads" })?;
                let times = self.times_of(index, *ordinal, *hit)?;
                let [last_registration, last_sender_accept_change] = times.map(moment::time);
                let (code, state) = (hit.code, self.far_state(hit.code));
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

    /// [`Register::accounts`] against [`Register::recipient`], in a register file and in a register that has changed.
    #[test]
    fn accounts_agree_with_recipients() {
        let directory = tempfile::tempdir().expect("directory");
        let fixture = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
        let data = directory.path().join("far");
        store::init(fixture("far"), &data).expect("a data directory");
        let writer = Writer::open(&data).expect("a writer");
        compare(&writer.register());
        let changes = std::fs::read(fixture("changes/far.jsonl")).expect("changes");
        for batch in changes.split_inclusive(|&byte| byte == b'\n').collect::<Vec<_>>().chunks(40) {
            writer.apply(Lines::parse(&batch.concat(), writer.kind()), None).expect("applied");
            compare(&writer.register());
        }
    }

    fn compare(register: &Register) {
        let (mut ordinals, mut recipients) = (vec![Ordinal(0), Ordinal::ABSENT], vec![None, None]);
        let all = register.for_each::<Damage>(|identity, recipient| {
            ordinals.push(identity.ordinal());
            recipients.push(Some(recipient));
            Ok(())
        });
        all.expect("undamaged");
        for (sender, index) in register.senders().iter().zip((0..).map(SenderIndex::new)) {
            assert_eq!(register.sender(&sender.id), Some(index));
            let accounts = register.accounts(index, &ordinals).expect("undamaged");
            for (account, recipient) in accounts.into_iter().zip(&recipients) {
                let expected = recipient.as_ref().map(|recipient| {
                    let Recipient::Far { state, rule, last_registration, last_sender_accept_change } =
                        recipient
                    else {
                        panic!("FaR")
                    };
                    (*state, rule.accepts(index), *last_registration, *last_sender_accept_change)
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
