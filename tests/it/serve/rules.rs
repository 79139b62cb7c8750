//! Channel rules that requests name.

use crate::support::client::Server;
use crate::support::workspace::{SENDER, Workspace, fixture};
use serde_json::{Value, json};
use std::fs;

/// Rules without cells: a list, ages, outcomes.
const RULES: &str = r#"
[[channel]]
name = "mailbox"
mailbox = true

[[channel]]
name = "print"

[[channel]]
name = "hold"

[[list]]
name = "protected"
path = "protected.csv"

[[rule]]
name = "protected, by hand"
channel = "hold"
when = { list = "protected" }

[[rule]]
name = "minors"
channel = "print"
when = { age = { below = 18 } }

[[rule]]
name = "has a mailbox"
channel = "mailbox"
when = { outcome = "digital" }

[[rule]]
name = "everyone else"
channel = "print"
"#;

const CELLS: &str = r#"
[[channel]]
name = "print"

[[rule]]
name = "big letters"
channel = "print"
when = { cell = { column = "sidor", above = 5 } }

[[rule]]
name = "all"
channel = "print"
"#;

const CONFIG: &str = r#"
[[rules]]
name = "standard"
path = "standard.toml"

[[rules]]
name = "cells"
path = "cells.toml"
"#;

const HELD: &str = "196810199809";

fn serve() -> (Workspace, Server) {
    let work = Workspace::with_register_files();
    work.write("standard.toml", RULES);
    work.write("cells.toml", CELLS);
    work.write("protected.csv", format!("personnummer\n{HELD}\n"));
    work.write("nabar.toml", CONFIG);
    let server = Server::with(&work, &["far.nabar"], &["--config", "nabar.toml"]);
    (work, server)
}

fn ask(server: &Server, query: &str, kind: &str, body: &str) -> (u16, String) {
    let target = format!("/v1/reachability?sender={SENDER}&date=2026-06-01{query}");
    let reply = server.ask("POST", &target, &format!("content-type: {kind}\r\n"), body.as_bytes());
    (reply.status, reply.text().to_owned())
}

/// The same channels and rules over both forms as in the feedback of a split.
#[test]
fn results_have_the_channel_and_rule_of_a_split() {
    let (work, server) = serve();
    let list = fs::read(fixture("far-list.csv")).expect("the list");
    let list = String::from_utf8_lossy(&list);
    let ids: String =
        list.lines().skip(1).map(|row| format!("{}\n", &row[..row.find(';').unwrap_or(0)])).collect();
    work.write("ids.csv", format!("personnummer\n{ids}"));
    let split = "split ids.csv -o out --quiet --rules standard.toml --max-rejected 100% -r far.nabar --date 2026-06-01";
    let split: Vec<&str> = split.split(' ').chain(["--sender", SENDER]).collect();
    work.done(&split);
    let feedback = fs::read_to_string(work.path("out/feedback.csv")).expect("feedback");
    let ruled: Vec<(&str, &str)> = feedback
        .lines()
        .skip(1)
        .map(|line| {
            // The rule may have a comma.
            let cells: Vec<&str> = line.splitn(7, ',').collect();
            (cells[5], cells[6])
        })
        .collect();

    let (status, lines) = ask(&server, "&rules=standard", "text/csv", &ids);
    assert_eq!(status, 200, "{lines}");
    let found: Vec<&str> = lines.lines().collect();
    assert_eq!(found.len(), ruled.len());
    for (line, (channel, rule)) in found.iter().zip(&ruled) {
        assert!(line.ends_with(&format!(",{channel},{rule}")), "{line}: {channel}, {rule}");
    }
    assert!(ruled.iter().any(|(channel, rule)| (*channel, *rule) == ("hold", "\"protected, by hand\"")));

    let recipients: Vec<&str> = ids.lines().collect();
    let (status, text) =
        ask(&server, "&rules=standard", "application/json", &json!({ "recipients": recipients }).to_string());
    assert_eq!(status, 200, "{text}");
    let response: Value = serde_json::from_str(&text).expect("JSON");
    for (result, (channel, rule)) in response["results"].as_array().expect("results").iter().zip(&ruled) {
        assert_eq!(result["channel"].as_str().unwrap_or_default(), *channel);
        assert_eq!(result["rule"].as_str().unwrap_or_default(), rule.trim_matches('"'));
    }
    // Without rules, results are as they were.
    let (_, plain) = ask(&server, "", "text/csv", HELD);
    assert_eq!(plain.split(',').count(), 4, "{plain}");
}

