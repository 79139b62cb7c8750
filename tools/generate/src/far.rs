//! The Swedish extract: recipients and the senders that they accept.

use std::io::Write;
use std::path::Path;

use crate::actors::Actors;
use crate::calendar::{Date, Moment};
use crate::extract::{Header, Result, create};
use crate::identity::is_organisation;
use crate::population;
use crate::random::{Random, Stream};
use crate::text::push_padded;

/// Arguments of the command.
pub struct Options {
    pub recipients: u64,
    pub senders: usize,
    pub seed: u64,
    pub ordered: bool,
    pub test_numbers: bool,
}

const HEADER: &[u8] = b"recipient_id,type,pending,operator_id,last_registration,acceptance,\
exceptions,last_sender_accept_change\n";

const MOST_EXCEPTIONS: usize = 30;
pub const MOST_ONLY: u64 = 20;

/// How a recipient is known in the register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Secure,
    Anonymous,
    Not,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Secure, Kind::Anonymous, Kind::Not];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Secure => "Secure",
            Kind::Anonymous => "Anonymous",
            Kind::Not => "Not",
        }
    }
}

/// Writes the extract directory.
pub fn write(directory: &Path, header: &Header, options: &Options) -> Result<()> {
    let mut ids = population::swedish(options.test_numbers).select(options.recipients, options.seed)?;
    if !options.ordered {
        Random::new(options.seed, Stream::Order, 0).shuffle(&mut ids);
    }
    let actors = Actors::new(options.seed, options.senders, options.test_numbers);
    std::fs::create_dir_all(directory)?;
    std::fs::write(directory.join("register.toml"), header.text())?;
    std::fs::write(directory.join("operators.csv"), actors.operators_csv())?;
    std::fs::write(directory.join("senders.csv"), actors.senders_csv())?;
    std::fs::write(directory.join("dispatchers.csv"), actors.dispatchers_csv())?;
    let mut out = create(&directory.join("recipients.csv"))?;
    write_recipients(&mut out, &ids, &actors, options.seed, header.as_of)?;
    out.flush()?;
    Ok(())
}

fn write_recipients(
    out: &mut impl Write,
    ids: &[u64],
    actors: &Actors,
    seed: u64,
    as_of: Moment,
) -> Result<()> {
    out.write_all(HEADER)?;
    let mut line = Vec::with_capacity(1024);
    for &id in ids {
        line.clear();
        push_recipient(&mut line, id, actors, seed, as_of);
        out.write_all(&line)?;
    }
    Ok(())
}

fn push_recipient(line: &mut Vec<u8>, id: u64, actors: &Actors, seed: u64, as_of: Moment) {
    let mut random = Random::new(seed, Stream::Recipient, id);
    let kind = draw_kind(&mut random);
    let pending = draw_pending(&mut random, kind, id);
    push_padded(line, id, 12);
    line.push(b',');
    line.extend_from_slice(kind.name().as_bytes());
    line.push(b',');
    line.extend_from_slice(if pending { b"true," } else { b"false," });
    if kind != Kind::Not {
        push_padded(line, actors.draw_operator(&mut random), 12);
    }
    line.push(b',');
    let registered = draw_registration(&mut random, as_of);
    if !random.chance(if kind == Kind::Not { 500_000 } else { 41_000 }) {
        registered.push_utc(line);
    }
    let earliest = registered;
    push_acceptance(line, &mut random, kind, actors, earliest, as_of);
    line.push(b'\n');
}

pub fn draw_kind(random: &mut Random) -> Kind {
    match random.weighted(&[970, 10, 20]) {
        0 => Kind::Secure,
        1 => Kind::Anonymous,
        _ => Kind::Not,
    }
}

/// Companies are often pending, for several signatures; persons rarely.
fn draw_pending(random: &mut Random, kind: Kind, id: u64) -> bool {
    let millionths = if is_organisation(id) { 19_000 } else { 700 };
    kind != Kind::Not && random.chance(millionths)
}

/// Between the start of the service and `as_of`; later days are likelier.
fn draw_registration(random: &mut Random, as_of: Moment) -> Moment {
    let start = Moment(Date::new(2013, 1, 1).days() * crate::calendar::DAY_SECONDS);
    let span = (as_of.0 - start.0) as u64;
    let later = random.below(span).max(random.below(span));
    Moment(start.0 + later as i64)
}

fn push_acceptance(
    line: &mut Vec<u8>,
    random: &mut Random,
    kind: Kind,
    actors: &Actors,
    earliest: Moment,
    as_of: Moment,
) {
    let roll = random.below(1000);
    let (rule, count) = match roll {
        _ if kind == Kind::Not => ("all-except", 0),
        0..2 => ("only", 1 + random.below(MOST_ONLY) as usize),
        2..32 => ("all-except", draw_exception_count(random)),
        _ => ("all-except", 0),
    };
    line.push(b',');
    line.extend_from_slice(rule.as_bytes());
    line.push(b',');
    let senders = actors.draw_senders(random, count);
    for (index, sender) in senders.into_iter().enumerate() {
        if index > 0 {
            line.push(b' ');
        }
        push_padded(line, sender, 12);
    }
    line.push(b',');
    if count > 0 {
        let span = (as_of.0 - earliest.0).max(1) as u64;
        Moment(earliest.0 + random.below(span) as i64).push_utc(line);
    }
}

/// Mostly one or two, with a long tail.
pub fn draw_exception_count(random: &mut Random) -> usize {
    let mut count = 1;
    let mut goes_on = 400_000;
    while count < MOST_EXCEPTIONS && random.chance(goes_on) {
        count += 1;
        goes_on = if count < 3 { 500_000 } else { 850_000 };
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::checksum;

    fn sample(seed: u64, count: u64) -> String {
        let ids = population::swedish(true).select(count, seed).unwrap();
        let actors = Actors::new(seed, 240, true);
        let as_of = Moment::parse("2026-06-01T04:00:00Z").unwrap();
        let mut out = Vec::new();
        write_recipients(&mut out, &ids, &actors, seed, as_of).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn same_seed_same_bytes() {
        assert_eq!(sample(1, 1000), sample(1, 1000));
        assert_ne!(sample(1, 1000), sample(2, 1000));
    }

    /// Pins the output itself: a change here changes every fixture and every benchmark's data.
    #[test]
    fn the_output_never_changes() {
        assert_eq!(checksum(sample(1, 1000).as_bytes()), 4_733_006_651_732_548_848);
    }

    #[test]
    fn rows_are_consistent() {
        let (mut exceptions, mut not) = (0, 0);
        for line in sample(1, 20_000).lines().skip(1) {
            let fields: Vec<&str> = line.split(',').collect();
            assert_eq!(fields.len(), 8, "{line}");
            assert_eq!(fields[1] == "Not", fields[3].is_empty(), "{line}");
            assert_eq!(fields[6].is_empty(), fields[7].is_empty(), "{line}");
            assert!(fields[7].is_empty() || fields[7] >= fields[4], "{line}");
            exceptions += usize::from(!fields[6].is_empty());
            not += usize::from(fields[1] == "Not");
        }
        assert!((500..800).contains(&exceptions), "{exceptions}");
        assert!((300..500).contains(&not), "{not}");
    }
}
