//! What `docs/service.md` lists in tables, against the service.

use crate::client::Server;
use crate::ids::registers;
use std::collections::BTreeSet;
use std::path::Path;

/// The first cells of the rows of the table under a heading of the columns, without their marks.
fn first_cells(heading: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/service.md");
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
    let work = registers();
    let server = Server::start(&work, &["far.nabar"]);
    // What has not happened yet has no metric.
    let question = "/v1/reachability?sender=164821000025";
    assert_eq!(server.post(question, "application/json", "{\"recipients\":[\"196810199809\"]}").status, 200);
    let cells = first_cells("| metric | labels | what |");
    let documented: BTreeSet<&str> =
        cells.iter().flat_map(|cell| in_code(cell)).map(|name| name.trim_end_matches("_total")).collect();
    let reply = server.get("/metrics");
    let text = reply.text();
    let told: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let missing: Vec<_> = told.difference(&documented).collect();
    assert!(missing.is_empty(), "not documented: {missing:?}");
    // Without certificates there is nothing that expires.
    let of_certificates = ["nabar_certificate_expiry_seconds", "nabar_crl_next_update_seconds"];
    let gone: Vec<_> = documented.difference(&told).filter(|name| !of_certificates.contains(name)).collect();
    assert!(gone.is_empty(), "documented, and not there: {gone:?}");
}

#[test]
fn all_addresses_of_the_description_are_documented() {
    let work = registers();
    let server = Server::start(&work, &["far=far.nabar", "krr=krr.nabar"]);
    let cells = first_cells("| address | method | what it answers |");
    let documented: BTreeSet<&str> = cells.iter().flat_map(|cell| in_code(cell)).collect();
    let description = server.get("/openapi.json").json();
    for address in description["paths"].as_object().expect("paths").keys() {
        assert!(documented.contains(address.as_str()), "{address}");
    }
    // Each is there, whatever it says to a bare GET.
    for address in documented.iter().filter(|address| address.starts_with('/')) {
        let there =
            ["", "/far", "/krr"].iter().any(|name| server.get(&format!("{name}{address}")).status != 404);
        assert!(there, "{address}");
    }
}
