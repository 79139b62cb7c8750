//! The expected output of a split, one row at a time.

use super::form::{ListFormat, NOT_A_LIST, Refusal, form};
use super::guard::{
    FoundIdentity, Sign, has_run_outside, identities_in, identities_in_joined, is_same, mark_between_rows,
    touching,
};
use super::identities::{Country, parse};
use super::lists::List;
use super::names::{
    Known, decoded, ends_unreadable, is_footer, is_title, is_usual, is_weak_name, is_withheld, known,
    names_others, plain,
};
use super::registers::{Answer, Register};
use super::rows::{ROW_BYTES_MAX, Row, row_at};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};

/// Maximum of ids of a list that are looked up: `lookup` does a few hundred thousand per second.
const LOOKUPS_MAX: usize = 2000;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// The files of a split and the figures of its report.
pub(crate) struct Expected {
    /// Every file with rows in it and `feedback.csv`, by name.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// The report of the split, without what depends on the list's form (path, bytes, digest) and time.
    pub(crate) report: Value,
    /// The first identity cells of the list that fit a line, with the expected answers of `lookup`.
    pub(crate) lookups: Vec<(Vec<u8>, Value)>,
}

/// A letter of a row: an identity, whether it is from the second column, and its outcome.
struct Letter {
    id: String,
    is_second: bool,
    answer: Answer,
}

/// The fate of a row.
enum Fate {
    Letters(Vec<Letter>, Further),
    Rejected(&'static str),
}

/// Whether a row that is not rejected has a further identity.
type Further = bool;

pub(crate) fn expected(list: &List, bytes: &[u8], register: &Register) -> Result<Expected, Refusal> {
    let form = form(bytes, &list.options, register.country(), list.day)?;
    let mut names: Vec<(String, &str, Option<usize>)> = Vec::new();
    for (place, operator) in register.operators.iter().enumerate() {
        names.push((operator.file.clone(), "digital", Some(place)));
    }
    if register.kind() == "krr" {
        names.push(("notify.csv".to_owned(), "notify", None));
    }
    names.push(("paper.csv".to_owned(), "paper", None));
    names.push(("rejected.csv".to_owned(), "rejected", None));
    if list.set_aside {
        names.push(("duplicates.csv".to_owned(), "duplicate", None));
    }
    // The header and skipped lines above the rows of every file.
    let mut above = if bytes.starts_with(BOM) { BOM.to_vec() } else { Vec::new() };
    if !list.options.drops_skipped {
        above.extend_from_slice(&bytes[form.skipped.clone()]);
    }
    above.extend_from_slice(&bytes[form.header.clone().unwrap_or(0..0)]);
    let mut contents = vec![above; names.len()];
    let mut rows_of = vec![0; names.len()];

    let mut feedback = b"row,recipient_id,outcome,reason,operator_id\n".to_vec();
    let mut outcomes = BTreeMap::from(["digital", "notify", "paper", "rejected"].map(|name| (name, 0)));
    if list.set_aside {
        outcomes.insert("duplicate", 0);
    }
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut seen, mut lookups) = (HashSet::new(), Vec::new());
    let (mut rows, mut duplicates, mut at) = (0, 0, form.rows);
    let (mut more_than_one, mut second_ids) = (0, 0);
    while at < bytes.len() {
        let row = form.row(bytes, at, register.country(), list.day);
        if row.text.len() > ROW_BYTES_MAX {
            return Err(NOT_A_LIST);
        }
        rows += 1;
        if let Some(&cell) = row.cells.as_ref().and_then(|cells| cells.get(form.ids[0]))
            && !cell.iter().any(|byte| b"\r\n".contains(byte))
            && lookups.len() < LOOKUPS_MAX
        {
            lookups.push((cell.to_vec(), looked_up(list, register, cell)));
        }
        let mut put = |outcome: &'static str, id: &str, reason: &'static str, operator: Option<usize>| {
            *outcomes.entry(outcome).or_insert(0) += 1;
            if !reason.is_empty() {
                *reasons.entry(reason).or_insert(0) += 1;
            }
            let file = names.iter().position(|(_, of, place)| *of == outcome && *place == operator);
            let file = file.expect("every outcome has a file");
            contents[file].extend_from_slice(&bytes[at..row.end]);
            rows_of[file] += 1;
            let operator_id = operator.map_or("", |place| &register.operators[place].id);
            feedback.extend(format!("{rows},{id},{outcome},{reason},{operator_id}\n").bytes());
        };
        match fate(&row, &form, list, bytes, register) {
            Fate::Rejected("other_header") => return Err(NOT_A_LIST),
            Fate::Rejected(reason) => put("rejected", "", reason, None),
            Fate::Letters(of_row, further) => {
                more_than_one += u64::from(further);
                for Letter { id, is_second, answer: (outcome, reason, operator) } in of_row {
                    second_ids += u64::from(is_second);
                    let is_duplicate = !seen.insert(id.clone());
                    duplicates += u64::from(is_duplicate);
                    if is_duplicate && list.set_aside {
                        put("duplicate", &id, "", None);
                    } else {
                        put(outcome, &id, reason, operator);
                    }
                }
            }
        }
        at = row.end;
    }

