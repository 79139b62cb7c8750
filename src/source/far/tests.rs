//! Answers of FaR that are as the contract says, and others.

use super::*;

const SENDER: &str = "164821000025";

fn message(body: &str) -> Vec<u8> {
    format!("<?xml version=\"1.0\"?><x:Envelope xmlns:x=\"{SOAP}\"><x:Body>{body}</x:Body></x:Envelope>")
        .into_bytes()
}

fn status(id: &str, more: &str) -> String {
    format!("<n:return><r:AccountStatus><r:RecipientId>{id}</r:RecipientId>{more}</n:return>")
}

fn response(rows: &str) -> Vec<u8> {
    message(&format!(
        "<n:isReachableResponse xmlns:n=\"{V3}\" xmlns:r=\"http://minameddelanden.gov.se/schema/Recipient\">{rows}</n:isReachableResponse>"
    ))
}

#[test]
fn answers_are_read() {
    let supplier = "<r:ServiceSupplier><r:Id>164821000025</r:Id><r:Name>A &amp; B</r:Name>\
                    <r:ServiceAdress>https://a.example</r:ServiceAdress><r:New>x</r:New></r:ServiceSupplier>";
    let first = status(
        "196810199809",
        &format!(
            "<r:Type>Secure</r:Type><r:Pending>false</r:Pending>{supplier}\
             <r:LastRegistration>2026-01-02T03:04:05Z</r:LastRegistration></r:AccountStatus>\
             <r:SenderAccepted>true</r:SenderAccepted>\
             <q:SenderAccepted xmlns:q=\"urn:q\">false</q:SenderAccepted><r:Later><r:Type>Unknown</r:Type></r:Later>"
        ),
    );
    let second = status(
        "195904109807",
        "<r:Type>Not</r:Type><r:Pending>false</r:Pending></r:AccountStatus><r:SenderAccepted>false</r:SenderAccepted>",
    );
    let read = read(&response(&(first + &second)), SENDER).expect("answers");
    assert_eq!(read.operators.len(), 1);
    assert_eq!(read.operators[0].name, "A & B");
    let [ChangeBody::PutRecipient(a), ChangeBody::PutRecipient(b)] = &read.answers[..] else { panic!("two") };
    assert_eq!((a.account_type, a.pending, b.account_type), (AccountType::Secure, false, AccountType::Not));
    assert_eq!(a.operator, Some(organisation("164821000025").expect("an id")));
    assert_ne!(a.last_registration, NO_NANOSECONDS);
    assert_eq!((a.rule.senders.len(), b.rule.senders.len()), (1, 0));
}

/// An element of a later version may hold elements with the names of others: they are not those of the row.
#[test]
fn elements_within_unknown_ones_do_not_count() {
    let supplier = |id: &str| format!("<r:ServiceSupplier><r:Id>{id}</r:Id></r:ServiceSupplier>");
    let (own, other) = (supplier("164821000025"), supplier("164921000016"));
    let head = "<r:Type>Secure</r:Type><r:Pending>false</r:Pending>";
    let tail = "</r:AccountStatus><r:SenderAccepted>true</r:SenderAccepted>";
    for previous in [
        format!("<r:Previous>{other}</r:Previous>"),
        format!(
            "<x:Previous xmlns:x=\"urn:x\">{other}<r:AccountStatus>{other}<r:Type>Not</r:Type></r:AccountStatus></x:Previous>"
        ),
    ] {
        for row in [
            format!("{head}{own}{previous}{tail}"),
            format!("{head}{previous}{own}{tail}"),
            format!("{head}{own}{tail}{previous}"),
        ] {
            let rows: String =
                ["196810199809", "195904109807", "199001022384"].map(|id| status(id, &row)).concat();
            let read = read(&response(&rows), SENDER).expect("answers");
            assert_eq!(
                read.operators.iter().map(|operator| &*operator.id).collect::<Vec<_>>(),
                ["164821000025"]
            );
            let is_own = |answer: &ChangeBody| {
                matches!(answer, ChangeBody::PutRecipient(put)
                if put.operator == organisation("164821000025").ok() && put.account_type == AccountType::Secure)
            };
            assert!(read.answers.len() == 3 && read.answers.iter().all(is_own), "{row}");
        }
    }
}

