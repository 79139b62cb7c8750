//! One simulation: events, their order, and invariants.

use super::disk::Fault;
use super::follower::Follower;
use super::model::{FORKS, content};
use super::network::{Message, Reply, Request, Response};
use super::random::Random;
use super::served::Served;
use super::source::Origin;
use crate::register::Register;
use crate::replica::Event;
use crate::store::{self, Reader, StoreError};
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// Lines of the event log that are kept.
const LOG_LINES: usize = 80;
/// Most turns of each follower without faults until it must have caught up.
const CALM_TURNS: usize = 150;

/// Probabilities of faults in thousandths.
#[derive(Clone, Copy, Debug, Default)]
struct Rates {
    lost: u64,
    late: u64,
    confused: u64,
    cut: u64,
    altered: u64,
    killed: u64,
    full: u64,
    partial: u64,
    down: u64,
    checkpoint: u64,
    restored: u64,
}

impl Rates {
    /// Rates of a seed. They vary because frequent faults hide rare ones.
    fn of(random: &mut Random) -> Rates {
        let mut rate = || random.one_of(&[0, 0, 30, 80, 200]);
        Rates {
            lost: rate(),
            late: rate(),
            confused: rate(),
            cut: rate(),
            altered: rate(),
            killed: rate() / 2,
            full: rate(),
            partial: rate() * 4,
            down: rate() / 2,
            checkpoint: 100 + rate() * 2,
            restored: random.one_of(&[0, 0, 200]),
        }
    }
}

