//! Readiness: what the last attempt of each part did.

use super::ids::far_ids;
use crate::support::client::{Reply, Server, chunk};
use crate::support::workspace::{SENDER, Workspace, fixture, lines_of, text};
use nabar::snapshot::Snapshot;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const TARGET: &str = "/v1/reachability?sender=164821000025";

/// A service with a configuration.
fn configured(work: &Workspace, registers: &[&str], toml: &str, options: &[&str]) -> Server {
    work.write("nabar.toml", toml);
    let config = work.path("nabar.toml").display().to_string();
    Server::with(work, registers, &[&["--config", &config], options].concat())
}

/// Waits until `/readyz` has a value in a place.
fn until(work: &Workspace, server: &Server, place: &str, value: &Value) {
    work.until(&format!("{place} is {value}"), || server.get("/readyz").json().pointer(place) == Some(value));
    let ready = server.get("/readyz");
    assert_eq!(ready.status, if ready.json()["ready"] == true { 200 } else { 503 });
}

fn ask(server: &Server) -> Reply {
    server.post(TARGET, "text/csv", far_ids()[0].clone() + "\n")
}

/// The value of a metric.
fn metric(server: &Server, name: &str) -> f64 {
    let metrics = server.get("/metrics");
    let value = metrics.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name}: {}", metrics.text()))
}

/// A copy of the fixture `far` with another sequence number and time, built to a file.
fn built(work: &Workspace, name: &str, sequence: u64, as_of: &str) {
    let extract = work.path(&format!("{name}.extract"));
    fs::create_dir(&extract).expect("made");
    for entry in fs::read_dir(fixture("far")).expect("listed").flatten() {
        fs::copy(entry.path(), extract.join(entry.file_name())).expect("copied");
    }
    let text = format!("kind = \"far\"\nsequence = {sequence}\nas_of = \"{as_of}\"\n");
    fs::write(extract.join("register.toml"), text).expect("written");
    work.done(&["build", &extract.display().to_string(), "-o", name, "--quiet"]);
}

fn replace(work: &Workspace, by: &str, register: &str) {
    fs::copy(work.path(by), work.path("copy")).expect("copied");
    fs::rename(work.path("copy"), work.path(register)).expect("renamed");
}

/// Changes a byte in a section of a register file.
fn damage(path: &Path, section: &str) {
    let entries = Snapshot::open(path).expect("whole").sections().to_vec();
    let entry = entries.iter().find(|entry| entry.section.name() == section).expect("a section");
    let mut bytes = fs::read(path).expect("read");
    bytes[(entry.offset + entry.bytes / 2) as usize] ^= 1;
    fs::write(path, bytes).expect("written");
}

#[test]
fn a_service_that_cannot_audit_is_not_ready_until_it_can() {
    let work = Workspace::with_register_files();
    symlink("/dev/full", work.path("audit.log")).expect("linked");
    let server = configured(&work, &["far.nabar"], "[audit]\npath = \"audit.log\"\n", &[]);
    // Before anything was asked: what has never been written is not known to work.
    assert_eq!(server.get("/readyz").json()["audit"], false);
    let refused = ask(&server);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{}", refused.text());
    until(&work, &server, "/audit", &false.into());
    assert_eq!(
        (metric(&server, "nabar_ready"), metric(&server, "nabar_healthy{part=\"audit\"}")),
        (0.0, 0.0)
    );
    fs::remove_file(work.path("audit.log")).expect("removed");
    server.signal("HUP");
    until(&work, &server, "/audit", &true.into());
    assert_eq!(ask(&server).status, 200);
    let lines = work.read("audit.log");
    assert!(lines.contains("\"resumed\":true") && lines.contains("\"outcomes\""), "{lines}");
}

