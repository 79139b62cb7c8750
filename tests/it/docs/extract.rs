//! `docs/extract.md`: columns, fields, elements and reasons.

use super::registers::{Registers, write_far};
use super::{document, done, first_column, names, run, section, table, tables};
use crate::support::workspace::root;
use nabar::identities::Rejection;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

#[test]
fn extracts_have_the_documented_columns_and_fields() {
    let (registers, text) = (Registers::new(), document("extract.md"));
    for kind in ["far", "krr"] {
        done(registers.path(), 0, &["export", &format!("{kind}.nabar"), "-o", &format!("{kind}-again")]);
        let output = format!("{kind}-2.nabar");
        done(registers.path(), 0, &["build", &format!("{kind}-again"), "-o", &output, "--strict", "-q"]);
        let same = fs::read(registers.file(kind)).expect("first")
            == fs::read(registers.path().join(output)).expect("second");
        assert!(same, "build(export(x)) is x");
    }
    for name in ["operators.csv", "senders.csv", "dispatchers.csv", "recipients.csv"] {
        let written = fs::read_to_string(registers.path().join("far-again").join(name)).expect(name);
        let documented = table(&text, name);
        assert_eq!(written.lines().next(), Some(&first_column(&documented).join(",")[..]));
        // Exactly the columns documented as required are required.
        for row in &documented {
            let broken = registers.path().join("broken");
            let _ = fs::remove_dir_all(&broken);
            write_far(&broken);
            let content = fs::read_to_string(broken.join(name)).expect(name);
            let (head, rest) = content.split_once('\n').expect("a header");
            let head = head.split(',').map(|column| if column == row[0] { "other" } else { column });
            fs::write(broken.join(name), format!("{}\n{rest}", head.collect::<Vec<_>>().join(",")))
                .expect("written");
            let code = run(registers.path(), &["build", "broken", "-o", "broken.nabar", "-q"]).status.code();
            assert_eq!(code, Some(if row[1] == "yes" { 1 } else { 0 }), "{name}: {}", row[0]);
        }
    }
    let persons = fs::read_to_string(registers.path().join("krr-again/personer.jsonl")).expect("persons");
    let mut written = BTreeSet::from(["varslingsstatus".to_owned()]); // read, never written
    for person in persons.lines() {
        names("", &serde_json::from_str(person).expect("JSON"), &mut written);
    }
    let documented: BTreeSet<String> =
        table(&text, "personer.jsonl").into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(documented, written);
}

#[test]
fn xml_is_kept_as_documented() {
    let text = document("extract.md");
    let directory = tempfile::tempdir().expect("directory");
    let xml = directory.path().join("xml");
    fs::create_dir_all(&xml).expect("directory");
    let time = |month: u32| format!("2025-{month:02}-01T00:00:00Z");
    fs::write(
        xml.join("kontaktregister.xml"),
        format!(
            "<k:Kontaktregister xmlns:k='k' eksportTidspunkt='{}' senesteEndringsNummer='42'><Person>\
             <personidentifikator>01819012365</personidentifikator><reservasjon>JA</reservasjon>\
             <status>SLETTET</status><beskrivelse>dropped</beskrivelse><Kontaktinformasjon>\
             <Mobiltelefonnummer sistOppdatert='{}' sistVerifisert='{}'>+4799999999</Mobiltelefonnummer>\
             <Epostadresse sistOppdatert='{}' sistVerifisert='{}'>a@example.com</Epostadresse>\
             </Kontaktinformasjon><SikkerDigitalPostAdresse><postkasseadresse>a#1</postkasseadresse>\
             <postkasseleverandoerAdresse>984661185</postkasseleverandoerAdresse></SikkerDigitalPostAdresse>\
             <X509Sertifikat>MI\n IC</X509Sertifikat></Person></k:Kontaktregister>",
            time(1),
            time(2),
            time(3),
            time(4),
            time(5)
        ),
    )
    .expect("written");
    done(directory.path(), 0, &["build", "xml", "-o", "krr.nabar", "--strict", "-q"]);
    done(directory.path(), 0, &["export", "krr.nabar", "-o", "again"]);
    let read = |name: &str| fs::read_to_string(directory.path().join("again").join(name)).expect(name);
    let person: Value = serde_json::from_str(&read("personer.jsonl")).expect("JSON");
    let description = read("register.toml");
    let values = [
        &time(1)[..],
        "42",
        "01819012365",
        "JA",
        "SLETTET",
        "+4799999999",
        &time(2),
        &time(3),
        "a@example.com",
        &time(4),
        &time(5),
        "a#1",
        "984661185",
        "MIIC",
    ]
    .map(str::to_owned);
    let documented = table(&text, "kontaktregister.xml");
    assert_eq!(documented.len(), values.len());
    for (row, value) in documented.iter().zip(values) {
        let kept = &row[1].split("`,").next().unwrap_or_default();
        match &kept[..] {
            "as_of" | "sequence" => {
                assert!(description.contains(&format!("{kept} = ")) && description.contains(&value))
            }
            name => assert_eq!(
                person.pointer(&format!("/{}", name.replace('.', "/"))),
                Some(&value.into()),
                "{name}"
            ),
        }
    }
    assert!(!person.to_string().contains("dropped"));
}

/// The reasons are private to the crate, so they are read from its source.
#[test]
fn reasons_of_extracts_are_documented() {
    let mut known = BTreeSet::new();
    for file in ["src/extract", "src/decode"]
        .iter()
        .flat_map(|name| fs::read_dir(root().join(name)).expect("sources").flatten())
    {
        let source = fs::read_to_string(file.path()).expect("source");
        let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        known.extend(
            source.split("reason(\"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned),
        );
    }
    let text = document("extract.md");
    let set_aside = tables(&section(&text, "Rows that are set aside"));
    let documented: BTreeSet<String> = set_aside[1].iter().map(|row| row[0].clone()).collect();
    assert_eq!(documented, known);
    for rejection in Rejection::ALL {
        assert!(text.contains(&format!("`{rejection}`")), "{rejection}");
    }
    let directory = tempfile::tempdir().expect("directory");
    write_far(&directory.path().join("far"));
    let recipients = directory.path().join("far/recipients.csv");
    let rows = fs::read_to_string(&recipients).expect("rows") + "1,Secure,,,,,,\n";
    fs::write(&recipients, rows).expect("written");
    done(directory.path(), 3, &["build", "far", "-o", "far.nabar", "--strict"]);
    assert!(!directory.path().join("far.nabar").exists());
    assert!(!directory.path().join("far.nabar.rejected.csv").exists());
    done(directory.path(), 0, &["build", "far", "-o", "far.nabar", "-q"]);
    let rejected = fs::read_to_string(directory.path().join("far.nabar.rejected.csv"));
    let rejected = rejected.expect("the rejected rows");
    let lines = [&first_column(&set_aside[0]).join(",")[..], "recipients.csv,702,bad_length,recipient_id"];
    assert_eq!(rejected.lines().collect::<Vec<_>>(), lines);
}
