//! The real binary against a naive model: hash maps, identities read digit by digit, and a reader of lists
//! that walks over the bytes one row at a time.
//!
//! Every case makes a random register and a random dirty list from a fixed seed, runs `nabar build`,
//! `split`, `check` and `lookup` in a new directory, and compares every file byte for byte. The
//! model shares no code with nabar, so a misreading of the rules shows unless both misread alike. Against that there are
//! small lists with expected results written by hand (`examples.rs`), with which model and binary are both compared.
//!
//! `form.rs` decides the format of a list, `rows.rs` cuts it into rows, `identities.rs` reads a cell, `guard.rs` looks for
//! further identities, `expected.rs` decides the fate of each row. `lists.rs` makes random lists of rows from `maker.rs`.
//!
//! Budget: [`LISTS`] lists in each of five registers, seven runs of nabar each; and nine lists of
//! several megabytes for what happens where lists are cut into chunks. Some 30 seconds in all on two
//! cores. A failure prints the seed of its list, and the list cut down to what still fails. `NABAR_BINARY` names
//! another binary to test.

mod binary;
mod columns;
mod delimiter;
mod example_forms;
mod example_rows;
mod examples;
mod expected;
mod fixed;
mod form;
mod guard;
mod identities;
mod lists;
mod maker;
mod names;
mod registers;
mod rows;
mod test_numbers;

use crate::support::random::Random;
use binary::{Built, FORMS, Form, build, shrunk};
use expected::expected;
use identities::Day;
use lists::{List, long, long_header};
use maker::Maker;
use registers::{Register, far, krr};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Random lists for each register.
const LISTS: u64 = 60;
/// After so many lists on which the binary and the model differ a test ends.
const FAILURES_MAX: usize = 5;
/// Bytes of a chunk of a list, and the most of a quoted row.
const MEBIBYTE: usize = 1 << 20;

/// Builds a random register in a directory.
fn built<'a>(
    directory: &'a Path,
    seed: u64,
    register: impl FnOnce(&mut Random, &Path) -> Register,
) -> (Random, Built<'a>) {
    let mut random = Random::new(seed);
    let extract = directory.join("extract");
    fs::create_dir(&extract).expect("created");
    let register = register(&mut random, &extract);
    build(directory, "extract", "register.nabar");
    (random, Built { directory, file: "register.nabar", register })
}

/// Compares; describes a difference with the shortest list that was found.
fn disagreement(built: &Built<'_>, list: &List, seed: u64) -> Option<String> {
    let difference = built.compare(list, &FORMS).err()?;
    let (list, difference) = shrunk(built, list, difference);
    let bytes = list.bytes();
    Some(format!(
        "seed {seed}, {:?} on {}\n{difference}\nthe list, {} bytes: {}\n",
        list.options.arguments(),
        list.day,
        bytes.len(),
        bytes[..bytes.len().min(3000)].escape_ascii()
    ))
}

fn agree(built: &Built<'_>, list: &List, seed: u64) {
    if let Some(difference) = disagreement(built, list, seed) {
        panic!("{difference}");
    }
}