/// A log that cannot be opened again is not hidden by lines that still reach the old file.
#[test]
fn an_audit_log_that_cannot_be_opened_again_is_a_fault_until_it_can() {
    let work = Workspace::with_register_files();
    let server = configured(&work, &["far.nabar"], "[audit]\npath = \"audit.log\"\n", &[]);
    assert_eq!(ask(&server).status, 200);
    fs::rename(work.path("audit.log"), work.path("old")).expect("renamed");
    fs::create_dir(work.path("audit.log")).expect("made");
    server.signal("HUP");
    until(&work, &server, "/audit", &false.into());
    assert_eq!(ask(&server).status, 200, "the old file is written");
    assert_eq!(server.get("/readyz").json()["audit"], false);
    fs::remove_dir(work.path("audit.log")).expect("removed");
    // It is tried again without a signal.
    until(&work, &server, "/audit", &true.into());
    assert_eq!(ask(&server).status, 200);
    assert!(work.read("audit.log").contains("\"outcomes\""));
}

#[test]
fn credentials_that_cannot_be_reloaded_make_the_service_not_ready() {
    let work = Workspace::with_register_files();
    let jwks =
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    work.write("jwks.json", jwks);
    let toml = "[tokens]\nissuer = \"i\"\naudience = \"a\"\njwks = \"jwks.json\"\nalgorithms = [\"EdDSA\"]\n";
    let server = configured(&work, &["far.nabar"], toml, &[]);
    assert_eq!(server.get("/readyz").json()["credentials"], true);
    work.write("jwks.json", "{}");
    until(&work, &server, "/credentials", &false.into());
    work.write("jwks.json", jwks);
    until(&work, &server, "/credentials", &true.into());
    // A pipe in its place is refused, and not waited for.
    pipe(&work, "pipe");
    fs::rename(work.path("pipe"), work.path("jwks.json")).expect("renamed");
    until(&work, &server, "/credentials", &false.into());
    fs::remove_file(work.path("jwks.json")).expect("removed");
    work.write("jwks.json", jwks);
    until(&work, &server, "/credentials", &true.into());
    assert!(metric(&server, "nabar_attempt_seconds{part=\"credentials\"}") >= 0.0);
}

fn pipe(work: &Workspace, name: &str) {
    let made = std::process::Command::new("mkfifo").arg(work.path(name)).status().expect("run");
    assert!(made.success());
}

/// Without a writer, opening it would wait for ever.
#[test]
fn a_pipe_in_place_of_a_file_ends_the_start() {
    let work = Workspace::with_register_files();
    pipe(&work, "pipe");
    let start = |options: &[&str]| {
        let options = [&["serve", "-r", "far.nabar", "--listen", "127.0.0.1:0"], options].concat();
        let run = work.run(&options);
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(!run.status.success() && said.contains("pipe"), "{options:?}: {said}");
    };
    start(&["--config", "pipe"]);
    start(&["--sign", "pipe"]);
    for toml in [
        "[tokens]\nissuer = \"i\"\naudience = \"a\"\njwks = \"pipe\"\n",
        "[tls]\ncertificate = \"pipe\"\nkey = \"pipe\"\n",
        "[audit]\npath = \"pipe\"\n",
    ] {
        work.write("nabar.toml", toml);
        start(&["--config", "nabar.toml"]);
    }
}

