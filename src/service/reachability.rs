//! `POST /v1/reachability`: who can be reached, for any number of ids.

use super::access::may_ask;
use super::body::{self, Unread};
use super::exchange::{
    Body, Day, JSON, Noted, Problem, content_type, from_json, query, respond, with_note, with_version,
};
use super::registers::Live;
use super::routes::Exchange;
use super::{compact, lines};
use crate::identities::{Country, Identity, Ordinal, Rejection};
use crate::limits::INLINE_BODY_BYTES;
use crate::register::{Answer, Damage, Decided, Question, Register};
use hyper::{Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;

/// What stands behind the question mark.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Asks {
    /// FaR: who sends, 10 or 12 digits.
    #[param(example = "164821000025")]
    pub(super) sender: Option<String>,
    /// The day asked, `YYYY-MM-DD`; today (UTC) if it is missing.
    #[param(example = "2026-06-01")]
    pub(super) date: Option<String>,
}

/// A question in JSON.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asking<'a> {
    /// FaR: who sends, if the address does not say it.
    #[serde(borrow, default)]
    #[schema(examples("164821000025"))]
    sender: Option<Cow<'a, str>>,
    /// The day asked, if the address does not say it.
    #[serde(borrow, default)]
    #[schema(examples("2026-06-01"))]
    date: Option<Cow<'a, str>>,
    /// Ids in any spelling.
    #[serde(borrow)]
    #[schema(value_type = Vec<String>)]
    recipients: Vec<Id<'a>>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Id<'a>(#[serde(borrow)] Cow<'a, str>);

/// Answers in JSON.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Answered {
    register: Versioned,
    /// FaR: 12 digits.
    sender: Option<String>,
    date: String,
    /// One for each id, in the order of the request.
    results: Vec<Answer1>,
}

/// The version that answered.
#[derive(Clone, Serialize, utoipa::ToSchema)]
pub(super) struct Versioned {
    /// `far` or `krr`.
    kind: &'static str,
    /// Number of the last change that is in it.
    sequence: u64,
    /// The time for which it speaks.
    as_of: String,
}

impl Versioned {
    pub(super) fn of(register: &Register) -> Versioned {
        Versioned {
            kind: register.kind().name(),
            sequence: register.sequence(),
            as_of: register.as_of().to_string(),
        }
    }
}

/// What becomes of a letter to one recipient.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Answer)]
struct Answer1 {
    /// `digital`, `notify`, `paper`, or `rejected` if the id is none.
    outcome: &'static str,
    /// Why it is `paper` or `rejected`.
    #[serde(skip_serializing_if = "str::is_empty")]
    #[schema(required = false)]
    reason: &'static str,
    /// The mailbox operator, if it is `digital`.
    #[serde(skip_serializing_if = "Option::is_none")]
    operator_id: Option<String>,
}

/// A question to one version of a register, which is kept with it.
pub(super) struct Asked {
    pub(super) register: Arc<Register>,
    pub(super) sender: Option<String>,
    pub(super) day: Day,
    decided: Arc<Decided>,
}

impl Asked {
    /// Of the newest version. Errors: no such sender, or one for whom the caller may not ask.
    pub(super) fn of(
        exchange: &Exchange<'_>,
        live: &Live,
        sender: Option<&str>,
        date: Option<&str>,
    ) -> Result<Asked, Problem> {
        let (register, day) = (live.register(), Day::of(date)?);
        let decided = live.decided(&register, sender, day.date)?;
        may_ask(&exchange.caller, &register, decided.sender, exchange.service.access.takes_tokens())?;
        let sender = decided.sender.map(|place| register.senders()[usize::from(place)].id.clone());
        Ok(Asked { register, sender, day, decided })
    }

    pub(super) fn question(&self) -> Result<Question<'_>, Problem> {
        self.register.question_of(&self.decided).map_err(|damage| Problem::damaged(&damage))
    }

    pub(super) fn country(&self) -> Country {
        self.register.kind().country()
    }

    /// The answers for ids in any spelling, in their order.
    pub(super) fn answers<'i>(&self, ids: impl Iterator<Item = &'i [u8]>) -> Result<Answers, Problem> {
        let question = self.question()?;
        let (mut ordinals, mut rejected) = (Vec::with_capacity(ids.size_hint().0), Vec::new());
        for (place, id) in ids.enumerate() {
            ordinals.push(match Identity::parse(id, self.country(), self.day.today) {
                Ok(identity) => identity.ordinal(),
                Err(rejection) => {
                    rejected.push((place, rejection));
                    Ordinal::NOBODY
                }
            });
        }
        let mut answers = vec![Answer::default(); ordinals.len()];
        let asked = question.ask_all(&ordinals, &mut answers);
        asked.and_then(|()| self.register.intact()).map_err(|damage: Damage| Problem::damaged(&damage))?;
        Ok(Answers { answers, rejected })
    }
}