/// The id of an operator has one spelling: the journal and the register file compare it.
#[test]
fn the_id_of_an_operator_is_kept_in_its_usual_spelling() {
    for spelling in ["164821000025", "4821000025", "482100-0025"] {
        let row = status(
            "196810199809",
            &format!(
                "<r:Type>Secure</r:Type><r:Pending>false</r:Pending><r:ServiceSupplier><r:Id>{spelling}</r:Id></r:ServiceSupplier>\
                 </r:AccountStatus><r:SenderAccepted>true</r:SenderAccepted>"
            ),
        );
        let read = read(&response(&row), SENDER).expect("answers");
        assert_eq!(read.operators[0].id, "164821000025", "{spelling}");
    }
}

fn error(body: &[u8]) -> String {
    match read(body, SENDER) {
        Ok(_) => "answers".to_owned(),
        Err(CallError::Again { why, .. }) => format!("again: {why}"),
        Err(CallError::BadAnswer(why)) => format!("bad: {why}"),
        Err(CallError::BadIds) => "ids".to_owned(),
        Err(CallError::TooMany) => "too many".to_owned(),
        Err(CallError::Stop(why) | CallError::SenderRefused(why) | CallError::TokenRefused(why)) => {
            format!("stop: {why}")
        }
    }
}

#[test]
fn faults_say_what_to_do() {
    let fault = |code: &str| {
        error(&message(&format!(
            "<x:Fault><faultcode>x:Server</faultcode><faultstring>196810199809</faultstring><detail>\
             <c:applicationFault xmlns:c=\"http://minameddelanden.gov.se/schema/Common/v3\"><c:ErrorCode>{code}</c:ErrorCode></c:applicationFault></detail></x:Fault>"
        )))
    };
    for (code, expected) in [
        ("0", "again: technical fault 0"),
        ("4999", "again: technical fault 4999"),
        ("5001", "ids"),
        ("6007", "ids"),
        ("5002", "stop: fault 5002"),
        ("5005", "too many"),
        ("5003", "stop: fault 5003"),
        ("x", "again: the register answered with a fault without a code"),
    ] {
        let found = fault(code);
        assert!(found.starts_with(expected) && !found.contains("1968"), "{code}: {found}");
    }
}

#[test]
fn what_is_no_answer_is_refused() {
    let row = |more: &str| response(&status("196810199809", more));
    let whole = row(
        "<r:Type>Not</r:Type><r:Pending>false</r:Pending></r:AccountStatus><r:SenderAccepted>false</r:SenderAccepted>",
    );
    assert_eq!(error(&whole), "answers");
    for end in 0..whole.len() {
        assert!(error(&whole[..end]).starts_with("bad: "), "cut off at {end}");
    }
    for (body, expected) in [
        (
            row("<r:Type>Not</r:Type></r:AccountStatus><r:SenderAccepted>false</r:SenderAccepted>"),
            "lacks RecipientId, Type, Pending",
        ),
        (
            row("<r:Type>Not</r:Type><r:RecipientId>195904109807</r:RecipientId></r:AccountStatus>"),
            "RecipientId twice",
        ),
        (
            row(
                "<r:Type>Not</r:Type></r:AccountStatus><r:AccountStatus/><r:SenderAccepted>true</r:SenderAccepted>",
            ),
            "AccountStatus twice",
        ),
        (
            row("<r:ServiceSupplier><r:Id>164821000025</r:Id><r:Id>164921000016</r:Id></r:ServiceSupplier>"),
            "Id twice",
        ),
        (row("<r:ServiceSupplier/><r:ServiceSupplier/></r:AccountStatus>"), "ServiceSupplier twice"),
        (response("<n:return><r:x/></n:return>"), "lacks"),
        (b"<html><body>Gateway</body></html>".to_vec(), "not one of isReachable"),
        (b"hello".to_vec(), "not one of isReachable"),
        (b"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>".to_vec(), "document type"),
        (
            row("<r:Type>Some</r:Type></r:AccountStatus><r:SenderAccepted>true</r:SenderAccepted>"),
            "value of Type",
        ),
        (
            row(
                "<r:Type>Not</r:Type><r:Pending>false</r:Pending></r:AccountStatus><r:SenderAccepted>2</r:SenderAccepted>",
            ),
            "SenderAccepted",
        ),
        (row("</r:AccountStatus><r:SenderAccepted>true</r:SenderAccepted>"), "lacks"),
        (
            response(&status(
                "1968-10-19",
                "<r:Type>Not</r:Type><r:Pending>false</r:Pending></r:AccountStatus>",
            )),
            "RecipientId",
        ),
    ] {
        let found = error(&body);
        assert!(found.starts_with("bad: ") && found.contains(expected), "{found}");
    }
}

