//! `docs/runs.md` against the descriptions that nabar reads.

use super::{document, done, first_column, table, tables};
use crate::support::workspace::root;
use nabar::runs::RunDescription;
use std::collections::BTreeSet;
use std::fs;

/// The texts between fences of a language.
fn fenced(text: &str, language: &str) -> Vec<String> {
    let blocks = text.split("```").skip(1).step_by(2);
    blocks.filter_map(|block| block.strip_prefix(&format!("{language}\n"))).map(str::to_owned).collect()
}

#[test]
fn examples_are_descriptions_and_the_first_ones_those_of_the_fixtures() {
    let text = document("runs.md");
    for example in fenced(&text, "toml") {
        assert!(RunDescription::parse(&example).is_ok(), "{example}");
    }
    for (heading, file) in
        [("Line data", "night.toml"), ("XML", "bundle.toml"), ("AFP", "afp.toml"), ("ZIP", "zip.toml")]
    {
        let start = text.find(&format!("## {heading}\n")).expect("a section");
        let whole = fenced(&text[start..], "toml").remove(0);
        let fixture = RunDescription::read(root().join("fixtures/runs").join(file)).expect("a description");
        assert_eq!(RunDescription::parse(&whole).expect("a description"), fixture, "{file}");
    }
}

/// The names that a table of a form has, and those that nabar knows, which it names when it finds another one.
#[test]
fn the_names_of_descriptions_are_listed() {
    let text = document("runs.md");
    for (heading, begin) in [
        ("Line data", "form = \"records\"\n"),
        ("XML", "form = \"xml\"\n"),
        ("AFP", "form = \"afp\"\n"),
        ("ZIP", "form = \"zip\"\n"),
    ] {
        let start = text.find(&format!("## {heading}\n")).expect("a section");
        let listed = tables(&text[start..]).remove(0);
        let listed: BTreeSet<String> = first_column(&listed)
            .iter()
            .flat_map(|names| names.split("`, `"))
            .map(|name| name.trim_matches(['[', ']']).to_owned())
            .collect();
        let mut known = BTreeSet::new();
        for more in ["unknown = 1", "[[count]]\nunknown = 1"] {
            let Err(error) = RunDescription::parse(&format!("{begin}{more}")) else {
                panic!("an unknown name")
            };
            let error = error.to_string();
            if let Some((_, names)) = error.split_once("expected one of ") {
                known.extend(names.split('`').skip(1).step_by(2).map(str::to_owned));
            } else if let Some((_, names)) = error.split_once("expected `") {
                known.extend(names.split('`').step_by(2).map(str::to_owned));
            }
        }
        known.remove("");
        known.retain(|name| !name.contains(' '));
        assert_eq!(listed, known, "{heading}");
    }
}

#[test]
fn the_commands_work() {
    let text = document("runs.md");
    let directory = tempfile::tempdir().expect("directory");
    std::os::unix::fs::symlink(root().join("fixtures"), directory.path().join("fixtures")).expect("linked");
    for block in fenced(&text, "sh") {
        for command in block.replace("\\\n", " ").lines() {
            let (command, to) =
                command.split_once('>').map_or((command, None), |(command, to)| (command, Some(to.trim())));
            let words: Vec<&str> = command.split_whitespace().skip(1).collect();
            let printed = done(directory.path(), 0, &words);
            if let Some(to) = to {
                fs::write(directory.path().join(to), printed).expect("written");
            }
        }
    }
    let feedback = fs::read_to_string(directory.path().join("out-run/feedback.csv")).expect("feedback");
    let columns = table(&text, "What goes where");
    for name in first_column(&columns).into_iter().filter(|name| !name.contains(' ')) {
        assert!(feedback.lines().next().expect("titles").split(',').any(|title| title == name), "{name}");
    }
}
