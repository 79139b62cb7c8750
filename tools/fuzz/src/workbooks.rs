//! Lists in workbooks: parts of strangers neither panic nor lose rows, and what a split writes is read as it was.
//!
//! The first byte of an input is the number of a part, the rest is its content, with an id for `@` and the byte that
//! follows; the other parts are those of small workbooks.

use crate::data::{DATE, KRR, new_directory, with_ids};
use nabar::rejected::RejectedLimit;
use nabar::{Destination, Mailing, Today, check, split};
use std::fs;
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Parts of an `.xlsx`, the sheet first.
const XLSX: [(&str, &str); 5] = [
    (
        "xl/worksheets/sheet1.xml",
        "<worksheet><sheetData><row r=\"1\"><c r=\"A1\" t=\"s\"><v>0</v></c></row></sheetData></worksheet>",
    ),
    (
        "xl/workbook.xml",
        "<workbook xmlns:r=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships\"><sheets>\
         <sheet name=\"A\" sheetId=\"1\" r:id=\"r1\"/></sheets></workbook>",
    ),
    (
        "xl/_rels/workbook.xml.rels",
        "<Relationships><Relationship Id=\"r1\" Target=\"worksheets/sheet1.xml\" \
         Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet\"/></Relationships>",
    ),
    (
        "xl/styles.xml",
        "<styleSheet><numFmts><numFmt numFmtId=\"170\" formatCode=\"yyyy-mm-dd\"/></numFmts><cellXfs>\
         <xf numFmtId=\"0\"/><xf numFmtId=\"170\"/><xf numFmtId=\"46\"/><xf numFmtId=\"21\"/></cellXfs></styleSheet>",
    ),
    ("xl/sharedStrings.xml", "<sst><si><t>fnr</t></si><si><r><t>x;</t></r><r><t>\"y\"</t></r></si></sst>"),
];

/// Parts of an `.ods`, the sheet first.
const ODS: [(&str, &str); 2] = [
    (
        "content.xml",
        "<office:document-content><office:body><office:spreadsheet><table:table table:name=\"A\"><table:table-row>\
         <table:table-cell office:value-type=\"string\"><text:p>fnr</text:p></table:table-cell></table:table-row>\
         </table:table></office:spreadsheet></office:body></office:document-content>",
    ),
    ("META-INF/manifest.xml", "<manifest:manifest/>"),
];

/// A workbook in which one part has other content.
fn workbook(parts: &[(&str, &str)], changed: usize, content: &[u8], mimetype: &str) -> Option<Vec<u8>> {
    let mut out = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut add = |name: &str, content: &[u8]| {
        out.start_file(name, stored).ok()?;
        out.write_all(content).ok()
    };
    add("mimetype", mimetype.as_bytes())?;
    for (index, (name, usual)) in parts.iter().enumerate() {
        add(name, if index == changed { content } else { usual.as_bytes() })?;
    }
    Some(out.finish().ok()?.into_inner())
}

pub(crate) fn run(data: &[u8]) {
    let [number, content @ ..] = data else { return };
    let content = with_ids(content, &KRR.model.ids);
    let number = usize::from(*number) % (XLSX.len() + ODS.len());
    let bytes = match number.checked_sub(XLSX.len()) {
        None => workbook(&XLSX, number, &content, ""),
        Some(number) => workbook(&ODS, number, &content, "application/vnd.oasis.opendocument.spreadsheet"),
    };
    let Some(bytes) = bytes else { return };
    let (path, out) = (new_directory().with_extension("xlsx"), new_directory());
    fs::write(&path, bytes).expect("written");
    let question = KRR.register.question(None, DATE).expect("a question");
    let mailing = Mailing {
        max_rejected: RejectedLimit::Percent(100.0),
        today: Today::from_date(DATE).expect("a day"),
        threads: 1,
        ..Mailing::new(&question, &path)
    };
    if let Ok(report) = split(&mailing, &Destination::new(&out)) {
        let files = report.files.expect("files");
        assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), report.list.rows);
        for file in files.iter().filter(|file| file.operator_id.is_some() && file.rows > 0) {
            let part = out.join(&file.path);
            let again = check(&Mailing { list: &part, ..mailing.clone() }).expect("a list");
            assert_eq!(again.list.rows, file.rows, "{}", file.path);
            assert_eq!(again.outcomes["digital"], file.rows, "{}", file.path);
        }
    }
    let _ = fs::remove_dir_all(&out);
    let _ = fs::remove_file(&path);
}
