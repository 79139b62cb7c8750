//! `docs/source.schema.json` against the source files that nabar reads, prints and documents.

use super::schema::Schema;
use super::{document, table};
use crate::support::workspace::{Workspace, root};
use nabar::source::SourceFile;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

const KINDS: [&str; 3] = ["far", "krr", "kivra"];

fn template(kind: &str) -> String {
    fs::read_to_string(root().join(format!("src/cli/source_{kind}.toml"))).expect("a template")
}

/// A source file as JSON.
fn json(text: &str) -> Value {
    let table: toml::Table = toml::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    serde_json::to_value(table).expect("JSON")
}

/// What nabar says of a source file; nothing if it is valid.
fn finding(text: &str) -> Option<String> {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("source.toml");
    fs::write(&path, text).expect("written");
    SourceFile::read(&path).err().map(|error| error.finding)
}

/// The keys that nabar knows in a table, which it names when it finds another one.
fn known_keys(table: &str) -> BTreeSet<String> {
    let head = "kind = \"krr\"\naddress = \"https://krr.example\"\n";
    let unknown =
        if table.is_empty() { "unknown = 1\n".to_owned() } else { format!("[{table}]\nunknown = 1\n") };
    let finding = finding(&format!("{head}{unknown}")).expect("an unknown key");
    assert!(finding.contains("unknown field `unknown`"), "{finding}");
    finding.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_schema_has_the_keys_that_nabar_reads() {
    let schema = Schema::of("source.schema.json");
    let mut all = BTreeSet::new();
    for name in ["", "tls", "token", "limits", "keep", "feed"] {
        let known = known_keys(name);
        let described: BTreeSet<String> = schema.properties(name).into_iter().collect();
        assert_eq!(known, described, "[{name}]");
        let full = |key: String| if name.is_empty() { key } else { format!("{name}.{key}") };
        all.extend(
            known
                .into_iter()
                .filter(|key| !["tls", "token", "limits", "keep", "feed"].contains(&&**key))
                .map(full),
        );
    }
    let documented: BTreeSet<String> =
        table(&document("sources.md"), "Source file").into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(all, documented, "docs/sources.md lists each key");
}

#[test]
fn templates_and_examples_follow_the_schema() {
    let schema = Schema::of("source.schema.json");
    for kind in KINDS {
        let text = template(kind);
        assert_eq!(text.lines().next(), Some("#:schema ./source.schema.json"), "as editors want it");
        assert!(schema.accepts(&json(&text)), "{kind}");
        assert_eq!(finding(&text), None, "{kind}");
        // Each line in a comment, alone.
        let mut commented = 0;
        for (number, line) in text.lines().enumerate() {
            let Some(key) = line.strip_prefix("# ").filter(|line| {
                line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ') && !key.contains('"'))
            }) else {
                continue;
            };
            let name = key.split(' ').next().unwrap_or_default();
            let replaced: &[&str] = match name {
                "pkcs12" => &["certificate", "key"],
                "certificate" => &["kid"],
                "password_file" | "password_env" if kind == "far" => continue,
                _ => &[],
            };
            let with: Vec<&str> = text
                .lines()
                .enumerate()
                .filter(|(_, line)| !replaced.iter().any(|name| line.starts_with(&format!("{name} = "))))
                .map(|(at, line)| if at == number { key } else { line })
                .collect();
            let with = with.join("\n");
            assert!(schema.accepts(&json(&with)), "{kind}: {key}");
            assert_eq!(finding(&with), None, "{kind}: {key}");
            commented += 1;
        }
        assert!(commented > 1, "{kind}: {commented} keys in comments");
    }
    let text = document("sources.md");
    let examples: Vec<&str> =
        text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    for example in &examples {
        assert!(schema.accepts(&json(example)), "{example}");
        assert_eq!(finding(example), None, "{example}");
    }
    assert!(examples.len() > 1, "{} examples", examples.len());
}

/// What nabar refuses because of its form, the schema refuses too.
#[test]
fn the_schema_refuses_what_nabar_refuses() {
    let schema = Schema::of("source.schema.json");
    let far = "kind = \"far\"\naddress = \"https://far.example/\"\n";
    let krr = "kind = \"krr\"\naddress = \"https://krr.example/\"\n";
    let kivra = "kind = \"kivra\"\naddress = \"https://kivra.example/\"\n";
    let maskinporten = "[token]\nissuer = \"https://issuer.example/\"\nclient_id = \"a\"\nkey = \"b\"\n";
    let client = "[token]\nclient_id = \"a\"\nsecret_file = \"b\"\ntenant = \"c\"\n";
    for right in [
        far.to_owned(),
        format!("{krr}{maskinporten}kid = \"c\""),
        format!("{krr}{maskinporten}password_file = \"c\""),
        format!("{kivra}{client}[limits]\nids_per_call = 500000"),
        format!("{far}[tls]\npkcs12 = \"a\"\npassword_env = \"B\""),
    ] {
        assert_eq!((finding(&right), schema.accepts(&json(&right))), (None, true), "{right}");
    }
    for wrong in [
        "kind = \"eboks\"\naddress = \"https://far.example/\"".to_owned(),
        "kind = \"far\"".to_owned(),
        format!("{far}unknown = 1"),
        format!("{far}operator = \"165568402266\""),
        format!("{far}{maskinporten}"),
        format!("{far}[tls]\nkey = \"a\""),
        format!("{far}[tls]\nkey = \"a\"\ncertificate = \"b\"\npkcs12 = \"c\""),
        format!("{far}[tls]\npassword_file = \"a\""),
        format!("{far}[tls]\npkcs12 = \"a\"\npassword_file = \"b\"\npassword_env = \"C\""),
        format!("{far}[limits]\nids_per_call = 1001"),
        format!("{far}[limits]\nids_per_call = 0"),
        format!("{far}[limits]\ncalls_in_flight = 65"),
        format!("{far}[limits]\nids_per_second = 0"),
        format!("{far}[keep]\nmax_age = 12"),
        format!("{krr}{}", maskinporten.replace("key = \"b\"\n", "")),
        format!("{krr}{maskinporten}kid = \"c\"\ncertificate = \"d\""),
        format!("{krr}{maskinporten}kid = \"c\"\ntenant = \"d\""),
        format!("{krr}{maskinporten}kid = \"c\"\nscopes = []"),
        kivra.to_owned(),
        format!("{kivra}{maskinporten}"),
        format!("{kivra}{client}kid = \"d\""),
        format!("{kivra}{client}[limits]\nids_per_call = 500001"),
    ] {
        assert!(finding(&wrong).is_some() && !schema.accepts(&json(&wrong)), "{wrong}");
    }
}

#[test]
fn nabar_prints_the_schema_and_the_templates() {
    let work = Workspace::new();
    assert_eq!(work.done(&["source", "schema"]), document("source.schema.json"));
    for kind in KINDS {
        assert_eq!(work.done(&["source", "init", kind]), template(kind));
    }
}