/// The work of a hostile answer is bounded.
#[test]
fn an_answer_has_no_more_rows_than_a_call_has_ids() {
    let row = |number: usize| {
        status(
            "196810199809",
            &format!(
                "<r:Type>Secure</r:Type><r:Pending>false</r:Pending><r:ServiceSupplier><r:Id>164821000025</r:Id>\
                 <r:Name>{number}</r:Name></r:ServiceSupplier></r:AccountStatus><r:SenderAccepted>true</r:SenderAccepted>"
            ),
        )
    };
    let rows = |count: usize| response(&(0..count).map(row).collect::<String>());
    assert_eq!(error(&rows(1000)), "answers");
    assert!(error(&rows(1001)).contains("more rows than a call has ids"));
}

#[test]
fn a_request_names_each_id() {
    let ids = [canonical("196810199809"), canonical("195904109807")].map(|id| id.expect("an id"));
    let text = request(SENDER, &ids);
    assert_eq!(text.matches("<recipientId>").count(), 2);
    assert!(text.contains("<senderOrgNr>164821000025</senderOrgNr><recipientId>196810199809</recipientId>"));
}

/// What an answer says, or why it is refused.
fn outcome(read: Result<Answers, CallError>) -> String {
    match read {
        Ok(Answers { answers, operators }) => format!("{answers:?} {operators:?}"),
        Err(error) => format!("{error:?}"),
    }
}

/// Pieces of rows: those of the contract, and what may stand in their place.
const PIECES: [&str; 26] = [
    "<r:Type>Secure</r:Type>",
    "<r:Type>Not</r:Type>",
    "<r:Type><![CDATA[Secure]]></r:Type>",
    "<r:Type>Sec&#117;re</r:Type>",
    "<r:Pending>false</r:Pending>",
    "<r:Pending>\r\n true </r:Pending>",
    "<r:Pending/>",
    "<r:ServiceSupplier><r:Id>164821000025</r:Id><r:Name>A</r:Name></r:ServiceSupplier>",
    "<r:ServiceSupplier><r:Id>164821000025</r:Id><r:Name>A &amp; B</r:Name></r:ServiceSupplier>",
    "<r:ServiceSupplier><r:Id>165591000012</r:Id><r:Name>B</r:Name><r:Logo/></r:ServiceSupplier>",
    "<r:ServiceSupplier><r:Id>4821000025</r:Id><r:Name></r:Name></r:ServiceSupplier>",
    "<r:ServiceSupplier/>",
    "<r:ServiceSupplier></r:ServiceSupplier>",
    "<r:LastRegistration>2026-01-02T03:04:05Z</r:LastRegistration>",
    "<r:LastRegistration>2026-01-03T03:04:05+01:00</r:LastRegistration>",
    "<r:LastRegistration>yesterday</r:LastRegistration>",
    "</r:AccountStatus>",
    "</r:AccountStatus><n:SenderAccepted>true</n:SenderAccepted>",
    "</r:AccountStatus><r:SenderAccepted>true</r:SenderAccepted>",
    "</r:AccountStatus><r:SenderAccepted xmlns:r=\"urn:other\">true</r:SenderAccepted>",
    "</r:AccountStatus><r:SenderAccepted a='>'>1</r:SenderAccepted>",
    "<!-- <r:Pending>true</r:Pending> -->",
    "<r:New a=\"</n:return>\">x<r:Type>Unknown</r:Type></r:New>",
    "\n  ",
    "<x",
    "</n:isReachableResponse><n:isReachableResponse xmlns:n=\"urn:other\">",
];