/// Lists and rules are read again when they change; a list that cannot be used is an error, not another channel.
#[test]
fn changed_lists_are_read_again() {
    let (work, server) = serve();
    let rule = || ask(&server, "&rules=standard", "text/csv", HELD);
    assert!(rule().1.contains(",hold,"));
    work.write("protected.csv", "personnummer\n195904109807\n");
    assert!(rule().1.contains(",mailbox,"), "{:?}", rule());
    work.write("protected.csv", "personnummer\n195904109807\nSKYDDAD\n");
    let (status, problem) = rule();
    assert_eq!(status, 503);
    assert!(problem.contains("rules-unavailable") && !problem.contains("1959"), "{problem}");
    work.write("protected.csv", format!("personnummer\n{HELD}\n"));
    work.write("standard.toml", RULES.replace("\"hold\"", "\"later\""));
    assert!(rule().1.contains(",later,"));
}

#[test]
fn a_list_is_checked_by_rules() {
    let (work, server) = serve();
    work.write("list.csv", format!("personnummer;sidor\n{HELD};2\n195904109807;9\n"));
    let check = |rules: &str| {
        let target = format!("/v1/check?sender={SENDER}&date=2026-06-01&rules={rules}");
        let list = fs::read(work.path("list.csv")).expect("the list");
        server.ask("POST", &target, "content-type: text/csv\r\n", &list)
    };
    let reply = check("standard");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let channels = reply.json()["channels"].clone();
    let letters = |name: &str| {
        let channels = channels["channels"].as_array().expect("channels").iter();
        channels.into_iter().find(|one| one["name"] == name).map(|one| one["letters"].clone())
    };
    assert_eq!(letters("hold"), Some(json!(1)), "{channels}");
    assert_eq!(check("cells").json()["channels"]["rules"][0]["letters"], 1);
    work.write("list.csv", format!("personnummer;pages\n{HELD};2\n"));
    let reply = check("cells");
    assert_eq!((reply.status, reply.json()["type"].clone()), (422, json!("urn:nabar:problem:bad-list")));
}

#[test]
fn rules_that_do_not_fit_are_problems() {
    let (work, server) = serve();
    for (query, kind, status, word) in [
        ("&rules=none", "text/csv", 422, "unknown-rules"),
        ("&rules=", "text/csv", 422, "unknown-rules"),
        ("&rules=cells", "text/csv", 422, "rules-read-cells"),
        ("&rules=standard", "application/vnd.nabar.ids", 400, "bad-query"),
    ] {
        let (found, problem) = ask(&server, query, kind, HELD);
        assert_eq!(found, status, "{query}: {problem}");
        assert!(problem.contains(&format!("urn:nabar:problem:{word}")), "{query}: {problem}");
    }
    work.write("standard.toml", RULES.replace("minors", &"m".repeat(201)));
    assert!(work.fails(2, &["rules", "check", "standard.toml"]).contains("at most 200 bytes"));
    work.write("standard.toml", "[[rule]]\n");
    let error = work
        .fails(2, &["serve", "--register", "far.nabar", "--config", "nabar.toml", "--listen", "127.0.0.1:0"]);
    assert!(error.contains("standard.toml: line"), "{error}");
}

