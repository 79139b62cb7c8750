//! A front: `nabar serve --source` asks a live register, here another service, for its clients.

use crate::support::client::{Server, request};
use crate::support::workspace::{Workspace, fixture, text};
use serde_json::Value;
use std::collections::BTreeMap;
use std::thread;

const SENDER: &str = "164821000025";
const XML: &str = "text/xml; charset=utf-8";

/// A register, and a front of it.
fn live(kind: &str, path: &str, options: &[&str]) -> (Workspace, Server, Server) {
    let work = Workspace::with_register_files();
    let register = Server::start(&work, &[&format!("{kind}.nabar")]);
    let address = register.address();
    work.write(
        "source.toml",
        format!("kind = \"{kind}\"\naddress = \"http://{address}{path}\"\n{}", options.join("\n")),
    );
    let front = Server::with(&work, &[], &["--source", "source.toml"]);
    (work, register, front)
}

/// The ids of a list of the fixtures.
fn ids(list: &str) -> Vec<String> {
    let all = std::fs::read(fixture(list)).expect("a fixture");
    let all = String::from_utf8_lossy(&all);
    let cells = all.lines().flat_map(|line| line.split(';').map(str::to_owned));
    cells.filter(|cell| cell.len() >= 11 && cell.bytes().all(|byte| byte.is_ascii_digit())).collect()
}

/// Those of some ids that are 12 digits of a recipient.
fn recipients(register: &Server, ids: &[String], count: usize) -> Vec<String> {
    let target = format!("/v1/reachability?sender={SENDER}&date=2026-06-01");
    let results = results(register, &target, ids);
    let results = results.as_array().expect("results");
    let valid =
        ids.iter().zip(results).filter(|(id, result)| id.len() == 12 && result["outcome"] != "rejected");
    let mut valid: Vec<String> = valid.map(|(id, _)| id.clone()).collect();
    valid.dedup();
    valid.truncate(count);
    valid
}

fn results(server: &Server, target: &str, ids: &[String]) -> Value {
    let body = serde_json::json!({ "recipients": ids }).to_string();
    let reply = server.post(target, "application/json", body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["results"].clone()
}

fn message(sender: &str, ids: &[String]) -> String {
    let ids: String = ids.iter().map(|id| format!("<recipientId>{id}</recipientId>")).collect();
    format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
         <isReachable xmlns=\"http://minameddelanden.gov.se/schema/Recipient/v3\"><senderOrgNr>{sender}</senderOrgNr>{ids}\
         </isReachable></s:Body></s:Envelope>"
    )
}

/// The metrics of a server by name and labels.
fn metrics(server: &Server) -> BTreeMap<String, f64> {
    let text = server.get("/metrics");
    let lines = text.text().lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            Some((line.rsplit_once(' ')?.0.to_owned(), line.rsplit_once(' ')?.1.parse().ok()?))
        })
        .collect()
}

#[test]
fn a_front_of_far_answers_as_the_register_does() {
    let (work, register, front) = live("far", "/Recipient/v3", &[]);
    let ids = ids("far-list.csv");
    assert!(ids.len() > 300);
    let target = format!("/v1/reachability?sender={SENDER}&date=2026-06-01");
    assert_eq!(results(&front, &target, &ids), results(&register, &target, &ids));
    // Again, and in the other forms: nothing more is asked.
    let calls = metrics(&front)["nabar_live_calls{register=\"\"}"];
    let [of_front, of_register] =
        [&front, &register].map(|server| server.post(&target, "text/plain", text(&ids)));
    assert_eq!(of_front.text(), of_register.text());
    assert!(of_front.header("age").is_some() && of_register.header("age").is_none());
    let digits: Vec<String> = ids.iter().filter(|id| id.len() == 12).cloned().collect();
    let codes = [&front, &register].map(|server| {
        let reply = server.post(&target, "application/vnd.nabar.ids", digits.concat());
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.body[reply.body.len() - digits.len()..].to_vec()
    });
    // A register of fewer ids has fewer operators, which have other codes.
    let without_operator = codes.map(|codes| -> Vec<u8> {
        codes.into_iter().map(|code| if (9..255).contains(&code) { 9 } else { code }).collect()
    });
    assert_eq!(without_operator[0], without_operator[1]);
    let whole = recipients(&register, &ids, 900);
    let [of_front, of_register] =
        [&front, &register].map(|server| server.post("/Recipient/v3", XML, message(SENDER, &whole)));
    assert_eq!((of_front.status, of_register.status), (200, 200), "{}", of_front.text());
    assert!(of_front.text() == of_register.text(), "the same message, with the times of the recipients");
    let after = metrics(&front);
    assert_eq!(after["nabar_live_calls{register=\"\"}"], calls, "all was in memory");
    assert!(after["nabar_live_ids{register=\"\",origin=\"memory\"}"] > 0.0);

    // What needs the whole register is not here.
    let list = work.read("source.toml");
    let refused = front.post(&format!("/v1/check?sender={SENDER}"), "text/csv", list);
    assert_eq!(
        (refused.status, refused.json()["type"].as_str()),
        (501, Some("urn:nabar:problem:live-register"))
    );
    assert_eq!(front.get("/v1/snapshot").status, 501);
    let fault =
        front.post("/Recipient/v3", XML, message(SENDER, &whole).replace("isReachable", "isRegistered"));
    assert!(
        fault.status == 500 && fault.text().contains("<f:ErrorCode>5000</f:ErrorCode>"),
        "{}",
        fault.text()
    );
    // A sender that the register does not know is refused by the register.
    let unknown = front.post(
        "/v1/reachability?sender=164921000016",
        "application/json",
        r#"{"recipients":["196810199809"]}"#,
    );
    assert_eq!(unknown.status, 502, "{}", unknown.text());
    assert!(!unknown.text().contains("19681019"));
}

