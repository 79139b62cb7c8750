//! `docs/channels.md` and `docs/rules.schema.json` against the rules that nabar reads.

use super::schema::Schema;
use super::{document, done, first_column, section, tables};
use crate::support::workspace::root;
use nabar::channels::ChannelRules;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The text between the first fence of a section and the next one.
fn fenced(text: &str) -> String {
    text.split("```").nth(1).and_then(|block| block.split_once('\n')).expect("a block").1.to_owned()
}

#[test]
fn the_first_example_is_a_ready_made_file_and_is_explained_as_shown() {
    let text = document("channels.md");
    let first = fs::read_to_string(root().join("fixtures/rules/first.toml")).expect("a fixture");
    assert_eq!(fenced(&section(&text, "A first file")), first);
    let directory = tempfile::tempdir().expect("directory");
    std::os::unix::fs::symlink(root().join("fixtures"), directory.path().join("fixtures")).expect("linked");
    // The commands at the beginning; the last one prints the explanation.
    let commands = fenced(&text).replace("\\\n", " ");
    let mut printed = String::new();
    for command in commands.lines() {
        let words: Vec<&str> = command.split_whitespace().skip(1).collect();
        printed = done(directory.path(), 0, &words);
    }
    assert_eq!(fenced(&section(&text, "Why did this letter go so?")), printed);
}

#[test]
fn ready_made_files_and_conditions_are_listed() {
    let text = document("channels.md");
    let all = tables(&text);
    let listed: BTreeSet<&str> = first_column(&all[0]).into_iter().collect();
    let entries = fs::read_dir(root().join("fixtures/rules")).expect("read");
    let names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    let files: BTreeSet<&str> =
        names.iter().map(|name| &**name).filter(|name| name.ends_with(".toml")).collect();
    assert_eq!(listed, files);
    // Each condition of the table is read; those with `…` stand for several.
    let head = "[[channel]]\nname = \"print\"\n[[register]]\nname = \"krr\"\npath = \"krr.nabar\"\n[[list]]\nname = \"protected\"\npath = \"README.md\"\n";
    for condition in first_column(&all[1]) {
        for condition in condition.split("`, `").filter(|condition| !condition.contains('…')) {
            let rule = format!("[[rule]]\nname = \"a\"\nchannel = \"print\"\n[rule.when]\n{condition}\n");
            let file = format!("{head}{rule}[[rule]]\nname = \"b\"\nchannel = \"print\"\n");
            let read = ChannelRules::parse(&file, root());
            assert!(read.is_ok(), "{condition}: {:?}", read.err());
        }
    }
}

/// The keys that nabar knows in a table, which it names when it finds another one.
fn known_keys(of: &str) -> BTreeSet<String> {
    let unknown = "unknown = 1\n";
    let file = match of {
        "" => unknown.to_owned(),
        "when" => format!("[[rule]]\n[rule.when]\n{unknown}"),
        "cell" => format!("[[rule]]\n[rule.when.cell]\n{unknown}"),
        table => format!("[[{table}]]\n{unknown}"),
    };
    let finding = ChannelRules::parse(&file, Path::new("")).expect_err("an unknown key");
    assert!(finding.contains("unknown field `unknown`"), "{finding}");
    finding.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_schema_has_the_keys_that_nabar_reads() {
    let schema = Schema::of("rules.schema.json");
    for of in ["", "channel", "list", "register", "rule", "when", "cell"] {
        let described: BTreeSet<String> = schema.properties(of).into_iter().collect();
        assert_eq!(known_keys(of), described, "[{of}]");
    }
}