fn random_lists(seed: u64, around: Day, register: impl FnOnce(&mut Random, &Path) -> Register) {
    let directory = tempfile::tempdir().expect("a directory");
    let (_, built) = built(directory.path(), seed, register);
    let mut failures: Vec<String> = Vec::new();
    for number in 0..LISTS {
        let seed = seed * 1000 + number;
        let mut random = Random::new(seed);
        let day = match random.below(4) {
            0 => Day::new(random.between(2024, 2032), random.between(1, 12), random.between(1, 28)),
            _ => around,
        };
        let rows = *random.pick(&[0, 1, 2, 5, 20, 60, 200, 400]);
        let list = lists::list(&mut random, &built.register, rows, day);
        failures.extend(disagreement(&built, &list, seed));
        if failures.len() == FAILURES_MAX {
            break;
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

const AROUND: Day = Day { year: 2026, month: 6, day: 1 };

#[test]
fn lists_for_a_far_register_of_today() {
    random_lists(1, AROUND, |random, extract| far(random, extract, 5, 1500));
}

#[test]
fn lists_for_a_far_register_with_many_operators_and_rules() {
    random_lists(2, AROUND, |random, extract| far(random, extract, 40, 4000));
}

#[test]
fn lists_for_a_far_register_with_few_recipients() {
    random_lists(3, Day::new(2024, 2, 29), |random, extract| far(random, extract, 3, 40));
}

#[test]
fn lists_for_a_krr_register() {
    random_lists(4, AROUND, |random, extract| krr(random, extract, AROUND, 1200));
}

#[test]
fn lists_for_a_krr_register_at_the_end_of_february() {
    let around = Day::new(2026, 2, 28);
    random_lists(5, around, |random, extract| krr(random, extract, around, 600));
}

/// Without the binary: the random lists have every outcome and every reason, and not too many are refused.
#[test]
fn random_lists_have_every_kind_of_row() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut refused, mut read, mut names) = (0, 0, BTreeMap::<String, u64>::new());
    for (kind, country) in ["far", "krr"].into_iter().enumerate() {
        let extract = directory.path().join(country);
        fs::create_dir(&extract).expect("created");
        let mut random = Random::new(90 + kind as u64);
        let register = match country {
            "far" => far(&mut random, &extract, 5, 1500),
            _ => krr(&mut random, &extract, AROUND, 1200),
        };
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let list = lists::list(&mut random, &register, 60, AROUND);
            let Ok(expected) = expected(&list, &list.bytes(), &register) else {
                refused += 1;
                continue;
            };
            read += 1;
            let report = &expected.report;
            for counts in ["outcomes", "reasons"] {
                for (name, count) in report[counts].as_object().expect("counts") {
                    *names.entry(name.clone()).or_insert(0) += count.as_u64().expect("a number");
                }
            }
            for name in ["more_than_one_identity", "second_ids", "duplicates"] {
                *names.entry(format!("{name} in the report")).or_insert(0) +=
                    report[name].as_u64().expect("a number");
            }
            for (name, is_so) in [
                ("skipped rows", report["list"]["skipped_rows"] != 0),
                ("no header", report["list"]["header_row"].is_null()),
                ("windows-1252", report["list"]["encoding"] == "windows-1252"),
            ] {
                *names.entry(name.to_owned()).or_insert(0) += u64::from(is_so);
            }
        }
    }
    assert!(refused > 5 && refused < read / 4, "{refused} refused, {read} read");
    for name in [
        "digital",
        "notify",
        "paper",
        "rejected",
        "duplicate",
        "empty",
        "bad_character",
        "bad_length",
        "bad_century",
        "bad_date",
        "bad_organisation_number",
        "bad_check_digit",
        "ambiguous",
        "scientific_notation",
        "missing_column",
        "bad_quoting",
        "blank_row",
        "repeated_header",
        "footer",
        "joined_rows",
        "more_than_one_identity",
        "more_than_one_identity in the report",
        "second_ids in the report",
        "skipped rows",
        "no header",
        "windows-1252",
    ] {
        assert!(names.get(name).is_some_and(|&count| count >= 5), "{name}: too few in {names:#?}");
    }
}

/// Never-closed quotation marks and quoted cells of several lines wherever a list may be cut.
#[test]
fn long_lists_with_dirt_where_they_are_cut() {
    let directory = tempfile::tempdir().expect("a directory");
    let (_, built) = built(directory.path(), 6, |random, extract| far(random, extract, 5, 3000));
    for seed in [61, 62, 63] {
        let mut random = Random::new(seed);
        let maker = Maker::for_long_lists(&mut random, &built.register, seed as usize % 4);
        let hostile = maker.clone().hostile();
        let mut pieces = vec![long_header(&maker, "pnr", true)];
        let mut at = pieces[0].len();
        while at < 4 * MEBIBYTE + 300_000 {
            let is_near = at % MEBIBYTE < 50_000 || at % MEBIBYTE > MEBIBYTE - 50_000;
            let row = if is_near { hostile.row(&mut random) } else { maker.row(&mut random) };
            at += row.len();
            pieces.push(row);
        }
        agree(&built, &long(pieces, &maker, &mut random), seed);
    }
}

