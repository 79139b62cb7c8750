//! Pages of KRR's `HentEndringer`: the SOAP response (oppslagstjeneste-ws-16-02) and its REST successor.

use crate::support::workspace::{Workspace, edited, fixture, lines_of, shows_no_identity, text};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write as _;

/// Lines that put a person, without the fields that SOAP lacks.
fn lines(count: usize) -> Vec<String> {
    let fixture = lines_of("changes/krr.jsonl");
    let puts = fixture.iter().filter(|line| line.contains("put_person"));
    let message = |name: &str| {
        !name.starts_with("spraak") && !name.starts_with("reservasjon_") && !name.ends_with("_duplisert")
    };
    let stripped = |(line, sequence): (&String, u64)| {
        edited(line, |line| {
            line["sequence"] = json!(sequence);
            let person = line["put_person"].as_object_mut().expect("person");
            person.retain(|name, _| message(name) && name != "reservasjonstidspunkt");
            let channels = person.get_mut("kontaktinformasjon").and_then(Value::as_object_mut);
            channels.into_iter().for_each(|channels| channels.retain(|name, _| message(name)));
        })
    };
    puts.zip(1001..).map(stripped).take(count).collect()
}

/// The persons of those lines, and the time of the last.
fn persons(count: usize) -> (Vec<Value>, String) {
    let lines = lines(count).into_iter().map(|line| serde_json::from_str::<Value>(&line).expect("JSON"));
    let (mut persons, mut time) = (Vec::new(), String::new());
    for mut line in lines {
        persons.push(line["put_person"].take());
        time = line["time"].as_str().expect("time").to_owned();
    }
    (persons, time)
}

/// A page of REST: the list comes first, as in the service.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rest<'p> {
    list: &'p [Value],
    fra_endrings_id: u64,
    til_endrings_id: u64,
    siste_endrings_id: u64,
}

impl Rest<'_> {
    fn text(&self) -> String {
        serde_json::to_string(self).expect("JSON")
    }

    fn pretty(&self) -> String {
        serde_json::to_string_pretty(self).expect("JSON")
    }
}

fn rest(from: u64, to: u64, list: &[Value]) -> Rest<'_> {
    Rest { list, fra_endrings_id: from, til_endrings_id: to, siste_endrings_id: to + 17 }
}

/// The page as the service sends it, signed header and all. `m` and `o` are the prefixes of persons and
/// page, with their colons.
fn soap(from: u64, to: u64, persons: &[Value], [m, o]: [&str; 2]) -> String {
    let declared = |prefix: &str| match prefix.trim_end_matches(':') {
        "" => "xmlns".to_owned(),
        prefix => format!("xmlns:{prefix}"),
    };
    let mut page = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soap:Envelope xmlns:soap=\"http://www.w3.org/2003/05/soap-envelope\">\
         <soap:Header><wsse:Security xmlns:wsse=\"http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd\" \
         soap:mustUnderstand=\"true\"><Body/><!-- HentEndringerRespons --></wsse:Security></soap:Header>\n<soap:Body>\
         <{o}HentEndringerRespons {}=\"http://kontaktinfo.difi.no/xsd/oppslagstjeneste/16-02\" fraEndringsNummer=\"{from}\" \
         senesteEndringsNummer=\"{}\" tilEndringsNummer='{to}'>",
        declared(o),
        to + 17
    );
    for person in persons {
        let text =
            |value: &Value| value.as_str().unwrap_or_default().replace('&', "&amp;").replace('<', "&lt;");
        write!(page, "\n<{m}Person {}=\"http://begrep.difi.no\">", declared(m)).expect("written");
        let mut element = |name: &str, attributes: &str, value: &str| {
            write!(page, "<{m}{name}{attributes}>{value}</{m}{name}>").expect("written");
        };
        for name in ["personidentifikator", "reservasjon", "status", "varslingsstatus"] {
            element(name, "", &text(&person[name]));
        }
        let channels = &person["kontaktinformasjon"];
        let (mut inner, mut post) = (String::new(), String::new());
        for (name, field) in [("Mobiltelefonnummer", "mobiltelefonnummer"), ("Epostadresse", "epostadresse")]
        {
            let (updated, verified) = (format!("{field}_oppdatert"), format!("{field}_sist_verifisert"));
            if channels[field].is_string() {
                write!(inner, "<{m}{name}").expect("written");
                for (attribute, field) in [("sistOppdatert", updated), ("sistVerifisert", verified)] {
                    if let Some(time) = channels[&field].as_str() {
                        write!(inner, " {attribute}=\"{time}\"").expect("written");
                    }
                }
                write!(inner, "><![CDATA[{}]]></{m}{name}>", channels[field].as_str().expect("text"))
                    .expect("written");
            }
        }
        for (name, field) in [
            ("postkasseadresse", "postkasseadresse"),
            ("postkasseleverandoerAdresse", "postkasseleverandoeradresse"),
        ] {
            write!(post, "<{m}{name}>{}</{m}{name}>", text(&person["digital_post"][field])).expect("written");
        }
        element("Kontaktinformasjon", "", &inner);
        element("SikkerDigitalPostAdresse", "", &post);
        element("X509Sertifikat", "", &text(&person["sertifikat"]));
        write!(page, "</{m}Person>").expect("written");
    }
    page + &format!("\n</{o}HentEndringerRespons></soap:Body></soap:Envelope>\n")
}

