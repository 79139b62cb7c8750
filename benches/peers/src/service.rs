//! The service over loopback beside Redis and nginx: `tools/bench-service` measures, and what it tells is taken into
//! the record.

use crate::data::Tools;
use crate::figures::Row;
use crate::record::{Record, first_line};
use crate::{Effort, note, say};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Where the benchmark writes every round's rates.
const RATES: &str = "NABAR_BENCH_RATES";

/// Runs it.
pub(crate) fn measure(tools: &Tools, effort: &Effort, record: &mut Record) {
    // It knows one size.
    let recipients = effort.service_recipients();
    say(&format!("service: {recipients} recipients"));
    let rates = fs::canonicalize(&tools.directory).expect("a directory").join("service-rates.csv");
    let _ = fs::remove_file(&rates);
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/bench-service"));
    command.env(RATES, &rates).env("NABAR_BENCH_RECIPIENTS", recipients.to_string());
    if effort.quick {
        command.arg("--test");
    }
    if !command.status().is_ok_and(|status| status.success()) {
        return note("the service is left out: tools/bench-service failed");
    }
    let version = |program: &str| {
        let line =
            first_line(Command::new(program).arg(if program.contains("nginx") { "-v" } else { "--version" }));
        if line.is_empty() { "none".to_owned() } else { line }
    };
    let nginx = [version("nginx"), version("/usr/sbin/nginx")];
    let nginx = nginx.into_iter().find(|version| version != "none").unwrap_or_default();
    record.begin("service", vec![("redis", version("redis-server")), ("nginx", nginx)]);
    let text = fs::read_to_string(&rates).expect("the rates");
    for line in text.lines() {
        record.push(row(line, recipients as u64));
    }
    record.write();
}

/// `asked;ids;round;requests a second`, as benches/service writes it.
fn row(line: &str, recipients: u64) -> Row {
    let cells: Vec<&str> = line.split(';').collect();
    let number = |cell: &str| cell.parse::<f64>().expect("a number");
    let asked = cells[0].replace([',', '`'], "");
    let peer = ["Redis", "nginx"].into_iter().find(|name| asked.starts_with(name)).unwrap_or("nabar");
    Row {
        suite: "service".to_owned(),
        job: asked,
        peer: peer.to_owned(),
        recipients,
        rows: number(cells[1]) as u64,
        order: "list".to_owned(),
        hit_rate: 65,
        threads: 2,
        round: number(cells[2]) as u64,
        seconds: 1.0 / number(cells[3]),
        ..Row::default()
    }
}
