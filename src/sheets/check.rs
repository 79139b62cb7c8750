//! Looks at the parts of a workbook before its reader does, which believes them: numbers that no sheet has, documents that end
//! early, and texts that it would leave out. Also counts what the reader does not tell: hidden rows.

use super::WorkbookError;
use super::read::damaged;
use super::{COLUMNS_MAX, ROWS_MAX};
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use std::borrow::Cow;
use std::io::{BufReader, Cursor};
use zip::ZipArchive;

pub(super) type Archive<'a> = ZipArchive<Cursor<&'a [u8]>>;

/// Elements that may be open at a time.
const DEPTH_MAX: usize = 1000;
/// Shared texts for which memory is reserved in advance, if a workbook says that it has so many.
const TEXTS_EXPECTED: u64 = 1 << 20;
/// Bytes of a shared text, at least: `<si/>`.
const TEXT_BYTES_MIN: u64 = 5;

/// What a sheet has that its reader does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Hidden rows with cells.
    pub(super) hidden_rows: u64,
    /// Formulas of an `.ods` without a value.
    pub(super) empty_formulas: u64,
}

/// Calls `each` with the events of a part.
///
/// Errors: it is no well-formed XML, or declares a document type.
fn walk(
    archive: &mut Archive<'_>,
    name: &str,
    each: &mut dyn FnMut(&Event<'_>) -> Result<(), WorkbookError>,
) -> Result<(), WorkbookError> {
    let entry = archive.by_name(name).map_err(|_| damaged("a part is missing"))?;
    let mut reader = Reader::from_reader(BufReader::with_capacity(1 << 16, entry));
    let (mut buffer, mut depth) = (Vec::new(), 0usize);
    loop {
        buffer.clear();
        let event = reader.read_event_into(&mut buffer).map_err(|_| damaged("its XML"))?;
        match &event {
            Event::Start(_) if depth == DEPTH_MAX => return Err(damaged("its XML")),
            Event::Start(_) => depth += 1,
            // The reader checks that it is that of the last start.
            Event::End(_) => depth -= 1,
            Event::DocType(_) => return Err(damaged("its XML has a document type")),
            Event::Eof if depth == 0 => return Ok(()),
            Event::Eof => return Err(damaged("its XML is cut off")),
            _ => {}
        }
        each(&event)?;
    }
}

/// An attribute by its name without prefix.
fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let mut attributes = element.attributes();
    let mut attributes = attributes.with_checks(false).flatten();
    let attribute = attributes.find(|attribute| attribute.key.local_name().into_inner() == name)?;
    attribute.normalized_value(XmlVersion::Implicit1_0).ok().map(Cow::into_owned)
}

/// As [`attribute`], as it stands: what is compared with numbers and places has no references.
fn plain_attribute<'e>(element: &'e BytesStart<'_>, name: &str) -> Option<Cow<'e, str>> {
    let mut attributes = element.attributes();
    let mut attributes = attributes.with_checks(false).flatten();
    let attribute = attributes.find(|attribute| attribute.key.local_name().into_inner() == name)?;
    Some(attribute.value)
}

/// Checks how many shared texts an `.xlsx` says that it has: memory is reserved for them.
pub(super) fn shared_texts(archive: &mut Archive<'_>) -> Result<(), WorkbookError> {
    let is_shared = |name: &&str| name.to_ascii_lowercase().ends_with("sharedstrings.xml");
    let names: Vec<String> = archive.file_names().flatten().map(Cow::into_owned).collect();
    for name in names.iter().map(String::as_str).filter(is_shared) {
        let entry = archive.by_name(name).map_err(|_| damaged("the texts"))?;
        let bytes = entry.size();
        let mut reader = Reader::from_reader(BufReader::new(entry));
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            match reader.read_event_into(&mut buffer).map_err(|_| damaged("its XML"))? {
                Event::Start(element) | Event::Empty(element) => {
                    let count = attribute(&element, "uniqueCount").and_then(|text| text.trim().parse().ok());
                    let count: u64 = count.unwrap_or(0);
                    if count > TEXTS_EXPECTED && count > bytes / TEXT_BYTES_MIN {
                        return Err(damaged("the number of its texts"));
                    }
                    break;
                }
                Event::Eof => break,
                _ => {}
            }
        }
    }
    Ok(())
}

