//! `follow` and `keygen`, and the connection options of all commands.

use super::args::{Connection, FollowArgs, KeygenArgs};
use super::follow_metrics::FollowMetrics;
use super::{CommandResult, Failure, check_open_files, disable_core_dumps, fleet, log, sources};
use nabar::plain_text::plain_lines;
use nabar::replica::{self, Event, Follow, FollowError, SourceOptions};
use nabar::signing::{self, KeyError};
use std::io::{self, Write};
use tracing::Level;

pub(super) fn follow(args: &FollowArgs) -> CommandResult {
    disable_core_dumps()?;
    check_open_files()?;
    let _written = log::start();
    let follow = Follow {
        directory: args.directory.clone(),
        once: args.once,
        checkpoint_at: if args.checkpoint_at == 0 { u64::MAX } else { args.checkpoint_at },
    };
    let (mut progress, metrics) = (FollowProgress::default(), FollowMetrics::new());
    if let Some(address) = args.metrics_listen {
        let address = metrics.listen(address)?;
        if !args.quiet {
            log_line(Level::INFO, &format!("metrics: listening on http://{address}"));
        }
    }
    let report = |event| {
        metrics.note(&event);
        if let Some(line) = progress.line(&event).filter(|_| !args.quiet || is_alarm(&event)) {
            log_line(level(&event), &line);
        }
    };
    let address = args.source.as_deref().unwrap_or_default();
    if ["nats://", "tls://"].iter().any(|scheme| address.starts_with(scheme)) {
        return fleet::follow(args, address, &follow, report);
    }
    if args.store.is_some() || args.consumer.is_some() || args.nats_credentials.is_some() {
        let text = "--store, --consumer and --nats-credentials are for a stream, nats://HOST:4222/STREAM";
        return Err(Failure::Usage(text.to_owned()));
    }
    match &args.feed {
        Some(file) => {
            args.connection.only(&[], "with --source: the source file describes the connection")?;
            Ok(sources::open_feed(file, args.on_behalf_of.as_deref())?.follow(&follow, report)?)
        }
        None => Ok(replica::follow(&args.connection.to(address), &follow, report)?),
    }
}

pub(super) fn keygen(args: &KeygenArgs) -> CommandResult {
    let [private, public] = signing::generate(&args.name).map_err(|error| match &error {
        KeyError::Io { path, error: system } if system.kind() == io::ErrorKind::AlreadyExists => {
            Failure::Usage(format!("{} already exists: name another key, or remove it first", path.display()))
        }
        _ => error.into(),
    })?;
    let (private, public) = (private.display(), public.display());
    Ok(writeln!(
        io::stdout(),
        "{private}: signs (nabar serve --sign {private}); keep it secret\n\
         {public}: distribute it to replicas (nabar follow --trust {public})"
    )?)
}

impl Connection {
    /// Errors if options other than `allowed` are given. `context` completes the message.
    pub(super) fn only(&self, allowed: &[&str], context: &str) -> CommandResult {
        let given = [
            ("--ca", self.ca.is_some()),
            ("--certificate", self.certificate.is_some()),
            ("--token", self.token.is_some()),
            ("--part", self.part.is_some()),
            ("--trust", !self.trust.is_empty()),
        ];
        match given.iter().find(|(name, given)| *given && !allowed.contains(name)) {
            Some((name, _)) => Err(Failure::Usage(format!("{name} has no meaning {context}: leave it out"))),
            None => Ok(()),
        }
    }

    /// The service at an address.
    pub(super) fn to(&self, address: &str) -> SourceOptions {
        SourceOptions {
            address: address.to_owned(),
            ca: self.ca.clone(),
            certificate: self.certificate.clone().zip(self.key.clone()),
            token: self.token.clone(),
            allow_plain_token: self.allow_plain_token,
            part: self.part.clone(),
            trusted: self.trust.clone(),
        }
    }
}

/// Writes a line of the log: time, level, text. The command continues if standard error is closed.
pub(super) fn log_line(level: Level, text: &str) {
    log::write_line(&format!("{:.3} {level} {}", jiff::Timestamp::now(), plain_lines(text)));
}

/// The level of an event in a log.
pub(super) fn level(event: &Event) -> Level {
    match event {
        event if is_alarm(event) => Level::ERROR,
        Event::Waiting(_) | Event::BadFile(_) => Level::WARN,
        _ => Level::INFO,
    }
}

/// Whether the event needs the attention of an operator.
pub(super) fn is_alarm(event: &Event) -> bool {
    matches!(event, Event::Diverged(_) | Event::Damaged(_) | Event::Untrusted(_) | Event::Silent(_))
}

/// What has been reported, so that it is not repeated.
#[derive(Default)]
pub(super) struct FollowProgress {
    is_level: bool,
    /// Tenths of the register file.
    downloaded: u64,
}

impl FollowProgress {
    /// The line for an event; `None` if nothing has changed.
    pub(super) fn line(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::Downloading(here, all) => {
                let tenth = if *all == 0 { 10 } else { here * 10 / all };
                let before = std::mem::replace(&mut self.downloaded, tenth);
                (tenth != before).then(|| format!("register file: {here} of {all} bytes"))
            }
            Event::Loading(here, all) => {
                // The first number after a new start is lower.
                let tenth = if *all == 0 { 10 } else { (u128::from(*here) * 10 / u128::from(*all)) as u64 };
                let before = std::mem::replace(&mut self.downloaded, tenth);
                (tenth != before || here == all).then(|| format!("full load: change {here} of {all}"))
            }
            Event::Silent(since) => Some(format!(
                "ALARM: nothing was fetched since {since:.0}: KRR's terms want it at least daily"
            )),
            Event::Open(_) => None,
            Event::Progress(at, latest) => {
                let is_level = at == latest;
                let before = std::mem::replace(&mut self.is_level, is_level);
                (!is_level || !before).then(|| format!("at sequence {at} of {latest}"))
            }
            Event::Behind => {
                Some("too far behind: the source no longer has the changes; starting over".to_owned())
            }
            Event::Diverged(why) => {
                Some(format!("ALARM: this is not the register that the source has: {why}; starting over"))
            }
            Event::Damaged(why) => Some(format!("ALARM: the replica is damaged: {why}; starting over")),
            Event::Untrusted(why) => {
                self.is_level = false;
                Some(format!("ALARM: {why}; trying again"))
            }
            Event::Waiting(why) | Event::BadFile(why) => {
                self.is_level = false;
                Some(format!("trying again: {why}{}", advice(why)))
            }
            Event::Reconnected => Some("the source is back".to_owned()),
            Event::AttemptFailed => None,
        }
    }
}

/// The options that may help when a source cannot be reached.
fn advice(why: &str) -> &'static str {
    match why {
        why if why.contains("requires a client certificate") => "; see --certificate and --key",
        why if why.contains("not signed by a trusted root") => "; see --ca",
        _ => "",
    }
}

impl From<FollowError> for Failure {
    fn from(error: FollowError) -> Failure {
        match error {
            FollowError::Options(_) | FollowError::NotOfFeed { .. } => Failure::Usage(error.to_string()),
            FollowError::PlainToken(_) => Failure::Usage(format!("{error} with --allow-plain-token")),
            _ => Failure::Failed(error.to_string()),
        }
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Failure {
        match error {
            KeyError::Io { .. } | KeyError::Random(_) => Failure::Failed(error.to_string()),
            KeyError::NoKey { .. } => Failure::Usage(error.to_string()),
        }
    }
}