/// A source and its followers.
pub(super) struct World {
    random: Random,
    rates: Rates,
    source: Origin,
    followers: Vec<Follower>,
    /// Services of the source and of each follower, while they run.
    served: Vec<Option<Served>>,
    down: Vec<bool>,
    log: VecDeque<String>,
    happened: BTreeMap<&'static str, u64>,
    /// The last field, so that it is dropped last.
    _files: TempDir,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let rates = Rates::of(&mut random);
        let files = super::fast_directory();
        let source = Origin::new(&files.path().join("source"));
        let mut followers = Vec::new();
        for number in 1..=1 + random.below(3) as usize {
            // A follower follows the source or an earlier follower, with equal probability.
            let parent = random.below(number as u64) as usize;
            let checkpoint_at = random.one_of(&[1000, 8000, 1 << 30, 1 << 30]);
            followers.push(Follower::new(files.path().join(format!("f{number}")), parent, checkpoint_at));
        }
        let served = (0..=followers.len()).map(|_| None).collect();
        let down = vec![false; followers.len() + 1];
        let (log, happened) = (VecDeque::new(), BTreeMap::new());
        World { random, rates, source, followers, served, down, log, happened, _files: files }
    }

    /// Number of occurrences by fault.
    pub(super) fn happened(self) -> BTreeMap<&'static str, u64> {
        self.happened
    }

    pub(super) fn log(&self) -> String {
        self.log.iter().fold(String::new(), |log, line| log + line + "\n")
    }

    fn note(&mut self, line: String) {
        if self.log.len() == LOG_LINES {
            self.log.pop_front();
        }
        self.log.push_back(line);
    }

    fn count(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
        self.note(format!("  {what}"));
    }

    /// Whether a fault occurs, which is then noted.
    fn happens(&mut self, rate: u64, what: &'static str) -> bool {
        let happens = self.random.chance(rate);
        if happens {
            self.count(what);
        }
        happens
    }

    pub(super) fn run(&mut self) {
        for _ in 0..60 + self.random.below(120) {
            match self.random.below(16) {
                0 | 1 => self.apply(),
                2 => self.maintain_source(),
                3 => self.change_service(),
                _ => {
                    let number = self.random.below(self.followers.len() as u64) as usize;
                    self.turn(number, false);
                }
            }
        }
        self.settle();
    }

    fn apply(&mut self) {
        let count = 1 + self.random.below(25);
        let to = self.source.apply(count);
        self.note(format!("source at {to}"));
    }

    fn maintain_source(&mut self) {
        if self.happens(3 * self.rates.checkpoint, "source checkpoint") {
            let keep = self.random.chance(200);
            self.source.writer().checkpoint(keep).expect("a checkpoint");
        }
        if self.happens(100, "source restarted") {
            self.source.restart();
        }
        let fork = self.random.below(FORKS.len() as u64) as usize;
        if self.random.chance(self.rates.restored) && self.source.restore(fork) {
            self.served[0] = None;
            self.count("source restored");
        }
    }

    fn change_service(&mut self) {
        let number = self.random.below(self.served.len() as u64) as usize;
        match self.random.below(3) {
            0 => self.served[number] = None,
            1 if self.happens(2 * self.rates.down, "service down") => self.down[number] = true,
            1 => self.down[number] = false,
            _ => self.refresh(number),
        }
    }

    /// Refreshes the service of a directory.
    fn refresh(&mut self, number: usize) {
        match &mut self.served[number] {
            Some(served) => served.refresh(),
            none => {
                let path = if number == 0 { &self.source.path } else { &self.followers[number - 1].path };
                *none = Served::open(path).ok();
            }
        }
    }

    /// Lets a follower take one step.
    fn turn(&mut self, number: usize, calm: bool) {
        if self.followers[number].process.is_none() {
            let once = self.random.chance(250);
            self.note(format!("f{} starts, once: {once}", number + 1));
            self.followers[number].start(once);
            return self.handle_message(number);
        }
        if self.happens(self.rates.killed, "a process ended") {
            return self.kill(number);
        }
        self.change_disk_fault(number, calm);
        let process = self.followers[number].process.as_mut().expect("it runs");
        let reply = match &process.message {
            Message::Requests(request) => {
                let request = request.clone();
                match self.ask(number, &request, calm) {
                    Some(reply) => reply,
                    None => return,
                }
            }
            Message::Pauses if !calm && self.random.chance(300) => return,
            _ => Reply::Go,
        };
        let process = self.followers[number].process.as_mut().expect("it runs");
        process.reply(reply);
        self.handle_message(number);
    }

    /// Fills its disk, frees it again, or arranges a kill during a write.
    fn change_disk_fault(&mut self, number: usize, calm: bool) {
        let process = self.followers[number].process.as_ref().expect("it runs");
        let faults = process.faults.clone();
        // The next directory is written to only briefly before the exchange.
        let next = matches!(&process.message, Message::Opens(path) if *path != self.followers[number].path);
        let often = if next { 10 } else { 1 };
        match faults.get() {
            Fault::None if self.random.chance(often * self.rates.full) => {
                faults.set(Fault::Full(self.random.below(6)));
            }
            Fault::None if self.random.chance(self.rates.killed) => {
                faults.set(Fault::Killed(1 + self.random.below(8)));
            }
            Fault::Full(0) if calm || self.random.chance(200) => {
                faults.set(Fault::None);
                self.count("disk full");
            }
            Fault::Full(_) | Fault::Killed(1..) if calm => faults.set(Fault::None),
            _ => {}
        }
    }

    fn kill(&mut self, number: usize) {
        let interrupted = self.random.chance(500);
        // 3: before the exchange.
        let how_far = self.random.below(4);
        let follower = &mut self.followers[number];
        let process = follower.process.as_mut().expect("it runs");
        let (opens, making) = match &process.message {
            Message::Opens(path) => (Some(path.clone()), process.making),
            _ => (None, false),
        };
        process.kill();
        if let Some(directory) = opens.filter(|_| interrupted) {
            let next = directory == follower.beside("next");
            if making && (next || follower.shown == 0) && how_far == 3 {
                if follower.interrupt_making(&directory).is_some() {
                    self.count("ended while a directory was made");
                }
            } else if next && follower.interrupt_exchange(how_far).is_some() {
                self.count("ended while directories were exchanged");
            }
        }
        self.handle_message(number);
    }

    /// Notes a follower's message, and checks what readers see.
    fn handle_message(&mut self, number: usize) {
        let process = self.followers[number].process.as_ref().expect("it runs");
        let line = format!("f{} says {:?}", number + 1, process.message);
        let opens = matches!(process.message, Message::Opens(_));
        match process.message {
            Message::Ended(_) => {
                self.note(line);
                return self.handle_end(number);
            }
            Message::Reports(Event::Behind) => self.count("started over"),
            Message::Reports(Event::Diverged(_)) => self.count("diverged"),
            _ => {}
        }
        self.note(line);
        // Frequent, because the steps right before and after cannot be interrupted otherwise.
        if opens && self.happens(3 * self.rates.killed, "a process ended") {
            return self.kill(number);
        }
        self.check(number);
    }

    fn handle_end(&mut self, number: usize) {
        let why = self.followers[number].why_ended(self.source.is_restored());
        if let Some(why) = why {
            panic!("f{} {why}", number + 1);
        }
        let process = self.followers[number].process.take().expect("it ran");
        if process.was_killed() && !process.killed {
            self.count("a process ended while it wrote");
        }
        drop(process);
        if self.random.chance(self.rates.partial) {
            self.damage_partial(number);
        }
        self.check(number);
    }

    /// Damages a partial download, or creates one.
    fn damage_partial(&mut self, number: usize) {
        let mut paths = self.followers[number].partial();
        if let Some(served) = &self.served[self.followers[number].parent]
            && let Some(Response::Offer(offer)) = served.answer(&Request::Offer, 1)
        {
            paths.push(self.followers[number].beside(&format!("{}.partial", offer.digest)));
        }
        paths.push(self.followers[number].beside(&format!("{}.partial", "0".repeat(64))));
        let path = self.random.one_of(&paths.iter().collect::<Vec<_>>()).clone();
        let mut bytes = fs::read(&path).unwrap_or_default();
        match self.random.below(3) {
            0 if !bytes.is_empty() => self.alter(&mut bytes),
            1 => bytes.truncate(bytes.len() / 2),
            _ => bytes.resize(bytes.len() + 1 + self.random.below(2_000_000) as usize, 7),
        }
        fs::write(&path, bytes).expect("written");
        self.followers[number].altered = true;
        self.count("partial file damaged");
    }

    fn alter(&mut self, bytes: &mut [u8]) {
        if !bytes.is_empty() {
            let at = self.random.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << self.random.below(8);
        }
    }
}

