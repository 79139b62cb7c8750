//! Content digests: whether two registers say the same, whatever files and logs they come from.
//!
//! Each recipient and each organisation has a hash of 128 bits (XXH3), and a register's sum is the sum of them all
//! modulo 2^128. So the order in which they came does not matter, and a change takes one hash away and adds one: some
//! tens of nanoseconds. The [`ContentDigest`] is BLAKE3 of the sum. It finds what went wrong, in a program, a memory or
//! a disk; somebody who forges registers could make one of the same sum, so whoever must be sure of whom a register comes
//! checks a signature.
//!
//! What counts is what can be asked for: organisations by their ids, not by their numbers; a rule's senders as far as
//! the register has them; of KRR's operators those that persons name. Sequence number and time do not count.

use super::actors::Actors;
use super::cold::times_of_entry;
use super::contact::Contact;
use super::numbers::Numbers;
use super::state::{FarState, KrrState, State, StateRule};
use super::{At, Damage, Kind, Register};
use crate::consent::{Acceptance, RuleSet};
use crate::identities::Ordinal;
use crate::index::{DamagedBlock, Slot};
use rayon::prelude::*;
use std::fmt;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Parts that one thread sums up at a time.
const GROUP_PARTS: usize = 64;

/// What tells the content of a register from that of another; 64 hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ContentDigest([u8; 32]);

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A sum of hashes, or a difference of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum(u128);

impl std::ops::Add for Sum {
    type Output = Sum;

    fn add(self, other: Sum) -> Sum {
        Sum(self.0.wrapping_add(other.0))
    }
}

impl std::ops::Sub for Sum {
    type Output = Sum;

    fn sub(self, other: Sum) -> Sum {
        Sum(self.0.wrapping_sub(other.0))
    }
}

impl std::iter::Sum for Sum {
    fn sum<I: Iterator<Item = Sum>>(sums: I) -> Sum {
        sums.fold(Sum::default(), |sum, more| sum + more)
    }
}

/// What is known of the sum of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// By how much it differs from the file's.
    SinceFile(Sum),
    /// All of it.
    Whole(Sum),
}

impl Default for Content {
    fn default() -> Content {
        Content::SinceFile(Sum::default())
    }
}

impl Content {
    pub(crate) fn plus(self, more: Sum) -> Content {
        match self {
            Content::SinceFile(sum) => Content::SinceFile(sum + more),
            Content::Whole(sum) => Content::Whole(sum + more),
        }
    }
}

/// Hashes of what records name by numbers.
#[derive(Default)]
pub(crate) struct Hashes {
    /// By number of the state.
    states: Vec<StateHash>,
    /// By number of the rule.
    rules: Vec<u128>,
    /// By number of the certificate.
    certificates: Vec<u128>,
}

/// What a state says: all but a rule that is listed.
#[derive(Clone, Copy, Default)]
struct StateHash {
    flags: u32,
    operator: u64,
    rule: Option<u128>,
}

impl Hashes {
    /// Of all that a register has. Cost: some milliseconds, as for reading its rules.
    pub(crate) fn of(register: &Register) -> Result<Hashes, Damage> {
        let mut hashes = Hashes::default();
        let version = register.version();
        let rules = register.rules()?;
        for number in 0..rules.len() as u32 {
            let rule = rules.get(number).unwrap_or_else(|| RuleSet::new(Acceptance::AllExcept, Vec::new()));
            hashes.add_rule(&rule, &version.actors, &version.senders);
        }
        for &state in version.states.iter() {
            hashes.add_state(register.kind(), state, &version.actors, &version.operators);
        }
        let certificates = register.certificates()?;
        for number in 0..certificates {
            hashes.add_certificate(register.certificate(Some(number))?);
        }
        Ok(hashes)
    }

