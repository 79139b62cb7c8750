//! Further registers of channel rules, opened for a job.

use super::Mailing;
use super::error::{FurtherRegisterError, ListError};
use super::register_report::RegisterSummary;
use super::tally::FurtherCodes;
use crate::channels::{ChannelRules, FurtherRegister, REGISTERS_MAX, RegisterAnswer};
use crate::identities::{Country, Identity, Ordinal};
use crate::organisations::SenderIndex;
use crate::register::{Answer, Damage, DecidedStates, Operator, Outcome, Question, QuestionError, Register};
use crate::snapshot::Snapshot;
use crate::store::Reader;
use std::sync::{Arc, Mutex, PoisonError};

/// The further registers of some rules, in the order of the file.
pub(super) struct FurtherRegisters(Vec<OpenRegister>);

struct OpenRegister {
    name: String,
    /// Line in the file of rules.
    line: usize,
    /// FaR: the sender for whom it is asked.
    sender: Option<SenderIndex>,
    opened: Opened,
    register: Arc<Register>,
    decided: Arc<DecidedStates>,
    summary: RegisterSummary,
}

impl FurtherRegisters {
    /// Opens the further registers of some rules, for the sender and day of a mailing.
    pub(super) fn open(rules: &ChannelRules, mailing: &Mailing<'_>) -> Result<FurtherRegisters, ListError> {
        let open = |further: &FurtherRegister| {
            let open = Opened::new(further).and_then(|opened| OpenRegister::asked(further, opened, mailing));
            open.map_err(|error| unusable(&further.name, further.line, error))
        };
        Ok(FurtherRegisters(rules.registers().iter().map(open).collect::<Result<_, _>>()?))
    }

    /// The same registers for the sender and day of another mailing, with what changed in data directories since.
    pub(super) fn again(
        &self,
        rules: &ChannelRules,
        mailing: &Mailing<'_>,
    ) -> Result<FurtherRegisters, ListError> {
        let again = |(further, open): (&FurtherRegister, &OpenRegister)| {
            let asked = OpenRegister::asked(further, open.opened.clone(), mailing);
            asked.map_err(|error| unusable(&further.name, further.line, error))
        };
        Ok(FurtherRegisters(rules.registers().iter().zip(&self.0).map(again).collect::<Result<_, _>>()?))
    }

    /// The operators of each.
    pub(super) fn operators(&self) -> Vec<&[Operator]> {
        self.0.iter().map(|open| open.register.operators()).collect()
    }

    /// Name, sender and summary of each.
    pub(super) fn summaries(&self) -> impl Iterator<Item = (&str, Option<&str>, &RegisterSummary)> {
        self.0.iter().map(|open| {
            let sender = open.sender.map(|sender| &*open.register.senders()[usize::from(sender)].id);
            (&*open.name, sender, &open.summary)
        })
    }

    /// Each register, and the sender for whom it is asked.
    pub(super) fn asked(&self) -> impl Iterator<Item = (&Register, Option<SenderIndex>)> {
        self.0.iter().map(|open| (&*open.register, open.sender))
    }

    /// The other country than that of the job's register whose ids one of them has.
    pub(super) fn other_country(&self, own: Country) -> Option<Country> {
        self.0.iter().map(|open| open.register.kind().country()).find(|country| *country != own)
    }

    /// Prepares questions to all.
    pub(super) fn questions(&self) -> Result<FurtherQuestions<'_>, ListError> {
        let questions = self.0.iter().map(|open| match open.register.question_of(&open.decided) {
            Ok(question) => Ok((open, question)),
            Err(damaged) => Err(open.damaged(damaged.into())),
        });
        Ok(FurtherQuestions(questions.collect::<Result<_, _>>()?))
    }

    /// What each says of a recipient.
    pub(super) fn ask(&self, identity: &Identity) -> Result<Vec<RegisterAnswer<'_>>, ListError> {
        let questions = self.questions()?;
        let answers = self.0.iter().zip(0..).map(|(open, register)| {
            let outcome = questions.answer(register, identity.ordinal())?.outcome();
            Ok(RegisterAnswer::new(outcome, open.register.operators()))
        });
        answers.collect()
    }
}

/// The error about a register of some name.
fn unusable(name: &str, line: usize, error: impl Into<FurtherRegisterError>) -> ListError {
    ListError::FurtherRegister { name: name.to_owned(), line, error: Box::new(error.into()) }
}

/// The file or data directory of a further register.
#[derive(Clone)]
enum Opened {
    File(Arc<Register>),
    Directory(Arc<Mutex<Reader>>),
}

impl Opened {
    fn new(further: &FurtherRegister) -> Result<Opened, FurtherRegisterError> {
        Ok(match further.path.is_dir() {
            true => Opened::Directory(Arc::new(Mutex::new(Reader::open(&further.path)?))),
            false => Opened::File(Arc::new(Snapshot::open(&further.path)?.register()?)),
        })
    }

    /// The register as it is now.
    fn register(&self) -> Result<Arc<Register>, FurtherRegisterError> {
        match self {
            Opened::File(register) => Ok(Arc::clone(register)),
            Opened::Directory(reader) => {
                let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
                reader.refresh()?;
                Ok(reader.register())
            }
        }
    }
}