/// The network.
impl World {
    /// The reply to a request; `None` if the follower has to wait.
    fn ask(&mut self, number: usize, request: &Request, calm: bool) -> Option<Reply> {
        let parent = self.followers[number].parent;
        if calm || self.random.chance(700) {
            self.refresh(parent);
        }
        if self.down[parent] || self.happens(self.rates.lost, "lost") {
            return Some(Reply::Unreachable);
        }
        let Some(answer) = self.find_response(number, request) else { return Some(Reply::Unreachable) };
        let nothing = matches!(&answer, Response::Changes { from, latest, .. } if from == latest);
        if nothing && !calm && self.random.chance(600) {
            return None;
        }
        if self.happens(self.rates.late, "late response") {
            self.followers[number].kept.push((request.clone(), answer.clone()));
            if self.random.chance(500) {
                return Some(Reply::Unreachable);
            }
        }
        if let Response::Gone = answer {
            self.count("gone");
        }
        Some(self.carry(number, answer))
    }

    /// The source's response, an earlier one to the same request, or one to another request.
    fn find_response(&mut self, number: usize, request: &Request) -> Option<Response> {
        let follower = &self.followers[number];
        let like = |other: &Request| std::mem::discriminant(other) == std::mem::discriminant(request);
        let parent = follower.parent;
        let same = follower.kept.iter().position(|(other, _)| other == request);
        let other = follower.kept.iter().position(|(other, _)| like(other) && other != request);
        let kept = match (same, other) {
            (Some(index), _) if self.random.chance(5 * self.rates.late) => Some(index),
            (_, Some(index)) if self.happens(self.rates.confused, "response to another request") => {
                Some(index)
            }
            _ => None,
        };
        if let Some(index) = kept {
            let follower = &mut self.followers[number];
            let (_, answer) = follower.kept.remove(index);
            if let (Response::Offer(_), Some(process)) = (&answer, &mut follower.process) {
                process.old_offer = true;
            }
            self.note(format!("  kept response {index}"));
            return Some(answer);
        }
        let most = self.random.one_of(&[3, 20, 1000]);
        self.served[parent].as_ref()?.answer(request, most)
    }