/// Checks a sheet of an `.xlsx`.
pub(super) fn in_xlsx(archive: &mut Archive<'_>, sheet: &str) -> Result<Seen, WorkbookError> {
    let path = path_of(archive, sheet)?;
    let mut seen = Seen::default();
    let (mut sheets, mut values, mut row) = (0, 0, 0);
    walk(archive, &path, &mut |event| {
        let (element, is_start) = match event {
            Event::Start(element) => (element, true),
            Event::Empty(element) => (element, false),
            Event::CData(_) => return Err(damaged("CDATA in a sheet")),
            _ => return Ok(()),
        };
        match element.local_name().into_inner() {
            "sheetData" => sheets += 1,
            "row" => {
                let is_hidden = plain_attribute(element, "hidden")
                    .is_some_and(|hidden| hidden == "1" || hidden == "true");
                seen.hidden_rows += u64::from(is_hidden && is_start);
                row = match plain_attribute(element, "r") {
                    Some(number) => number_in(&number, ROWS_MAX).filter(|number| *number > row),
                    None => Some(row + 1).filter(|number| *number <= ROWS_MAX),
                }
                .ok_or(damaged("the number of a row"))?;
            }
            "c" => {
                values = 0;
                if plain_attribute(element, "r").is_some_and(|place| !is_place(&place)) {
                    return Err(damaged("the place of a cell"));
                }
            }
            "v" | "is" => {
                values += 1;
                if values > 1 {
                    return Err(damaged("a cell with several values"));
                }
            }
            "dimension" | "f" | "mergeCell"
                if plain_attribute(element, "ref").is_some_and(|area| !is_area(&area)) =>
            {
                return Err(damaged("an area of cells"));
            }
            _ => {}
        }
        Ok(())
    })?;
    if sheets == 1 { Ok(seen) } else { Err(damaged("a sheet has no rows, or several parts")) }
}

/// A number from 1 to `most`.
fn number_in(text: &str, most: u32) -> Option<u32> {
    let is_short = text.len() <= 7 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_short && (1..=most).contains(number))
}

/// Whether a text is the place of a cell, such as `A1`.
fn is_place(text: &str) -> bool {
    let text = text.trim_matches('$');
    let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    let column = text[..letters].bytes().fold(0u32, |column, letter| {
        column.saturating_mul(26).saturating_add(u32::from(letter.to_ascii_uppercase() - b'A') + 1)
    });
    (1..=3).contains(&letters) && column <= COLUMNS_MAX && number_in(&text[letters..], ROWS_MAX).is_some()
}

/// Whether a text is an area, such as `A1:B2`, or a place.
fn is_area(text: &str) -> bool {
    let column = |place: &str| {
        let letters = place.bytes().take_while(u8::is_ascii_alphabetic).count();
        (letters, place[..letters].to_ascii_uppercase())
    };
    let row = |place: &str| {
        place.trim_start_matches(|character: char| character.is_ascii_alphabetic()).parse::<u32>().ok()
    };
    match text.split_once(':') {
        None => is_place(text),
        Some((from, to)) => {
            is_place(from) && is_place(to) && column(from) <= column(to) && row(from) <= row(to)
        }
    }
}

/// The entry of a sheet of an `.xlsx`. Errors: there is none, or several may be meant.
fn path_of(archive: &mut Archive<'_>, sheet: &str) -> Result<String, WorkbookError> {
    let mut ids = Vec::new();
    let start = |event: &Event<'_>, each: &mut dyn FnMut(&BytesStart<'_>)| {
        if let Event::Start(element) | Event::Empty(element) = event {
            each(element);
        }
    };
    walk(archive, "xl/workbook.xml", &mut |event| {
        start(event, &mut |element| {
            let is_its = attribute(element, "name").as_deref() == Some(sheet);
            if element.local_name().into_inner() == "sheet" && is_its {
                ids.extend(attribute(element, "id"));
            }
        });
        Ok(())
    })?;
    let mut targets = Vec::new();
    walk(archive, "xl/_rels/workbook.xml.rels", &mut |event| {
        start(event, &mut |element| {
            if attribute(element, "Id").is_some_and(|id| ids.contains(&id)) {
                targets.extend(attribute(element, "Target"));
            }
        });
        Ok(())
    })?;
    let ([_], [target]) = (&ids[..], &targets[..]) else { return Err(damaged("which part a sheet is")) };
    let wanted = match target.strip_prefix('/') {
        Some(path) => path.to_owned(),
        None if target.starts_with("xl/") => target.clone(),
        None => format!("xl/{target}"),
    };
    // Some programs write other separators, or another case.
    let same = |name: &str| name.replace('\\', "/").eq_ignore_ascii_case(&wanted);
    let names: Vec<String> = archive.file_names().flatten().map(Cow::into_owned).collect();
    let mut found = names.into_iter().filter(|name| same(name));
    match (found.next(), found.next()) {
        (Some(name), None) => Ok(name),
        _ => Err(damaged("a part is missing")),
    }
}

