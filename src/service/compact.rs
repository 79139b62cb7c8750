//! The compact form: digits in, a byte an answer out. `docs/service.md` has it byte by byte.

use super::exchange::{Body, Problem, respond, with_note, with_version};
use super::reachability::Asked;
use crate::identities::Country;
use crate::register::{Answer, Register, moment};
use bytes::Bytes;
use hyper::{Response, StatusCode};

/// Content type of ids: 12 digits each for FaR, 11 for KRR, and nothing between them.
pub(super) const IDS: &str = "application/vnd.nabar.ids";
/// Content type of answers.
const ANSWERS: &str = "application/vnd.nabar.answers";
/// First bytes of answers: a name and the version of the form.
const MAGIC: [u8; 8] = *b"NABAANS\x01";
/// The answer to what is no id.
const NO_ID: u8 = 255;

/// Digits of an id.
pub(super) fn width(asked: &Asked) -> usize {
    match asked.country() {
        Country::Sweden => 12,
        Country::Norway => 11,
    }
}

pub(super) fn answer(asked: &Asked, body: &Bytes) -> Result<Response<Body>, Problem> {
    let width = width(asked);
    if !body.len().is_multiple_of(width) {
        let detail = format!("ids are {width} digits each, with nothing between or behind them");
        return Err(Problem::bad_request("bad-length", detail));
    }
    let register = &asked.register;
    if Answer::count(register.operators().len()) > usize::from(NO_ID) {
        let detail = "the register has more mailbox operators than the compact form has bytes for";
        return Err(Problem::new(StatusCode::NOT_ACCEPTABLE, "too-many-operators", detail));
    }
    let answers = asked.answers(body.chunks_exact(width))?;
    let mut out = head(register, answers.answers.len());
    let first = out.len();
    out.extend(answers.answers.iter().map(|answer| answer.number() as u8));
    answers.rejected().for_each(|place| out[first + place] = NO_ID);
    Ok(with_note(with_version(respond(ANSWERS, out), register), answers.noted(asked)))
}

fn head(register: &Register, answers: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + 13 * register.operators().len() + answers);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&register.sequence().to_le_bytes());
    out.extend_from_slice(&moment::nanoseconds(register.as_of()).unwrap_or_default().to_le_bytes());
    out.extend_from_slice(&(answers as u32).to_le_bytes());
    out.extend_from_slice(&(register.operators().len() as u16).to_le_bytes());
    for operator in register.operators() {
        // Ids of organisations are 9 or 12 digits.
        let id = &operator.id.as_bytes()[..operator.id.len().min(255)];
        out.push(id.len() as u8);
        out.extend_from_slice(id);
    }
    out
}
