//! Commands and options. Help, completions and man pages are generated from them.

mod channels;
mod lists;
mod receipts;
mod runs;
mod sources;

pub(crate) use channels::*;
pub(crate) use lists::*;
pub(crate) use receipts::*;
pub(crate) use runs::*;
pub(crate) use sources::*;

use super::mode::ModeArgs;
use clap::{Args, Parser, Subcommand};
use jiff::civil::Date;
use nabar::fleet::Stream;
use nabar::rejected::RejectedLimit;
use nabar::replica::Part;
use nabar::store::{CHECKPOINT_AT, LOG_VERSION};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::LazyLock;

/// What `--version` says.
fn long_version() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let (register, log, report) = (nabar::snapshot::VERSION, LOG_VERSION, nabar::mailing::VERSION);
        format!(
            "{}\ncommit {}\nregister files: formats 1 to {register}\nchange logs: formats 1 to {log}\n\
             report.json: version {report}",
            env!("CARGO_PKG_VERSION"),
            nabar::service::COMMIT
        )
    });
    &TEXT
}

/// Finds out which recipients of a mass mailing can be reached digitally.
#[derive(Parser)]
#[command(
    name = "nabar",
    version,
    long_version = long_version(),
    about,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by a limit \
                  (--max-age, --max-rejected, --strict), 130 ended by a signal.",
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Build(Build),
    Inspect(Inspect),
    Verify(Verify),
    Export(Export),
    Lookup(Lookup),
    Check(Check),
    Split(Split),
    Resolve(ResolveArgs),
    Source(SourceArgs),
    Rules(RulesArgs),
    Run(RunArgs),
    Recheck(RecheckArgs),
    Reconcile(ReconcileArgs),
    Record(RecordArgs),
    Purge(PurgeArgs),
    Init(Init),
    Apply(Apply),
    Changes(ChangesArgs),
    Checkpoint(CheckpointArgs),
    Serve(Serve),
    Sandbox(SandboxArgs),
    Follow(FollowArgs),
    Diff(DiffArgs),
    Keygen(KeygenArgs),
    Publish(PublishArgs),
    /// Print a completion script for a shell
    ///
    /// For example: nabar completions bash > /etc/bash_completion.d/nabar
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages, one for nabar and one for each command
    Man {
        /// Output directory
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
    },
}

/// Make a register file from an extract
///
/// Rows of the extract that cannot be stored are rejected: FILE.rejected.csv beside the register file lists file, line,
/// reason and column of each.
#[derive(Args)]
#[command(after_help = "Example:\n  nabar build fixtures/far -o far.nabar")]
pub(crate) struct Build {
    /// Directory of the extract
    pub(crate) extract: PathBuf,
    /// The register file to make; an existing one is replaced when the new one is complete
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Refuse an extract with a rejected row (exit code 3)
    #[arg(long)]
    pub(crate) strict: bool,
    /// Maximum of rejected rows per file of the extract, as a number or a percentage; with more, the existing register
    /// file is kept (exit code 3)
    #[arg(long, value_name = "N|N%", default_value = "1%", value_parser = rejected_limit)]
    pub(crate) max_rejected: RejectedLimit,
    /// Allow a register without recipients
    #[arg(long)]
    pub(crate) allow_empty: bool,
    /// Replace files that were not made by nabar
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) mode: ModeArgs,
    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Describe a register file or data directory
#[derive(Args)]
#[command(after_help = "Example:\n  nabar inspect far.nabar --json | jq .operators")]
pub(crate) struct Inspect {
    /// The register file or data directory
    pub(crate) register: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Also list the senders
    #[arg(long)]
    pub(crate) senders: bool,
}

/// Check all checksums and invariants of a register file or data directory
#[derive(Args)]
#[command(after_help = "Example:\n  nabar verify far.nabar && echo whole")]
pub(crate) struct Verify {
    /// The register file or data directory
    pub(crate) register: PathBuf,
    /// Print nothing but findings
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Write a register file or data directory as an extract
///
/// A build of that extract makes the same file, byte for byte.
#[derive(Args)]
#[command(after_help = "Example:\n  nabar export far.nabar -o extract/")]
pub(crate) struct Export {
    /// The register file or data directory
    pub(crate) register: PathBuf,
    /// Directory of the extract; new or empty
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) mode: ModeArgs,
}

