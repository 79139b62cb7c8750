//! Sheets that this library has written, and damaged ones.

use super::*;
use std::fs::File;
use std::io::{Cursor, Read, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

fn sheet_of(text: &str) -> Sheet {
    let columns = vec![SheetColumn::default(); 4];
    Sheet {
        name: "Rader".to_owned(),
        text: text.as_bytes().to_vec(),
        hidden_rows: 0,
        empty_formulas: 0,
        columns,
    }
}

/// The bytes of a workbook with some rows.
fn written(sheet: &Sheet, rows: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.xlsx");
    let summary = Summary { name: "Summary", rows: vec![("rows".to_owned(), Some(2))] };
    let part = Part { sheet, rows: rows.as_bytes(), ids: &[0], header_rows: 1, summary: &summary };
    let file = File::create(&path).expect("created");
    let count = write(&part, file, directory.path(), &|| false).expect("written");
    assert_eq!(count, Some(rows.lines().count() as u64));
    std::fs::read(&path).expect("read")
}

fn read(bytes: &[u8]) -> Result<Sheet, WorkbookError> {
    Workbook::open(bytes, WorkbookLimits::default())?.sheet("Rader", &|| false)
}

/// The same workbook with other content of a part; without the part if that is nothing.
fn with_part(bytes: &[u8], name: &str, change: impl Fn(String) -> Option<String>) -> Vec<u8> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).expect("an archive");
    let mut out = ZipWriter::new(Cursor::new(Vec::new()));
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).expect("an entry");
        let mut content = String::new();
        entry.read_to_string(&mut content).expect("text");
        let own = entry.name().expect("a name").into_owned();
        let content = if own == name { change(content) } else { Some(content) };
        if let Some(content) = content {
            out.start_file(&*own, SimpleFileOptions::default()).expect("begun");
            out.write_all(content.as_bytes()).expect("written");
        }
    }
    out.finish().expect("an archive").into_inner()
}

const ROWS: &str = "personnummer;namn;x\n196810199809;Åsa \"Å\";7\n;;\n0123;b;-0.5\n";

#[test]
fn rows_are_read_as_they_were_written() {
    let rows = ROWS.replace("Åsa \"Å\"", "\"Åsa \"\"Å\"\"\"");
    let sheet = read(&written(&sheet_of(""), &rows)).expect("read");
    assert_eq!(String::from_utf8_lossy(&sheet.text), format!("\u{FEFF}{rows}"));
    assert_eq!(sheet.columns.iter().map(|column| column.width).collect::<Vec<_>>(), [12, 7, 4]);
    // Texts that look like numbers stay texts.
    let again = read(&written(&sheet, &rows)).expect("read");
    assert_eq!(again.text, sheet.text);
}

#[test]
fn numbers_stay_numbers_but_for_ids() {
    let text = |bytes: &[u8]| {
        let mut archive = ZipArchive::new(Cursor::new(bytes)).expect("an archive");
        let mut text = String::new();
        archive
            .by_name("xl/worksheets/sheet1.xml")
            .expect("a sheet")
            .read_to_string(&mut text)
            .expect("text");
        text
    };
    let mut sheet = sheet_of("");
    sheet.columns[0].add(Some(CellType::Number), "7");
    sheet.columns[2].add(Some(CellType::Number), "7");
    let xml = text(&written(&sheet, "7;7;7\n"));
    assert_eq!(xml.matches("<v>7</v>").count(), 1, "{xml}");
    let sheet = read(&written(&sheet, "7;7;7\n")).expect("read");
    assert_eq!(&sheet.text[3..], b"7;7;7\n");
}

#[test]
fn hidden_rows_are_counted() {
    let bytes = written(&sheet_of(""), ROWS);
    let hide = |xml: String| {
        assert!(xml.contains("<row r=\"2\""));
        Some(
            xml.replace("<row r=\"2\"", "<row hidden=\"1\" r=\"2\"")
                .replace("<row r=\"4\"", "<row r=\"4\" hidden='1'"),
        )
    };
    let sheet = read(&with_part(&bytes, "xl/worksheets/sheet1.xml", hide)).expect("read");
    assert_eq!(sheet.hidden_rows, 2);
}

