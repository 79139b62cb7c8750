//! Channel rules that requests name.

use super::authorization::require_outcomes;
use super::caller::Caller;
use super::config;
use super::problem::Problem;
use super::request::RequestDate;
use super::tls::normal;
use crate::channels::{ChannelRules, ChannelRulesError};
use crate::identities::Country;
use crate::mailing::{ListError, Mailing, Ruling};
use crate::plain_text::plain;
use crate::recurring::RecurringLine;
use crate::register::Question;
use hyper::StatusCode;
use jiff::civil::Date;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Most days for which the lists of rules are kept at a time: each list takes 10 MB, at most 150.
const DAYS_KEPT: usize = 2;

/// The rules of the configuration.
pub(super) struct NamedRules(Vec<ServedRules>);

struct ServedRules {
    configured: config::NamedRules,
    /// What was read, the last one used first.
    kept: Mutex<Vec<Kept>>,
    /// Lines of the log about rules that cannot be used, and why they could not last time.
    log: RecurringLine,
    reason: Mutex<String>,
}

/// Rules with their lists, as they were read for a country and a day, which decides the century of short ids.
struct Kept {
    country: Country,
    day: Date,
    files: Vec<FileState>,
    ruling: Arc<Ruling<'static>>,
}

/// A file's identity, length and modification time; `None` if it cannot be found.
#[derive(PartialEq, Eq)]
struct FileState(PathBuf, Option<(u64, u64, i64, i64)>);

impl FileState {
    fn of(path: &Path) -> FileState {
        let found = std::fs::metadata(path).ok();
        let state = found.map(|file| (file.ino(), file.len(), file.mtime(), file.mtime_nsec()));
        FileState(path.to_owned(), state)
    }

    fn is_same(&self) -> bool {
        FileState::of(&self.0) == *self
    }
}

impl NamedRules {
    /// Reads the files of rules, but not yet their lists.
    pub(super) fn new(configured: &[config::NamedRules]) -> Result<NamedRules, ChannelRulesError> {
        let served = configured.iter().map(|one| {
            ChannelRules::read(&one.path)?;
            let is_empty = one.organisations.as_ref().is_some_and(Vec::is_empty);
            if is_empty || one.organisations.iter().flatten().any(|number| normal(number).is_none()) {
                let finding = format!(
                    "organisations of [[rules]] {}: name one at least, of 10 or 12 digits in Sweden and 9 in Norway",
                    plain(&one.name)
                );
                return Err(ChannelRulesError { path: one.path.clone(), finding });
            }
            Ok(ServedRules {
                configured: one.clone(),
                kept: Mutex::new(Vec::new()),
                log: RecurringLine::new(),
                reason: Mutex::default(),
            })
        });
        Ok(NamedRules(served.collect::<Result<_, _>>()?))
    }

    /// The rules of a name and their lists, read again if a file has changed. Blocks while they are read.
    ///
    /// Errors: no such rules, rules that the caller may not use, or that cannot be used as they are now.
    pub(super) fn ruling(
        &self,
        name: &str,
        caller: &Caller,
        question: &Question<'_>,
        day: &RequestDate,
    ) -> Result<Arc<Ruling<'static>>, Problem> {
        let rules = self.0.iter().find(|rules| rules.configured.name == name).ok_or_else(|| {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown-rules", "there are no rules of this name")
        })?;
        rules.configured.check(caller)?;
        let ruling = rules.ruling(question, day).map_err(|error| {
            rules.note(&error.to_string());
            Problem::rules_unavailable()
        })?;
        rules.configured.check_registers(caller, &ruling)?;
        Ok(ruling)
    }
}

impl config::NamedRules {
    /// Whether a caller may use them: their answers tell who is on their lists.
    fn check(&self, caller: &Caller) -> Result<(), Problem> {
        let is_named = |organisation: &str| {
            self.organisations.iter().flatten().any(|one| normal(one).as_deref() == Some(organisation))
        };
        match self.organisations.is_none() || caller.organisation().is_none_or(is_named) {
            true => Ok(()),
            false => Err(Problem::forbidden("the caller may not use these rules")),
        }
    }

    /// Whether a caller may know what the further registers say: as for these registers themselves, unless the configuration
    /// names the organisations that may use the rules.
    fn check_registers(&self, caller: &Caller, ruling: &Ruling<'_>) -> Result<(), Problem> {
        if matches!(caller, Caller::Unrestricted) || self.organisations.is_some() {
            return Ok(());
        }
        let mut asked = ruling.asked_registers();
        asked.try_for_each(|(register, sender)| require_outcomes(caller, register, sender))
    }
}

