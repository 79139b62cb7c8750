//! `lookup`: the outcomes of single ids.

use super::args::Lookup;
use super::{CommandResult, Failure, day, source_of};
use nabar::identities::{Country, Identity, Rejection, Today};
use nabar::limits::LINE_BYTES_MAX;
use nabar::line_reader::{LineReader, ReadLine};
use nabar::plain_text::plain;
use nabar::register::{Damage, Kind, Outcome, Question, Recipient};
use serde_json::{Map, Value, json};
use std::io::{self, BufReader, BufWriter, IsTerminal, Write};

pub(super) fn lookup(args: &Lookup) -> CommandResult {
    let mut source = source_of(&args.question.register, &args.question.of)?;
    let as_table = io::stdout().is_terminal() && !args.json;
    let mut out = BufWriter::new(io::stdout().lock());
    if as_table {
        writeln!(out, "{:<12}  {:<8}  {:<25}  OPERATOR", "RECIPIENT", "OUTCOME", "REASON")?;
    }
    let mut ids = IdSource { position: 0, given: args.ids.iter(), input: None, next: None };
    ids.advance()?;
    source.refresh()?;
    // A data directory may change during the command: each id is answered from the newest version.
    while ids.next.is_some() {
        let register = source.register();
        let (date, today) = day(&args.question.of)?;
        let question = register.question(args.question.of.sender.as_deref(), date)?;
        while let Some(id) = &ids.next {
            let response = LookupResponse::of(&question, id, register.kind().country(), today)?;
            if !register.is_intact() {
                return Err(Damage::Changed.into());
            }
            match as_table {
                true => response.write_row(ids.position, &mut out)?,
                false => {
                    serde_json::to_writer(&mut out, &response.fields).map_err(io::Error::from)?;
                    out.write_all(b"\n")?;
                }
            }
            if ids.must_wait() {
                out.flush()?;
            }
            ids.advance()?;
            if source.refresh()? {
                break;
            }
        }
    }
    Ok(out.flush()?)
}

/// The ids on the command line and on standard input.
struct IdSource<'a> {
    /// Number of the next id, from 1.
    position: usize,
    given: std::slice::Iter<'a, String>,
    input: Option<LineReader<BufReader<io::StdinLock<'static>>>>,
    /// `None` at the end. A line that is too long is no id.
    next: Option<Result<Vec<u8>, Rejection>>,
}

impl IdSource<'_> {
    /// Whether the id after the next one has not arrived yet.
    fn must_wait(&mut self) -> bool {
        match &mut self.input {
            Some(input) => !input.input().buffer().contains(&b'\n'),
            None => self.given.as_slice().first().is_some_and(|id| id == "-"),
        }
    }

    fn advance(&mut self) -> CommandResult {
        self.position += 1;
        loop {
            if let Some(input) = &mut self.input {
                let mut line = Vec::new();
                let read = input.read(&mut line);
                let read = read.map_err(|error| Failure::Failed(format!("cannot read the ids: {error}")))?;
                line.pop_if(|last| *last == b'\n');
                self.next = match read {
                    ReadLine::Whole => Some(Ok(line)),
                    ReadLine::TooLong => Some(Err(Rejection::BadLength)),
                    ReadLine::End => None,
                };
                if self.next.is_some() {
                    return Ok(());
                }
                self.input = None;
            }
            match self.given.next().map(String::as_str) {
                Some("-") => {
                    let input = BufReader::new(io::stdin().lock());
                    self.input = Some(LineReader::new(input, LINE_BYTES_MAX));
                }
                id => {
                    self.next = id.map(|id| Ok(id.as_bytes().to_vec()));
                    return Ok(());
                }
            }
        }
    }
}

/// The response for one id, as the object of a JSON line.
struct LookupResponse {
    fields: Map<String, Value>,
}

impl LookupResponse {
    fn of(
        question: &Question<'_>,
        id: &Result<Vec<u8>, Rejection>,
        country: Country,
        today: Today,
    ) -> Result<LookupResponse, Failure> {
        let register = question.register();
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| _ = fields.insert(name.to_owned(), value);
        let parsed = id.as_ref().map_err(|rejection| *rejection);
        match parsed.and_then(|id| Identity::parse(id, country, today)) {
            Err(rejection) => put_rejected(&mut put, rejection),
            Ok(identity) => {
                let outcome = question.ask(&identity)?;
                let operator = match outcome {
                    Outcome::Digital(place) => register.operators().get(usize::from(place)),
                    _ => None,
                };
                put("recipient_id", json!(identity.as_str()));
                put("outcome", json!(outcome.name()));
                put("reason", Some(outcome.reason()).filter(|reason| !reason.is_empty()).into());
                put("operator_id", operator.map(|operator| operator.id.as_str()).into());
                put("operator_name", operator.map(|operator| operator.name.as_str()).into());
                if let Some(answered) = register.answered(&identity)? {
                    put("answered", json!(answered.to_string()));
                }
                let recipient = register.recipient(&identity)?;
                match register.kind() {
                    // Nothing is known.
                    _ if matches!(outcome, Outcome::NotAsked | Outcome::Refused) => {}
                    Kind::Far => put_far(&mut put, question, recipient),
                    Kind::Krr => put_krr(&mut put, question, &identity, recipient),
                }
            }
        }
        put("sequence", json!(register.sequence()));
        put("as_of", json!(register.as_of().to_string()));
        Ok(LookupResponse { fields })
    }

