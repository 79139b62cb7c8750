//! The tables of `docs/service.md` against the service.

use crate::support::client::Server;
use crate::support::workspace::{Workspace, root};
use std::collections::BTreeSet;

/// The first cell of each row of the table with a header row, without Markdown marks.
fn first_cells(heading: &str) -> Vec<String> {
    let path = root().join("docs/service.md");
    let text = std::fs::read_to_string(path).expect("the documentation");
    let (_, table) = text.split_once(heading).expect(heading);
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.split('|').nth(1).unwrap_or_default().trim().to_owned()).collect()
}

fn in_code(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn all_metrics_are_documented() {
    let work = Workspace::with_register_files();
    let server = Server::start(&work, &["far.nabar"]);
    // Events that have not happened yet have no metric.
    let question = "/v1/reachability?sender=164821000025";
    assert_eq!(server.post(question, "application/json", "{\"recipients\":[\"196810199809\"]}").status, 200);
    let cells = first_cells("| metric | labels | meaning |");
    let documented: BTreeSet<&str> = cells
        .iter()
        .flat_map(|cell| in_code(cell))
        .map(|name| name.trim_end_matches("_total").trim_end_matches("_info"))
        .collect();
    let reply = server.get("/metrics");
    let text = reply.text();
    let message: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let missing: Vec<_> = message.difference(&documented).collect();
    assert!(missing.is_empty(), "not documented: {missing:?}");
    // Without certificates there is no expiry, without --follow no source, and without --source no live register.
    let others = ["nabar_certificate_expiry_seconds", "nabar_crl_next_update_seconds"];
    let is_other = |name: &&&str| {
        let absent = ["nabar_source_", "nabar_live_"];
        others.contains(*name) || absent.iter().any(|prefix| name.starts_with(prefix))
    };
    let gone: Vec<_> = documented.difference(&message).filter(|name| !is_other(name)).collect();
    assert!(gone.is_empty(), "documented, and not there: {gone:?}");
}

#[test]
fn all_addresses_of_the_description_are_documented() {
    let work = Workspace::with_register_files();
    let server = Server::start(&work, &["far=far.nabar", "krr=krr.nabar"]);
    let cells = first_cells("| path | method | register | caller | response |");
    let documented: BTreeSet<&str> = cells.iter().flat_map(|cell| in_code(cell)).collect();
    let description = server.get("/openapi.json").json();
    for address in description["paths"].as_object().expect("paths").keys() {
        assert!(documented.contains(address.as_str()), "{address}");
    }
    // Each exists: a bare GET may be refused, but not as unknown.
    for address in documented.iter().filter(|address| address.starts_with('/')) {
        let is_there = |name: &str| {
            let reply = server.get(&format!("{name}{address}"));
            // The print service is not configured here.
            reply.status != 404 || reply.text().contains("no-print-certificate")
        };
        assert!(["", "/far", "/krr"].into_iter().any(is_there), "{address}");
    }
}
