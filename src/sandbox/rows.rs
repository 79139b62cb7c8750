//! Answers whose rows are not those of the question.

use super::faults::RowFault;
use serde_json::Value;

/// Applies a fault to the rows of an answer of FaR or KRR. `nth` chooses a row by the number of rows. An answer with
/// other content, or without rows, stays as it is.
pub(super) fn mutated(body: &str, fault: RowFault, nth: impl Fn(usize) -> usize) -> String {
    match body.trim_start().starts_with('{') {
        true => of_json(body, fault, nth).unwrap_or_else(|| body.to_owned()),
        false => of_xml(body, fault, nth).unwrap_or_else(|| body.to_owned()),
    }
}

/// FaR: each row is a `return` element, without another in it.
fn of_xml(body: &str, fault: RowFault, nth: impl Fn(usize) -> usize) -> Option<String> {
    const OPEN: &str = "<return>";
    const CLOSE: &str = "</return>";
    let (from, to) = (body.find(OPEN)?, body.rfind(CLOSE)? + CLOSE.len());
    let rows: Vec<String> = body[from..to].split_inclusive(CLOSE).map(str::to_owned).collect();
    // The first id of a row is its recipient's.
    let foreign = |row: &String| {
        let (before, rest) = row.split_once("RecipientId>").unwrap_or((row, ""));
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        format!("{before}RecipientId>{}{}", "191001019802", &rest[digits..])
    };
    let rows = changed(rows, fault, nth, foreign);
    Some([&body[..from], &rows.concat(), &body[to..]].concat())
}

/// KRR: a list of persons.
fn of_json(body: &str, fault: RowFault, nth: impl Fn(usize) -> usize) -> Option<String> {
    let mut answer: Value = serde_json::from_str(body).ok()?;
    let name = ["personer", "list"].into_iter().find(|name| answer.get(name).is_some_and(Value::is_array))?;
    let rows = answer[name].as_array_mut().map(std::mem::take)?;
    let foreign = |row: &Value| {
        let mut row = row.clone();
        match row.get_mut("personidentifikator") {
            Some(id) => *id = Value::from("01815000188"),
            None => row = Value::from("191001019802"),
        }
        row
    };
    answer[name] = Value::Array(changed(rows, fault, nth, foreign));
    serde_json::to_string(&answer).ok()
}

fn changed<T: Clone>(
    mut rows: Vec<T>,
    fault: RowFault,
    nth: impl Fn(usize) -> usize,
    foreign: impl Fn(&T) -> T,
) -> Vec<T> {
    if rows.is_empty() {
        return rows;
    }
    let at = nth(rows.len()).min(rows.len() - 1);
    match fault {
        RowFault::Reordered => rows.reverse(),
        RowFault::Missing => drop(rows.remove(at)),
        RowFault::Doubled => rows.insert(at, rows[at].clone()),
        RowFault::Foreign => rows[at] = foreign(&rows[at]),
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_changed_and_the_rest_stays() {
        let xml = "<a><return><r:RecipientId>1</r:RecipientId>x</return><return><r:RecipientId>2</r:RecipientId></return></a>";
        let of_xml = |fault| mutated(xml, fault, |_| 1);
        assert_eq!(of_xml(RowFault::Missing), "<a><return><r:RecipientId>1</r:RecipientId>x</return></a>");
        assert!(of_xml(RowFault::Reordered).starts_with("<a><return><r:RecipientId>2<"));
        assert_eq!(of_xml(RowFault::Doubled).matches("RecipientId>2<").count(), 2);
        assert!(of_xml(RowFault::Foreign).contains("RecipientId>191001019802</r:RecipientId></return></a>"));
        let json = r#"{"personer":[{"personidentifikator":"1"},{"personidentifikator":"2"}]}"#;
        let of_json = |fault| mutated(json, fault, |_| 0);
        assert_eq!(of_json(RowFault::Missing), r#"{"personer":[{"personidentifikator":"2"}]}"#);
        assert!(of_json(RowFault::Foreign).contains("01815000188"));
        for other in ["", "<html/>", "{}", r#"{"personer":[]}"#, "<return>"] {
            assert_eq!(mutated(other, RowFault::Doubled, |_| 0), other);
        }
    }
}
