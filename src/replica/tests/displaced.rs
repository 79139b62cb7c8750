//! Replicas in whose place another program puts a replica with another history, while the follower has it open, has closed
//! it, or opens it again.

use super::disk::{Failing, Fault, Faults};
use super::fast_directory;
use super::model::{FIRST, FORKS, History, LAST, begin, content};
use super::network::{Request, Response};
use super::served::Served;
use crate::register::Register;
use crate::replica::following::run;
use crate::replica::{ChangeBatch, Event, Follow, FollowError, FollowerLink, Offer, Source, Standing};
use crate::store::{DataDirectory, Reader, StoreError, Writer, changes_of_frames};
use std::cell::{Cell, RefCell};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// When the other replica is put in place, once the replica has reached the source.
#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    Never,
    /// Just when it is opened again, because its files are verified.
    Opens,
    /// While the disk is full.
    Full,
    /// While its changes are gone, and the register file cannot be downloaded.
    Gone,
    /// Its register file is damaged whenever it is opened.
    Damages,
}

/// A source on this machine.
struct Displacing {
    source: RefCell<Served>,
    origin: Writer,
    replica: PathBuf,
    other: PathBuf,
    link: FollowerLink,
    faults: Faults,
    when: When,
    /// Whether the files of the other replica are put beside those of the replica, instead of the directory.
    adds: bool,
    /// How often the replica has reached the source.
    reached: Cell<u32>,
    pauses: Cell<u32>,
}

impl Displacing {
    fn answer(&self, request: &Request) -> Response {
        self.source.borrow_mut().refresh();
        self.source.borrow().answer(request, usize::MAX).expect("an answer")
    }

    fn displace(&self) {
        if self.adds {
            for entry in fs::read_dir(&self.other).expect("readable").map(|entry| entry.expect("an entry")) {
                let name = entry.file_name();
                let is_data =
                    ["register-", "changes-"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix));
                if is_data && !self.replica.join(&name).exists() {
                    fs::rename(entry.path(), self.replica.join(name)).expect("renamed");
                }
            }
            fs::remove_dir_all(&self.other).expect("removed");
            return;
        }
        fs::remove_dir_all(&self.replica).expect("removed");
        fs::rename(&self.other, &self.replica).expect("renamed");
    }

    /// Whether something passes that the replica waits for.
    fn is_waiting(&self) -> bool {
        self.reached.get() == 2 && self.other.exists()
    }
}

impl Source for Displacing {
    fn offer(&self) -> Result<Offer, FollowError> {
        if self.when == When::Gone && self.is_waiting() {
            return Err(FollowError::Unreachable("no register file yet".to_owned()));
        }
        let Response::Offer(offer) = self.answer(&Request::Offer) else { panic!("an offer") };
        Ok(offer)
    }

    fn snapshot(&self, offer: &Offer, from: u64) -> Result<Option<Box<dyn Read + '_>>, FollowError> {
        let file = self.answer(&Request::Snapshot { digest: offer.digest.clone(), from });
        let Response::File { bytes, .. } = file else { panic!("a register file") };
        Ok(Some(Box::new(std::io::Cursor::new(bytes))))
    }

    fn changes(&self, here: &Register, _: usize, _: Duration) -> Result<ChangeBatch, FollowError> {
        let from = here.sequence();
        if self.when == When::Gone && self.is_waiting() {
            return Err(FollowError::Gone);
        }
        let answer = self.answer(&Request::Changes { from });
        let Response::Changes { to, latest, content: digest, frames, .. } = answer else {
            return Err(FollowError::RolledBack { here: from });
        };
        if from == latest && content(here) == content(&self.source.borrow().register()) {
            self.reached.set(self.reached.get() + 1);
            match (self.reached.get(), self.when) {
                (2, When::Opens) => self.link.suspect(),
                (2, When::Full) => {
                    self.faults.set(Fault::Full(0));
                    let more = History::main().lines(from, from + 1);
                    self.origin.apply(more, None).expect("applied");
                }
                (4, _) => return Err(FollowError::Refused { status: 0, detail: "the end".to_owned() }),
                _ => {}
            }
        }
        let changes = changes_of_frames(&frames, from, usize::MAX).expect("whole");
        Ok(ChangeBatch { register: "far".to_owned(), changes, to, latest, content: digest })
    }

    /// In the first pause the replica is still readable; from the second one on another is in its place, and is not.
    fn pause(&self, _: Duration) {
        let pause = self.pauses.get() + 1;
        self.pauses.set(pause);
        match (self.when, pause) {
            (When::Full | When::Gone, 1..3) => {
                assert!(matches!(self.link.check(), Ok(Standing::Own)), "{:?}, pause {pause}", self.when);
            }
            (When::Full | When::Gone, 3) => {
                self.displace();
                assert!(self.link.check().is_err(), "{:?}", self.when);
                self.faults.set(Fault::None);
            }
            _ => {}
        }
    }

    fn link(&self) -> Option<&FollowerLink> {
        Some(&self.link)
    }

    fn open(&self, directory: &Path) -> Result<Writer, StoreError> {
        if directory == self.replica && self.when == When::Damages {
            let file = Reader::open(directory).expect("a replica").register_file();
            fs::write(file, "damaged").expect("written");
        }
        if directory == self.replica && self.when == When::Opens && self.is_waiting() {
            self.displace();
        }
        let disk = Arc::new(Failing::new(directory, &self.faults));
        Writer::of(DataDirectory { disk, path: directory.to_owned() })
    }
}