#[test]
fn pages_of_both_services_equal_lines() {
    let work = Workspace::with_data_directories("krr", &["lines", "pipe"]);
    let (persons, time) = persons(30);
    work.write("lines.jsonl", text(&lines(30)));
    work.apply(&["lines", "lines.jsonl"]);
    let expected = work.export("lines");
    let whole = rest(1000, 1030, &persons);
    let parts = [rest(1000, 1012, &persons[..12]), rest(1012, 1030, &persons[12..])];
    let soap = |prefixes| soap(1000, 1030, &persons, prefixes);
    let without_envelope = soap(["", "o:"]);
    let body = without_envelope.find("<soap:Body>").expect("body") + "<soap:Body>".len();
    let without_envelope = &without_envelope[body..without_envelope.find("</soap:Body>").expect("body")];
    for (name, page, pages) in [
        ("rest", whole.text(), 1),
        ("rest-pretty", whole.pretty(), 1),
        ("rest-parts", format!("{}\n{}\n", parts[0].text(), parts[1].text()), 2),
        ("rest-parts-pretty", format!("\u{feff}{}{}", parts[0].pretty(), parts[1].pretty()), 2),
        ("soap", soap(["ns2:", "ns4:"]), 1),
        ("soap-default", soap(["", ""]), 1),
        ("soap-bom", format!("\u{feff}{}", soap(["m:", ""])), 1),
        ("soap-bare", without_envelope.to_owned(), 1),
    ] {
        work.done(&["init", &fixture("krr"), name, "--quiet"]);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(page.as_bytes()).expect("packed");
        work.write("page.gz", gz.finish().expect("packed"));
        let report = work.apply(&[name, "page.gz", "--time", &time]);
        let counts =
            [&report["from"], &report["to"], &report["batches"], &report["applied"]].map(Value::as_u64);
        assert_eq!(counts, [1000, 1030, 1, pages].map(Some), "{name}");
        assert!(work.export(name) == expected, "{name}");
        // The log makes the same register again.
        let replica = format!("{name}-replica");
        work.done(&["init", &fixture("krr"), &replica, "--quiet"]);
        let log = work.changes(name, 1000);
        assert_eq!(log.lines().count() as u64, pages);
        work.write("log.jsonl", &log);
        work.apply(&[&replica, "log.jsonl"]);
        assert!(work.export(&replica) == expected && work.changes(&replica, 1000) == log, "{name}");
    }
    // A page is one batch: --batch counts lines.
    let piped =
        work.with_input(&["apply", "pipe", "-", "--batch", "1", "--time", &time], whole.pretty().as_bytes());
    assert!(piped.status.success(), "{}", String::from_utf8_lossy(&piped.stderr));
    assert!(work.export("pipe") == expected);
}

