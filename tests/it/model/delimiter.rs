//! The delimiter of a list.

use super::form::{
    CANNOT_BE_DONE, HEADER_ROWS, ListOptions, Refusal, cells_of, encoding, holds_person, sample, skip,
};
use super::identities::Country;
use super::names::{Known, decoded, is_usual, is_weak_name, known};
use super::rows::Row;

/// The delimiter that finds the most identities in the first rows.
pub(super) fn tried(
    bytes: &[u8],
    start: usize,
    options: &ListOptions,
    country: Country,
    is_identity: &dyn Fn(&[u8]) -> bool,
) -> Result<Option<u8>, Refusal> {
    let mut all = Vec::new();
    for delimiter in *b";\t|," {
        let start = skip(bytes, start, options.skip_rows);
        let rows = sample(bytes, start, Some(delimiter));
        let widest = rows.iter().map(|(_, row)| cells_of(row).len()).max().unwrap_or(0);
        // Rows with an identity, or all if none has one; the smaller number of cells of equals.
        let has = |(at, row): &(usize, Row<'_>)| holds_person(bytes, *at, row, is_identity);
        let any = rows.iter().any(has);
        let counts: Vec<usize> =
            rows.iter().filter(|row| !any || has(row)).map(|(_, row)| cells_of(row).len()).collect();
        let often = |cells: usize| counts.iter().filter(|&&other| other == cells).count();
        let most = counts.iter().map(|&cells| (often(cells), std::cmp::Reverse(cells))).max();
        let Some((alike, std::cmp::Reverse(cells))) = most else { continue };
        if cells < 2 || alike * 2 < counts.len() {
            continue;
        }
        let places = |column: usize| -> Vec<usize> {
            let cells = rows.iter().filter_map(|(_, row)| cells_of(row).get(column).copied());
            let ids = cells.filter(|cell| is_identity(cell));
            ids.map(|cell| cell.as_ptr() as usize - bytes.as_ptr() as usize).collect()
        };
        let ids = (0..widest).map(places).max_by_key(Vec::len).unwrap_or_default();
        let above = rows.iter().position(has).unwrap_or(HEADER_ROWS).min(HEADER_ROWS);
        let level = |row: &Row<'_>| {
            let texts: Vec<String> =
                cells_of(row).iter().map(|cell| decoded(cell, encoding(bytes))).collect();
            let is_name = |text: &String, least: Known| known(text, country) >= least && !is_weak_name(text);
            let usual =
                texts.iter().filter(|text| is_usual(text) || known(text, country) != Known::No).count();
            match texts.len() < 2 {
                true => 0,
                false if texts.iter().any(|text| is_name(text, Known::Name)) => 2,
                false => usize::from(usual >= 2 || texts.iter().any(|text| is_name(text, Known::Title))),
            }
        };
        let level =
            rows.iter().take(above).map(|(_, row)| level(row)).max().filter(|_| !ids.is_empty()).unwrap_or(0);
        all.push(((level == 2, ids.len(), alike, cells), ids, delimiter, level));
    }
    // The first of equals.
    let Some(best) = all.iter().rev().max_by_key(|(merit, ..)| *merit) else { return Ok(None) };
    let is_doubtful = |other: &&((bool, usize, usize, usize), Vec<usize>, u8, usize)| {
        let elsewhere = other.1.iter().filter(|at| !best.1.contains(at)).count();
        other.2 != best.2
            && !(best.3 == 2 && other.3 == 0)
            && other.1.len() * 2 >= best.1.len()
            && elsewhere * 2 > other.1.len()
    };
    if all.iter().any(|other| is_doubtful(&other)) {
        return Err(CANNOT_BE_DONE);
    }
    Ok(Some(best.2))
}