/// A guess where to cut is wrong in the middle of a cell with hundreds of lines, each of which looks like
/// a row but for its identity. The cell stands where the first, second or third chunk ends. With identities in them
/// the lines are rows, and the quotation mark before them was never closed.
#[test]
fn long_lists_with_a_quoted_cell_of_hundreds_of_lines_where_they_are_cut() {
    let directory = tempfile::tempdir().expect("a directory");
    let around = Day::new(2026, 6, 1);
    let (_, built) = built(directory.path(), 7, |random, extract| krr(random, extract, around, 2000));
    for (seed, cells, has_ids) in [
        (71, &[1][..], false),
        (72, &[2], false),
        (73, &[3], false),
        (74, &[1, 2, 4], false),
        (75, &[1, 3], true),
        (76, &[2, 4], true),
    ] {
        let mut random = Random::new(seed);
        let maker = Maker::for_long_lists(&mut random, &built.register, 0);
        let mut pieces = vec![long_header(&maker, "fnr", false)];
        // Where the chunk begins, and its number from 1.
        let (mut at, mut chunk_start, mut chunk) = (pieces[0].len(), pieces[0].len(), 1);
        while at < 4 * MEBIBYTE + 400_000 {
            let mut row = maker.row(&mut random);
            let chunk_end = chunk_start + MEBIBYTE;
            if cells.contains(&chunk) && at > chunk_end - 20_000 {
                row = maker.row_of_many_lines(&mut random, 1400, has_ids);
                assert!(at + row.len() > chunk_end + 5_000, "the cell straddles the cut");
            }
            at += row.len();
            pieces.push(row);
            if at >= chunk_end {
                (chunk_start, chunk) = (at, chunk + 1);
            }
        }
        agree(&built, &long(pieces, &maker, &mut random), seed);
    }
}

/// Rows whose quoted cells end just before, at and just after the most that a row may have.
#[test]
fn quoted_cells_at_the_limit_of_a_row() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut random, built) = built(directory.path(), 8, |random, extract| far(random, extract, 3, 100));
    let id = built.register.ids[0].clone();
    let mut failures = Vec::new();
    for (name, close_at, tail) in [
        ("the closing mark is the last byte within", MEBIBYTE - 1, "\"\n"),
        ("the closing mark is beyond", MEBIBYTE, "\"\n"),
        ("a doubled mark within", MEBIBYTE - 3, "\"\"\"\n"),
        ("a doubled mark of which half is beyond", MEBIBYTE - 1, "\"\"\"\n"),
        ("closed, and a delimiter beyond", MEBIBYTE - 1, "\";x\n"),
        ("closed, and a carriage return beyond", MEBIBYTE - 1, "\"\r\n"),
        ("closed, and a line end beyond", MEBIBYTE - 2, "\"\r\n"),
        ("another quoted cell begins beyond", MEBIBYTE - 1, "\";\"x\"\n"),
        ("another quoted cell begins beyond after text", MEBIBYTE - 9, "\";a text;\"x\"\n"),
        ("another quoted cell begins within and ends beyond", MEBIBYTE - 3, "\";\"x\"\n"),
        ("text after the closing mark", MEBIBYTE - 1, "\"x\n"),
        ("the list ends", MEBIBYTE - 1, "\""),
    ] {
        // The row stands at the beginning, and where a chunk has its last row.
        for before in [0, 1, MEBIBYTE - 1, MEBIBYTE] {
            let first_line = format!("{id};\"\n");
            let mut row = first_line.into_bytes();
            row.resize(close_at, b'x');
            row.extend_from_slice(tail.as_bytes());
            let mut pieces = Vec::new();
            if before > 0 {
                let mut filler = format!("{id};").into_bytes();
                filler.resize(before.max(20) - 1, b'y');
                filler.push(b'\n');
                pieces.push(filler);
            }
            pieces.push(row);
            if tail.ends_with('\n') {
                // More than the buffer of a stream.
                pieces.extend((0..1100).map(|_| format!("{id};{}\r\n", "z".repeat(1000)).into_bytes()));
            }
            let list = lists::plain(&mut random, pieces);
            for form in [Form::Plain { threads: 2 }, Form::StandardInput] {
                if let Err(difference) = built.compare(&list, &[form]) {
                    let short: Vec<&str> = difference.lines().take(3).collect();
                    failures.push(format!("{name}, after {before} bytes: {}", short.join("\n")));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
}