#[test]
fn a_register_file_is_verified_before_it_is_served() {
    let work = Workspace::new();
    built(&work, "first", 1000, "2026-06-01T04:00:00Z");
    built(&work, "earlier", 999, "2026-06-01T03:00:00Z");
    built(&work, "later", 1001, "2026-06-01T05:00:00Z");
    built(&work, "damaged", 1002, "2026-06-01T06:00:00Z");
    damage(&work.path("damaged"), "records");
    work.done(&["build", &fixture("krr"), "-o", "krr", "--quiet"]);
    work.write("nothing", "not a register");
    fs::copy(work.path("first"), work.path("far.nabar")).expect("copied");
    let server = Server::start(&work, &["far.nabar"]);
    assert_eq!(ask(&server).sequence(), 1000);
    for (by, why) in [
        ("damaged", "it is damaged: records: its checksum does not match"),
        ("earlier", "its sequence number 999 is below 1000"),
        ("krr", "it is a register of krr, not of far"),
        ("nothing", "not a register"),
    ] {
        replace(&work, by, "far.nabar");
        work.until(why, || server.errors().contains(why));
        until(&work, &server, "/registers/0/following", &false.into());
        assert_eq!(metric(&server, "nabar_register_following{register=\"\"}"), 0.0);
        assert_eq!((ask(&server).status, ask(&server).sequence()), (200, 1000), "{by}");
        replace(&work, "first", "far.nabar");
        until(&work, &server, "/registers/0/following", &true.into());
    }
    // A pipe in its place stops nothing.
    pipe(&work, "pipe");
    fs::rename(work.path("pipe"), work.path("far.nabar")).expect("renamed");
    until(&work, &server, "/registers/0/following", &false.into());
    replace(&work, "later", "far.nabar");
    work.until("it is served", || ask(&server).sequence() == 1001);
    // A data directory in its place, and back.
    fs::remove_file(work.path("far.nabar")).expect("removed");
    work.done(&["init", &fixture("far"), "far.nabar", "--quiet"]);
    until(&work, &server, "/registers/0/following", &false.into());
    fs::remove_dir_all(work.path("far.nabar")).expect("removed");
    replace(&work, "later", "far.nabar");
    until(&work, &server, "/registers/0/following", &true.into());
    server.is_well("all replacements");
}

#[test]
fn a_rollback_that_is_meant_is_served() {
    let work = Workspace::new();
    built(&work, "far.nabar", 1000, "2026-06-01T04:00:00Z");
    built(&work, "earlier", 999, "2026-06-01T03:00:00Z");
    let server = Server::with(&work, &["far.nabar"], &["--allow-rollback"]);
    assert_eq!(ask(&server).sequence(), 1000);
    replace(&work, "earlier", "far.nabar");
    work.until("it is served", || ask(&server).sequence() == 999);
    assert_eq!(server.get("/readyz").status, 200);
}

#[test]
fn damage_that_a_request_finds_makes_the_service_not_ready() {
    let work = Workspace::with_register_files();
    damage(&work.path("far.nabar"), "records");
    let ids = far_ids();
    let soap = super::soap::is_reachable(SENDER, &ids[..1000.min(ids.len())]);
    let in_json = serde_json::json!({"recipients": ids}).to_string();
    for (target, kind, body) in [
        (TARGET, "application/json", &*in_json),
        (TARGET, "application/vnd.nabar.ids", &ids.concat()),
        (TARGET, "text/csv", &ids.join("\n")),
        ("/v1/check?sender=164821000025", "text/csv", &ids.join("\n")),
        ("/Recipient/v3", "text/xml", &soap),
    ] {
        let server = Server::start(&work, &["far.nabar"]);
        assert_eq!(server.get("/readyz").status, 200, "nothing is known yet");
        assert_eq!(server.post(target, kind, body).status, 500, "{target} {kind}");
        work.until("it is logged", || server.errors().contains("the register is damaged"));
        let ready = server.get("/readyz");
        assert_eq!((ready.status, &ready.json()["registers"][0]["intact"]), (503, &Value::from(false)));
    }
    // An answer that has begun ends in an error, and is not counted as a success.
    let server = Server::start(&work, &["far.nabar"]);
    let mut client = server.connect();
    let head = format!(
        "POST {TARGET} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    client.send(&[head.as_bytes(), &chunk(ids.join("\n").as_bytes()), &chunk(b"")].concat());
    assert!(client.try_reply("POST").is_err());
    let counted =
        |status| format!("nabar_requests_total{{endpoint=\"reachability\",status=\"{status}\",fault=\"\"}}");
    work.until("it is counted", || server.get("/metrics").text().contains(&counted(500)));
    assert!(!server.get("/metrics").text().contains(&counted(200)));
}

#[test]
fn a_register_from_the_future_is_not_fresh() {
    let work = Workspace::new();
    built(&work, "far.nabar", 1000, "2099-06-01T04:00:00Z");
    let server = Server::with(&work, &["far.nabar"], &["--max-age", "36500d"]);
    let ready = server.get("/readyz");
    assert_eq!((ready.status, &ready.json()["registers"][0]["fresh"]), (503, &Value::from(false)));
}

#[test]
fn probes_and_metrics_have_an_address_of_their_own() {
    let work = Workspace::with_register_files();
    let server = configured(&work, &["far.nabar"], "admin_listen = \"127.0.0.1:0\"\n", &[]);
    let address = server.errors().lines().find_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["message"] == "probes and metrics").then(|| line["address"].as_str().map(str::to_owned))?
    });
    let address = address.expect("an address").parse().expect("an address");
    let admin = |path| Server::get_at(address, path).status;
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!((admin(path), server.get(path).status), (200, 404), "{path}");
    }
    assert_eq!((admin("/v1/register"), server.get("/v1/register").status), (404, 200));
}

