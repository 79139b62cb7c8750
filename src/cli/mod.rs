//! Runs the commands, and maps their errors to messages and exit codes.

mod args;
mod change_feed;
mod changes;
mod channel_rules;
mod diff;
mod fleet;
mod follow;
mod follow_metrics;
mod log;
mod lookup;
mod mailing;
mod mode;
mod receipts;
mod registers;
mod report;
mod runs;
mod sandbox;
mod serve;
mod sources;

use args::{Cli, Command, SenderArgs};
use clap::{CommandFactory, Parser};
use clap_mangen::Man;
use jiff::tz::Offset;
use jiff::{Timestamp, civil::Date};
use nabar::extract::{BuildError, ExportError};
use nabar::files::{self, NotReplaced};
use nabar::identities::Today;
use nabar::mailing::{Hint, ListError};
use nabar::plain_text::plain_lines;
use nabar::register::{Damage, QuestionError, Register};
use nabar::snapshot::{OpenError, Snapshot};
use nabar::store::Reader;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// Why a command failed.
enum Failure {
    /// Other errors: exit code 1.
    Failed(String),
    /// Wrong usage: exit code 2.
    Usage(String),
    /// A limit was exceeded: exit code 3.
    Refused(String),
    /// A signal ended the command: exit code 130, as in shells.
    Interrupted(String),
    /// The reader of the output has closed it: exit code 0.
    OutputClosed,
}

impl Failure {
    /// Adds the path that the message is about.
    fn about(self, path: &Path) -> Failure {
        let named = |message: String| format!("{}: {message}", path.display());
        match self {
            Failure::Failed(message) => Failure::Failed(named(message)),
            Failure::Usage(message) => Failure::Usage(named(message)),
            Failure::Refused(message) => Failure::Refused(named(message)),
            Failure::Interrupted(message) => Failure::Interrupted(named(message)),
            Failure::OutputClosed => Failure::OutputClosed,
        }
    }
}

