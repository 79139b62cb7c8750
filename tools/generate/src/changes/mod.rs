//! Streams of changes that follow an extract: one JSON object per line.
//!
//! Every change is consistent with those before it: it names only recipients, operators and senders that exist at its
//! position in the stream. The register is therefore kept in memory, some 64 bytes per recipient, and changed along with
//! the lines. A removed entry is not referenced until it returns, and old references are not restored: a recipient whose
//! operator is removed has none afterwards.

mod actors;
mod far;
mod krr;
mod newcomers;
mod recipients;
mod slots;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::Path;

use crate::calendar::{Instant, Moment};
use crate::extract::{self, Header, Result};
use crate::identity::Register;
use crate::json::Object;
use crate::random::{Random, Stream};

/// Arguments of the command.
pub struct Options {
    pub count: u64,
    pub seed: u64,
    pub test_numbers: bool,
}

/// A hundred changes per second.
const STEP_MILLISECONDS: u64 = 10;

/// A register that changes.
trait Source {
    /// Draws the next change, makes it, and writes it as a member of `line`.
    fn push_change(
        &mut self,
        line: &mut Object<'_>,
        index: u64,
        now: Instant,
        random: &mut Random,
    ) -> Result<()>;
}

/// Writes the changes of an extract.
pub fn write(extract: &Path, out: &mut impl Write, options: &Options) -> Result<()> {
    let header = extract::read_header(extract)?;
    match header.register {
        Register::Far => write_lines(out, &header, options, &mut far::Far::read(extract, options)?),
        Register::Krr => {
            let (header, ids) = extract::read(extract)?;
            write_lines(out, &header, options, &mut krr::Krr::new(ids, options)?)
        }
    }
}

fn write_lines(
    out: &mut impl Write,
    header: &Header,
    options: &Options,
    register: &mut impl Source,
) -> Result<()> {
    let mut line = Vec::with_capacity(4096);
    for index in 0..options.count {
        let now = time(header.as_of, index).ok_or("the stream goes beyond the year 2261")?;
        let mut random = Random::new(options.seed, Stream::Change, index);
        line.clear();
        let mut object = Object::open(&mut line);
        let sequence =
            header.sequence.checked_add(1 + index).ok_or("there are no higher sequence numbers")?;
        object.number("sequence", sequence);
        object.text_with("time", |out| now.push_utc(out));
        register.push_change(&mut object, index, now, &mut random)?;
        object.close();
        line.push(b'\n');
        out.write_all(&line)?;
    }
    out.flush()?;
    Ok(())
}

/// The time of a change. The first is in the second after the extract's, whose decimals are not read.
fn time(as_of: Moment, index: u64) -> Option<Instant> {
    let milliseconds = index.checked_mul(STEP_MILLISECONDS)?;
    let second = as_of.0.checked_add_unsigned(milliseconds / 1000 + 1)?;
    Instant::new(Moment(second), (milliseconds % 1000) as i64 * 1_000_000)
}