#[test]
fn a_page_takes_the_register_to_its_last_number_and_no_page_may_be_missing() {
    let (persons, time) = persons(30);
    for service in ["rest", "soap"] {
        let page = |from, to, persons: &[Value]| match service {
            "rest" => rest(from, to, persons).text(),
            _ => soap(from, to, persons, ["m:", "o:"]),
        };
        let work = Workspace::with_data_directories("krr", &["data", "straight"]);
        let apply = |from, to, persons: &[Value]| {
            work.write("page", page(from, to, persons));
            let report = work.apply(&["data", "page", "--time", &time]);
            (report["to"].as_u64(), report["applied"].as_u64(), report["skipped"].as_u64())
        };
        assert_eq!(
            apply(1000, 1040, &[]),
            (Some(1040), Some(1), Some(0)),
            "{service}: no person has changed"
        );
        assert_eq!(apply(1040, 1050, &persons[..10]), (Some(1050), Some(1), Some(0)));
        assert_eq!(
            apply(1045, 1060, &persons[5..20]),
            (Some(1060), Some(1), Some(0)),
            "{service}: begins earlier"
        );
        assert_eq!(
            apply(1040, 1055, &persons[..15]),
            (Some(1060), Some(0), Some(1)),
            "{service}: all of it is there"
        );
        assert_eq!(apply(1060, 1060, &[]), (Some(1060), Some(0), Some(1)), "{service}: nothing new");
        let before = work.export("data");
        work.write("page", page(1061, 1070, &persons[20..]));
        let gap = work.fails(1, &["apply", "data", "page", "--skip-bad"]);
        assert!(gap.contains("expected 1060, got 1061"), "{service}: {gap}");
        work.write("page", page(1060, 1059, &persons[20..]));
        let backwards = work.fails(1, &["apply", "data", "page"]);
        assert!(backwards.contains("bad_value in tilEndrings"), "{service}: {backwards}");
        assert!(work.export("data") == before, "{service}");
        assert_eq!(apply(1060, 1070, &persons[20..]), (Some(1070), Some(1), Some(0)));
        // A feed may switch from pages to lines.
        let line = edited(&lines(1)[0], |line| line["sequence"] = json!(1071));
        work.write("line.jsonl", line);
        assert_eq!(work.apply(&["data", "line.jsonl"])["to"], 1071);
        work.write("page", page(1000, 1071, &[&persons[..], &persons[..1]].concat()));
        work.apply(&["straight", "page", "--time", &time]);
        assert!(work.export("data") == work.export("straight"), "{service}");
        let numbers: Vec<Value> = work
            .changes("data", 1045)
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["sequence"].take())
            .collect();
        assert_eq!(numbers, [1050, 1060, 1070, 1071], "{service}");
    }
}

#[test]
fn invalid_pages_are_refused_without_showing_their_content() {
    let work = Workspace::with_data_directories("krr", &["data"]);
    let (persons, _) = persons(3);
    let soap = soap(1000, 1003, &persons, ["m:", "o:"]);
    let rest = rest(1000, 1003, &persons).text();
    let fault = "<e:Envelope xmlns:e=\"http://www.w3.org/2003/05/soap-envelope\"><e:Body><e:Fault><e:Code><e:Value>e:Sender</e:Value></e:Code>\
                 <e:Reason><e:Text xml:lang=\"nb\">14824739928 ola@example.no</e:Text></e:Reason></e:Fault></e:Body></e:Envelope>";
    let id = persons[1]["personidentifikator"].as_str().expect("id");
    for (name, page, finding) in [
        ("fault", fault.to_owned(), "a fault of the service"),
        (
            "doctype",
            soap.replacen("<soap:Env", "<!DOCTYPE e [<!ENTITY x \"14824739928\">]>\n<soap:Env", 1),
            "document type",
        ),
        ("entity", soap.replacen(id, "&x14824739928;", 1), ""),
        ("cut", soap[..soap.len() / 2].to_owned(), "truncated"),
        ("cut-end", soap[..soap.rfind("</soap:Body>").expect("body")].to_owned(), "truncated"),
        ("crossed", soap.replacen("</m:status>", "</m:14824739928>", 1), "well-formed"),
        (
            "two",
            format!("{soap}{}", soap.replacen("<?xml version=\"1.0\" encoding=\"UTF-8\"?>", "", 1)),
            "one page",
        ),
        ("more", format!("{soap}14824739928"), "one page"),
        ("other", soap.replace("HentEndringerRespons", "HentPersonerRespons"), "no HentEndringerRespons"),
        ("html", "<html><body>14824739928</body></html>".to_owned(), "no HentEndringerRespons"),
        ("nothing", "<".to_owned(), ""),
        ("no-from", soap.replacen("fraEndringsNummer", "fra", 1), "fraEndringsNummer is missing"),
        ("no-to", soap.replacen("tilEndringsNummer='1003'", "", 1), "tilEndringsNummer is missing"),
        (
            "negative",
            soap.replacen("'1003'", "'-14824739928'", 1),
            "tilEndringsNummer is missing or not a number",
        ),
        ("rest-cut", rest[..rest.len() - 1].to_owned(), "not a page of hentEndringer"),
        ("rest-more", format!("{rest} 14824739928"), "not a page of hentEndringer"),
        ("rest-no-list", rest.replacen("\"list\"", "\"14824739928\"", 1), "not a page of hentEndringer"),
        ("rest-no-to", rest.replacen("tilEndringsId", "til", 1), "not a page of hentEndringer"),
        ("rest-text", rest.replacen(":1003", ":\"14824739928\"", 1), "not a page of hentEndringer"),
        ("rest-negative", rest.replacen(":1003", ":-14824739928", 1), "not a page of hentEndringer"),
        ("rest-person", rest.replacen("\"AKTIV\"", "[14824739928]", 1), "not a page of hentEndringer"),
        (
            "rest-error",
            "{\"list\":14824739928,\"error\":\"ola@example.no\"}".to_owned(),
            "not a page of hentEndringer",
        ),
    ] {
        work.write(name, page);
        for skip in ["--quiet", "--skip-bad"] {
            let message = work.fails(1, &["apply", "data", name, skip]);
            assert!(message.contains(&format!("{name}: ")) && message.contains(finding), "{name}: {message}");
            assert!(!message.contains("example") && !message.contains("ola"), "{name}: {message}");
        }
    }
    assert_eq!((work.sequence("data"), work.changes("data", 1000)), (1000, String::new()));
}