    /// Adds the next rule, whose senders have numbers.
    pub(crate) fn add_rule(&mut self, rule: &RuleSet, actors: &Actors, senders: &Numbers) {
        let places = rule.senders.iter().filter_map(|&sender| senders.place(sender));
        let mut ids: Vec<u64> = places.map(|place| of_id(&actors.senders[usize::from(place)].id)).collect();
        ids.sort_unstable();
        ids.push(u64::from(rule.acceptance == Acceptance::Only));
        self.rules.push(xxh3_128(bytemuck::cast_slice(&ids)));
    }

    /// Adds the next state, whose operator has a number. Its rule must be there.
    pub(crate) fn add_state(&mut self, kind: Kind, state: State, actors: &Actors, operators: &Numbers) {
        let place = state.operator().and_then(|number| operators.place(number));
        let operator = place.map_or(0, |place| of_id(&actors.operators[usize::from(place)].id));
        let of_rule = |number: u32| self.rules.get(number as usize).copied();
        let (flags, rule) = match kind {
            Kind::Far => {
                let FarState { account_type, pending, rule, .. } = state.into();
                let rule = match rule {
                    StateRule::AcceptsAll => of_rule(0),
                    StateRule::Shared(number) => of_rule(number),
                    StateRule::Listed => None,
                };
                (account_type as u32 | u32::from(pending) << 8, rule)
            }
            Kind::Krr => {
                let KrrState { reserved, deleted, .. } = state.into();
                (u32::from(reserved) | u32::from(deleted) << 8, None)
            }
        };
        self.states.push(StateHash { flags, operator, rule });
    }

    /// Adds the next certificate.
    pub(crate) fn add_certificate(&mut self, text: &str) {
        self.certificates.push(xxh3_128(text.as_bytes()));
    }

    /// Of a recipient as a register has it.
    pub(crate) fn record(&self, register: &Register, ordinal: Ordinal, at: &At<'_>) -> Result<Sum, Damage> {
        let code = at.view.codes.get(Slot(at.record));
        Ok(match register.kind() {
            Kind::Far => self.far(ordinal, code, || at.view.rule(at.record), register.times(at)?),
            Kind::Krr => {
                let finding = "a person's contact data cannot be read";
                let damaged = DamagedBlock { block: at.block(), finding };
                self.krr(ordinal, code, register.contact(at)?).ok_or(damaged)?
            }
        })
    }

    /// Of a recipient with a record that is made of it: `rule` if it is listed, and the cold entry.
    pub(crate) fn made(&self, kind: Kind, ordinal: Ordinal, code: u32, rule: u32, cold: &[u8]) -> Sum {
        match kind {
            Kind::Far => self.far(ordinal, code, || rule, times_of_entry(cold)),
            // It has been packed here.
            Kind::Krr => self.krr(ordinal, code, cold).unwrap_or_default(),
        }
    }

    fn far(&self, ordinal: Ordinal, code: u32, listed: impl FnOnce() -> u32, times: [i64; 2]) -> Sum {
        let state = self.states.get(code as usize).copied().unwrap_or_default();
        let rule = match state.rule {
            Some(rule) => rule,
            None => self.rules.get(listed() as usize).copied().unwrap_or_default(),
        };
        let [registration, change] = times.map(i64::cast_unsigned);
        let subject = u64::from(ordinal.0) << 32 | u64::from(state.flags);
        of_words(&[subject, state.operator, rule as u64, (rule >> 64) as u64, registration, change])
    }

    fn krr(&self, ordinal: Ordinal, code: u32, contact: &[u8]) -> Option<Sum> {
        let state = self.states.get(code as usize).copied().unwrap_or_default();
        let contact = Contact::packed(contact)?;
        let (contact, certificate) = match Contact::certificate_of(contact) {
            Some(number) => (&contact[..contact.len() - 4], *self.certificates.get(number as usize)?),
            None => (contact, 0),
        };
        let contact = xxh3_128(contact);
        let subject = u64::from(ordinal.0) << 32 | u64::from(state.flags);
        let [contact, certificate] = [contact, certificate].map(|hash| [hash as u64, (hash >> 64) as u64]);
        Some(of_words(&[subject, state.operator, contact[0], contact[1], certificate[0], certificate[1]]))
    }
}