#[test]
fn a_front_of_krr_answers_as_the_register_does() {
    let (_work, register, front) = live("krr", "", &[]);
    let ids: Vec<String> = ids("krr-list.csv").into_iter().filter(|id| id.len() == 11).take(900).collect();
    let body = serde_json::json!({ "personidentifikatorer": ids }).to_string();
    let [of_front, of_register] =
        [&front, &register].map(|server| server.post("/rest/v2/personer", "application/json", &body));
    assert_eq!((of_front.status, of_register.status), (200, 200), "{}", of_front.text());
    let [of_front, of_register] = [of_front, of_register].map(|reply| reply.json()["personer"].clone());
    for (front, register) in
        of_front.as_array().expect("persons").iter().zip(of_register.as_array().expect("persons"))
    {
        assert_eq!(front, register);
    }
    // Whether somebody can be notified is what the register says today.
    let target = "/v1/reachability";
    assert_eq!(results(&front, target, &ids), results(&register, target, &ids));
    assert_eq!(
        front.post("/rest/v2/krr/hentEndringer", "application/json", r#"{"fraEndringsId":0}"#).status,
        501
    );
}

/// When the register is gone, what is fresh is still answered; the rest is the fault of each contract.
#[test]
fn a_front_without_its_register_answers_what_is_fresh() {
    let (_work, register, front) = live("far", "/Recipient/v3", &["[limits]", "give_up_after = \"1s\""]);
    assert_eq!(front.get("/readyz").status, 200);
    let ids = recipients(&register, &ids("far-list.csv"), 20);
    let target = format!("/v1/reachability?sender={SENDER}");
    let fresh = results(&front, &target, &ids[..10]);
    drop(register);
    assert_eq!(results(&front, &target, &ids[..10]), fresh);
    let soap = front.post("/Recipient/v3", XML, message(SENDER, &ids[..10]));
    assert_eq!(soap.status, 200);
    let fault = front.post("/Recipient/v3", XML, message(SENDER, &ids));
    assert!(
        fault.status == 500 && fault.text().contains("<f:ErrorCode>4999</f:ErrorCode>"),
        "{}",
        fault.text()
    );
    let partly = results(&front, &target, &ids);
    assert_eq!(partly.as_array().map(|all| all[..10].to_vec()), fresh.as_array().cloned());
    assert_eq!(partly[15]["outcome"], "not_asked");
    let body = serde_json::json!({ "recipients": ids[10..] }).to_string();
    let away = front.post(&target, "application/json", body);
    assert_eq!((away.status, away.json()["type"].as_str()), (503, Some("urn:nabar:problem:register-away")));
    assert!(away.header("retry-after").is_some());
    assert_eq!(front.get("/readyz").status, 503, "the last attempt has failed");
}

/// A client that closes its connection while it waits for a register that does not answer yet.
#[test]
fn a_front_does_not_wait_for_clients_that_have_gone() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let work = Workspace::new();
    let address = silent.local_addr().expect("an address");
    work.write("source.toml", format!("kind = \"far\"\naddress = \"http://{address}/\"\n"));
    let front = Server::with(&work, &[], &["--source", "source.toml"]);
    let body = serde_json::json!({ "recipients": ["196810199809"] }).to_string();
    let target = format!("/v1/reachability?sender={SENDER}");
    let mut client = front.connect();
    client.send(&request("POST", &target, "Content-Type: application/json\r\n", body.as_bytes()));
    // Its call has been made, and stays without an answer.
    let _call = silent.accept().expect("a call");
    drop(client);
    work.until("it is noticed", || front.get("/metrics").text().contains("status=\"499\""));
    assert_eq!(front.get("/readyz").status, 200);
}

/// Many clients at once: each id is asked once.
#[test]
fn questions_of_many_clients_become_few_calls() {
    let (_work, register, front) = live("far", "/Recipient/v3", &[]);
    let ids = recipients(&register, &ids("far-list.csv"), 200);
    let target = format!("/v1/reachability?sender={SENDER}");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for id in &ids {
                    results(&front, &target, std::slice::from_ref(id));
                }
            });
        }
    });
    let counted = metrics(&front);
    let of = |origin: &str| {
        let found =
            counted.iter().find(|(name, _)| name.starts_with("nabar_live_ids") && name.contains(origin));
        found.map_or(0.0, |(_, count)| *count)
    };
    let distinct = ids.iter().collect::<std::collections::BTreeSet<_>>().len() as f64;
    assert_eq!(of("\"register\""), distinct);
    assert_eq!(of("\"register\"") + of("\"memory\"") + of("\"other\""), 8.0 * ids.len() as f64);
}
