//! The tests that `security.md` names.

use super::document;
use crate::support::workspace::root;
use std::fs;
use std::path::Path;

/// The texts of the programs and scripts of tests.
fn sources(directory: &Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, texts);
        } else if path.extension().is_some_and(|ending| ending == "rs" || ending == "py") {
            texts.push(fs::read_to_string(&path).expect("text"));
        }
    }
}

/// What is between back quotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Names of tests: those in a column `test` or `tests`, and other names of many words.
fn names_of_tests(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_of_tests = false;
    for line in text.lines() {
        let last = line.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        is_of_tests = match line.starts_with('|') {
            true => is_of_tests || ["test", "tests"].contains(&last.trim()),
            false => false,
        };
        let is_long = |name: &&str| name.matches('_').count() >= 4 && !name.starts_with("nabar_");
        let is_name = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || "_:".contains(c));
        names.extend(quoted(line).filter(is_name).filter(is_long));
        if is_of_tests {
            names.extend(quoted(last).filter(is_name));
        }
    }
    // With its module or without.
    names.into_iter().map(|name| name.rsplit("::").next().unwrap_or(name)).collect()
}

#[test]
fn tests_that_are_named_exist() {
    let mut texts = Vec::new();
    for directory in ["src", "tests", "tools"] {
        sources(&root().join(directory), &mut texts);
    }
    let text = document("security.md");
    let names = names_of_tests(&text);
    assert!(names.len() > 30, "only {} names", names.len());
    let exists = |name: &str| {
        let (rust, python) = (format!("fn {name}("), format!("def {name}("));
        texts.iter().any(|text| text.contains(&rust) || text.contains(&python))
    };
    let missing: Vec<&str> = names.into_iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "security.md names tests that do not exist: {missing:?}");
}

#[test]
fn names_are_found_in_columns_and_in_prose() {
    let text = "| a | tests |\n|---|---|\n| `x` | `one`, `m::two` |\n\n`a_test_of_many_words` `nabar_a_b_c_d` `a/b_c_d_e_f`";
    assert_eq!(names_of_tests(text), ["one", "two", "a_test_of_many_words"]);
}