/// Answers in the order of the ids.
pub(super) struct Answers {
    pub(super) answers: Vec<Answer>,
    /// Those that are no ids, ascending by their places.
    rejected: Vec<(usize, Rejection)>,
}

impl Answers {
    /// What is noted of them.
    pub(super) fn noted(&self, asked: &Asked) -> Noted {
        let count = |kind| self.answers.iter().filter(|answer| answer.kind() == kind).count() as u64;
        let rejected = self.rejected.len() as u64;
        let (notify, digital) = (count(1), count(2));
        let paper = self.answers.len() as u64 - notify - digital;
        // What is no id was looked up as nobody.
        let all =
            [("paper", paper - rejected), ("notify", notify), ("digital", digital), ("rejected", rejected)];
        let outcomes = all.into_iter().filter(|(_, count)| *count > 0).collect();
        Noted { outcomes, ..Noted::of(&asked.register, asked.sender.as_deref(), self.answers.len()) }
    }

    /// The places of those that are no ids.
    pub(super) fn rejected(&self) -> impl Iterator<Item = usize> {
        self.rejected.iter().map(|(place, _)| *place)
    }

    /// Each answer, or why the id is none.
    pub(super) fn iter(&self) -> impl Iterator<Item = Result<Answer, Rejection>> {
        let mut rejected = self.rejected.iter().peekable();
        self.answers.iter().enumerate().map(move |(place, &answer)| {
            match rejected.next_if(|(other, _)| *other == place) {
                Some((_, rejection)) => Err(*rejection),
                None => Ok(answer),
            }
        })
    }
}

/// What is written for each answer, made when it first comes up.
pub(super) struct Pieces<F> {
    answers: Vec<Option<Box<[u8]>>>,
    rejections: [Option<Box<[u8]>>; Rejection::ALL.len()],
    write: F,
}

/// Outcome, reason and operator, empty where there is none.
pub(super) type Words<'r> = (&'static str, &'static str, &'r str);

impl<F: Fn(Words<'_>) -> Vec<u8>> Pieces<F> {
    pub(super) fn new(write: F) -> Pieces<F> {
        Pieces { answers: Vec::new(), rejections: Default::default(), write }
    }

    /// The piece of an answer of a register.
    #[inline]
    pub(super) fn of(&mut self, register: &Register, answer: Result<Answer, Rejection>) -> &[u8] {
        let piece = match answer {
            Ok(answer) => {
                let place = answer.number();
                if place >= self.answers.len() {
                    self.answers.resize(place + 1, None);
                }
                &mut self.answers[place]
            }
            Err(rejection) => &mut self.rejections[rejection as usize],
        };
        piece.get_or_insert_with(|| (self.write)(words(register, answer)).into_boxed_slice())
    }
}

/// An answer in words.
pub(super) fn words(register: &Register, answer: Result<Answer, Rejection>) -> Words<'_> {
    match answer.map(Answer::outcome) {
        Ok(outcome) => {
            let operator = outcome.operator().and_then(|place| register.operators().get(usize::from(place)));
            (outcome.name(), outcome.reason(), operator.map_or("", |operator| operator.id.as_str()))
        }
        Err(rejection) => ("rejected", rejection.name(), ""),
    }
}

/// Bytes of memory that a byte of JSON may take: ids may be as short as two quotation marks.
const JSON_WEIGHT: usize = 24;
/// The same of digits.
const COMPACT_WEIGHT: usize = 3;