/// Makes a data directory of a history at a sequence number.
fn made(path: &Path, history: &History, sequence: u64) -> Writer {
    begin(path);
    fs::write(path.join("replica-of"), "far\n").expect("written");
    let writer = Writer::open(path).expect("a writer");
    writer.apply(history.lines(FIRST, sequence), None).expect("applied");
    writer
}

fn source(files: &Path, sequence: u64, when: When) -> Displacing {
    let origin = made(&files.join("source"), History::main(), sequence);
    Displacing {
        source: RefCell::new(Served::open(&files.join("source")).expect("a source")),
        origin,
        replica: files.join("replica"),
        other: files.join("other"),
        link: FollowerLink::default(),
        faults: Faults::default(),
        when,
        adds: false,
        reached: Cell::new(0),
        pauses: Cell::new(0),
    }
}

/// Follows it. Returns why that ended, and how often the replica was damaged.
fn followed(source: &Displacing, once: bool) -> (Result<(), FollowError>, usize) {
    let follow = Follow { directory: source.replica.clone(), once, checkpoint_at: u64::MAX };
    let mut damages = 0;
    let ended = run(&follow, source, &mut |event| damages += usize::from(matches!(event, Event::Damaged(_))));
    (ended, damages)
}

/// Of a later number, of the same, and of an earlier one: readers are kept from it, it is replaced, and the source's state is
/// reached again.
#[test]
fn a_replica_of_another_history_is_not_taken_over() {
    let here = FORKS[0] + 20;
    let all = [When::Never, When::Opens, When::Full, When::Gone];
    let displaced = all.into_iter().flat_map(|when| [LAST, here, here - 1].map(|other| (when, other, false)));
    let added = all.into_iter().map(|when| (when, LAST, true));
    for (when, other, adds) in displaced.chain(added) {
        let files = fast_directory();
        let source = Displacing { adds, ..source(files.path(), here, when) };
        let writer = made(&source.other, History::forked(0), other);
        if adds {
            // A newer register file, which readers would read.
            writer.checkpoint(false).expect("made");
        }
        drop(writer);
        let (ended, damages) = followed(&source, false);
        assert!(matches!(ended, Err(FollowError::Refused { .. })), "{when:?} {other} {adds}: {ended:?}");
        // What was put in place while the follower waits for another register file is replaced with that.
        let alarms = usize::from(matches!(when, When::Opens | When::Full));
        assert_eq!(
            (damages, source.other.exists()),
            (alarms, when == When::Never),
            "{when:?} {other} {adds}"
        );
        let replica = Writer::open(&source.replica).expect("a replica").register();
        assert_eq!(content(&replica), content(&source.origin.register()), "{when:?} {other} {adds}");
    }
}

/// A scheduled job does not download the register file again and again.
#[test]
fn once_ends_when_a_replica_that_has_started_over_is_damaged_again() {
    let files = fast_directory();
    let (ended, damages) = followed(&source(files.path(), FORKS[0], When::Damages), true);
    assert!(ended.as_ref().is_err_and(|error| error.damage().is_some()), "{ended:?}");
    assert_eq!(damages, 1);
}