fn of_id(id: &str) -> u64 {
    xxh3_64(id.as_bytes())
}

fn of_words(words: &[u64; 6]) -> Sum {
    let bytes: [[u8; 8]; 6] = words.map(u64::to_le_bytes);
    Sum(xxh3_128(bytes.as_flattened()))
}

/// Of all organisations. Those of KRR are what persons name.
pub(crate) fn of_actors(kind: Kind, actors: &Actors) -> Sum {
    if kind == Kind::Krr {
        return Sum::default();
    }
    let operators = actors.operators.iter().map(|operator| {
        let super::Operator { id, name, service_address, ui_address, internal_service_address, logo } =
            operator;
        of_texts(b'o', &[id, name, service_address, ui_address, internal_service_address, logo])
    });
    let senders =
        actors.senders.iter().map(|sender| of_texts(b's', &[&sender.id, &sender.name, &sender.attention]));
    let dispatchers = actors.dispatchers.iter().map(|dispatcher| {
        let senders = dispatcher.senders.iter().map(|&place| &actors.senders[usize::from(place)].id[..]);
        let texts: Vec<&str> = [&dispatcher.id[..], &dispatcher.name].into_iter().chain(senders).collect();
        of_texts(b'd', &texts)
    });
    operators.chain(senders).chain(dispatchers).sum()
}

fn of_texts(of: u8, texts: &[&str]) -> Sum {
    let mut bytes = vec![of];
    for text in texts {
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    Sum(xxh3_128(&bytes))
}

/// Calls `visit` for everybody whom two registers of one country do not have in the same way, in the order of their
/// ordinals.
///
/// Errors: a register is damaged; those of `visit`.
pub(crate) fn differing<E: From<Damage>>(
    one: &Register,
    other: &Register,
    mut visit: impl FnMut(Ordinal) -> Result<(), E>,
) -> Result<(), E> {
    let hashes = [Hashes::of(one)?, Hashes::of(other)?];
    for part in 0..one.index().parts() {
        let [ours, theirs] = [(one, &hashes[0]), (other, &hashes[1])].map(|(register, hashes)| {
            let mut sums = Vec::new();
            register.sums_of_part(hashes, part, |ordinal, sum| sums.push((ordinal, sum))).map(|()| sums)
        });
        let (ours, theirs) = (ours?, theirs?);
        let (mut ours, mut theirs) = (ours.into_iter().peekable(), theirs.into_iter().peekable());
        while let Some(next) = ours.peek().into_iter().chain(theirs.peek()).map(|(ordinal, _)| *ordinal).min()
        {
            let sum = ours.next_if(|(ordinal, _)| *ordinal == next);
            if sum != theirs.next_if(|(ordinal, _)| *ordinal == next) {
                visit(next)?;
            }
        }
    }
    Ok(())
}

impl Register {
    /// What tells its content from that of others.
    ///
    /// Cost: nothing, except for the first version of each register file that is asked: then all of the file is read,
    /// on all cores, which takes a fifth of a second for 8 million recipients.
    ///
    /// Errors: a part of the register is damaged.
    pub fn content(&self) -> Result<ContentDigest, Damage> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"nabar content 1\n").update(self.kind().name().as_bytes());
        hasher.update(&self.recipients().to_le_bytes()).update(&self.content_sum()?.0.to_le_bytes());
        Ok(ContentDigest(*hasher.finalize().as_bytes()))
    }

    pub(crate) fn content_sum(&self) -> Result<Sum, Damage> {
        let since = match self.version.content {
            Content::Whole(sum) => return Ok(sum),
            Content::SinceFile(since) => since,
        };
        if let Some(&sum) = self.base.content.get() {
            return Ok(sum + since);
        }
        let sum = self.at(self.base.first.clone()).content_anew()?;
        Ok(*self.base.content.get_or_init(|| sum) + since)
    }

    /// The sum, by reading all that the register has.
    pub(crate) fn content_anew(&self) -> Result<Sum, Damage> {
        let hashes = Hashes::of(self)?;
        let parts = self.index().parts();
        let groups = (0..parts.div_ceil(GROUP_PARTS)).into_par_iter();
        let sums = groups.map(|group| {
            let first = group * GROUP_PARTS;
            self.sum_of_parts(&hashes, first..parts.min(first + GROUP_PARTS))
        });
        let add = |sum: Sum, more: Result<Sum, Damage>| Ok::<_, Damage>(sum + more?);
        let records = sums.try_fold(Sum::default, add).try_reduce(Sum::default, |a, b| Ok(a + b))?;
        Ok(records + of_actors(self.kind(), &self.version.actors))
    }

    fn sum_of_parts(&self, hashes: &Hashes, parts: std::ops::Range<usize>) -> Result<Sum, Damage> {
        let mut sum = Sum::default();
        for part in parts {
            self.sums_of_part(hashes, part, |_, more| sum = sum + more)?;
        }
        Ok(sum)
    }

    /// Calls `visit` with the hash of everybody in a part.
    fn sums_of_part(
        &self,
        hashes: &Hashes,
        part: usize,
        mut visit: impl FnMut(Ordinal, Sum),
    ) -> Result<(), Damage> {
        let index = &self.index();
        let Some(view) = index.view(self.trust(), part)? else { return Ok(()) };
        for (record, offset) in (0..).zip(view.offsets()) {
            let ordinal = Ordinal(index.first_of(part).0 + offset);
            let at = At { index, part, offset: offset as u16, record, view };
            visit(ordinal, hashes.record(self, ordinal, &at)?);
        }
        Ok(())
    }

    /// Takes over what is known of the sum of another version, which this one is made of: its register file has the
    /// same content.
    pub(crate) fn has_content_of(&self, other: &Register) {
        let known = match other.version.content {
            Content::Whole(sum) => Some(sum),
            Content::SinceFile(since) => other.base.content.get().map(|&sum| sum + since),
        };
        known.map(|sum| self.base.content.set(sum));
    }
}

