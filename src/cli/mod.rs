//! Commands: arguments in, exit code out.

mod args;
mod changes;
mod diff;
mod fleet;
mod follow;
mod lookup;
mod mailing;
mod registers;
mod serve;

use args::{Cli, Command, QuestionArgs};
use clap::{CommandFactory, Parser};
use jiff::tz::Offset;
use jiff::{Timestamp, civil::Date};
use nabar::extract::{BuildError, ExportError};
use nabar::files::NotReplaced;
use nabar::identities::Today;
use nabar::mailing::ListError;
use nabar::register::{Damage, NotAsked, Register};
use nabar::snapshot::{OpenError, Snapshot};
use nabar::store::Reader;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why a command did not do what it should.
enum Failure {
    /// It failed: exit code 1.
    Failed(String),
    /// It was asked for what cannot be done: exit code 2.
    Usage(String),
    /// A limit: exit code 3.
    Refused(String),
    /// A signal ended it: exit code 130, as shells have it for Ctrl-C.
    Interrupted(String),
    /// Whoever reads the output has had enough.
    Closed,
}

impl Failure {
    /// Says which file it is about.
    fn about(self, path: &Path) -> Failure {
        let named = |message: String| format!("{}: {message}", path.display());
        match self {
            Failure::Failed(message) => Failure::Failed(named(message)),
            Failure::Usage(message) => Failure::Usage(named(message)),
            Failure::Refused(message) => Failure::Refused(named(message)),
            Failure::Interrupted(message) => Failure::Interrupted(named(message)),
            Failure::Closed => Failure::Closed,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::Closed,
            _ => Failure::Failed(format!("cannot write the output: {error}")),
        }
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Failure {
        match error {
            BuildError::Strict { .. } => Failure::Refused(error.to_string()),
            BuildError::TooManyRejected(_) | BuildError::Empty => {
                Failure::Refused(format!("{error}; --max-rejected and --allow-empty set what is allowed"))
            }
            BuildError::NotReplaced(error) => error.into(),
            _ => Failure::Failed(error.to_string()),
        }
    }
}

impl From<ListError> for Failure {
    fn from(error: ListError) -> Failure {
        match error {
            ListError::Interrupted => Failure::Interrupted(error.to_string()),
            error if error.is_refusal() => Failure::Refused(error.to_string()),
            error if error.is_usage() => Failure::Usage(error.to_string()),
            error => Failure::Failed(error.to_string()),
        }
    }
}

impl From<NotReplaced> for Failure {
    fn from(error: NotReplaced) -> Failure {
        match error {
            NotReplaced::Read { .. } => Failure::Failed(error.to_string()),
            NotReplaced::IsInput(_) | NotReplaced::NotAFile(_) => Failure::Usage(error.to_string()),
            NotReplaced::Foreign(_) => Failure::Usage(format!("{error}, or use --force")),
        }
    }
}

impl From<NotAsked> for Failure {
    fn from(error: NotAsked) -> Failure {
        match error {
            NotAsked::Damaged(_) => Failure::Failed(error.to_string()),
            _ => Failure::Usage(error.to_string()),
        }
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Failure {
        match error {
            ExportError::Occupied(_) => Failure::Usage(error.to_string()),
            _ => Failure::Failed(error.to_string()),
        }
    }
}

impl From<Damage> for Failure {
    fn from(damage: Damage) -> Failure {
        Failure::Failed(format!("the register is damaged: {damage}; `nabar verify` tells more"))
    }
}

type Done = Result<(), Failure>;

pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return unparsed(&error),
    };
    let done = match cli.command {
        Command::Build(args) => registers::build(&args),
        Command::Inspect(args) => registers::inspect(&args),
        Command::Verify(args) => registers::verify(&args),
        Command::Export(args) => registers::export(&args),
        Command::Lookup(args) => lookup::lookup(&args),
        Command::Check(args) => mailing::check(&args),
        Command::Split(args) => mailing::split(&args),
        Command::Init(args) => changes::init(&args),
        Command::Apply(args) => changes::apply(&args),
        Command::Changes(args) => changes::changes(&args),
        Command::Checkpoint(args) => changes::checkpoint(&args),
        Command::Serve(args) => serve::serve(&args),
        Command::Follow(args) => follow::follow(&args),
        Command::Diff(args) => diff::diff(&args),
        Command::Keygen(args) => follow::keygen(&args),
        Command::Publish(args) => fleet::publish(&args),
        Command::Completions { shell } => completions(shell),
        Command::Man { output } => man(&output),
    };
    let (code, message) = match done {
        Ok(()) | Err(Failure::Closed) => return ExitCode::SUCCESS,
        Err(Failure::Failed(message)) => (1, message),
        Err(Failure::Usage(message)) => (2, message),
        Err(Failure::Refused(message)) => (3, message),
        Err(Failure::Interrupted(message)) => (INTERRUPTED_CODE, message),
    };
    // If nobody can be told, the exit code still does.
    let _ = writeln!(io::stderr(), "nabar: {message}");
    ExitCode::from(code)
}

