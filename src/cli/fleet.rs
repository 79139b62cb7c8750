//! `publish`, and `follow` of a stream.

use super::args::{FollowArgs, PublishArgs};
use super::follow::log_line;
use super::{CommandResult, Failure, check_open_files, disable_core_dumps, log};
use jiff::SignedDuration;
use nabar::fleet::{self, Fleet, FleetError, Publish, Published, Stream};
use nabar::replica::{Event, Follow};
use nabar::signing::SigningKeys;
use std::time::Duration;
use tracing::Level;

pub(super) fn publish(args: &PublishArgs) -> CommandResult {
    disable_core_dumps()?;
    check_open_files()?;
    let _written = log::start();
    if args.expires < SignedDuration::from_secs(1) {
        let text = "--expires is at least 1s: what has expired is refused by replicas";
        return Err(Failure::Usage(text.to_owned()));
    }
    let fleet = Fleet {
        stream: args.nats.clone(),
        store: args.store.clone(),
        credentials: args.nats_credentials.clone(),
        ca: args.ca.clone(),
    };
    let publish = Publish {
        directory: args.directory.clone(),
        fleet,
        keys: SigningKeys::read(&args.sign)?,
        replicas: args.replicas,
        retain: args.retain.map_or(Duration::ZERO, jiff::SignedDuration::unsigned_abs),
        expires: args.expires.unsigned_abs(),
        once: args.once,
    };
    let mut last = None;
    fleet::publish(&publish, |event| {
        let level = match &event {
            Published::Unreachable(_) => Level::WARN,
            Published::Register(_) | Published::To(_) => Level::INFO,
        };
        let line = match &event {
            Published::Register(sequence) => format!("register file of sequence {sequence} is in the store"),
            Published::To(sequence) => {
                // Later sequence numbers are not reported.
                let before = last.replace(event.clone());
                if matches!(before, Some(Published::To(_))) {
                    return;
                }
                format!("at sequence {sequence}")
            }
            Published::Unreachable(why) => {
                last = None;
                format!("trying again: {why}")
            }
        };
        if !args.quiet {
            log_line(level, &line);
        }
    })?;
    Ok(())
}

/// Follows a stream and its store.
pub(super) fn follow(
    args: &FollowArgs,
    address: &str,
    follow: &Follow,
    report: impl FnMut(Event),
) -> CommandResult {
    let stream: Stream = address.parse().map_err(|form: &str| Failure::Usage(form.to_owned()))?;
    let store = args.store.clone();
    let missing = || Failure::Usage("a stream needs --store, the store of its register files".to_owned());
    let connection = &args.connection;
    connection.only(&["--ca", "--trust"], "for a stream, which knows replicas by --nats-credentials")?;
    let fleet = Fleet {
        stream,
        store: store.ok_or_else(missing)?,
        credentials: args.nats_credentials.clone(),
        ca: connection.ca.clone(),
    };
    let consumer = args.consumer.clone().unwrap_or_else(|| {
        let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
        let directory = std::path::absolute(&args.directory).unwrap_or_else(|_| args.directory.clone());
        let digest = blake3::hash(format!("{} {}", host.trim(), directory.display()).as_bytes());
        format!("nabar-{}", &digest.to_hex()[..16])
    });
    Ok(fleet::follow(&fleet, &consumer, &connection.trust, follow, report)?)
}

impl From<FleetError> for Failure {
    fn from(error: FleetError) -> Failure {
        match error {
            FleetError::Options(_) => Failure::Usage(error.to_string()),
            FleetError::Store(error) => error.into(),
            _ => Failure::Failed(error.to_string()),
        }
    }
}