/// Answers a request in the form in which it asks.
pub(super) async fn reachability(
    exchange: &Exchange<'_>,
    live: &Live,
    request: Request<Unread>,
) -> Result<Response<Body>, Problem> {
    let (service, asks): (_, Asks) = (exchange.service, query(request.uri().query())?);
    match &*content_type(request.headers()) {
        JSON => {
            let body = exchange
                .message(request, service.limits.json_bytes.min(service.limits.body_bytes), JSON_WEIGHT)
                .await?;
            let answered = match body.bytes.len() > INLINE_BODY_BYTES {
                true => tokio::task::block_in_place(|| in_json(exchange, live, &asks, &body.bytes)),
                false => in_json(exchange, live, &asks, &body.bytes),
            };
            answered.map(|response| with_note(response, body.share))
        }
        compact::IDS => {
            let asked = Asked::of(exchange, live, asks.sender.as_deref(), asks.date.as_deref())?;
            let body = exchange.message(request, service.limits.body_bytes, COMPACT_WEIGHT).await?;
            exchange.count_ids(body.bytes.len() / compact::width(&asked))?;
            let answered = match body.bytes.len() > INLINE_BODY_BYTES {
                true => tokio::task::block_in_place(|| compact::answer(&asked, &body.bytes)),
                false => compact::answer(&asked, &body.bytes),
            };
            answered.map(|response| with_note(response, body.share))
        }
        "text/csv" | "text/plain" => {
            let asked = Asked::of(exchange, live, asks.sender.as_deref(), asks.date.as_deref())?;
            // Who says how much will come may want to send it all before reading: then it is read first.
            match request.body().announced() {
                Some(length) if length <= service.limits.body_bytes => {
                    let body = exchange.message(request, service.limits.body_bytes, 1).await?;
                    let last = usize::from(!body.bytes.ends_with(b"\n") && !body.bytes.is_empty());
                    exchange.count_ids(memchr::memchr_iter(b'\n', &body.bytes).count() + last)?;
                    let source = lines::Source::AtHand(body.bytes);
                    let answered = lines::answer(asked, source, service.limits.stall_time, |_| true);
                    Ok(with_note(answered, body.share))
                }
                _ => {
                    body::uncompressed(request.headers())?;
                    let body = request.into_body().take().ok_or_else(body::broken)?;
                    let (counting, client) = (Arc::clone(service), exchange.client.clone());
                    let may = move |ids| counting.clients.ids(&client, ids).is_ok();
                    Ok(lines::answer(asked, lines::Source::Coming(body), service.limits.stall_time, may))
                }
            }
        }
        _ => {
            let detail = "send ids as application/json, text/csv, text/plain or application/vnd.nabar.ids";
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type", detail))
        }
    }
}

fn in_json(
    exchange: &Exchange<'_>,
    live: &Live,
    asks: &Asks,
    body: &[u8],
) -> Result<Response<Body>, Problem> {
    let asking: Asking<'_> = from_json(body).map_err(|error| {
        // The message of the library may quote what was sent.
        let (line, column) = (error.line(), error.column());
        let detail = format!(
            "not a JSON object {{\"sender\", \"recipients\"}}; the mistake is at line {line}, column {column}"
        );
        Problem::bad_request("bad-json", detail)
    })?;
    let sender = asks.sender.as_deref().or(asking.sender.as_deref());
    let date = asks.date.as_deref().or(asking.date.as_deref());
    let asked = &Asked::of(exchange, live, sender, date)?;
    exchange.count_ids(asking.recipients.len())?;
    let answers = asked.answers(asking.recipients.iter().map(|id| id.0.as_bytes()))?;
    // The results are written into it piece by piece, of pieces that are made once.
    let answered = Answered {
        register: Versioned::of(&asked.register),
        sender: asked.sender.clone(),
        date: asked.day.date.to_string(),
        results: Vec::new(),
    };
    let mut out = serde_json::to_vec(&answered).unwrap_or_default();
    out.truncate(out.len().saturating_sub(b"]}".len()));
    out.reserve(answers.answers.len() * 64);
    let mut pieces = Pieces::new(|(outcome, reason, operator)| {
        let operator_id = (!operator.is_empty()).then(|| operator.to_owned());
        let mut piece = serde_json::to_vec(&Answer1 { outcome, reason, operator_id }).unwrap_or_default();
        piece.push(b',');
        piece
    });
    for answer in answers.iter() {
        out.extend_from_slice(pieces.of(&asked.register, answer));
    }
    if !answers.answers.is_empty() {
        out.pop();
    }
    out.extend_from_slice(b"]}");
    Ok(with_note(with_version(respond(JSON, out), &asked.register), answers.noted(asked)))
}