/// Print the outcome for single ids
///
/// Prints a table on a terminal, else JSON Lines with all fields of the register, in the order of the ids.
#[derive(Args)]
#[command(after_help = "Examples:\n  nabar lookup -r far.nabar --sender 164821000025 19900102-2384\n  \
                  tail -n +2 list.csv | cut -d';' -f1 | nabar lookup -r far.nabar --sender 164821000025 - > answers.jsonl")]
pub(crate) struct Lookup {
    #[command(flatten)]
    pub(crate) question: QuestionArgs,
    /// Print JSON Lines on a terminal too
    #[arg(long)]
    pub(crate) json: bool,
    /// Ids in any spelling; - for ids on standard input, one per line
    #[arg(required = true, value_name = "ID", allow_hyphen_values = false)]
    pub(crate) ids: Vec<String>,
}

/// Report how many letters of a list go digitally, and why the others do not
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nabar check -r far.nabar --sender 164821000025 list.csv --postage 8.50 --digital-cost 0.90\n  \
                  nabar check -r krr.nabar list.csv.gz --json\n  \
                  nabar check --source far.toml --sender 164821000025 list.csv"
)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) question: MailingArgs,
    #[command(flatten)]
    pub(crate) list: ListArgs,
    /// Also write the report as a web page; - prints it on standard output instead of the report
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Let FILE replace a file that was not made by nabar
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) mode: ModeArgs,
}

/// Split a list into files by outcome and operator
///
/// Every row of the list goes to exactly one file, byte for byte, in the order of the list. Also writes feedback.csv
/// with the outcome of each row, and report.json and report.html.
#[derive(Args)]
#[command(after_help = "Examples:\n  nabar split -r far.nabar --sender 164821000025 list.csv -o out/\n  \
                  nabar split --source far.toml --sender 164821000025 list.csv -o out/\n  \
                  zcat list.txt.gz | nabar split -r far.nabar --sender 164821000025 --id-at 0:12 - -o out/")]
pub(crate) struct Split {
    #[command(flatten)]
    pub(crate) question: MailingArgs,
    #[command(flatten)]
    pub(crate) list: ListArgs,
    /// Output directory; new or empty
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Replace the files of an earlier split in the directory
    #[arg(long)]
    pub(crate) force: bool,
    /// Write CSV, not workbooks, if the list is in a workbook
    #[arg(long)]
    pub(crate) csv: bool,
    /// Sync the files to the disk before ending, so that they survive a power failure
    #[arg(long)]
    pub(crate) sync: bool,
    #[command(flatten)]
    pub(crate) mode: ModeArgs,
}

/// Serve registers over HTTP: nabar's interface, and the contracts of the official registers
///
/// Changes of a data directory, and a replaced register file, take effect at once. Ends on SIGTERM or SIGINT, after the
/// running requests are finished.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nabar serve -r far.nabar\n  nabar serve -r se=data/far -r no=krr.nabar --listen 127.0.0.1:8080"
)]
pub(crate) struct Serve {
    /// Register file or data directory; with NAME= its paths begin with /NAME
    #[arg(short, long = "register", value_name = "[NAME=]REGISTER")]
    pub(crate) registers: Vec<RegisterArg>,
    /// Source file of a live register, which is asked for the clients; with NAME= its paths begin with /NAME
    #[arg(long = "source", value_name = "[NAME=]FILE")]
    pub(crate) sources: Vec<RegisterArg>,
    /// Address and port to listen on [default: 127.0.0.1:8080]; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Configuration of certificates, tokens, limits, audit log and registers; see docs/service.md
    #[arg(long, value_name = "nabar.toml")]
    pub(crate) config: Option<PathBuf>,
    /// Age of a register from which on /readyz reports that it is not ready, such as 36h or 2d
    #[arg(long, value_name = "AGE", value_parser = duration)]
    pub(crate) max_age: Option<jiff::SignedDuration>,
    /// Serve a register with a lower sequence number when it replaces one
    #[arg(long)]
    pub(crate) allow_rollback: bool,
    /// Address and port of /healthz, /readyz and /metrics, without TLS and authentication [default: that of --listen]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin_listen: Option<SocketAddr>,
    /// Follow the register of another service into the served data directory; URL without /v1
    #[arg(long, value_name = "URL")]
    pub(crate) follow: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Take changes of the served data directories: the write side of FaR's contract, and POST /v1/changes; see
    /// docs/writing.md
    #[arg(long)]
    pub(crate) writable: bool,
    /// Private key, PEM, that signs what is sent to replicas. Repeatable
    #[arg(long, value_name = "FILE")]
    pub(crate) sign: Vec<PathBuf>,
    /// Level of the log, JSON Lines on standard error: error, warn, info (with refused requests), debug (all requests),
    /// off
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log: String,
}

