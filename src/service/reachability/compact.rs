//! The compact form: digits in, one byte per id out. `docs/service.md` specifies every byte.

use super::query::ReachabilityQuery;
use crate::identities::Country;
use crate::register::{Answer, OperatorIndex, Outcome, PaperReason, Register, moment};
use crate::service::problem::Problem;
use crate::service::response::{Body, respond, with_extension, with_version};
use bytes::Bytes;
use hyper::{Response, StatusCode};

/// Content type of ids: 12 digits each for FaR, 11 for KRR, without separators.
pub(super) const IDS: &str = "application/vnd.nabar.ids";
/// Content type of results.
pub(super) const RESULTS: &str = "application/vnd.nabar.answers";
/// First bytes of a response: a name and the version of the form.
const MAGIC: [u8; 8] = *b"NABAANS\x01";

/// Codes of paper by reason. Clients have them, so no code changes: a new reason takes the highest free code (254
/// first) and lowers [`OPERATORS_MAX`].
const PAPER_CODES: [(u8, PaperReason); 8] = [
    (0, PaperReason::NotRegistered),
    (1, PaperReason::SenderDeclined),
    (2, PaperReason::Pending),
    (3, PaperReason::AnonymousAccount),
    (4, PaperReason::OperatorWithoutAddress),
    (5, PaperReason::Reserved),
    (6, PaperReason::NotNotifiable),
    (7, PaperReason::Deleted),
];
const NOTIFY_CODE: u8 = 8;
/// Code of a digital letter at the first operator of the response; the next operators follow.
const FIRST_OPERATOR_CODE: u8 = 9;
/// Code of an invalid id.
const REJECTED_CODE: u8 = 255;
/// Operators that have codes.
const OPERATORS_MAX: usize = 246;

// A reason without a code does not compile.
const _: () = assert!(PAPER_CODES.len() == PaperReason::ALL.len());
const _: () = assert!(FIRST_OPERATOR_CODE as usize + OPERATORS_MAX == lowest_code_after_operators());
const _: () = assert!(Answer::count(OPERATORS_MAX) <= 512);

/// The lowest code above those of operators: of a reason that was added later, or of an invalid id.
const fn lowest_code_after_operators() -> usize {
    let (mut lowest, mut index) = (REJECTED_CODE, 0);
    while index < PAPER_CODES.len() {
        let code = PAPER_CODES[index].0;
        if code > NOTIFY_CODE && code < lowest {
            lowest = code;
        }
        index += 1;
    }
    lowest as usize
}

/// The code of each answer of a register, by [`Answer::number`].
struct CodeTable([u8; 512]);

impl CodeTable {
    fn new(operators: usize) -> CodeTable {
        let mut codes = [REJECTED_CODE; 512];
        let mut set = |outcome: Outcome, code| codes[Answer::from(outcome).number()] = code;
        for (code, reason) in PAPER_CODES {
            set(Outcome::Paper(reason), code);
        }
        set(Outcome::Notify, NOTIFY_CODE);
        for operator in 0..operators.min(OPERATORS_MAX) {
            set(Outcome::Digital(OperatorIndex::new(operator as u16)), FIRST_OPERATOR_CODE + operator as u8);
        }
        CodeTable(codes)
    }

    #[inline]
    fn code(&self, answer: Answer) -> u8 {
        self.0[answer.number() & 0x1FF]
    }
}

/// Digits of an id.
pub(super) fn width(query: &ReachabilityQuery) -> usize {
    match query.country() {
        Country::Sweden => 12,
        Country::Norway => 11,
    }
}

/// Answers a request whose body is the ids.
pub(super) fn respond_in_codes(query: &ReachabilityQuery, body: &Bytes) -> Result<Response<Body>, Problem> {
    let width = width(query);
    if !body.len().is_multiple_of(width) {
        let detail = format!("ids have {width} digits each, without separators and without a line end");
        return Err(Problem::bad_request("bad-length", detail));
    }
    let register = &query.register;
    if register.operators().len() > OPERATORS_MAX {
        let detail = "the register has more mailbox operators than the compact form has codes";
        return Err(Problem::new(StatusCode::NOT_ACCEPTABLE, "too-many-operators", detail));
    }
    let results = query.results(body.chunks_exact(width))?;
    let mut out = head(register, results.answers.len());
    let first = out.len();
    let codes = CodeTable::new(register.operators().len());
    out.extend(results.answers.iter().map(|&answer| codes.code(answer)));
    results.rejected().for_each(|index| out[first + index] = REJECTED_CODE);
    Ok(with_extension(with_version(respond(RESULTS, out), register), results.record(query)))
}

fn head(register: &Register, results: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + 13 * register.operators().len() + results);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&register.sequence().to_le_bytes());
    out.extend_from_slice(&moment::nanoseconds(register.as_of()).unwrap_or_default().to_le_bytes());
    out.extend_from_slice(&(results as u32).to_le_bytes());
    out.extend_from_slice(&(register.operators().len() as u16).to_le_bytes());
    for operator in register.operators() {
        // Ids of organisations have 9 or 12 digits.
        let id = &operator.id.as_bytes()[..operator.id.len().min(255)];
        out.push(id.len() as u8);
        out.extend_from_slice(id);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The codes as literals: what clients have compiled in.
    #[test]
    fn codes_are_those_that_clients_have() {
        let codes = CodeTable::new(OPERATORS_MAX);
        for (name, code) in [
            ("not_registered", 0_u8),
            ("sender_declined", 1),
            ("pending", 2),
            ("anonymous_account", 3),
            ("operator_without_address", 4),
            ("reserved", 5),
            ("not_notifiable", 6),
            ("deleted", 7),
        ] {
            let reason = PaperReason::ALL.into_iter().find(|reason| reason.name() == name).expect("a reason");
            assert_eq!(codes.code(Outcome::Paper(reason).into()), code, "{name}");
        }
        assert_eq!(codes.code(Outcome::Notify.into()), 8);
        assert_eq!(codes.code(Outcome::Digital(OperatorIndex::new(0)).into()), 9);
        assert_eq!(codes.code(Outcome::Digital(OperatorIndex::new(1)).into()), 10);
        assert_eq!(codes.code(Outcome::Digital(OperatorIndex::new(245)).into()), 254);
        assert_eq!(REJECTED_CODE, 255);
    }

    #[test]
    fn no_two_outcomes_share_a_code() {
        let codes = CodeTable::new(OPERATORS_MAX);
        let mut all: Vec<u8> =
            PaperReason::ALL.iter().map(|&reason| codes.code(Outcome::Paper(reason).into())).collect();
        all.push(codes.code(Outcome::Notify.into()));
        all.extend(
            (0..OPERATORS_MAX as u16)
                .map(|operator| codes.code(Outcome::Digital(OperatorIndex::new(operator)).into())),
        );
        all.push(REJECTED_CODE);
        let distinct: std::collections::BTreeSet<u8> = all.iter().copied().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