    let sender = register.senders.get(list.sender).map(|(id, name)| json!({"id": id, "name": name}));
    let operators = register.operators.iter().enumerate();
    let operators: Vec<Value> = operators
        .map(|(place, operator)| {
            json!({"id": operator.id, "name": operator.name, "rows": rows_of[place], "file": operator.file})
        })
        .collect();
    let files: Vec<Value> = (0..names.len())
        .map(|file| {
            let (path, outcome, operator) = &names[file];
            let operator_id = operator.map(|place| &register.operators[place].id);
            let (bytes, digest) = (contents[file].len(), digest(&contents[file]));
            json!({"path": path, "outcome": outcome, "operator_id": operator_id, "rows": rows_of[file], "bytes": bytes, "digest": digest})
        })
        .collect();
    let mut report = json!({
        "version": 1,
        "list": {
            "rows": rows,
            "delimiter": form.delimiter.map_or(String::new(), |delimiter| char::from(delimiter).to_string()),
            "encoding": form.encoding,
            "skipped_rows": form.skipped_rows,
            "header_row": form.header.as_ref().map(|_| form.skipped_rows + 1),
        },
        "register": {"kind": register.kind(), "sequence": 1000, "as_of": register.as_of()},
        "sender": sender,
        "outcomes": outcomes,
        "reasons": reasons,
        "operators": operators,
        "files": files,
        "duplicates": duplicates,
        "more_than_one_identity": more_than_one,
        "letters": outcomes.values().sum::<u64>(),
        "second_ids": second_ids,
    });
    // How two columns are named is not specified, nor how many columns a list without rows has.
    if list.options.ids.len() < 2 {
        report["list"]["id_column"] = json!(form.id_column);
    }
    if rows > 0 && bytes.len() < 1 << 20 {
        report["list"]["columns"] = json!(form.columns);
    }
    let mut files: BTreeMap<String, Vec<u8>> =
        names.into_iter().map(|(name, ..)| name).zip(contents).collect();
    files.insert("feedback.csv".to_owned(), feedback);
    Ok(Expected { files, report, lookups })
}