/// Run registers to develop against: FaR, KRR, Maskinporten's tokens and Kivra's usermatch, with synthetic recipients
///
/// Makes certificates and files of sources, and takes changes. Faults can be switched on, and all calls are recorded; see
/// docs/sandbox.md. Ends on SIGTERM or SIGINT.
#[derive(Args, Clone)]
#[command(
    after_help = "Examples:\n  nabar sandbox\n  nabar sandbox --state sandbox --seed 7 --faults faults.json"
)]
pub(crate) struct SandboxArgs {
    /// Address and port with TLS; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    pub(crate) listen: SocketAddr,
    /// Address and port without TLS, also of /sandbox; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8480")]
    pub(crate) listen_plain: SocketAddr,
    /// Directory that keeps registers, certificates and keys from run to run [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Number that the recipients, their states and the choices of faults follow from [default: that of --state, or 1]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// Name or address of the server, for its certificate, beside localhost. Repeatable
    #[arg(long = "name", value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// File with a list of faults, JSON, that are on from the start
    #[arg(long, value_name = "FILE")]
    pub(crate) faults: Option<PathBuf>,
    /// Level of the log, JSON Lines on standard error: error, warn, info, debug, off
    #[arg(long, value_name = "LEVEL", default_value = "error")]
    pub(crate) log: String,
}