/// Attributes that have the value of a cell of an `.ods`, for the types whose text is only how it is shown.
fn value_attribute(kind: &str) -> Option<&'static str> {
    match kind {
        "float" | "percentage" | "currency" => Some("value"),
        "date" => Some("date-value"),
        "time" => Some("time-value"),
        "boolean" => Some("boolean-value"),
        _ => None,
    }
}

/// Checks all sheets of an `.ods`, and tells what one of them has.
pub(super) fn in_ods(archive: &mut Archive<'_>, sheet: Option<&str>) -> Result<Seen, WorkbookError> {
    let (mut seen, mut untyped) = (Seen::default(), 0);
    let (mut tables, mut is_sheet, mut is_note) = (0, false, false);
    // Of the open row: the rows before it, how often it is there, whether it is hidden and has a text. Of the open cell: the
    // cells before it, how often it is there, and whether it has no value.
    let (mut rows_before, mut rows, mut is_hidden, mut has_text) = (0u64, 0u64, false, false);
    let (mut cells_before, mut cells, mut is_untyped) = (0u64, 0u64, false);
    walk(archive, "content.xml", &mut |event| {
        match event {
            Event::CData(_) => return Err(damaged("CDATA in a sheet")),
            Event::Start(element) | Event::Empty(element) => match element.local_name().into_inner() {
                "table" if tables > 0 => return Err(damaged("a sheet within a sheet")),
                "table" => {
                    (tables, rows_before) = (u64::from(matches!(event, Event::Start(_))), 0);
                    is_sheet = sheet.is_some() && attribute(element, "name").as_deref() == sheet;
                }
                "table-row" => {
                    (rows, cells_before, has_text) = (repeated(element, "number-rows-repeated")?, 0, false);
                    is_hidden =
                        attribute(element, "visibility").is_some_and(|visibility| visibility != "visible");
                    if matches!(event, Event::Empty(_)) {
                        rows_before = rows_before.saturating_add(rows);
                    }
                }
                "table-cell" | "covered-table-cell" => {
                    let kind = attribute(element, "value-type");
                    let is_formula = attribute(element, "formula").is_some();
                    let has_value = match kind.as_deref().map(value_attribute) {
                        None => false,
                        Some(None) => true,
                        Some(Some(name)) => attribute(element, name).is_some(),
                    };
                    seen.empty_formulas += u64::from(is_sheet && is_formula && !has_value);
                    cells = repeated(element, "number-columns-repeated")?;
                    is_untyped = !has_value && !is_formula;
                    if has_value && cells_before.saturating_add(cells) > COLUMNS_MAX.into() {
                        return Err(damaged("the place of a cell"));
                    }
                    if has_value && rows_before.saturating_add(rows) > ROWS_MAX.into() {
                        return Err(damaged("the number of a row"));
                    }
                    if matches!(event, Event::Empty(_)) {
                        cells_before = cells_before.saturating_add(cells);
                    }
                }
                "annotation" => is_note = matches!(event, Event::Start(_)),
                "p" if !is_note => has_text = true,
                _ => {}
            },
            Event::End(element) => match element.local_name().into_inner() {
                "table" => tables = 0,
                "table-row" => {
                    rows_before = rows_before.saturating_add(rows);
                    seen.hidden_rows += if is_sheet && is_hidden && has_text { rows } else { 0 };
                }
                "table-cell" | "covered-table-cell" => {
                    cells_before = cells_before.saturating_add(cells);
                    is_untyped = false;
                }
                "annotation" => is_note = false,
                _ => {}
            },
            Event::Text(text) if is_untyped && !is_note && !text.trim().is_empty() => {
                untyped += 1;
                is_untyped = false;
            }
            _ => {}
        }
        Ok(())
    })?;
    if untyped > 0 { Err(WorkbookError::Untyped(untyped)) } else { Ok(seen) }
}

/// How often a row or cell is there.
fn repeated(element: &BytesStart<'_>, name: &str) -> Result<u64, WorkbookError> {
    match attribute(element, name) {
        None => Ok(1),
        Some(text) => text.trim().parse().map_err(|_| damaged("the number of a row or cell")),
    }
}