/// A further register of rules is asked, and read again when its file changes.
#[test]
fn a_further_register_answers_too() {
    let work = Workspace::with_register_files();
    let rules = fs::read_to_string(fixture("rules/two-registers.toml")).expect("rules");
    // Its first rule reads a cell.
    let (head, rest) = rules.split_once("[[rule]]").expect("a rule");
    let rules = format!("{head}{}", &rest[rest.find("[[rule]]").expect("another")..]);
    work.write("rules.toml", rules.replace("../../krr.nabar", "other.nabar"));
    fs::copy(work.path("krr.nabar"), work.path("other.nabar")).expect("copied");
    let config = "[[rules]]\nname = \"nordic\"\npath = \"rules.toml\"\n";
    work.write("nabar.toml", config);
    let server = Server::with(&work, &["far.nabar"], &["--config", "nabar.toml"]);
    let list = fs::read(fixture("nordic-list.csv")).expect("a list");
    let check =
        || server.post(&format!("/v1/check?sender={SENDER}&date=2026-06-01&rules=nordic"), "text/csv", &list);
    let report = check().json();
    assert_eq!(report["channels"]["registers"][0]["outcomes"]["digital"], 3);
    assert_eq!(report["channels"]["channels"][1]["letters"], 3);
    let (_, lines) = ask(&server, "&rules=nordic", "text/csv", "198902039802\n194304059803\n");
    assert!(lines.contains("mailbox in Sweden") && lines.contains("all others"), "{lines}");
    // Ids of both countries, and one that may be of either.
    let (_, lines) = ask(&server, "&rules=nordic", "text/csv", "06829043112\n6902223442\n10870579948\n");
    let found: Vec<&str> = lines.lines().collect();
    assert!(found[0].contains(",other_country,") && found[0].contains("print-norway"), "{lines}");
    assert!(found[1].contains(",rejected,ambiguous,"), "{lines}");
    assert!(found[2].contains(",norway,mailbox in Norway"), "{lines}");
    fs::remove_file(work.path("other.nabar")).expect("removed");
    assert_eq!(check().status, 503, "its register is not there");
    fs::copy(work.path("krr.nabar"), work.path("other.nabar")).expect("copied");
    assert_eq!(check().status, 200);
}

#[test]
fn organisations_of_rules_are_numbers_of_organisations() {
    let work = Workspace::with_register_files();
    work.write("standard.toml", RULES);
    work.write("protected.csv", format!("personnummer\n{HELD}\n"));
    work.write(
        "nabar.toml",
        "[[rules]]\nname = \"standard\"\npath = \"standard.toml\"\norganisations = [\"abc\"]\n",
    );
    let error =
        work.fails(2, &["serve", "-r", "far.nabar", "--listen", "127.0.0.1:0", "--config", "nabar.toml"]);
    assert!(
        error.contains("organisations of [[rules]] standard: name one at least, of 10 or 12 digits"),
        "{error}"
    );
}

/// A further register answers for the sender of each request, also if the rules were read for another one.
#[test]
fn a_further_register_answers_for_the_sender_of_the_request() {
    let work = Workspace::with_register_files();
    let rules = "[[register]]\nname = \"other\"\npath = \"far.nabar\"\n[[channel]]\nname = \"a\"\n[[channel]]\nname = \"b\"\n\
                 [[rule]]\nname = \"declined\"\nwhen = { register = { name = \"other\", reason = \"sender_declined\" } }\n\
                 channel = \"a\"\n[[rule]]\nname = \"others\"\nchannel = \"b\"\n";
    work.write("rules.toml", rules);
    work.write("nabar.toml", "[[rules]]\nname = \"declined\"\npath = \"rules.toml\"\n");
    let server = Server::with(&work, &["far.nabar"], &["--config", "nabar.toml"]);
    let list = fs::read(fixture("far-list.csv")).expect("a list");
    let senders = work.done(&["inspect", "far.nabar", "--senders"]);
    let senders: Vec<&str> = senders
        .lines()
        .skip_while(|line| *line != "senders:")
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let mut different = std::collections::BTreeSet::new();
    for sender in senders.iter().chain(&senders) {
        let report = server
            .post(&format!("/v1/check?sender={sender}&date=2026-06-01&rules=declined"), "text/csv", &list)
            .json();
        let declined = report["reasons"]["sender_declined"].as_u64().unwrap_or(0);
        assert_eq!(report["channels"]["rules"][0]["letters"], declined, "{sender}");
        different.insert(declined);
    }
    assert!(different.len() > 1, "{different:?}");
}