fn fate(row: &Row<'_>, form: &ListFormat, list: &List, bytes: &[u8], register: &Register) -> Fate {
    let read = |&column: &usize| match &row.cells {
        None => Err("bad_quoting"),
        Some(cells) => match cells.get(column) {
            None => Err("missing_column"),
            Some(cell) => parse(cell, register.country(), list.day),
        },
    };
    let read: Vec<Result<String, &'static str>> = form.ids.iter().map(read).collect();
    let mut letters: Vec<Letter> = Vec::new();
    for (place, id) in read.iter().enumerate() {
        if let Ok(id) = id
            && !letters.iter().any(|letter| letter.id == *id)
        {
            let answer = register.answer(id, list.sender, list.day);
            letters.push(Letter { id: id.clone(), is_second: place == 1, answer });
        }
    }
    if letters.is_empty() {
        let reason = *read[0].as_ref().expect_err("there is no letter");
        // A row with bad quotation marks has no known cells.
        let no_letter = row.cells.as_ref().and_then(|_| no_letter(row.text, form, bytes, register.country()));
        return Fate::Rejected(no_letter.unwrap_or(reason));
    }

    let cells = row.cells.as_deref().unwrap_or(&[]);
    let is_wider = match form.fixed {
        None => cells.len() > form.most,
        Some(_) => row.text.len() > form.width,
    };
    // In joined rows the cells do not match their columns.
    let sign = if is_wider { Some(Sign::More) } else { mark_between_rows(row.text, form.encoding) };
    let is_joined = sign.is_some();
    let is_own = |place: &usize| form.ids.contains(place) || form.expected.contains(place);
    let (country, day) = (register.country(), list.day);
    let found: Vec<FoundIdentity> = match (form.fixed, sign) {
        (Some(_), None) => beside_field(cells)
            .into_iter()
            .flat_map(|text| identities_in(text, country, day, false))
            .collect(),
        (Some((offset, length)), Some(sign)) => {
            let field = offset..offset + length;
            match has_run_outside(row.text, &field, sign) {
                true => identities_in_joined(row.text, (country, day), None, sign, &field),
                false => Vec::new(),
            }
        }
        (None, None) => {
            let others = (0..cells.len()).filter(|place| !is_own(place));
            others.flat_map(|place| identities_in(cells[place], country, day, false)).collect()
        }
        (None, Some(sign)) => {
            // A cell of an id column without an identity is searched, too.
            let is_read = |place: &usize| {
                form.ids.iter().position(|id| id == place).is_some_and(|index| read[index].is_ok())
            };
            let mut searched = (0..cells.len()).filter(|place| !is_read(place));
            let has_run = searched.clone().any(|place| has_run_outside(cells[place], &(0..0), sign));
            let joined = |place: usize| {
                identities_in_joined(cells[place], (country, day), form.delimiter, sign, &(0..0))
            };
            if has_run { searched.by_ref().flat_map(joined).collect() } else { Vec::new() }
        }
    };
    let mut found = found.into_iter();
    let further = found.any(|other| letters.iter().all(|letter| !is_same(&letter.id, &other)));
    let touches = |place: &usize| {
        let found = touching(cells[*place], country, day);
        found.is_some_and(|other| letters.iter().all(|letter| !is_same(&letter.id, &other)))
    };
    let mut searched = (0..cells.len()).filter(|place| !form.ids.contains(place));
    let is_touched = !is_joined && form.fixed.is_none() && searched.any(|place| touches(&place));
    if further && is_joined || is_touched {
        return Fate::Rejected("joined_rows");
    }
    let filled = cells.iter().rposition(|cell| !cell.trim_ascii().is_empty()).map_or(0, |last| last + 1);
    let may_be_second = |place: &usize| {
        let text = String::from_utf8_lossy(cells[*place].trim_ascii()).into_owned();
        !form.ids.contains(place) && ends_unreadable(&text)
    };
    let has_extra = match form.fixed {
        None => {
            let may_be_two = filled > form.most && form.columns > 1 && filled >= 2 * form.columns - 1;
            may_be_two || filled > form.most && (0..cells.len()).any(|place| may_be_second(&place))
        }
        Some(_) => row.text.trim_ascii_end().len() > form.longest,
    };
    if has_extra {
        return Fate::Rejected("extra_cells");
    }
    // The cell of another column may have moved to the identity's.
    let moved = form.others.iter().filter(|&&other| {
        let distance = other as isize - form.ids[0] as isize;
        let missing = form.columns as isize - cells.len() as isize;
        distance.signum() == missing.signum() && distance.abs() <= missing.abs()
    });
    let is_id = |column: usize| {
        cells.get(column).is_some_and(|cell| parse(cell, register.country(), list.day).is_ok())
    };
    let is_shifted = moved.into_iter().any(|&other| !is_id(other));
    // Also in a row of the usual length, where the cells beside it have moved, too.
    let id = form.ids[0];
    let has_moved = |other: usize| {
        let opposite = (2 * id).checked_sub(other).filter(|column| !form.others.contains(column));
        cells.get(other).is_some_and(|cell| is_words(cell)) || opposite.is_some_and(is_id)
    };
    let mut near = form.only_others.iter().filter(|other| other.abs_diff(id) <= 2);
    let is_shifted = is_shifted || near.any(|&other| !is_id(other) && has_moved(other));
    if form.fixed.is_none() && is_shifted {
        return Fate::Rejected("shifted_cells");
    }
    if further && list.options.strict {
        return Fate::Rejected("more_than_one_identity");
    }

    if !list.options.both {
        // The first of those that are reached best.
        let rank =
            |letter: &Letter| ["digital", "notify", "paper"].iter().position(|of| *of == letter.answer.0);
        letters.sort_by_key(rank);
        letters.truncate(1);
    }
    Fate::Letters(letters, further)
}

/// Whether a cell has words, and neither digits nor a word or mask of a withheld identity.
fn is_words(cell: &[u8]) -> bool {
    let text = String::from_utf8_lossy(cell);
    let letters: Vec<char> = text.chars().filter(|character| character.is_alphabetic()).collect();
    let is_mask = letters.iter().all(|letter| "xX".contains(*letter));
    letters.len() >= 3 && !text.bytes().any(|byte| byte.is_ascii_digit()) && !is_withheld(&text) && !is_mask
}

