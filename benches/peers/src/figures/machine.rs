//! The machine of the measurements, and versions.

use super::Machine;
use super::tables::{head, markdown};

/// The names about the machine. All others are versions.
const ABOUT: [&str; 11] = [
    "commit",
    "date",
    "processor",
    "virtual_machine",
    "cores",
    "shared_cache",
    "memory",
    "kernel",
    "huge_pages",
    "load_before",
    "rustc",
];

fn value<'a>(about: &'a [(String, String)], name: &str) -> &'a str {
    about.iter().find(|(key, _)| key == name).map_or("–", |(_, value)| value)
}

/// A line for each machine, day and commit, with the suites that were measured so.
pub(super) fn machines(machine: &Machine) -> Option<String> {
    let mut lines: Vec<(Vec<&str>, Vec<String>)> = Vec::new();
    for (suite, about) in machine {
        let of_virtual = if value(about, "virtual_machine") == "true" { " (virtual machine)" } else { "" };
        let cells = vec![
            value(about, "date").to_owned(),
            value(about, "commit").to_owned(),
            value(about, "processor").to_owned() + of_virtual,
            value(about, "cores").to_owned(),
            value(about, "shared_cache").to_owned(),
            value(about, "memory").to_owned(),
            value(about, "kernel").to_owned(),
        ];
        match lines.iter_mut().find(|(_, others)| *others == cells) {
            Some((suites, _)) => suites.push(suite),
            None => lines.push((vec![suite], cells)),
        }
    }
    let head = head(&["suites", "date", "commit", "processor", "cores", "shared cache", "memory", "Linux"]);
    let line = |(suites, cells): (Vec<&str>, Vec<String>)| [vec![suites.join(", ")], cells].concat();
    (!lines.is_empty()).then(|| markdown(&head, &lines.into_iter().map(line).collect::<Vec<_>>()))
}

/// The versions of all peers of nabar.
pub(super) fn versions(machine: &Machine) -> Option<String> {
    let versions = machine.values().flatten().filter(|(name, _)| !ABOUT.contains(&name.as_str()));
    let mut names: Vec<String> = versions.map(|(name, version)| format!("{name} {version}")).collect();
    names.dedup();
    (!names.is_empty()).then(|| format!("{}.", names.join("; ")))
}
