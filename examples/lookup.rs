//! Looks up a few recipients: `cargo run --example lookup -- far.nabar 164821000025 19681019-9809 …`
//!
//! The arguments are a register file, the sender's organisation number and the recipients' ids in any usual spelling.

use nabar::{Identity, Outcome, Snapshot, Today};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: lookup REGISTER SENDER ID...";
    let (path, sender) = (arguments.next().ok_or(usage)?, arguments.next().ok_or(usage)?);
    let ids: Vec<String> = arguments.collect();
    look_up(&path, &sender, &ids)
}

fn look_up(path: &str, sender: &str, ids: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let register = Snapshot::open(path)?.register()?;
    // A question is one sender's on one day; it decides once for all recipients whom the sender may reach.
    let date = jiff::civil::date(2026, 6, 1);
    let question = register.question(Some(sender), date)?;
    let today = Today::from_date(date).ok_or("no such day")?;
    for (position, id) in (1..).zip(ids) {
        // The id is not printed: it is personal data.
        match Identity::parse(id.as_bytes(), register.kind().country(), today) {
            Err(rejection) => println!("{position}: rejected, {}", rejection.name()),
            Ok(identity) => match question.ask(&identity)? {
                Outcome::Digital(operator) => {
                    println!("{position}: digital, {}", register.operator(operator).name);
                }
                outcome => println!("{position}: {}, {}", outcome.name(), outcome.reason()),
            },
        }
    }
    Ok(())
}