/// Why rules cannot be used.
#[derive(Debug, thiserror::Error)]
enum RulesError {
    #[error(transparent)]
    Rules(#[from] ChannelRulesError),
    #[error(transparent)]
    List(#[from] ListError),
}

impl ServedRules {
    /// Logs why the rules cannot be used: at once if that has changed, else as often as other faults.
    fn note(&self, error: &str) {
        let mut reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        if *reason != error {
            error.clone_into(&mut reason);
            self.log.restart();
        }
        if let Some(times) = self.log.occurs(Instant::now()) {
            tracing::error!(rules = self.configured.name, error, times, "the channel rules cannot be used");
        }
    }

    /// The rules as they were read, unless a file has changed since.
    fn kept(
        &self,
        kept: &mut Vec<Kept>,
        country: Country,
        day: &RequestDate,
    ) -> Option<Arc<Ruling<'static>>> {
        let at = kept.iter().position(|kept| (kept.country, kept.day) == (country, day.date))?;
        let last = kept.remove(at);
        last.files.iter().all(FileState::is_same).then(|| {
            let ruling = Arc::clone(&last.ruling);
            kept.insert(0, last);
            ruling
        })
    }

    fn ruling(&self, question: &Question<'_>, day: &RequestDate) -> Result<Arc<Ruling<'static>>, RulesError> {
        let country = question.register().kind().country();
        // Others wait while one reads.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mailing = Mailing { today: day.today, threads: 1, ..Mailing::new(question, Path::new("-")) };
        if let Some(ruling) = self.kept(&mut kept, country, day) {
            // Further registers answer for the sender of the request, as long as their answers may be used.
            return Ok(match ruling.rules().registers() {
                [] => ruling,
                _ => Arc::new(ruling.again(&mailing)?),
            });
        }
        let path = &self.configured.path;
        // Before they are read: a change while they are is seen next time.
        let mut files = vec![FileState::of(path)];
        let rules = ChannelRules::read(path)?;
        let paths = rules.lists().iter().map(|list| &list.path);
        let paths = paths.chain(rules.registers().iter().map(|register| &register.path));
        files.extend(paths.map(|path| FileState::of(path)));
        let ruling = Arc::new(Ruling::load(&rules, &mailing)?.into_owned());
        kept.truncate(DAYS_KEPT - 1);
        kept.insert(0, Kept { country, day: day.date, files, ruling: Arc::clone(&ruling) });
        Ok(ruling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::{self, BuildOptions};
    use crate::snapshot::Snapshot;

    fn rules(organisations: &[&str]) -> config::NamedRules {
        config::NamedRules {
            name: "standard".to_owned(),
            path: PathBuf::new(),
            organisations: Some(organisations.iter().map(|one| (*one).to_owned()).collect())
                .filter(|all: &Vec<String>| !all.is_empty()),
        }
    }

    /// A caller with a client certificate.
    fn certificate(organisation: &str, reads_krr: bool) -> Caller {
        Caller::Certificate { organisation: organisation.to_owned(), reads_krr }
    }

    #[test]
    fn who_may_not_ask_a_further_register_may_not_use_its_rules() {
        let directory = tempfile::tempdir().expect("directory");
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        for kind in ["far", "krr"] {
            let file = directory.path().join(format!("{kind}.nabar"));
            extract::build(fixtures.join(kind), file, &BuildOptions::default()).expect("built");
        }
        let text = std::fs::read_to_string(fixtures.join("rules/two-registers.toml")).expect("rules");
        let two = ChannelRules::parse(&text.replace("../../", ""), directory.path()).expect("rules");
        let far = Snapshot::open(directory.path().join("far.nabar")).expect("a file").register();
        let far = far.expect("a register");
        let day = jiff::civil::date(2026, 6, 1);
        let question = far.question(Some("164821000025"), day).expect("a question");
        let ruling = Ruling::load(&two, &Mailing::new(&question, Path::new("-"))).expect("usable");
        let (without, with) = (certificate("164821000025", false), certificate("164821000025", true));
        let checked = |caller: &Caller, organisations| rules(organisations).check_registers(caller, &ruling);
        assert_eq!(checked(&without, &[]).expect_err("refused").word(), "not-allowed");
        assert!(checked(&with, &[]).is_ok());
        assert!(checked(&without, &["164821000025"]).is_ok(), "the configuration names it");
        assert!(checked(&Caller::Unrestricted, &[]).is_ok(), "without authentication");
    }

    #[test]
    fn named_organisations_may_use_rules() {
        let caller = |organisation| certificate(organisation, false);
        let (one, other) = (caller("164821000025"), caller("164921000016"));
        assert!(rules(&[]).check(&one).is_ok());
        assert!(rules(&["164821000025"]).check(&one).is_ok());
        assert!(rules(&["4821000025"]).check(&one).is_ok());
        assert_eq!(rules(&["164821000025"]).check(&other).expect_err("refused").word(), "not-allowed");
        assert!(rules(&["164821000025"]).check(&Caller::Unrestricted).is_ok(), "without authentication");
    }
}
