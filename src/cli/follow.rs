//! `follow` and `keygen`; what else is asked of a service.

use super::args::{Connection, FollowArgs, KeygenArgs};
use super::{Done, Failure, fleet};
use nabar::replica::{self, Event, Follow, FollowError, SourceOptions};
use nabar::signing::{self, KeyError};
use std::io::{self, Write};

pub(super) fn follow(args: &FollowArgs) -> Done {
    let follow = Follow {
        directory: args.directory.clone(),
        once: args.once,
        checkpoint_at: if args.checkpoint_at == 0 { u64::MAX } else { args.checkpoint_at },
    };
    let mut said = Said::default();
    let tell = |event| {
        if let Some(line) = said.line(&event).filter(|_| !args.quiet || is_alarm(&event)) {
            // If nobody reads it, it is followed all the same.
            let _ = writeln!(io::stderr(), "{line}");
        }
    };
    if ["nats://", "tls://"].iter().any(|scheme| args.source.starts_with(scheme)) {
        return fleet::follow(args, &follow, tell);
    }
    if args.store.is_some() || args.consumer.is_some() || args.nats_credentials.is_some() {
        let text = "--store, --consumer and --nats-credentials are for a stream, nats://HOST:4222/STREAM";
        return Err(Failure::Usage(text.to_owned()));
    }
    Ok(replica::follow(&args.connection.to(&args.source), &follow, tell)?)
}

pub(super) fn keygen(args: &KeygenArgs) -> Done {
    let [private, public] = signing::generate(&args.name).map_err(|error| match &error {
        KeyError::Io { path, error: system } if system.kind() == io::ErrorKind::AlreadyExists => {
            Failure::Usage(format!(
                "{} is there already: name another key, or remove it first",
                path.display()
            ))
        }
        _ => error.into(),
    })?;
    let (private, public) = (private.display(), public.display());
    Ok(writeln!(
        io::stdout(),
        "{private}: signs (nabar serve --sign {private}); keep it to yourself\n\
         {public}: give it to those who follow (nabar follow --trust {public})"
    )?)
}

impl Connection {
    /// Errors: options are given that mean nothing where only some do; `but` are those that do.
    pub(super) fn only(&self, but: &[&str], place: &str) -> Done {
        let given = [
            ("--ca", self.ca.is_some()),
            ("--certificate", self.certificate.is_some()),
            ("--token", self.token.is_some()),
            ("--part", self.part.is_some()),
            ("--trust", !self.trust.is_empty()),
        ];
        match given.iter().find(|(name, given)| *given && !but.contains(name)) {
            Some((name, _)) => Err(Failure::Usage(format!("{name} means nothing {place}: leave it out"))),
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
            part: self.part.clone(),
            trusted: self.trust.clone(),
        }
    }
}

/// Whether somebody must look at it.
pub(super) fn is_alarm(event: &Event) -> bool {
    matches!(event, Event::Diverged(_) | Event::Untrusted(_))
}

/// What has been told, so that it is not told again.
#[derive(Default)]
pub(super) struct Said {
    level: bool,
    coming: u64,
}

impl Said {
    /// The line that tells of an event; none of what goes on as before.
    pub(super) fn line(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::Coming(here, all) => {
                // Every tenth.
                let tenth = if *all == 0 { 10 } else { here * 10 / all };
                let told = std::mem::replace(&mut self.coming, tenth);
                (tenth != told).then(|| format!("register file: {here} of {all} bytes"))
            }
            Event::Open(_) => None,
            Event::At(at, latest) => {
                let level = at == latest;
                let before = std::mem::replace(&mut self.level, level);
                (!level || !before).then(|| format!("at sequence {at} of {latest}"))
            }
            Event::Behind => {
                Some("too far behind: the changes are gone at the source; beginning anew".to_owned())
            }
            Event::Diverged(why) => {
                Some(format!("ALARM: this is not the register that the source has: {why}; beginning anew"))
            }
            Event::Untrusted(why) => {
                self.level = false;
                Some(format!("ALARM: {why}; trying again"))
            }
            Event::Away(why) => {
                self.level = false;
                Some(format!("trying again: {why}"))
            }
        }
    }
}

impl From<FollowError> for Failure {
    fn from(error: FollowError) -> Failure {
        match error {
            FollowError::Options(_) => Failure::Usage(error.to_string()),
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