/// Help and version, or what is wrong with the arguments, in the form of all other messages.
fn unparsed(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Whether it could be printed or not: nothing failed.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    let _ = write!(io::stderr(), "nabar: {}", text.strip_prefix("error: ").unwrap_or(&text));
    ExitCode::from(2)
}

fn completions(shell: clap_complete::Shell) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "nabar", &mut script);
    Ok(io::stdout().write_all(&script)?)
}

fn man(output: &PathBuf) -> Done {
    std::fs::create_dir_all(output)?;
    Ok(clap_mangen::generate_to(Cli::command(), output)?)
}

fn open(path: &Path) -> Result<Snapshot, Failure> {
    Snapshot::open(path).map_err(|error| open_failure(path, &error))
}

fn open_failure(path: &Path, error: &OpenError) -> Failure {
    Failure::Failed(format!("{}: {error}", path.display()))
}

/// A register that a command reads: a file, or a data directory that may change meanwhile.
enum Source {
    File(Arc<Register>),
    Directory(Box<Reader>),
}

impl Source {
    fn open(path: &Path) -> Result<Source, Failure> {
        if path.is_dir() {
            return Ok(Source::Directory(Box::new(Reader::open(path)?)));
        }
        let register = open(path)?.register().map_err(|error| open_failure(path, &error))?;
        Ok(Source::File(Arc::new(register)))
    }

    fn register(&self) -> Arc<Register> {
        match self {
            Source::File(register) => Arc::clone(register),
            Source::Directory(reader) => reader.register(),
        }
    }

    /// Takes in what has changed since; returns whether anything has.
    fn refresh(&mut self) -> Result<bool, Failure> {
        match self {
            Source::File(_) => Ok(false),
            Source::Directory(reader) => Ok(reader.refresh()?),
        }
    }
}

/// The register of a question, unless it is too old.
fn source_of(args: &QuestionArgs) -> Result<Source, Failure> {
    let source = Source::open(&args.register)?;
    let as_of = source.register().as_of();
    let age = Timestamp::now().duration_since(as_of);
    if let Some(max) = args.max_age.filter(|max| age > *max) {
        let text = format!(
            "the register speaks for {as_of}, {} hours ago; --max-age allows {max:#}: get a newer one",
            age.as_hours()
        );
        return Err(Failure::Refused(text));
    }
    Ok(source)
}

/// Exit code of a job that a signal has ended.
const INTERRUPTED_CODE: u8 = 130;

/// Set by SIGINT, SIGTERM and SIGHUP.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Listens for signals from now on. Without it a job could not clean up; it is still safe, as nothing has
/// its final name.
fn listen() {
    let _ = ctrlc::set_handler(|| {
        // A job that waits for standard input does not see the first signal; the second ends it.
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED_CODE.into());
        }
    });
}

/// Whether a signal has come.
fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// The day asked.
fn day(args: &QuestionArgs) -> Result<(Date, Today), Failure> {
    let date = args.date.unwrap_or_else(|| Offset::UTC.to_datetime(Timestamp::now()).date());
    let today = Today::new(date.year().unsigned_abs().into(), date.month() as u32, date.day() as u32);
    let today = today.ok_or_else(|| Failure::Usage("--date must lie between 2000 and 2099".to_owned()))?;
    Ok((date, today))
}