impl Failure {
    /// Adds what follows from it.
    fn followed_by(self, text: &str) -> Failure {
        match self {
            Failure::Failed(message) => Failure::Failed(message + text),
            Failure::Usage(message) => Failure::Usage(message + text),
            Failure::Refused(message) => Failure::Refused(message + text),
            Failure::Interrupted(message) => Failure::Interrupted(message + text),
            Failure::OutputClosed => Failure::OutputClosed,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Failed(format!("cannot write the output: {error}")),
        }
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Failure {
        match error {
            BuildError::Strict { .. } => Failure::Refused(format!(
                "{error}; without --strict such rows are rejected and the others built"
            )),
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
        let message = match error.hint() {
            Some(hint) => format!("{error}; {}", advice(hint)),
            None => error.to_string(),
        };
        match error {
            ListError::Interrupted => Failure::Interrupted(message),
            error if error.is_refusal() => Failure::Refused(message),
            error if error.is_usage() => Failure::Usage(message),
            _ => Failure::Failed(message),
        }
    }
}

/// What to do about an error of a list.
fn advice(hint: Hint) -> &'static str {
    match hint {
        Hint::NameIdColumn => {
            "name it with --id-column NAME or NUMBER, twice if each row has its id in one of two columns (and --delimiter, if \
             the columns are wrong)"
        }
        Hint::NameDelimiter => "name it with --delimiter",
        Hint::SkipRows => {
            "set --skip-rows and --header to where the list begins, or remove the identity, also if it is the sender's own"
        }
        Hint::ReplaceOutput => "name a new directory, or replace an earlier split with --force",
        Hint::OtherOutput => "name another directory",
        Hint::ListIsRegister => "name the register with --register",
        Hint::VerifyRegister => VERIFY_ADVICE,
        Hint::AskMissing => "add `--ask-missing --source FILE` to ask for them now",
    }
}

/// What to do about a damaged register.
const VERIFY_ADVICE: &str = "`nabar verify` lists what is damaged";

impl From<NotReplaced> for Failure {
    fn from(error: NotReplaced) -> Failure {
        match error {
            NotReplaced::Read { .. } => Failure::Failed(error.to_string()),
            NotReplaced::IsInput(_) | NotReplaced::NotAFile(_) => Failure::Usage(error.to_string()),
            NotReplaced::Foreign(_) | NotReplaced::OtherOwner(_) => {
                Failure::Usage(format!("{error}, or use --force"))
            }
        }
    }
}

impl From<QuestionError> for Failure {
    fn from(error: QuestionError) -> Failure {
        match error {
            QuestionError::Damaged(_) => Failure::Failed(error.to_string()),
            QuestionError::SenderMissing => Failure::Usage(format!("{error}: pass --sender")),
            QuestionError::SenderUnknown => Failure::Usage(format!(
                "{error}: pass the organisation number of a connected sender with --sender; `nabar inspect REGISTER --senders` \
                 lists them"
            )),
            QuestionError::SenderUnwanted => Failure::Usage(format!("{error}: omit --sender")),
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
        Failure::Failed(format!("the register is damaged: {damage}; {VERIFY_ADVICE}"))
    }
}

type CommandResult = Result<(), Failure>;

pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return parse_failure(&error),
    };
    if let Some(mode) = cli.command.mode() {
        mode.set_for_process();
    }
    let result = match cli.command {
        Command::Build(args) => registers::build(&args),
        Command::Inspect(args) => registers::inspect(&args),
        Command::Verify(args) => registers::verify(&args),
        Command::Export(args) => registers::export(&args),
        Command::Lookup(args) => lookup::lookup(&args),
        Command::Check(args) => mailing::check(&args),
        Command::Split(args) => mailing::split(&args),
        Command::Resolve(args) => sources::resolve(&args),
        Command::Source(args) => sources::source(&args),
        Command::Rules(args) => channel_rules::rules(&args),
        Command::Run(args) => runs::run(&args),
        Command::Recheck(args) => sources::recheck(&args),
        Command::Reconcile(args) => receipts::reconcile(&args),
        Command::Record(args) => receipts::record(&args),
        Command::Purge(args) => sources::purge(&args),
        Command::Init(args) => changes::init(&args),
        Command::Apply(args) => changes::apply(&args),
        Command::Changes(args) => changes::changes(&args),
        Command::Checkpoint(args) => changes::checkpoint(&args),
        Command::Serve(args) => serve::serve(&args),
        Command::Sandbox(args) => sandbox::sandbox(&args),
        Command::Follow(args) => follow::follow(&args),
        Command::Diff(args) => diff::diff(&args),
        Command::Keygen(args) => follow::keygen(&args),
        Command::Publish(args) => fleet::publish(&args),
        Command::Completions { shell } => completions(shell),
        Command::Man { output } => man(&output),
    };
    let (code, message) = match result {
        Ok(()) | Err(Failure::OutputClosed) => return ExitCode::SUCCESS,
        Err(Failure::Failed(message)) => (1, message),
        Err(Failure::Usage(message)) => (2, message),
        Err(Failure::Refused(message)) => (3, message),
        Err(Failure::Interrupted(message)) => (INTERRUPTED_CODE, message),
    };
    // If the message cannot be written, the exit code still reports the failure.
    let _ = writeln!(io::stderr(), "nabar: {}", plain_lines(&message));
    ExitCode::from(code)
}

/// Prints help and version, or an error in the arguments in the form of all other messages.
fn parse_failure(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // Help and version succeed, even if they cannot be printed.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let _ = write!(io::stderr(), "nabar: {}", plain_lines(text));
    ExitCode::from(2)
}

/// Keeps the memory of this process, which holds personal data and keys, out of core dumps: the limit applies to files, the
/// flag also to programs that collect core dumps.
fn disable_core_dumps() -> CommandResult {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let disabled =
        setrlimit(Resource::Core, none).and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable));
    disabled.map_err(|error| Failure::Failed(format!("cannot disable core dumps: {error}")))
}

/// Open files without which nothing that runs for long can start: sockets, signals, registers, logs.
const OPEN_FILES_MIN: u64 = 64;

/// Raises the limit of open files as far as the system allows. Errors: it is too low; some libraries panic then.
fn check_open_files() -> CommandResult {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let limit = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    match limit {
        Some(limit) if limit < OPEN_FILES_MIN => Err(Failure::Failed(format!(
            "the limit of open files (ulimit -n) is {limit}; set it to {OPEN_FILES_MIN} at least, or to 1024 for a service"
        ))),
        _ => Ok(()),
    }
}

