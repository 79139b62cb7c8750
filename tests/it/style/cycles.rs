//! Circles of modules in one directory.

use super::text_files;
use crate::support::workspace::root;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Directories below `src` whose modules do not import each other in a circle.
const WITHOUT_CYCLES: [&str; 12] = [
    "changes",
    "changes/apply",
    "extract",
    "mailing",
    "mailing/sniff",
    "service",
    "service/far",
    "service/krr",
    "service/reachability",
    "service/registers",
    "service/tls",
    "store",
];

#[test]
fn sibling_modules_do_not_depend_on_each_other_in_a_circle() {
    for directory in WITHOUT_CYCLES {
        let uses = sibling_uses(directory);
        let modules: Vec<&String> = uses.keys().collect();
        assert!(modules.len() > 1, "{directory} has no modules");
        let mut done = BTreeSet::new();
        for module in modules {
            if let Some(cycle) = cycle_from(&uses, &mut vec![module.clone()], &mut done) {
                panic!("{directory}: {} import each other in a circle", cycle.join(" → "));
            }
        }
    }
}

/// The siblings that each module of a directory uses, in `use super::x`, `super::x` and `crate::directory::x`.
fn sibling_uses(directory: &str) -> BTreeMap<String, BTreeSet<String>> {
    let path = root().join("src").join(directory);
    let name_of = |path: &Path| path.file_stem().expect("a name").to_string_lossy().into_owned();
    let entries = fs::read_dir(&path).expect(directory).flatten().map(|entry| entry.path());
    let mut modules: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in entries {
        match entry.is_dir() {
            true => drop(modules.insert(name_of(&entry), text_files(&[entry]))),
            false if entry.extension().is_some_and(|e| e == "rs") && !entry.ends_with("mod.rs") => {
                modules.insert(name_of(&entry), vec![entry]);
            }
            false => {}
        }
    }
    modules.retain(|name, _| name != "tests");
    let absolute = format!("crate::{}::", directory.replace('/', "::"));
    let uses_of = |name: &String, files: &Vec<PathBuf>| {
        let mut used = BTreeSet::new();
        for file in files.iter().filter(|file| !file.ends_with("tests.rs")) {
            let text = fs::read_to_string(file).expect("source");
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            // How many `super` lead from this file to the directory.
            let depth = file.strip_prefix(&path).expect("inside").components().count();
            let depth = depth - usize::from(file.ends_with("mod.rs") && depth > 1);
            let relative = "super::".repeat(depth);
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            let code = lines.collect::<Vec<_>>().join("\n");
            for rest in [&absolute, &relative].into_iter().flat_map(|prefix| after(&code, prefix)) {
                used.extend(
                    first_names(rest)
                        .into_iter()
                        .filter(|used| modules.contains_key(*used))
                        .map(str::to_owned),
                );
            }
        }
        used.remove(name);
        used
    };
    modules.iter().map(|(name, files)| (name.clone(), uses_of(name, files))).collect()
}

/// What follows each occurrence of a prefix that no longer prefix contains.
fn after<'c>(code: &'c str, prefix: &str) -> Vec<&'c str> {
    let found = code.match_indices(prefix).filter(|(at, _)| {
        let before = &code[..*at];
        !before.ends_with("super::") && !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
    });
    found.map(|(at, _)| &code[at + prefix.len()..]).filter(|rest| !rest.starts_with("super::")).collect()
}

/// The first name of a path, or those of a list of paths in braces.
fn first_names(rest: &str) -> Vec<&str> {
    let name = |text: &'_ str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let Some(list) = rest.strip_prefix('{') else { return vec![&rest[..name(rest)]] };
    let (mut found, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                let path = list[start..at].trim_start();
                found.push(&path[..name(path)]);
                start = at + 1;
            }
            _ => {}
        }
        if c == '}' && depth == 0 && start == at + 1 {
            break;
        }
    }
    found
}

/// A circle among the modules that the last module of a path uses. `done` has those that lead to none.
fn cycle_from(
    uses: &BTreeMap<String, BTreeSet<String>>,
    path: &mut Vec<String>,
    done: &mut BTreeSet<String>,
) -> Option<Vec<String>> {
    for next in &uses[path.last().expect("a module")] {
        if let Some(start) = path.iter().position(|module| module == next) {
            return Some(path[start..].iter().chain([next]).cloned().collect());
        }
        if !done.contains(next) {
            path.push(next.clone());
            if let Some(cycle) = cycle_from(uses, path, done) {
                return Some(cycle);
            }
            path.pop();
        }
    }
    done.extend(path.last().cloned());
    None
}

#[test]
fn first_names_are_those_of_paths_and_lists() {
    assert_eq!(first_names("a::b;"), ["a"]);
    assert_eq!(first_names("{a, b::{c, d}, e as f};\nuse g;"), ["a", "b", "e"]);
    assert_eq!(first_names("{\n    a::{b},\n    c,\n};"), ["a", "c", ""]);
}