#[test]
fn an_invalid_person_refuses_the_page_or_is_left_out() {
    let (mut persons, time) = persons(6);
    let (bad, bad_status) = (json!("14824739929"), json!("UKJENT"));
    persons[1]["personidentifikator"] = bad;
    persons[4]["status"] = bad_status;
    for (service, page, lines) in [
        ("rest", rest(1000, 1006, &persons).text(), [2, 5]),
        // Two lines come before the first person.
        ("soap", soap(1000, 1006, &persons, ["m:", "o:"]), [5, 8]),
    ] {
        let work = Workspace::with_data_directories("krr", &["data", "others"]);
        work.write("page", page);
        let report = work.fails(1, &["apply", "data", "page"]);
        let expected = format!("line {}: bad_check_digit in personidentifikator", lines[0]);
        assert!(report.contains(&expected), "{service}: {report}");
        assert_eq!(work.sequence("data"), 1000);
        let report = work.apply(&["data", "page", "--skip-bad", "--time", &time]);
        assert_eq!((&report["to"], &report["set_aside"]), (&json!(1006), &json!(2)), "{service}");
        let expected = format!(
            "line,sequence,reason,column\n{},,bad_check_digit,personidentifikator\n{},,bad_value,status\n",
            lines[0], lines[1]
        );
        assert_eq!(work.read("data/rejected.csv"), expected, "{service}");
        let others: Vec<Value> = [0, 2, 3, 5].map(|place| persons[place].clone()).into();
        work.write("page", rest(1000, 1006, &others).text());
        work.apply(&["others", "page", "--time", &time]);
        assert!(work.export("data") == work.export("others"), "{service}");
    }
}

/// A thousand persons with certificates are more than a megabyte, and the fields that identify a page come last.
#[test]
fn a_full_page_is_recognized() {
    let work = Workspace::with_data_directories("krr", &["data", "pipe"]);
    let mut person = persons(1).0.remove(0);
    person["sertifikat"] = json!("MIIF".repeat(500));
    let page = rest(1000, 2000, &vec![person; 1000]).text();
    assert!(page.len() > 2 << 20);
    work.write("page.json", &page);
    assert_eq!(work.apply(&["data", "page.json"])["to"], 2000);
    let output = work.with_input(&["apply", "pipe", "-", "--batch", "10", "--json"], page.as_bytes());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(work.sequence("pipe"), 2000);
}

#[test]
fn a_page_is_refused_by_a_register_of_another_kind() {
    let work = Workspace::with_data_directories("far", &["far"]);
    let (persons, _) = persons(2);
    for (name, page) in [
        ("page.json", rest(1000, 1002, &persons).text()),
        ("page.xml", soap(1000, 1002, &persons, ["m:", "o:"])),
        ("empty.json", rest(1000, 1002, &[]).text()),
        ("lines.jsonl", text(&lines(2))),
    ] {
        work.write(name, page);
        let message = work.fails(1, &["apply", "far", name]);
        assert!(message.contains("not_of_this_register in put_person"), "{name}: {message}");
    }
    assert_eq!(work.sequence("far"), 1000);
    shows_no_identity(&work.changes("far", 1000));
}

/// A page does not state when it was fetched: `--time` or the clock gives the time.
#[test]
fn the_time_of_a_page_is_given_or_now() {
    let work = Workspace::with_data_directories("krr", &["data"]);
    let as_of = || work.json(&["inspect", "data", "--json"])["as_of"].as_str().expect("time").to_owned();
    work.write("page", rest(1000, 1001, &[]).text());
    work.apply(&["data", "page", "--time", "2026-06-02T12:00:00+02:00"]);
    assert_eq!(as_of(), "2026-06-02T10:00:00Z");
    work.write("page", rest(1001, 1002, &[]).text());
    work.apply(&["data", "page", "--time", "2026-06-01T12:00:00Z"]);
    assert_eq!(as_of(), "2026-06-02T10:00:00Z", "the time of the register does not go back");
    assert_eq!(work.run(&["apply", "data", "page", "--time", "noon"]).status.code(), Some(2));
    let before = jiff::Timestamp::now();
    work.write("page", rest(1002, 1003, &[]).text());
    work.apply(&["data", "page"]);
    let now: jiff::Timestamp = as_of().parse().expect("time");
    assert!(now >= before || now.to_string() == "2026-06-02T10:00:00Z", "{now}");
}
