//! Mailing lists: which ids are on the list, and in which order.

use std::io::Write;
use std::path::Path;

use crate::dirt::Dirt;
use crate::extract::{self, Header, Result};
use crate::identity::Register;
use crate::more_dirt::{Kinds, ListDirt};
use crate::population;
use crate::random::{MILLION, Random, Stream};
use crate::row::{Dialect, Row};
use crate::spelling::spell;
use crate::universe::Universe;

/// What the command asks for. Shares are in millionths.
pub struct Options {
    pub rows: u64,
    pub seed: u64,
    pub hits: u64,
    pub dirt: u64,
    pub dirt_kinds: Kinds,
    pub dirt_list: Vec<ListDirt>,
    pub duplicates: u64,
    pub spellings: u64,
    pub ordered: bool,
    pub test_numbers: bool,
    pub dialect: Dialect,
}

/// What was written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub rows: u64,
    pub in_register: u64,
    pub not_in_register: u64,
    pub duplicates: u64,
    pub dirty: u64,
}

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Draws for missing ids may meet the register or each other this many times over.
const MOST_ROUNDS: u64 = 200;
/// After so many rounds the register has nearly everybody who is likely, and anybody will do.
const LIKELY_ROUNDS: u64 = 20;

/// Writes a list for the people of an extract.
pub fn write(extract: &Path, output: &Path, options: &Options) -> Result<Summary> {
    let (header, ids) = extract::read(extract)?;
    let (plan, mut summary) = plan(header.register, ids, options)?;
    let mut out = extract::create(output)?;
    summary.dirty = write_rows(&mut out, &header, &plan, options)?;
    out.flush()?;
    Ok(summary)
}

fn share(count: u64, millionths: u64) -> u64 {
    (u128::from(count) * u128::from(millionths) / u128::from(MILLION)) as u64
}

/// Chooses the id of every row.
fn plan(register: Register, mut ids: Vec<u64>, options: &Options) -> Result<(Vec<u64>, Summary)> {
    let duplicates = share(options.rows, options.duplicates);
    let distinct = options.rows - duplicates;
    let hits = share(distinct, options.hits);
    if hits > ids.len() as u64 {
        let known = ids.len();
        return Err(format!("{hits} rows should be in the register, which has {known} ids").into());
    }
    ids.sort_unstable();
    let universe = match register {
        Register::Far => population::swedish(options.test_numbers),
        Register::Krr => population::norwegian(options.test_numbers),
    };
    let mut random = Random::new(options.seed, Stream::Choice, 0);
    let missing = choose_missing(&universe, &ids, distinct - hits, &mut random)?;
    random.shuffle_front(&mut ids, hits as usize);
    ids.truncate(hits as usize);
    ids.extend(missing);
    for _ in 0..if distinct == 0 { 0 } else { duplicates } {
        ids.push(ids[random.index(distinct as usize)]);
    }
    if options.ordered {
        ids.sort_unstable();
    } else {
        Random::new(options.seed, Stream::Order, 0).shuffle(&mut ids);
    }
    let rows = ids.len() as u64;
    let not_in_register = distinct - hits;
    Ok((ids, Summary { rows, in_register: hits, not_in_register, duplicates, dirty: 0 }))
}

/// `count` distinct valid ids that are not among the ascending ids `known`.
fn choose_missing(universe: &Universe, known: &[u64], count: u64, random: &mut Random) -> Result<Vec<u64>> {
    let mut missing: Vec<u64> = Vec::new();
    for round in 0..MOST_ROUNDS {
        let draw = if round < LIKELY_ROUNDS { Universe::draw } else { Universe::draw_evenly };
        let wanted = (count as usize).saturating_sub(missing.len());
        if wanted == 0 {
            break;
        }
        let drawn = (0..wanted + wanted / 4 + 16).filter_map(|_| draw(universe, random));
        missing.extend(drawn.filter(|id| known.binary_search(id).is_err()));
        missing.sort_unstable();
        missing.dedup();
    }
    if (missing.len() as u64) < count {
        return Err(format!("there are not {count} valid ids outside the register").into());
    }
    random.shuffle_front(&mut missing, count as usize);
    missing.truncate(count as usize);
    Ok(missing)
}

