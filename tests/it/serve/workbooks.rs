//! Workbooks at `/v1/check`.

use crate::support::client::Server;
use crate::support::workspace::{Workspace, fixture};
use std::fs;

const CHECK: &str = "/v1/check?sender=164821000025&date=2026-06-01";
const XLSX: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

#[test]
fn workbooks_are_checked_if_they_are_sent_as_such() {
    let work = Workspace::with_register_files();
    let server = Server::start(&work, &["far.nabar"]);
    let book = fs::read(fixture("runs/list.xlsx")).expect("a workbook");
    let report = server.post(CHECK, XLSX, &book).json();
    let expected = work.json(&[
        "check",
        &fixture("runs/list.xlsx"),
        "-r",
        "far.nabar",
        "--sender",
        "164821000025",
        "--date",
        "2026-06-01",
        "--json",
    ]);
    for name in ["outcomes", "reasons", "duplicates"] {
        assert_eq!(report[name], expected[name], "{name}");
    }
    for name in ["sheet", "rows", "digest", "bytes"] {
        assert_eq!(report["list"][name], expected["list"][name], "{name}");
    }
    let named = server.post(&format!("{CHECK}&sheet=Utskick"), XLSX, &book);
    assert_eq!(named.json()["list"]["sheet"]["hidden_rows"], 1);
    for (query, kind, body, expected) in [
        ("", "text/csv", &book, "Content-Type"),
        ("", XLSX, &fs::read(fixture("runs/list.ods")).expect("a workbook"), "LibreOffice"),
        ("&sheet=199709152384", XLSX, &book, "no sheet of the workbook has the name"),
        ("&sheet=Anteckningar", XLSX, &book, "column of the identities"),
        ("", XLSX, &book[..5000].to_vec(), "damaged"),
        ("&sheet=x", "text/csv", &b"personnummer\n196810199809\n".to_vec(), "in no workbook"),
    ] {
        let reply = server.post(&format!("{CHECK}{query}"), kind, body);
        let text = reply.text();
        assert!(reply.status == 422 && text.contains(expected), "{query} {kind}: {text}");
        assert!(!text.contains("199709152384") && !text.contains("Utskick"), "{text}");
    }
    // The memory of these jobs has been given back.
    let metrics = server.get("/metrics");
    assert!(metrics.text().contains("nabar_jobs 0"), "{}", metrics.text());
}