/// The other country than that of the job's register whose ids a further register of the rules has, if it can be opened.
pub fn other_country(rules: &ChannelRules, own: Country) -> Option<Country> {
    let registers = rules.registers().iter().filter_map(|further| Opened::new(further).ok()?.register().ok());
    registers.map(|register| register.kind().country()).find(|country| *country != own)
}

impl OpenRegister {
    /// The register, for the sender and day of a mailing.
    fn asked(
        further: &FurtherRegister,
        opened: Opened,
        mailing: &Mailing<'_>,
    ) -> Result<OpenRegister, FurtherRegisterError> {
        let register = opened.register()?;
        // Nothing of a file that was overwritten is read.
        register.intact()?;
        if let Some(scope) = register.scope() {
            scope.usable_at(mailing.now)?;
        }
        let (as_of, hours) = (register.as_of(), mailing.now.duration_since(register.as_of()).as_hours());
        if let Some(allowed) = further.max_age_hours.filter(|allowed| hours >= i64::from(*allowed)) {
            return Err(FurtherRegisterError::Old { as_of, hours, allowed });
        }
        let own = mailing.question;
        let sender = further.sender.as_deref();
        let of_job = own.sender().map(|sender| &*own.register().senders()[usize::from(sender)].id);
        let question = match register.question(sender, mailing.today.date()) {
            // The sender of the job, if this register needs one.
            Err(QuestionError::SenderMissing) => register.question(of_job, mailing.today.date()),
            question => question,
        }?;
        let (decided, sender) = (Arc::clone(question.decided()), question.sender());
        let summary = RegisterSummary::new(&register, mailing.now, None);
        let (name, line) = (further.name.clone(), further.line);
        Ok(OpenRegister { name, line, sender, opened, register, decided, summary })
    }

    fn damaged(&self, damage: Damage) -> ListError {
        unusable(&self.name, self.line, damage)
    }
}

/// Questions to further registers, in the order of the file.
pub(super) struct FurtherQuestions<'r>(Vec<(&'r OpenRegister, Question<'r>)>);

impl FurtherQuestions<'_> {
    /// Number of registers.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Errors: a register was overwritten since it was opened, so that its answers are invalid.
    pub(super) fn intact(&self) -> Result<(), ListError> {
        self.0.iter().try_for_each(|(open, _)| open.register.intact().map_err(|damage| open.damaged(damage)))
    }

    /// The answer for one recipient.
    pub(super) fn answer(&self, register: usize, ordinal: Ordinal) -> Result<Answer, ListError> {
        let (open, question) = &self.0[register];
        match open.register.kind().country().has(ordinal) {
            true => question.answer(ordinal).map_err(|damage| open.damaged(damage)),
            false => Ok(Outcome::OtherCountry.into()),
        }
    }

    /// The answers for any number of recipients.
    fn answers(
        &self,
        register: usize,
        ordinals: &[Ordinal],
        answers: &mut Vec<Answer>,
    ) -> Result<(), ListError> {
        let (open, question) = &self.0[register];
        answers.clear();
        answers.resize(ordinals.len(), Answer::default());
        question.ask_all(ordinals, answers).map_err(|damage| open.damaged(damage))?;
        let country = open.register.kind().country();
        for (answer, ordinal) in answers.iter_mut().zip(ordinals) {
            if !country.has(*ordinal) {
                *answer = Outcome::OtherCountry.into();
            }
        }
        Ok(())
    }
}

/// The answers of further registers for the letters of a chunk. Reused from chunk to chunk.
#[derive(Default)]
pub(super) struct ChunkAnswers {
    codes: Vec<FurtherCodes>,
    letters: Vec<usize>,
    ordinals: Vec<Ordinal>,
    answers: Vec<Answer>,
}

impl ChunkAnswers {
    /// Asks all registers for the letters of which `asks` says so.
    pub(super) fn ask(
        &mut self,
        questions: &FurtherQuestions<'_>,
        ordinals: &[Ordinal],
        asks: impl Fn(usize, usize) -> bool,
    ) -> Result<(), ListError> {
        if questions.count() == 0 {
            return Ok(());
        }
        self.codes.clear();
        self.codes.resize(ordinals.len(), [0; REGISTERS_MAX]);
        for register in 0..questions.count() {
            self.letters.clear();
            self.letters.extend((0..ordinals.len()).filter(|letter| asks(*letter, register)));
            self.ordinals.clear();
            self.ordinals.extend(self.letters.iter().map(|letter| ordinals[*letter]));
            questions.answers(register, &self.ordinals, &mut self.answers)?;
            for (letter, answer) in self.letters.iter().zip(&self.answers) {
                self.codes[*letter][register] = answer.number() as u16 + 1;
            }
        }
        Ok(())
    }

    /// The answers for a letter.
    #[inline(always)]
    pub(super) fn of(&self, letter: usize) -> FurtherCodes {
        self.codes.get(letter).copied().unwrap_or_default()
    }
}
