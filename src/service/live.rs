//! Questions to a live register, which the service asks for its clients.

use super::context::RequestContext;
use super::problem::Problem;
use super::registers::ServedRegister;
use crate::identities::Ordinal;
use crate::register::{Kind, Register};
use crate::source::{Front, FrontAnswer, FrontError, QUESTION_IDS_MAX};
use hyper::StatusCode;
use std::sync::Arc;

/// The register that a question is checked with: the newest version; of a live register, one without answers, in which the
/// sender is known.
///
/// Errors: the system has no memory.
pub(super) fn register_for(served: &ServedRegister, sender: Option<&str>) -> Result<Arc<Register>, Problem> {
    match served.front() {
        None => Ok(served.register()),
        Some(front) => front.empty(sender).map_err(|error| problem(&error)),
    }
}

/// Asks a live register for a client's ids in any order. The answer has at least one of them, unless there are none.
/// Called when all of the request has arrived.
///
/// Errors: there are too many ids; the register has answered for none; the client has gone, whose ids are not asked then.
pub(super) async fn ask(
    front: &Front,
    sender: Option<&str>,
    context: &RequestContext<'_>,
    mut ids: Vec<Ordinal>,
) -> Result<FrontAnswer, Problem> {
    ids.sort_unstable();
    ids.dedup();
    if ids.len() > QUESTION_IDS_MAX {
        let detail = format!(
            "a live register is asked for at most {QUESTION_IDS_MAX} ids a request, not {}: for a mailing use \
             `nabar resolve`",
            ids.len()
        );
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "number-of-ids", detail));
    }
    let answer = tokio::select! {
        answer = front.ask(sender, &context.client, ids) => answer.map_err(|error| problem(&error))?,
        () = context.client_gone() => return Err(Problem::client_gone()),
    };
    match &answer.missing {
        Some(error) if !answer.has_any => Err(problem(error)),
        _ => Ok(answer),
    }
}

/// The answers for all ids; `None` if the register refused one. Errors: as [`ask`]; the register has not answered for some.
pub(super) async fn ask_whole(
    front: &Front,
    sender: Option<&str>,
    context: &RequestContext<'_>,
    ids: Vec<Ordinal>,
) -> Result<Option<Arc<Register>>, Problem> {
    let answer = ask(front, sender, context, ids).await?;
    match &answer.missing {
        Some(error) => Err(problem(error)),
        None => Ok((!answer.has_refused).then_some(answer.register)),
    }
}

/// Memory of the register of a question in bytes, which a response keeps while it is written. Its directory takes some 300
/// kB.
const REGISTER_BYTES: usize = 1 << 20;

/// Memory that a register takes for the response to one question: only one of a live register is made for it.
pub(super) fn register_bytes(register: &Register) -> usize {
    if register.scope().is_some() { REGISTER_BYTES } else { 0 }
}

/// 501: the route needs a register that is here.
pub(super) fn not_here(kind: Kind) -> Problem {
    let detail = format!(
        "{} is asked for each question, and is not here as a whole: ask for reachability, as JSON, lines or digits, or \
         in the register's own contract",
        kind.name()
    );
    Problem::new(StatusCode::NOT_IMPLEMENTED, "live-register", detail)
}

pub(super) fn problem(error: &FrontError) -> Problem {
    let (status, word) = match error {
        FrontError::Refused(_) => (StatusCode::BAD_GATEWAY, "register-refuses"),
        FrontError::Away(_) => (StatusCode::SERVICE_UNAVAILABLE, "register-away"),
        _ => return Problem::busy(),
    };
    Problem::new(status, word, error.to_string())
}