/// A replica whose source has gone says so, in readiness, metrics and the log, and is ready again when it is back.
#[test]
fn a_lost_source_makes_the_service_not_ready() {
    let work = Workspace::with_data_directories("far", &["source"]);
    let source = Server::start(&work, &["source"]);
    let url = format!("http://{}", source.address());
    let toml = "max_source_silence = \"1s\"\n";
    let server = configured(&work, &["replica"], toml, &["--follow", &url]);
    let address = source.address().to_string();
    until(&work, &server, "/registers/0/source/connected", &true.into());
    let reply = server.get("/readyz").json();
    let contact = reply["registers"][0]["source"]["last_contact"].as_str().expect("a time").to_owned();
    assert!(contact.parse::<jiff::Timestamp>().is_ok(), "{contact}");
    until(&work, &server, "/registers/0/source/sequence", &1000.into());
    assert_eq!(metric(&server, "nabar_source_sequence{register=\"\"}"), 1000.0);
    drop(source);
    until(&work, &server, "/registers/0/source/connected", &false.into());
    until(&work, &server, "/registers/0/source/heard", &false.into());
    assert_eq!(server.get("/readyz").json()["ready"], false);
    assert_eq!(ask(&server).status, 200, "what it has is served");
    assert_eq!(metric(&server, "nabar_source_connected{register=\"\"}"), 0.0);
    work.until("it is logged", || server.errors().contains("\"level\":\"WARN\""));
    let again = work.spawn(&["serve", "-r", "source", "--listen", &address]);
    let _source = Server::of(again);
    until(&work, &server, "/registers/0/source/connected", &true.into());
}

/// A log that another program has put back, or that a writer has repaired, never continues what was read: the service says
/// so, and resumes with the log that is there.
#[test]
fn a_log_that_goes_back_is_noticed() {
    let work = Workspace::with_data_directories("far", &["data"]);
    let changes = lines_of("changes/far.jsonl");
    let apply = |to: usize, batch: &str| {
        work.write("changes.jsonl", text(&changes[..to]));
        work.done(&["apply", "data", "changes.jsonl", "--batch", batch, "--quiet"]);
    };
    let log = fs::read_dir(work.path("data")).expect("listed").flatten().map(|entry| entry.path());
    let log = log.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "log")).expect("a log");
    for in_place in [false, true] {
        apply(100, "50");
        let earlier = fs::read(&log).expect("read");
        apply(200, "50");
        let server = Server::start(&work, &["data"]);
        assert_eq!(ask(&server).sequence(), 1200);
        if in_place {
            fs::write(&log, &earlier).expect("written");
        } else {
            fs::write(work.path("copy"), &earlier).expect("written");
            fs::rename(work.path("copy"), &log).expect("renamed");
        }
        until(&work, &server, "/registers/0/following", &false.into());
        assert_eq!(ask(&server).sequence(), 1200, "what was read is still served");
        apply(210, "7");
        until(&work, &server, "/registers/0/following", &true.into());
        work.until("the new changes are served", || ask(&server).sequence() == 1210);
        fs::write(&log, &earlier).expect("written");
    }
}