#[cfg(test)]
mod tests {
    use crate::store::{self, Lines, Reader, Writer};
    use std::collections::HashSet;
    use std::fs;
    use std::path::Path;

    /// Every change of the fixtures makes another content of it, except those that are made to change nothing; and
    /// neither a checkpoint nor the way through an extract does.
    #[test]
    fn content_is_what_counts() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        for kind in ["far", "krr"] {
            let directory = tempfile::tempdir().expect("directory");
            let data = directory.path().join("data");
            store::init(&fixtures.join(kind), &data).expect("a data directory");
            let writer = Writer::open(&data).expect("a writer");
            let content = || writer.register().content().expect("undamaged").to_string();
            let text = fs::read(fixtures.join("changes").join(format!("{kind}.jsonl"))).expect("changes");
            let mut seen = HashSet::from([content()]);
            let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
            for line in &lines {
                writer.apply(Lines::parse(line, writer.kind()), false).expect("applied");
                seen.insert(content());
            }
            assert!(seen.len() > lines.len() * 9 / 10, "{} of {}", seen.len(), lines.len());

            let last = content();
            writer.checkpoint(false).expect("a checkpoint");
            assert_eq!(content(), last);
            let reader = Reader::open(&data).expect("a reader").register();
            assert_eq!(reader.content().expect("undamaged").to_string(), last, "read from the new file");
            let extract = directory.path().join("extract");
            crate::extract::export(&reader, &extract).expect("exported");
            let built = directory.path().join("built.nabar");
            crate::extract::build(&extract, &built, false).expect("built");
            let built =
                crate::snapshot::Snapshot::open(&built).and_then(|file| file.register()).expect("open");
            assert_eq!(built.content().expect("undamaged").to_string(), last, "built of its extract");
        }
    }
}