    /// Writes a row of the table. An id that was rejected is shown as its position: its text may be an identity number.
    fn write_row(&self, position: usize, out: &mut impl Write) -> io::Result<()> {
        let text = |name: &str| self.fields.get(name).and_then(Value::as_str).unwrap_or("");
        let operator = match text("operator_id") {
            "" => String::new(),
            id => format!("{} ({})", plain(text("operator_name")), plain(id)),
        };
        let id = match text("recipient_id") {
            "" => format!("#{position}"),
            id => id.to_owned(),
        };
        let (outcome, reason) = (text("outcome"), text("reason"));
        let line = format!("{id:<12}  {outcome:<8}  {reason:<25}  {operator}");
        writeln!(out, "{}", line.trim_end())
    }
}

fn put_rejected(put: &mut impl FnMut(&str, Value), rejection: Rejection) {
    put("recipient_id", Value::Null);
    put("outcome", json!("rejected"));
    put("reason", json!(rejection.name()));
    put("operator_id", Value::Null);
}

/// The fields of FaR, in the words of its contract.
fn put_far(put: &mut impl FnMut(&str, Value), question: &Question<'_>, recipient: Option<Recipient>) {
    let Some(Recipient::Far { state, rule, last_registration, last_sender_accept_change }) = recipient else {
        put("type", json!("Not"));
        put("pending", json!(false));
        return;
    };
    let operators = question.register().operators();
    let supplier = state.operator.and_then(|operator| operators.get(usize::from(operator)));
    put("type", json!(state.account_type.name()));
    put("pending", json!(state.pending));
    put("service_supplier", supplier.map(|operator| operator.id.as_str()).into());
    put("last_registration", last_registration.map(|time| time.to_string()).into());
    put("sender_accepted", question.sender().map(|sender| rule.accepts(sender)).into());
    put("last_sender_accept_change", last_sender_accept_change.map(|time| time.to_string()).into());
}

/// The fields of KRR, with the names of its REST contract.
fn put_krr(
    put: &mut impl FnMut(&str, Value),
    question: &Question<'_>,
    identity: &Identity,
    recipient: Option<Recipient>,
) {
    let status = |notifiable| if notifiable { "KAN_VARSLES" } else { "KAN_IKKE_VARSLES" };
    put("personidentifikator", json!(identity.as_str()));
    let Some(Recipient::Krr { state, person }) = recipient else {
        put("status", json!("IKKE_REGISTRERT"));
        put("varslingsstatus", json!(status(false)));
        return;
    };
    if let Ok(Value::Object(fields)) = serde_json::to_value(&person) {
        fields.into_iter().for_each(|(name, value)| put(&name, value));
    }
    put("varslingsstatus", json!(status(state.notifiable(question.day()))));
}

#[cfg(test)]
mod tests {
    use super::*;
    use nabar::extract::{BuildOptions, build};
    use nabar::snapshot::Snapshot;
    use std::path::Path;

    #[test]
    fn the_table_shows_a_rejected_id_as_its_position() {
        let directory = tempfile::tempdir().expect("directory");
        let file = directory.path().join("far.nabar");
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/far");
        build(&fixture, &file, &BuildOptions::strict()).expect("built");
        let register = Snapshot::open(&file).and_then(|snapshot| snapshot.register()).expect("a register");
        let sender = &register.senders()[0].id;
        let question = register.question(Some(sender), jiff::civil::date(2026, 6, 1)).expect("a question");
        let today = Today::new(2026, 6, 1).expect("a day");
        let row = |position, id: &[u8]| {
            let mut row = Vec::new();
            let response = LookupResponse::of(&question, &Ok(id.to_vec()), Country::Sweden, today)
                .ok()
                .expect("a response");
            response.write_row(position, &mut row).expect("written");
            String::from_utf8(row).expect("text")
        };
        assert!(row(1, b"19681019-9809").starts_with("196810199809  "));
        let rejected = row(3, b"19681019-9800");
        assert!(rejected.starts_with("#3            rejected  bad_check_digit"), "{rejected}");
        assert!(!rejected.contains("19681019") && !rejected.contains("9800"), "{rejected}");
    }
}