fn completions(shell: clap_complete::Shell) -> CommandResult {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "nabar", &mut script);
    Ok(io::stdout().write_all(&script)?)
}

fn man(output: &Path) -> CommandResult {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let commands = root.get_subcommands().filter(|command| !command.is_hide_set()).chain([&root]);
    for command in commands {
        let (page, mut text) = (Man::new(command.clone()), Vec::new());
        page.render(&mut text)?;
        let name = page.get_filename();
        files::write_public(output, &name, &text).map_err(|error| {
            Failure::Failed(format!("cannot write {}: {error}", output.join(name).display()))
        })?;
    }
    Ok(())
}

fn open(path: &Path) -> Result<Snapshot, Failure> {
    Snapshot::open(path).map_err(|error| open_failure(path, &error))
}

fn open_failure(path: &Path, error: &OpenError) -> Failure {
    Failure::Failed(format!("{}: {error}", path.display()))
}

/// The register that a command reads: a file, or a data directory that may change during the command.
enum InputRegister {
    File(Arc<Register>),
    Directory(Box<Reader>),
}

impl InputRegister {
    /// Opens a complete register.
    fn open(path: &Path) -> Result<InputRegister, Failure> {
        InputRegister::open_with(path, Snapshot::complete_register)
    }

    /// Opens a register, which may have the answers for one mailing only.
    fn open_any(path: &Path) -> Result<InputRegister, Failure> {
        InputRegister::open_with(path, Snapshot::register)
    }

    fn open_with(
        path: &Path,
        read: impl FnOnce(&Snapshot) -> Result<Register, OpenError>,
    ) -> Result<InputRegister, Failure> {
        if path.is_dir() {
            return Ok(InputRegister::Directory(Box::new(Reader::open(path)?)));
        }
        let register = read(&open(path)?).map_err(|error| open_failure(path, &error))?;
        Ok(InputRegister::File(Arc::new(register)))
    }

    fn register(&self) -> Arc<Register> {
        match self {
            InputRegister::File(register) => Arc::clone(register),
            InputRegister::Directory(reader) => reader.register(),
        }
    }

    /// Applies the changes since; returns whether there were any.
    fn refresh(&mut self) -> Result<bool, Failure> {
        match self {
            InputRegister::File(_) => Ok(false),
            InputRegister::Directory(reader) => Ok(reader.refresh()?),
        }
    }
}

/// Opens the register of a command, unless it is too old.
fn source_of(register: &Path, args: &SenderArgs) -> Result<InputRegister, Failure> {
    let source = InputRegister::open_any(register)?;
    let as_of = source.register().as_of();
    if let Some(scope) = source.register().scope() {
        scope
            .usable_at(Timestamp::now())
            .map_err(|error| Failure::Refused(error.to_string()).about(register))?;
    }
    let age = Timestamp::now().duration_since(as_of);
    if let Some(max) = args.max_age.filter(|max| age > *max) {
        let text = format!(
            "the register is from {as_of}, {} hours ago; --max-age allows {max:#}: get a newer one",
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

/// Handles signals from now on. If that fails, a signal ends the job without cleaning up, which is still safe:
/// no output has its final name.
fn listen() {
    let _ = handle_signals();
}

fn handle_signals() -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?)
    };
    let handle = async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            // A job that waits for standard input does not see the first signal; the second ends it.
            if INTERRUPTED.swap(true, Ordering::Relaxed) {
                std::process::exit(INTERRUPTED_CODE.into());
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(handle)).map(drop)
}

/// Whether a signal has arrived.
fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// The day for which the register is queried.
fn day(args: &SenderArgs) -> Result<(Date, Today), Failure> {
    let date = args.date.unwrap_or_else(|| Offset::UTC.to_datetime(Timestamp::now()).date());
    let today = Today::from_date(date)
        .ok_or_else(|| Failure::Usage("--date must be between 2000 and 2099".to_owned()))?;
    Ok((date, today))
}