#[test]
fn cells_far_away_take_no_memory() {
    let bytes = written(&sheet_of(""), "a;b\n");
    let far = |cell: &str| {
        let cell = format!(
            "<sheetData><row r=\"1\"><c r=\"A1\"><v>1</v></c></row><row><c r=\"{cell}\"><v>2</v></c></row></sheetData>"
        );
        let change = move |xml: String| {
            let (before, rest) = xml.split_once("<sheetData>")?;
            Some(format!("{before}{cell}{}", rest.split_once("</sheetData>")?.1))
        };
        with_part(&bytes, "xl/worksheets/sheet1.xml", change)
    };
    let sheet = read(&far("B1048576")).expect("read");
    assert_eq!(sheet.text.iter().filter(|byte| **byte == b'\n').count(), 1 << 20);
    let limits = WorkbookLimits { row_bytes: 1 << 20, ..WorkbookLimits::default() };
    let bytes = far("XFD1000000");
    let mut workbook = Workbook::open(&bytes, limits).expect("opened");
    assert!(matches!(
        workbook.sheet("Rader", &|| false),
        Err(WorkbookError::TooLarge { part: "the rows", limit: 1 })
    ));
    // Rows and columns that no program has, and cells that go back.
    for cell in ["A1", "A1048577", "XFE2", "A4294967295", "A0", "ZZZZZZ1"] {
        assert!(read(&far(cell)).is_err(), "{cell}");
    }
}

#[test]
fn parts_have_limits() {
    let bytes = written(&sheet_of(""), ROWS);
    let of = |limits| Workbook::open(&bytes, limits).err();
    let all = WorkbookLimits::default();
    for limits in [WorkbookLimits { sheet_bytes: 10, ..all }, WorkbookLimits { other_bytes: 10, ..all }] {
        assert!(matches!(of(limits), Some(WorkbookError::TooLarge { .. })));
    }
    assert_eq!(of(all), None);
}

/// What the reader would leave out, take for something else, or count on.
#[test]
fn what_the_reader_would_not_tell_is_refused() {
    let bytes = written(&sheet_of(""), ROWS);
    let sheet = |from: &str, to: &str| {
        let change = |xml: String| {
            assert!(xml.contains(from), "{from}: {xml}");
            Some(xml.replacen(from, to, 1))
        };
        read(&with_part(&bytes, "xl/worksheets/sheet1.xml", change)).map(|sheet| sheet.text.len())
    };
    for (from, to) in [
        ("</sheetData>", "</sheetData><sheetData><row r=\"9\"/></sheetData>"),
        ("</row></sheetData>", "</row></row></sheetData>"),
        ("</row>", "<a></row>"),
        ("<row r=\"2\"", "<row r=\"99999999999\""),
        ("<row r=\"2\"", "<row r=\"1\""),
        ("<c r=\"A2\"", "<c r=\"A4294967298\""),
        ("<c r=\"A2\"", "<c r=\"ZZZZZZZ2\""),
        ("<t>personnummer</t>", "<t><![CDATA[personnummer]]></t>"),
        ("<sheetData>", "<dimension ref=\"A1:ZZZZZZZ99999999999\"/><sheetData>"),
        ("<sheetData>", "<dimension ref=\"B2:A1\"/><sheetData>"),
        ("<worksheet", "<!DOCTYPE worksheet [<!ENTITY a \"b\">]><worksheet"),
        ("<is><t>namn</t></is>", "<is><t>namn</t></is><is><t>x</t></is>"),
    ] {
        assert!(matches!(sheet(from, to), Err(WorkbookError::Damaged(_))), "{to}");
    }
    // Programs that name no places count them.
    assert!(sheet("<row r=\"2\"", "<row").is_ok());
    let texts = |count: u64| {
        let text = format!("<sst uniqueCount=\"{count}\"><si><t>a</t></si></sst>");
        let bytes = with_part(&bytes, "xl/sharedStrings.xml", |_| Some(text.clone()));
        read(&bytes).map(|sheet| sheet.text.len())
    };
    assert!(texts(1).is_ok() && texts(100).is_ok());
    assert!(texts(1 << 40).is_err() && texts(u64::MAX).is_err());
}

