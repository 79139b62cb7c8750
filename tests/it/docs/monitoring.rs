//! `docs/monitoring.md`, the alert rules and the dashboard. `tools/check-monitoring.sh` parses their expressions.

use super::{document, first_column, table};
use crate::support::workspace::root;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

fn read(name: &str) -> String {
    fs::read_to_string(root().join("docs/monitoring").join(name)).expect(name)
}

/// Names of metrics in expressions.
fn metrics(expressions: &str) -> BTreeSet<String> {
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let words = expressions.split(|character| !is_name(character));
    let metrics = words.filter(|word| word.starts_with("nabar_") || word.starts_with("process_"));
    metrics.map(str::to_owned).collect()
}

/// Those of the service and of replicas, which tests compare with the real ones.
fn known() -> BTreeSet<String> {
    let pages = [document("service.md"), document("replicas.md")].concat();
    let rows = pages.lines().filter(|line| line.starts_with("| `nabar_") || line.starts_with("| `process_"));
    let cells = rows.filter_map(|line| line.split('|').nth(1));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn alerts_and_panels_name_metrics_that_exist() {
    let known = known();
    assert!(known.contains("nabar_ready") && known.contains("nabar_follow_connected"), "{known:?}");
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let expressions: Vec<&str> =
        targets.map(|target| target["expr"].as_str().expect("an expression")).collect();
    let series = read("alerts.test.yml");
    for used in metrics(&[&read("alerts.yml"), &series, &*expressions.join("\n")].join("\n")) {
        let name = used.strip_suffix("_bucket").unwrap_or(&used);
        assert!(known.contains(name), "{used}");
    }
}

#[test]
fn every_alert_is_documented() {
    let rules = read("alerts.yml");
    let alerts: Vec<&str> =
        rules.lines().filter_map(|line| line.trim_start().strip_prefix("- alert: ")).collect();
    let page = document("monitoring.md");
    assert_eq!(first_column(&table(&page, "Alerts")), alerts);
}