/// Writes the rows and returns how many are dirty.
fn write_rows(out: &mut impl Write, header: &Header, plan: &[u64], options: &Options) -> Result<u64> {
    let dialect = &options.dialect;
    let mut line = Vec::with_capacity(1024);
    dialect.push_start(&mut line, header.register);
    let bom = if line.starts_with(BOM) { BOM.len() } else { 0 };
    out.write_all(&line[..bom])?;
    ListDirt::write_start(&options.dirt_list, out, dialect)?;
    out.write_all(&line[bom..])?;
    let mut row = Row::default();
    let mut dirty = 0;
    let middle = plan.len() / 2;
    let has = |dirt| options.dirt_list.contains(&dirt);
    for (index, &id) in plan.iter().enumerate() {
        if index == middle && has(ListDirt::SecondHeader) {
            line.clear();
            line.extend_from_slice(BOM);
            dialect.push_header(&mut line, header.register);
            out.write_all(&line)?;
        }
        let mut random = Random::new(options.seed, Stream::Row, index as u64);
        let spelt = if random.chance(options.spellings) {
            spell(header, id, &mut random)
        } else {
            format!("{id:0width$}", width = header.register.width())
        };
        row.fill(dialect, header.register, id, &spelt, &mut random);
        if random.chance(options.dirt) {
            Dirt::draw(options.dirt_kinds, &mut random).apply(
                &mut row,
                header.register,
                id,
                dialect,
                &mut random,
            );
            dirty += 1;
        }
        line.clear();
        row.push(&mut line, dialect);
        // What follows the last row brings its own line ends.
        if index + 1 == plan.len() && (has(ListDirt::NoLineEnd) || has(ListDirt::Footer)) {
            line.truncate(line.strip_suffix(dialect.line_end_bytes()).unwrap_or(&line).len());
        }
        out.write_all(&line)?;
    }
    ListDirt::write_end(&options.dirt_list, out, dialect, plan.len())?;
    Ok(dirty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::Moment;
    use crate::row::{Delimiter, Encoding, IdColumn, LineEnd, Quotes};
    use crate::text::checksum;

    fn options(seed: u64, dirt: u64) -> Options {
        Options {
            rows: 4000,
            seed,
            hits: 650_000,
            dirt,
            dirt_kinds: Kinds::Usual,
            dirt_list: Vec::new(),
            duplicates: 5_000,
            spellings: 20_000,
            ordered: false,
            test_numbers: true,
            dialect: Dialect {
                delimiter: Delimiter::Semicolon,
                quotes: Quotes::Some,
                line_end: LineEnd::Lf,
                encoding: Encoding::Utf8,
                header: true,
                id_column: IdColumn::First,
            },
        }
    }

    fn sample(register: Register, options: &Options) -> Vec<u8> {
        let universe = match register {
            Register::Far => population::swedish(true),
            Register::Krr => population::norwegian(true),
        };
        let ids = universe.select(5000, 1).unwrap();
        let (plan, _) = plan(register, ids, options).unwrap();
        let as_of = Moment::parse("2026-06-01T04:00:00Z").unwrap();
        let mut out = Vec::new();
        write_rows(&mut out, &Header { register, sequence: 1, as_of }, &plan, options).unwrap();
        out
    }

    #[test]
    fn same_seed_same_bytes() {
        for register in [Register::Far, Register::Krr] {
            let first = sample(register, &options(1, 10_000));
            assert_eq!(first, sample(register, &options(1, 10_000)));
            assert_ne!(first, sample(register, &options(2, 10_000)));
        }
    }

    /// Pins the output itself: a change here changes every fixture and every benchmark's data.
    #[test]
    fn the_output_never_changes() {
        assert_eq!(checksum(&sample(Register::Far, &options(1, 10_000))), 7_721_318_212_891_169_660);
        assert_eq!(checksum(&sample(Register::Krr, &options(1, 10_000))), 900_730_700_274_212_239);
    }

    #[test]
    fn shares_are_exact_and_ids_distinct() {
        let known = population::swedish(true).select(5000, 1).unwrap();
        let (mut ids, summary) = plan(Register::Far, known.clone(), &options(1, 0)).unwrap();
        assert_eq!((summary.rows, summary.duplicates), (4000, 20));
        assert_eq!((summary.in_register, summary.not_in_register), (2587, 1393));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 3980);
        assert_eq!(ids.iter().filter(|id| known.binary_search(id).is_ok()).count(), 2587);
    }

    #[test]
    fn more_hits_than_ids_is_an_error() {
        assert!(plan(Register::Far, vec![1, 2, 3], &options(1, 0)).is_err());
    }

    #[test]
    fn a_clean_list_has_six_columns_in_every_row() {
        let text = String::from_utf8(sample(Register::Far, &options(1, 0))).unwrap();
        assert_eq!(text.lines().count(), 4001);
        for line in text.lines() {
            let mut inside = false;
            let delimiters = line.bytes().filter(|&byte| {
                inside ^= byte == b'"';
                byte == b';' && !inside
            });
            assert_eq!(delimiters.count(), 5, "{line}");
        }
    }

    #[test]
    fn dirt_is_as_frequent_as_asked() {
        let text = sample(Register::Krr, &options(1, 100_000));
        assert!(text.contains(&0), "a NUL byte");
        assert!(String::from_utf8(text).is_err(), "a byte that is not UTF-8");
    }

    #[test]
    fn further_kinds_are_drawn_only_if_asked_for() {
        for register in [Register::Far, Register::Krr] {
            let usual = sample(register, &options(1, 200_000));
            let all = sample(register, &Options { dirt_kinds: Kinds::All, ..options(1, 200_000) });
            let has = |list: &[u8], text: &[u8]| list.windows(text.len()).any(|window| window == text);
            for text in
                [&b"=\""[..], b"\r\r\n", b"\xE2\x80\x8B", b"Antal: 4711", b"c/o ", b"SKYDDAD", b"\x0B"]
            {
                assert!(has(&all, text) && !has(&usual, text), "{}", text.escape_ascii());
            }
        }
    }

    #[test]
    fn a_list_has_the_dirt_that_is_asked_for() {
        let clean = sample(Register::Far, &options(1, 0));
        let list = |dirt_list: Vec<ListDirt>| sample(Register::Far, &Options { dirt_list, ..options(1, 0) });
        assert_eq!(list(vec![ListDirt::Sep]), [b"sep=;\n", &clean[..]].concat());
        assert_eq!(list(vec![ListDirt::Title]), [b"Utskick juni\n2026-06-01\n\n", &clean[..]].concat());
        assert_eq!(list(vec![ListDirt::Footer]), [&clean[..], b"Summa;;12 st\nAntal: 4000\n"].concat());
        assert_eq!(list(vec![ListDirt::CtrlZ]), [&clean[..], b"\x1A"].concat());
        assert_eq!(list(vec![ListDirt::NoLineEnd]), clean[..clean.len() - 1]);
        let twice = list(vec![ListDirt::SecondHeader]);
        let header = clean.split_inclusive(|&byte| byte == b'\n').next().expect("a header");
        assert_eq!(twice.len(), clean.len() + 3 + header.len());
    }
}
