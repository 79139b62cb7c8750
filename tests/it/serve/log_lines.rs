//! Lines of the log that clients can cause: a fault is a line when it begins, and one per minute at most after that.

use super::damage::{is_ready, overwrite};
use super::ids::far_ids;
use crate::support::client::Server;
use crate::support::workspace::Workspace;
use std::fs;

const TARGET: &str = "/v1/reachability?sender=164821000025";
/// Requests of each kind. As lines, they would be many more than a slow machine has minutes for.
const REQUESTS: usize = 100;

/// Probes while the service is not ready, and requests that find damage, are counted in the metrics and do not fill the log.
#[test]
fn a_fault_that_lasts_does_not_fill_the_log() {
    let work = Workspace::with_register_files();
    let path = work.path("far.nabar");
    let whole = fs::read(&path).expect("read");
    let server = Server::with(&work, &["far.nabar"], &["--log", "info"]);
    let lines = |what: &str| server.errors().matches(what).count();
    let id = far_ids()[0].clone() + "\n";
    for round in 1..=2 {
        assert_eq!(server.get("/readyz").status, 200);
        overwrite(&path, whole.len() as u64 / 2, &[0; 100_000]);
        for _ in 0..REQUESTS {
            assert_eq!(server.post(TARGET, "text/csv", &id).status, 500);
            assert_eq!(server.get("/v1/snapshot").status, 500);
            assert_eq!(server.get("/readyz").status, 503);
        }
        // A change of the state is a line at once.
        work.until("it is said", || {
            lines("the service is not ready") >= round && lines("the register is damaged") >= round
        });
        work.write("copy", &whole);
        fs::rename(work.path("copy"), &path).expect("renamed");
        is_ready(&work, &server, true);
        work.until("it is said", || lines("the service is ready again") == round);
    }
    let counts = ["the service is not ready", "the register is damaged", "\"message\":\"failed\""].map(lines);
    // Twice each; requests that fail are lines by their endpoint.
    assert!(counts.iter().all(|count| (2..20).contains(count)), "{counts:?}: {}", server.errors());
    let warning = server.errors();
    let warning = warning.lines().find(|line| line.contains("the service is not ready")).expect("a line");
    assert!(warning.contains("not intact") && warning.contains("\"times\":1"), "{warning}");
    let metrics = server.get("/metrics");
    for (endpoint, status) in [("snapshot", "500"), ("readyz", "503"), ("reachability", "500")] {
        let of = |line: &&str| {
            line.contains(&format!("endpoint=\"{endpoint}\""))
                && line.contains(&format!("status=\"{status}\""))
        };
        let counted = metrics.text().lines().filter(|line| line.starts_with("nabar_requests_total")).find(of);
        let counted = counted.and_then(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
        assert!(counted.is_some_and(|counted| counted >= 2 * REQUESTS), "{endpoint}: {counted:?}");
    }
}