/// A register to serve, and its name.
#[derive(Clone)]
pub(crate) struct RegisterArg {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

impl FromStr for RegisterArg {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<RegisterArg, Infallible> {
        // A path may contain =, but the name of a register has no /.
        Ok(match text.split_once('=') {
            Some((name, path)) if !name.contains('/') => {
                RegisterArg { name: name.to_owned(), path: path.into() }
            }
            _ => RegisterArg { name: String::new(), path: text.into() },
        })
    }
}

/// Make a data directory: a register that can be changed while it is read
///
/// A data directory can be used wherever a register file can.
#[derive(Args)]
#[command(after_help = "Example:\n  nabar init far.nabar data/far")]
pub(crate) struct Init {
    /// The register file, or the directory of an extract
    pub(crate) register: PathBuf,
    /// The data directory; new or empty
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Maximum of rejected rows per file of the extract, as a number or a percentage (exit code 3)
    #[arg(long, value_name = "N|N%", default_value = "1%", value_parser = rejected_limit)]
    pub(crate) max_rejected: RejectedLimit,
    /// Allow a register without recipients
    #[arg(long)]
    pub(crate) allow_empty: bool,
    #[command(flatten)]
    pub(crate) mode: ModeArgs,
    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Apply changes to a data directory, durably and in order
///
/// A batch is applied as a whole or not at all. Changes that the register already has are skipped. A batch is refused
/// if there is a gap in the sequence numbers, or a different change with a used number.
#[derive(Args)]
#[command(after_help = "Examples:\n  nabar apply data/far changes.jsonl\n  \
                  feed | nabar apply data/far - --batch 1000\n  \
                  nabar apply data/krr page-0017.xml")]
pub(crate) struct Apply {
    /// The data directory
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// The changes: JSON Lines, or pages of KRR's HentEndringer as XML or JSON; also as .gz or .zst; - for
    /// standard input
    pub(crate) changes: PathBuf,
    /// Lines per batch, which ends earlier at 64 MiB of text [default: the whole input is one batch]
    #[arg(long, value_name = "N")]
    pub(crate) batch: Option<std::num::NonZeroU64>,
    /// Reject lines that are not changes or do not fit the register; rejected.csv in the directory lists them
    #[arg(long)]
    pub(crate) skip_bad: bool,
    /// With --skip-bad: maximum of rejected lines per batch, as a number or a percentage; with more, the batch is
    /// refused (exit code 3)
    #[arg(long, value_name = "N|N%", default_value = "1%", value_parser = rejected_limit)]
    pub(crate) max_rejected: RejectedLimit,
    /// When pages were fetched; pages have no time [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) time: Option<jiff::Timestamp>,
    /// Make a checkpoint when the log since the register file exceeds this many bytes; 0 disables checkpoints
    #[arg(long, value_name = "BYTES", default_value_t = CHECKPOINT_AT)]
    pub(crate) checkpoint_at: u64,
    /// Keep the files that a checkpoint replaces
    #[arg(long)]
    pub(crate) keep: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Print the changes of a data directory after a sequence number, as JSON Lines
#[derive(Args)]
#[command(after_help = "Example:\n  nabar changes data/far --from 1000 --limit 10")]
pub(crate) struct ChangesArgs {
    /// The data directory
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Print the changes after this sequence number
    #[arg(long, value_name = "N")]
    pub(crate) from: u64,
    /// Maximum number of changes
    #[arg(long, value_name = "M")]
    pub(crate) limit: Option<usize>,
}

/// Fold the log of a data directory into a new register file
///
/// nabar apply does so automatically when the log is long.
#[derive(Args)]
#[command(after_help = "Example:\n  nabar checkpoint data/far")]
pub(crate) struct CheckpointArgs {
    /// The data directory
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Keep the earlier register file and the log, for `nabar changes` and for a rollback
    #[arg(long)]
    pub(crate) keep: bool,
    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Keep a replica of a service's register, or a copy of a live KRR by its feed
///
/// Downloads the register file, or with --source all persons, and then applies changes as they arrive, durably; the
/// directory can be read and served meanwhile. Can be ended at any time, and resumes where it was.
#[derive(Args)]
#[command(
    allow_missing_positional = true,
    after_help = "Examples:\n  nabar follow http://localhost:8080 replica/far\n  nabar follow --source krr.toml data/krr"
)]
pub(crate) struct FollowArgs {
    /// Address of a service, without /v1: http://localhost:8080, https://nabar.example/se; or of a stream:
    /// nats://HOST:4222/STREAM
    #[arg(value_name = "URL", required_unless_present = "feed", conflicts_with = "feed")]
    pub(crate) source: Option<String>,
    /// The source file of a live KRR, whose feed is followed instead
    #[arg(long = "source", id = "feed", value_name = "FILE")]
    pub(crate) feed: Option<PathBuf>,
    /// The organisation for which a supplier asks KRR
    #[arg(long, value_name = "ORGNR", requires = "feed")]
    pub(crate) on_behalf_of: Option<String>,
    /// The data directory
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// End when the replica is up to date
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Store of a stream's register files: a directory, or an address such as s3://BUCKET/PATH
    #[arg(long, value_name = "STORE")]
    pub(crate) store: Option<String>,
    /// Name of this replica at the server of a stream [default: from host and directory]
    #[arg(long, value_name = "NAME")]
    pub(crate) consumer: Option<String>,
    /// Credentials for the server of a stream
    #[arg(long, value_name = "FILE")]
    pub(crate) nats_credentials: Option<PathBuf>,
    /// Make a checkpoint when the log since the register file exceeds this many bytes; 0 disables checkpoints
    #[arg(long, value_name = "BYTES", default_value_t = CHECKPOINT_AT)]
    pub(crate) checkpoint_at: u64,
    /// Address at which GET /metrics has the metrics of this replica, such as 127.0.0.1:9464
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metrics_listen: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) mode: ModeArgs,
    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Connection to a service, and keys that are trusted.
#[derive(Args)]
pub(crate) struct Connection {
    /// CA certificates that the service's certificate is verified with, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Client certificate, PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) certificate: Option<PathBuf>,
    /// Private key of the client certificate, PEM
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub(crate) key: Option<PathBuf>,
    /// File with a bearer token for the service
    #[arg(long, value_name = "FILE")]
    pub(crate) token: Option<PathBuf>,
    /// Send the token over http:// to another machine too, where anyone on the way can read and use it
    #[arg(long, requires = "token")]
    pub(crate) allow_plain_token: bool,
    /// Follow only a part of the register: operator:NUMBER or dispatcher:NUMBER
    #[arg(long, value_name = "PART")]
    pub(crate) part: Option<Part>,
    /// Public key of the service, PEM; data that no such key has signed is refused. Repeatable
    #[arg(long, value_name = "FILE")]
    pub(crate) trust: Vec<PathBuf>,
}

/// Print the changes that turn one register into another
///
/// Prints the changes from A to B as JSON Lines for `nabar apply`, numbered from A's sequence number on. Exit code 0 if
/// both have the same content, 3 if not.
#[derive(Args)]
#[command(after_help = "Example:\n  nabar diff far.nabar http://localhost:8080")]
pub(crate) struct DiffArgs {
    /// Register file, data directory, or address of a service without /v1
    pub(crate) a: PathBuf,
    /// The other register, given in the same form
    pub(crate) b: PathBuf,
    /// Directory in which the register of a service is kept meanwhile [default: beside the other register, or the current
    /// directory if both are services]
    #[arg(long, value_name = "DIR")]
    pub(crate) work: Option<PathBuf>,
    /// Print nothing; report with the exit code only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Mirror a data directory to a stream of NATS and an object store, for fleets of replicas
///
/// Changes go to the stream as they arrive, each once and in order; the register file before them goes to the store.
/// Can be ended at any time, and resumes where it was.
#[derive(Args)]
#[command(
    after_help = "Example:\n  nabar publish data/far --nats nats://localhost:4222/far --store /srv/far"
)]
pub(crate) struct PublishArgs {
    /// The data directory
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// The stream, created if it does not exist: nats://HOST:4222/STREAM
    #[arg(long, value_name = "URL")]
    pub(crate) nats: Stream,
    /// Store of register files: a directory, or an address such as s3://BUCKET/PATH
    #[arg(long, value_name = "STORE")]
    pub(crate) store: String,
    /// Private key, PEM, that signs published data. Repeatable
    #[arg(long, value_name = "FILE")]
    pub(crate) sign: Vec<PathBuf>,
    /// Credentials for the server
    #[arg(long, value_name = "FILE")]
    pub(crate) nats_credentials: Option<PathBuf>,
    /// CA certificates that the server's certificate is verified with, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Number of servers that store a new stream
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) replicas: usize,
    /// How long a new stream keeps changes [default: for ever]
    #[arg(long, value_name = "AGE", value_parser = duration)]
    pub(crate) retain: Option<jiff::SignedDuration>,
    /// How long a signed statement is valid. It is renewed in time; replicas raise an alarm if they get none that is
    /// valid
    #[arg(long, value_name = "AGE", default_value = "1h", value_parser = duration)]
    pub(crate) expires: jiff::SignedDuration,
    #[command(flatten)]
    pub(crate) mode: ModeArgs,
    /// End when everything is published
    #[arg(long)]
    pub(crate) once: bool,
    /// Print nothing but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Make a key pair for signing what is sent to replicas
///
/// NAME.key signs (nabar serve --sign), NAME.pub is for replicas (nabar follow --trust). Existing files are not
/// replaced.
#[derive(Args)]
#[command(after_help = "Example:\n  nabar keygen source")]
pub(crate) struct KeygenArgs {
    /// Path of both files, without .key and .pub
    #[arg(value_name = "NAME")]
    pub(crate) name: PathBuf,
}

fn date(text: &str) -> Result<Date, &'static str> {
    nabar::register::date_of(text).ok_or("not a date; write it as 2026-06-01")
}

fn duration(text: &str) -> Result<jiff::SignedDuration, &'static str> {
    text.parse::<nabar::service::Time>().map(|time| time.0)
}

fn rejected_limit(text: &str) -> Result<RejectedLimit, &'static str> {
    text.parse()
}
