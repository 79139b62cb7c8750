//! `follow`.

use super::args::FollowArgs;
use super::{Done, Failure};
use nabar::replica::{self, Event, Follow, FollowError, SourceOptions};
use std::io::{self, Write};

pub(super) fn follow(args: &FollowArgs) -> Done {
    let certificate = args.certificate.clone().zip(args.key.clone());
    let source = SourceOptions {
        address: args.source.clone(),
        ca: args.ca.clone(),
        certificate,
        token: args.token.clone(),
    };
    let follow = Follow {
        source,
        directory: args.directory.clone(),
        once: args.once,
        checkpoint_at: if args.checkpoint_at == 0 { u64::MAX } else { args.checkpoint_at },
    };
    let mut said = Said::default();
    replica::follow(&follow, |event| {
        if let Some(line) = said.line(&event).filter(|_| !args.quiet) {
            // If nobody reads it, it is followed all the same.
            let _ = writeln!(io::stderr(), "{line}");
        }
    })?;
    Ok(())
}

/// What has been told, so that it is not told again.
#[derive(Default)]
struct Said {
    level: bool,
    coming: u64,
}

impl Said {
    /// The line that tells of an event; none of what goes on as before.
    fn line(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::Coming(here, all) => {
                // Every tenth.
                let tenth = if *all == 0 { 10 } else { here * 10 / all };
                let told = std::mem::replace(&mut self.coming, tenth);
                (tenth != told).then(|| format!("register file: {here} of {all} bytes"))
            }
            Event::At(at, latest) => {
                let level = at == latest;
                let before = std::mem::replace(&mut self.level, level);
                (!level || !before).then(|| format!("at sequence {at} of {latest}"))
            }
            Event::Behind => {
                Some("too far behind: the changes are gone at the source; beginning anew".to_owned())
            }
            Event::Away(why) => {
                self.level = false;
                Some(format!("the source does not answer, trying again: {why}"))
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