    /// A response as it arrives.
    fn carry(&mut self, number: usize, answer: Response) -> Reply {
        match answer {
            Response::File { digest, bytes } => {
                let mut bytes = bytes.to_vec();
                let fails = self.random.chance(500);
                let cut = self.happens(2 * self.rates.cut, "register file truncated");
                if cut {
                    bytes.truncate(self.random.below(bytes.len() as u64 + 1) as usize);
                }
                if self.happens(self.rates.altered, "register file altered") {
                    self.alter(&mut bytes);
                    self.followers[number].altered = true;
                }
                let piece = self.random.one_of(&[300_000, 700_000, 1 << 20]);
                Reply::Bytes { digest, bytes: Arc::from(bytes), piece, fails: cut && fails }
            }
            Response::Changes { from, to, latest, content, mut frames } => {
                if !frames.is_empty() && self.happens(self.rates.altered, "changes altered") {
                    self.alter(&mut frames);
                }
                Reply::Response(Response::Changes { from, to, latest, content, frames })
            }
            answer => Reply::Response(answer),
        }
    }
}

/// Invariants.
impl World {
    /// Readers of a follower's directory see states of the source, and never go back.
    fn check(&mut self, number: usize) {
        assert!(!self.is_away(number), "f{}: the directory has disappeared", number + 1);
        self.followers[number].refresh();
        if let Some(register) = self.followers[number].watch.as_ref().map(Served::register) {
            self.followers[number].shown =
                self.check_register(number, &register, self.followers[number].shown);
        }
        if let Some(register) = self.followers[number].reader.as_ref().map(Reader::register) {
            self.followers[number].read = self.check_register(number, &register, self.followers[number].read);
        }
        let opened = self.random.chance(150).then(|| Reader::open(&self.followers[number].path));
        match opened {
            Some(Ok(reader)) => {
                self.check_register(number, &reader.register(), self.followers[number].shown);
            }
            Some(Err(StoreError::NotOne(_))) => {}
            Some(Err(error)) => panic!("f{} cannot be read: {error}", number + 1),
            None => {}
        }
    }

    /// Whether the register has disappeared without a kill during an exchange of directories.
    fn is_away(&self, number: usize) -> bool {
        let follower = &self.followers[number];
        let interrupted = follower.process.is_none() && !follower.path.exists();
        follower.shown > 0 && !interrupted && !store::is_data_directory(&follower.path)
    }

    /// Checks a register that follows a read of sequence number `before`. Returns its sequence number.
    fn check_register(&self, number: usize, register: &Register, before: u64) -> u64 {
        let (sequence, name) = (register.sequence(), number + 1);
        assert!(sequence >= before, "f{name} goes back from {before} to {sequence}");
        assert!(self.source.had(register), "f{name} is at {sequence} what the source never was");
        sequence
    }

    /// Without faults, every follower catches up with the source.
    fn settle(&mut self) {
        self.rates = Rates::default();
        self.down.fill(false);
        self.source.pass();
        self.note("calm".to_owned());
        for _ in 0..CALM_TURNS {
            (0..self.served.len()).for_each(|number| self.refresh(number));
            for number in 0..self.followers.len() {
                self.turn(number, true);
            }
            if (0..self.followers.len()).all(|number| self.is_current(number)) {
                return self.end();
            }
        }
        let at: Vec<u64> = self.followers.iter().map(|follower| follower.shown).collect();
        panic!("the source is at {}, and its followers stay at {at:?}", self.source.sequence());
    }

    fn is_current(&mut self, number: usize) -> bool {
        let source = self.source.writer().register();
        let watch = self.followers[number].watch.as_ref().map(Served::register);
        watch.is_some_and(|register| {
            register.sequence() == source.sequence() && content(&register) == content(&source)
        })
    }

    /// Replicas equal the source when opened again, and no temporary directories are left.
    fn end(&mut self) {
        let source = self.source.writer().register();
        for follower in &mut self.followers {
            follower.process = None;
            let reader = Reader::open(&follower.path).expect("a replica");
            assert_eq!(reader.register().sequence(), source.sequence());
            assert_eq!(content(&reader.register()), content(&source));
            let left = |path: &Path| path.exists() && store::is_data_directory(path);
            assert!(
                !left(&follower.beside("next")) && !left(&follower.beside("old")),
                "temporary directories are removed"
            );
        }
    }
}