proptest::proptest! {
    /// Rows that are read by their shape are read as by the XML reader.
    #[test]
    fn shapes_of_rows_change_nothing(
        kinds in proptest::collection::vec(proptest::collection::vec(0..PIECES.len(), 0..4), 1..4),
        usual in 0..4usize,
        rows in proptest::collection::vec((0..6usize, 0..40usize), 1..12),
        end in proptest::option::of(0..4000usize),
    ) {
        const SUPPLIER: [&str; 4] = ["", PIECES[7], PIECES[9], PIECES[7]];
        let body: String = rows
            .iter()
            .map(|(kind, number)| {
                let id = Identity::from_ordinal(canonical("199001022384").map(|first| Ordinal(first.0 + *number as u32)).expect("an id"));
                let id = id.map(|id| id.as_str().to_owned()).unwrap_or_default();
                match kinds.get(*kind) {
                    Some(pieces) => {
                        let pieces: String = pieces.iter().map(|piece| PIECES[*piece]).collect();
                        status(&id, &pieces)
                    }
                    None => status(&id, &format!(
                        "<r:Type>{}</r:Type><r:Pending>{}</r:Pending>{}\
                         <r:LastRegistration>2026-01-{:02}T03:04:05Z</r:LastRegistration></r:AccountStatus>\
                         <r:SenderAccepted>{}</r:SenderAccepted>",
                        if number % 5 == 0 { "Not" } else { "Secure" }, number % 3 == 0,
                        SUPPLIER[(usual + number % 2) % 4], 1 + number % 28, number % 4 == 0,
                    )),
                }
            })
            .collect();
        let body = response(&body);
        let body = &body[..end.unwrap_or(body.len()).min(body.len())];
        let by_shape = outcome(read(body, SENDER));
        proptest::prop_assert_eq!(by_shape, outcome(read_with(body, SENDER, RowShapes::off())));
    }
}

/// The shapes are used: the rows of a usual answer are read without the XML reader, but for the first of each kind.
#[test]
fn usual_rows_are_read_by_their_shape() {
    let row = |number: u32, supplier: &str| {
        let id = Identity::from_ordinal(Ordinal(canonical("199001022384").expect("an id").0 + number));
        status(
            id.expect("an identity").as_str(),
            &format!(
                "<r:Type>Secure</r:Type><r:Pending>false</r:Pending>{supplier}</r:AccountStatus>\
                 <r:SenderAccepted>true</r:SenderAccepted>"
            ),
        )
    };
    let [a, b] = ["<r:ServiceSupplier><r:Id>164821000025</r:Id></r:ServiceSupplier>", ""];
    let first = row(0, a) + &row(1, a) + &row(2, b);
    let others: String = (3..100).map(|number| row(number, if number % 2 == 0 { a } else { b })).collect();
    let mut shapes = RowShapes::default();
    let mut reader = MessageReader::new(SENDER).expect("a sender");
    let body = response(&(first + &others));
    let text = std::str::from_utf8(&body).expect("text");
    let at = |row: usize| text.match_indices("<n:return>").nth(row).expect("a row").0;
    let tags = |supplier: bool| {
        use Element::*;
        let begin = [Row, AccountStatus, RecipientId, RecipientId, Type, Type, Pending, Pending];
        let middle: &[Element] = if supplier { &[Supplier, Id, Id, Supplier] } else { &[] };
        [&begin[..], middle, &[AccountStatus, SenderAccepted, SenderAccepted, Row]].concat()
    };
    let mut left = body.len();
    for (next, supplier) in [(1, true), (2, true), (3, false)] {
        tags(supplier).into_iter().for_each(|tag| shapes.tag(tag));
        left = shapes.rows(&body[at(next)..], &mut reader).expect("values").len();
    }
    assert_eq!(reader.answers.answers.len(), 97);
    assert!(body[body.len() - left..].starts_with(b"</n:isReachableResponse>"));
}