/// What is before and after the field of a list of fixed width, without the digits that continue those of the field.
fn beside_field<'a>(cells: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let [before, field, after @ ..] = cells else { return Vec::new() };
    let touches = |end: Option<&u8>| end.is_some_and(u8::is_ascii_digit);
    let mut texts = vec![*before];
    if touches(field.first()) {
        let digits = before.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        texts[0] = &before[..before.len() - digits];
    }
    for after in after {
        let digits = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
        texts.push(&after[if touches(field.last()) { digits } else { 0 }..]);
    }
    texts
}

/// The reason why a row without identity is clearly not a letter.
fn no_letter(row: &[u8], form: &ListFormat, bytes: &[u8], country: Country) -> Option<&'static str> {
    // Quotation marks mean nothing in a list of fixed width.
    let is_mark = |byte: &u8| form.fixed.is_none() && (*byte == b'"' || Some(*byte) == form.delimiter);
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || is_mark(byte);
    if row.iter().all(is_blank) {
        return Some("blank_row");
    }
    if let Some(header) = &form.header {
        let mut header = &bytes[header.clone()];
        while let Some(shorter) = header.strip_suffix(b"\n").or(header.strip_suffix(b"\r")) {
            header = shorter;
        }
        let header = header.strip_prefix(BOM).unwrap_or(header);
        // A blank first row that is taken for a header is none that could be repeated.
        if !header.is_empty() && row.strip_prefix(BOM).unwrap_or(row) == header {
            return Some("repeated_header");
        }
        if has_moved_titles(row.strip_prefix(BOM).unwrap_or(row), header, form, country) {
            return Some("other_header");
        }
    }
    is_footer(row).then_some("footer")
}

fn digest(bytes: &[u8]) -> String {
    format!("blake3:{}", blake3::hash(bytes).to_hex())
}

/// Whether a title of the identities' column is in another column of a row, and there are other titles.
fn has_moved_titles(row: &[u8], header: &[u8], form: &ListFormat, country: Country) -> bool {
    if form.fixed.is_some() {
        return false;
    }
    let cells = |bytes: &[u8]| -> Vec<String> {
        let cells = row_at(bytes, 0, form.delimiter, &|_, _| false).cells.unwrap_or_default();
        cells.iter().map(|cell| decoded(cell, form.encoding)).collect()
    };
    let (titles, texts, id) = (cells(header), cells(row), form.ids[0]);
    let titles: Vec<String> = titles.iter().map(|title| plain(title)).collect();
    let Some(own) = texts.get(id).filter(|own| is_title(own)) else { return false };
    let is_ids = |text: &str| {
        known(text, country) != Known::No && !is_weak_name(text)
            || titles.get(id).is_some_and(|title| !title.is_empty() && *title == plain(text))
    };
    let is_word = |text: &str| {
        let is_one = is_usual(text) || known(text, country) != Known::No;
        !plain(text).is_empty() && (titles.contains(&plain(text)) || is_one || names_others(text))
    };
    let Some(moved) = (0..texts.len()).find(|&column| column != id && is_ids(&texts[column])) else {
        return false;
    };
    let others = (0..texts.len()).filter(|&column| column != moved && is_word(&texts[column])).count();
    (!is_ids(own) || names_others(own)) && (is_word(own) || others >= 2)
}

/// Those fields of an answer of `lookup` to a cell that are checked.
fn looked_up(list: &List, register: &Register, cell: &[u8]) -> Value {
    let parsed = parse(cell, register.country(), list.day);
    let (id, (outcome, reason, operator)) = match &parsed {
        Ok(id) => (id.as_str(), register.answer(id, list.sender, list.day)),
        Err(reason) => ("", ("rejected", *reason, None)),
    };
    let mut fields = json!({
        "recipient_id": Some(id).filter(|id| !id.is_empty()),
        "outcome": outcome,
        "reason": Some(reason).filter(|reason| !reason.is_empty()),
        "operator_id": operator.map(|place| &register.operators[place].id),
        "sequence": 1000,
        "as_of": register.as_of(),
    });
    if !id.is_empty() {
        for (name, value) in register.own_fields(id, list.sender, list.day) {
            fields[name] = match value.as_str() {
                "true" | "false" => (value == "true").into(),
                _ => value.into(),
            };
        }
    }
    fields
}
