//! Splits a mailing list: `cargo run --example split -- far.nabar 164821000025 list.csv out/`
//!
//! Every row of the list ends in one file of the directory: one per operator, paper.csv or rejected.csv.

use nabar::mailing::{self, Destination, Mailing};
use nabar::{Error, Snapshot};
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [register, sender, list, directory] = arguments.as_slice() else {
        return Err("usage: split REGISTER SENDER LIST DIRECTORY".into());
    };
    Ok(split(register.as_ref(), sender, list.as_ref(), directory.as_ref())?)
}

fn split(register: &Path, sender: &str, list: &Path, directory: &Path) -> Result<(), Error> {
    let register = Snapshot::open(register)?.register()?;
    let question = register.question(Some(sender), jiff::civil::date(2026, 6, 1))?;
    let report = mailing::split(&Mailing::new(&question, list), &Destination::new(directory))?;
    if let Some(reason) = report.refused {
        // More rows were rejected than allowed: only the rejected rows and the report were written.
        println!("refused: {reason}");
    }
    for (outcome, rows) in &report.outcomes {
        println!("{rows:>8} {outcome}");
    }
    Ok(())
}
