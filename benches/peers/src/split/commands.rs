//! The tools that split, and their inputs.

use crate::data::{Data, NOT_REGISTERED, Tools, once, run};
use crate::{note, say};
use std::fs;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A tool and its arguments.
pub(super) struct Peer {
    pub(super) name: &'static str,
    program: PathBuf,
    arguments: Vec<PathBuf>,
    /// Output directory.
    pub(super) output: PathBuf,
    /// The tool creates the directory itself and refuses an existing one.
    makes_directory: bool,
}

impl Peer {
    /// The command, with an empty output directory.
    pub(super) fn command(&self) -> Command {
        if !self.makes_directory {
            fs::create_dir_all(&self.output).expect("a directory");
        }
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg(&self.output);
        command
    }

    /// Reads the inputs, so that they are in the page cache even if the previous tool has displaced them.
    pub(super) fn warm(&self) {
        let mut buffer = vec![0; 1 << 20];
        for path in self.arguments.iter().filter(|path| path.is_file()) {
            let mut file = fs::File::open(path).expect("a file");
            while file.read(&mut buffer).expect("read") > 0 {}
        }
    }

    /// Removes the outputs.
    pub(super) fn clear(&self) {
        fs::remove_dir_all(&self.output).expect("removed");
    }
}

/// The Python that has DuckDB and Polars.
pub(super) fn python() -> String {
    std::env::var("NABAR_PEERS_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}

/// Whether a command can be started and ends well.
fn works(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// `cp` of the files that nabar wrote.
pub(super) fn copy(from: &Path, to: &Path) -> Peer {
    let files = fs::read_dir(from).expect("a directory").flatten().map(|entry| entry.path());
    Peer {
        name: "cp",
        program: "cp".into(),
        arguments: files.filter(|path| path.extension().is_some_and(|ending| ending == "csv")).collect(),
        output: to.to_owned(),
        makes_directory: false,
    }
}

/// All tools that are on this machine, nabar first.
pub(super) fn peers(tools: &Tools, data: &Data, list: &Path, directory: &Path) -> Vec<Peer> {
    let answers = Answers::write(tools, data);
    let peer = |name: &'static str, program: PathBuf, arguments: Vec<PathBuf>| Peer {
        name,
        program,
        arguments,
        output: directory.join(name.replace([' ', ','], "-")),
        makes_directory: false,
    };
    let mut nabar = ["split", "--quiet", "--date", crate::data::DATE, "--sender", &data.sender]
        .map(PathBuf::from)
        .to_vec();
    nabar.extend(["--register".into(), data.register.clone(), list.to_owned(), "--output".into()]);
    let nabar = peer("nabar", tools.nabar.clone(), nabar);
    let mut peers = vec![Peer { makes_directory: true, ..nabar }];
    for (name, module, file) in
        [("DuckDB", "duckdb", "split_duckdb.py"), ("Polars", "polars", "split_polars.py")]
    {
        if answers.parquet && works(Command::new(python()).args(["-c", &format!("import {module}")])) {
            let arguments =
                vec![script(file), list.to_owned(), answers.path("parquet"), answers.path("words.csv")];
            peers.push(peer(name, python().into(), arguments));
        } else {
            note(&format!("{name} is left out: {} has no module {module}", python()));
        }
    }
    let arguments = vec![list.to_owned(), answers.path("txt")];
    peers.push(peer("sort and join", script("split_sort_join"), arguments));
    peers
}

/// Each recipient's outcome, in the forms that the tools read fastest. Made once for a register.
struct Answers {
    stem: PathBuf,
    parquet: bool,
}

impl Answers {
    fn path(&self, ending: &str) -> PathBuf {
        self.stem.with_extension(ending)
    }

    fn write(tools: &Tools, data: &Data) -> Answers {
        let stem = tools.directory.join(format!("answers-{}", data.recipients));
        let mut answers = Answers { stem, parquet: false };
        if !answers.path("words.csv").exists() {
            say("  writing the answers for the others");
            answers.write_text(data).expect("written");
        }
        answers.parquet = works(Command::new(python()).args(["-c", "import duckdb"]));
        if answers.parquet {
            once(&answers.path("parquet"), |parquet| {
                run(Command::new(python()).arg(script("prepare.py")).arg(answers.path("csv")).arg(parquet));
            });
        }
        answers
    }

    /// The file that marks the others as complete comes last.
    fn write_text(&self, data: &Data) -> std::io::Result<()> {
        let create = |ending: &str| {
            Ok::<_, std::io::Error>(BufWriter::with_capacity(1 << 20, fs::File::create(self.path(ending))?))
        };
        let mut decided = data.decided();
        decided.sort_unstable();
        let (mut csv, mut txt) = (create("csv")?, create("txt")?);
        writeln!(csv, "id,code")?;
        for (number, code) in decided {
            writeln!(csv, "{number},{code}")?;
            if code != NOT_REGISTERED {
                let [file, outcome, reason, operator] = data.words(code);
                writeln!(txt, "{number:012};{file};{outcome};{reason};{operator}")?;
            }
        }
        csv.flush()?;
        txt.flush()?;
        let mut words = "code,file,outcome,reason,operator_id\n".to_owned();
        for code in data.codes() {
            words += &format!("{code},{}\n", data.words(code).join(","));
        }
        once(&self.path("words.csv"), |path| fs::write(path, words).expect("written"));
        Ok(())
    }
}
