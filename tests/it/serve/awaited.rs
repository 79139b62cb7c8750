//! Replicas that cannot be opened yet: the service listens, is not ready, and ends as it should; the register is served as
//! soon as it is here.

use super::damage::is_ready;
use crate::support::client::Server;
use crate::support::workspace::{Workspace, register_file};
use serde_json::Value;
use std::fs;

const REGISTER: &str = "/v1/register";

/// What a service without its register answers.
fn says_that_it_is_awaited(server: &Server) {
    assert_eq!(server.get("/healthz").status, 200);
    let ready = server.get("/readyz");
    let register = &ready.json()["registers"][0];
    assert_eq!(
        (ready.status, &register["following"], &register["sequence"]),
        (503, &Value::from(false), &Value::Null)
    );
    let reply = server.get(REGISTER);
    assert_eq!(
        (reply.status, reply.json()["type"].as_str()),
        (503, Some("urn:nabar:problem:register-awaited"))
    );
    assert!(reply.header("retry-after").is_some());
    let metrics = server.get("/metrics");
    assert!(metrics.text().contains("\nnabar_ready 0\n"));
    let sequence = metrics.text().lines().find(|line| line.starts_with("nabar_source_sequence{"));
    assert_eq!(sequence, None, "the source has stated none");
}

/// A directory whose only register file is garbage, and no directory, while the source is away: the service listens, and
/// ends on SIGTERM. When the source is there, the register is replicated and served.
#[test]
fn a_service_listens_before_its_replica_is_here() {
    for has_directory in [true, false] {
        let work = Workspace::with_data_directories("far", &["source"]);
        let source = Server::start(&work, &["source"]);
        let address = source.address().to_string();
        let url = format!("http://{address}");
        if has_directory {
            work.done(&["follow", "--once", &url, "replica", "--quiet"]);
            let directory = work.path("replica");
            for name in work.names("replica").iter().filter(|name| name.starts_with("changes")) {
                fs::remove_file(directory.join(name)).expect("removed");
            }
            fs::write(directory.join(register_file(1000)), "garbage").expect("written");
        }
        drop(source);
        let part = "operator:164921000016";
        work.write("nabar.toml", format!("[replicas]\nparts = [\"{part}\"]\ndirectory = \"parts\"\n"));
        let serve = || Server::with(&work, &["replica"], &["--follow", &url, "--config", "nabar.toml"]);
        let server = serve();
        says_that_it_is_awaited(&server);
        server.terminate();
        let (status, log) = server.ended();
        assert_eq!(status.code(), Some(0), "{log}");
        assert_eq!(log.contains("ALARM: the replica is damaged"), has_directory, "{log}");
        let server = serve();
        says_that_it_is_awaited(&server);
        let _source = Server::of(work.spawn(&["serve", "-r", "source", "--listen", &address]));
        is_ready(&work, &server, true);
        let reply = server.get(REGISTER);
        assert_eq!((reply.status, reply.sequence()), (200, 1000));
        assert_eq!(server.get(&format!("/v1/snapshot?part={part}")).status, 200, "its parts are kept");
        work.until("the source has stated it", || {
            server.get("/metrics").text().contains("nabar_source_sequence{register=\"\"} 1000\n")
        });
        server.terminate();
        assert_eq!(server.ended().0.code(), Some(0));
        assert_eq!(work.done(&["diff", "replica", "source"]), "");
    }
}
