//! KRR's times of the last validation: kept and answered wherever the other times of contact data are.

use crate::support::client::Server;
use crate::support::workspace::{Workspace, register_file};
use serde_json::{Value, json};
use std::fs;

const ID: &str = "18819991495";
/// As a change gives them, and as they are answered.
const GIVEN: [&str; 2] = ["2026-05-31T10:14:52+02", "2026-05-30T23:59:59.500Z"];
const ANSWERED: [&str; 2] = ["2026-05-31T08:14:52Z", "2026-05-30T23:59:59.5Z"];

/// A change of one person, with times of validation or without.
fn change(sequence: u64, validated: Option<[&str; 2]>) -> String {
    let mut contact = json!({
        "epostadresse": "kari@example.no", "epostadresse_oppdatert": "2020-01-01T00:00:00Z",
        "epostadresse_sist_verifisert": "2020-02-01T00:00:00Z", "mobiltelefonnummer": "+4799999999",
    });
    if let Some([email, mobile]) = validated {
        contact["epostadresse_sist_validert"] = email.into();
        contact["mobiltelefonnummer_sist_validert"] = mobile.into();
    }
    let person = json!({
        "personidentifikator": ID, "reservasjon": "NEI", "status": "AKTIV", "kontaktinformasjon": contact,
        "sertifikat": "MIIC",
    });
    json!({"sequence": sequence, "time": "2026-06-02T00:00:00Z", "put_person": person}).to_string()
}

/// Applies a change to `source`, and waits until the service has it.
fn apply(work: &Workspace, server: &Server, sequence: u64, validated: Option<[&str; 2]>) {
    work.write("change.jsonl", change(sequence, validated));
    assert_eq!(work.apply(&["source", "change.jsonl"])["to"], sequence);
    work.until("the service has it", || server.get("/v1/register").sequence() == sequence);
}

/// The times of validation of a person, `None` unless there are both.
fn times(person: &Value) -> Option<[&str; 2]> {
    let contact = &person["kontaktinformasjon"];
    let time = |channel: &str| contact[format!("{channel}_sist_validert")].as_str();
    Some([time("epostadresse")?, time("mobiltelefonnummer")?])
}

/// The person as a service answers it.
fn answered(server: &Server) -> Value {
    let body = json!({"personidentifikatorer": [ID]}).to_string();
    let reply = server.post("/rest/v2/personer", "application/json", body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["personer"][0].clone()
}

/// The person in the export of a register.
fn exported(work: &Workspace, register: &str) -> Value {
    let files = work.export(register);
    let lines = std::str::from_utf8(&files["personer.jsonl"]).expect("text");
    let line = lines.lines().find(|line| line.contains(ID)).expect("the person");
    serde_json::from_str(line).expect("JSON")
}

fn format_of(work: &Workspace, register: &str) -> u64 {
    work.json(&["inspect", register, "--json"])["format"].as_u64().expect("a number")
}

#[test]
fn times_of_validation_are_answered_and_survive_checkpoint_export_and_replication() {
    let work = Workspace::with_data_directories("krr", &["source"]);
    let server = Server::start(&work, &["source"]);
    let address = format!("http://{}", server.address());
    let follow = |replica: &str| work.done(&["follow", "--once", "--quiet", &address, replica]);
    follow("replica");
    assert_eq!((times(&answered(&server)), format_of(&work, "source")), (None, 1));
    apply(&work, &server, 1001, Some(GIVEN));

    // Of the log: over REST, in the feed, in the replica.
    let person = answered(&server);
    assert_eq!(times(&person), Some(ANSWERED));
    assert_eq!(person["varslingsstatus"], "KAN_IKKE_VARSLES", "a validation does not make a channel fresh");
    let feed =
        server.post("/rest/v2/krr/hentEndringer", "application/json", r#"{"fraEndringsId":1000}"#).json();
    assert_eq!((feed["list"].as_array().map(Vec::len), times(&feed["list"][0])), (Some(1), Some(ANSWERED)));
    assert!(work.changes("source", 1000).contains(ANSWERED[1]));
    follow("replica");
    assert_eq!(times(&exported(&work, "replica")), Some(ANSWERED));

    // Of the register file, which has the format of these times, and a replica that begins with it.
    for directory in ["source", "replica"] {
        work.done(&["checkpoint", directory, "--quiet"]);
        assert_eq!(format_of(&work, directory), 3);
        assert!(work.done(&["verify", directory]).contains("whole"));
    }
    let file = |directory: &str| fs::read(work.path(directory).join(register_file(1001))).expect("a file");
    assert!(file("source") == file("replica"));
    work.until("the service has the new file", || server.get("/v1/changes?from=1000").status == 410);
    assert_eq!(answered(&server), person);
    follow("new");
    assert!(file("source") == file("new"));
    work.done(&["export", "source", "-o", "extract"]);
    work.done(&["build", "extract", "-o", "built.nabar", "--strict", "--quiet"]);
    assert!(
        file("source") == fs::read(work.path("built.nabar")).expect("a file"),
        "the same from the extract"
    );

    // Without them it is written as ever.
    apply(&work, &server, 1002, None);
    assert_eq!(times(&answered(&server)), None);
    follow("new");
    work.done(&["checkpoint", "new", "--quiet"]);
    assert_eq!((times(&exported(&work, "new")), format_of(&work, "new")), (None, 1));
}

/// Asked as a live register, a service gives them to a register of answers and to a front.
#[test]
fn times_of_validation_come_from_a_live_register() {
    let work = Workspace::with_data_directories("krr", &["source"]);
    work.write("change.jsonl", change(1001, Some(GIVEN)));
    work.apply(&["source", "change.jsonl"]);
    let server = Server::start(&work, &["source"]);
    work.write("krr.toml", format!("kind = \"krr\"\naddress = \"http://{}\"\n", server.address()));
    work.write("list.csv", format!("id\n{ID}\n"));
    let resolved = work.run(&["resolve", "--source", "krr.toml", "list.csv", "-o", "run.nabar", "--quiet"]);
    assert!(resolved.status.success(), "{}", String::from_utf8_lossy(&resolved.stderr));
    assert_eq!(format_of(&work, "run.nabar"), 3);
    assert!(work.done(&["verify", "run.nabar"]).contains("whole"));
    let question = ["--date", "2026-06-01", "--json"];
    let found = work.json(&[&["lookup", "-r", "run.nabar", ID], &question[..]].concat());
    assert_eq!(
        (found["reason"].as_str(), times(&found)),
        (Some("not_notifiable"), Some(ANSWERED)),
        "{found}"
    );
    let front = Server::with(&work, &[], &["--source", "krr.toml"]);
    for _ in 0..2 {
        assert_eq!(answered(&front), answered(&server));
        assert_eq!(times(&answered(&front)), Some(ANSWERED));
    }
}