#[test]
fn what_the_reader_of_ods_would_leave_out_is_refused() {
    let ods = std::fs::read("fixtures/runs/list.ods").expect("read");
    let read = |from: &str, to: &str| {
        let change = |xml: String| {
            assert!(xml.contains(from), "{from}");
            Some(xml.replacen(from, to, 1))
        };
        let bytes = with_part(&ods, "content.xml", change);
        Workbook::open(&bytes, WorkbookLimits::default())?.sheet("Utskick", &|| false)
    };
    let cell = "<table:table-cell office:value-type=\"string\"><text:p>personnummer</text:p>";
    assert!(read(cell, cell).is_ok());
    for (to, expected) in [
        (cell.replace(" office:value-type=\"string\"", ""), Err(WorkbookError::Untyped(1))),
        (cell.replace("\"string\"", "\"float\""), Err(WorkbookError::Untyped(1))),
        (
            cell.replace("personnummer", "<![CDATA[personnummer]]>"),
            Err(WorkbookError::Damaged(String::new())),
        ),
        (cell.replace("<text:p>", "<table:table/><text:p>"), Err(WorkbookError::Damaged(String::new()))),
        (cell.replace("<table:table-cell", "<table:table-cell table:formula=\"of:=A1\""), Ok(0)),
        (cell.replace("office:value-type=\"string\"", "table:formula=\"of:=A1\""), Ok(1)),
        (
            cell.replace("table-cell ", "table-cell table:number-columns-repeated=\"99999\" "),
            Err(WorkbookError::Damaged(String::new())),
        ),
    ] {
        let found = read(cell, &to).map(|sheet| sheet.empty_formulas);
        match expected {
            Err(WorkbookError::Damaged(_)) => {
                assert!(matches!(found, Err(WorkbookError::Damaged(_))), "{to}")
            }
            expected => assert_eq!(found, expected, "{to}"),
        }
    }
    let far =
        "<table:table-row table:number-rows-repeated=\"4294967295\"><table:table-cell/></table:table-row>";
    assert!(read("<table:table-row>", &format!("{far}<table:table-row>")).is_err());
    let note = "<office:annotation><text:p>a note</text:p></office:annotation>";
    let empty = format!("<table:table-cell>{note}</table:table-cell>{cell}");
    assert!(read(cell, &empty).is_ok());
}

#[test]
fn formulas_without_a_value_are_counted() {
    let bytes = written(&sheet_of(""), ROWS);
    let change = |xml: String| {
        let (before, rest) = xml.split_once("<c r=\"B2\"")?;
        let (_, rest) = rest.split_once("</c>")?;
        Some(format!("{before}<c r=\"B2\"><f>A1</f><v/></c>{rest}"))
    };
    let sheet = read(&with_part(&bytes, "xl/worksheets/sheet1.xml", change)).expect("read");
    assert_eq!((sheet.empty_formulas, sheet.columns[1].width), (1, 4));
}

#[test]
fn damaged_workbooks_are_errors() {
    let bytes = written(&sheet_of(""), ROWS);
    for cut in (0..bytes.len()).step_by(97) {
        assert!(read(&bytes[..cut]).is_err());
    }
    for at in (0..bytes.len()).step_by(13) {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x55;
        // Nothing but an error, or other rows.
        let _ = read(&bytes);
    }
    for (part, from, to) in [
        ("xl/worksheets/sheet1.xml", "<v>", "<v>x"),
        ("xl/worksheets/sheet1.xml", "t=\"inlineStr\"", "t=\"s\""),
        ("xl/worksheets/sheet1.xml", "</row>", "</raw>"),
        ("xl/workbook.xml", "Rader", "&#0;"),
        ("xl/_rels/workbook.xml.rels", "worksheets/", "../../"),
    ] {
        let change = |xml: String| Some(xml.replace(from, to));
        let _ = read(&with_part(&bytes, part, change)).map(|sheet| sheet.text.len());
        assert!(read(&with_part(&bytes, part, |_| None)).is_err(), "{part}");
    }
    assert!(Path::new("fixtures/runs/list.ods").exists());
    let ods = std::fs::read("fixtures/runs/list.ods").expect("read");
    let limits = WorkbookLimits { ods: false, ..WorkbookLimits::default() };
    assert_eq!(Workbook::open(&ods, limits).err(), Some(WorkbookError::Ods));
    let change = |xml: String| Some(xml[..xml.len() / 2].to_owned());
    let half = with_part(&ods, "content.xml", change);
    assert!(
        Workbook::open(&half, WorkbookLimits::default())
            .and_then(|mut book| book.sheet("Utskick", &|| false))
            .is_err()
    );
}

#[test]
fn names_are_cleaned_and_shortened_in_messages() {
    let names: Vec<String> = (0..10).map(|number| format!("a\u{1b}{number}")).collect();
    let text = WorkbookError::NoIds(names).to_string();
    assert!(!text.contains('\u{1b}') && text.contains("and 2 more"), "{text}");
}