/// What a damaged data directory of a further register says is not answered with.
#[test]
fn a_further_register_that_is_overwritten_answers_nothing() {
    let work = Workspace::with_register_files();
    work.done(&["init", &fixture("far"), "d", "--quiet"]);
    let rules = format!(
        "[[register]]\nname = \"far\"\npath = \"d\"\nsender = \"{SENDER}\"\n[[channel]]\nname = \"sweden\"\nmailbox = true\n\
         register = \"far\"\n[[channel]]\nname = \"print\"\n[[rule]]\nname = \"sweden\"\nchannel = \"sweden\"\n\
         when = {{ register = {{ name = \"far\", outcome = \"digital\" }} }}\n[[rule]]\nname = \"others\"\nchannel = \"print\"\n"
    );
    work.write("rules.toml", rules);
    work.write("nabar.toml", "[[rules]]\nname = \"two\"\npath = \"rules.toml\"\n");
    let server = Server::with(&work, &["krr.nabar"], &["--config", "nabar.toml"]);
    let ask = || {
        let target = "/v1/reachability?date=2026-06-01&rules=two";
        let reply = server.ask("POST", target, "content-type: text/csv\r\n", b"198902039802\n");
        (reply.status, reply.text().to_owned())
    };
    let check = || {
        server
            .post("/v1/check?date=2026-06-01&rules=two&id_column=1", "text/csv", "id\n198902039802\n")
            .status
    };
    let (status, line) = ask();
    assert!(status == 200 && line.contains(",sweden,sweden"), "{status} {line}");
    assert_eq!(check(), 200);
    let file = work.path("d").join(crate::support::workspace::register_file(1000));
    let whole = fs::read(&file).expect("a register file");
    let file = fs::OpenOptions::new().write(true).open(file).expect("opened");
    file.set_len(5000).expect("cut");
    assert_eq!((ask().0, check()), (503, 503));
    std::os::unix::fs::FileExt::write_all_at(&file, &vec![0; whole.len()], 4096).expect("written");
    assert_eq!((ask().0, check()), (503, 503));
    assert!(server.get("/readyz").text().contains("\"ready\":true"), "the register of the service is whole");
}

/// A print run whose description the configuration names.
#[test]
fn lists_may_be_print_runs_that_are_described() {
    let work = Workspace::with_register_files();
    let description = fixture("runs/night.toml");
    work.write("nabar.toml", format!("[[run]]\nname = \"night\"\npath = \"{description}\"\n"));
    let server = Server::with(&work, &["far.nabar"], &["--config", "nabar.toml"]);
    let run = fs::read(fixture("runs/night.dat")).expect("a run");
    let check = |query: &str, body: &[u8]| {
        let target = format!("/v1/check?sender={SENDER}&date=2026-06-01{query}");
        let reply = server.ask("POST", &target, "content-type: text/plain\r\n", body);
        (reply.status, reply.text().to_owned())
    };
    let (status, report) = check("&run=night", &run);
    assert_eq!(status, 200, "{report}");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let args = ["check", &fixture("runs/night.dat"), "--run", &description, "--json", "-r", "far.nabar"];
    let expected = work.json(&[&args[..], &["--sender", SENDER, "--date", "2026-06-01"]].concat());
    assert_eq!(report["outcomes"], expected["outcomes"]);
    assert_eq!(report["list"]["run"], expected["list"]["run"]);
    for (query, body, status, problem) in [
        ("&run=none", &run[..], 422, "unknown-run"),
        ("&run=night&id_column=1", &run[..], 400, "bad-query"),
        ("&run=night", b"30 no letter\n", 422, "bad-list"),
        ("&run=night", &run[..run.len() / 2], 422, "bad-list"),
    ] {
        let (found, text) = check(query, body);
        assert!(found == status && text.contains(problem), "{query}: {found} {text}");
    }
}
