//! The SOAP interface of FaR: answers and faults.

use super::ids::{far_ids, lookup};
use crate::support::client::{Reply, Server};
use crate::support::workspace::{SENDER, Workspace};
use std::collections::BTreeMap;

pub(crate) const V3: &str = "http://minameddelanden.gov.se/schema/Recipient/v3";
const ENVELOPE: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const AUTHORITY: &str = "http://minameddelanden.gov.se/Authority";

/// An envelope around a call.
pub(crate) fn envelope(call: &str) -> String {
    format!("<s:Envelope xmlns:s=\"{ENVELOPE}\"><s:Body>{call}</s:Body></s:Envelope>")
}

pub(crate) fn is_reachable<S: AsRef<str>>(sender: &str, ids: &[S]) -> String {
    let ids: String = ids.iter().map(|id| format!("<recipientId>{}</recipientId>", id.as_ref())).collect();
    envelope(&format!("<isReachable xmlns=\"{V3}\"><senderOrgNr>{sender}</senderOrgNr>{ids}</isReachable>"))
}

fn is_registered<S: AsRef<str>>(ids: &[S]) -> String {
    let ids: String =
        ids.iter().map(|id| format!("<r:recipientId>{}</r:recipientId>", id.as_ref())).collect();
    envelope(&format!("<r:isRegistered xmlns:r=\"{V3}\">{ids}</r:isRegistered>"))
}

/// The texts of elements of a name, within a part of a message.
fn texts<'m>(message: &'m str, name: &str) -> Vec<&'m str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    message.split(&*open).skip(1).map(|rest| rest.split(&*close).next().expect("closed")).collect()
}

/// The fields of each id in a response: id, type, pending, supplier, registration, acceptance, its change.
pub(crate) fn statuses(message: &str) -> Vec<BTreeMap<&'static str, String>> {
    let fields = [
        ("id", "r:RecipientId"),
        ("type", "r:Type"),
        ("pending", "r:Pending"),
        ("supplier", "r:Id"),
        ("registered", "r:LastRegistration"),
        ("accepted", "r:SenderAccepted"),
        ("changed", "r:LastSenderAcceptChange"),
    ];
    let status = |part: &str| {
        let field = |(field, name): &(&'static str, &str)| {
            texts(part, name).first().map(|text| (*field, (*text).to_owned()))
        };
        fields.iter().filter_map(field).collect()
    };
    message.split("<return>").skip(1).map(status).collect()
}

/// The same fields, from an answer of `nabar lookup`.
pub(crate) fn expected(id: &str, answer: &serde_json::Value) -> BTreeMap<&'static str, String> {
    let mut out = BTreeMap::from([("id", id.to_owned())]);
    let pairs = [
        ("type", "type"),
        ("pending", "pending"),
        ("supplier", "service_supplier"),
        ("registered", "last_registration"),
        ("accepted", "sender_accepted"),
        ("changed", "last_sender_accept_change"),
    ];
    for (field, name) in pairs {
        match &answer[name] {
            serde_json::Value::String(text) => _ = out.insert(field, text.clone()),
            serde_json::Value::Bool(truth) => _ = out.insert(field, truth.to_string()),
            _ => {}
        }
    }
    let not = out.get("type").is_none_or(|kind| kind == "Not");
    if not {
        out.remove("supplier");
        out.entry("type").or_insert_with(|| "Not".to_owned());
        out.entry("pending").or_insert_with(|| "false".to_owned());
    }
    out.entry("accepted").or_insert_with(|| "false".to_owned());
    out
}

fn served() -> (crate::support::workspace::Workspace, Server) {
    let work = Workspace::with_register_files();
    let server = Server::start(&work, &["far.nabar"]);
    (work, server)
}

fn sent(server: &Server, message: impl AsRef<[u8]>) -> Reply {
    server.post("/Recipient/v3", "text/xml; charset=utf-8", message)
}

/// The code of a fault.
fn code(reply: &Reply) -> u16 {
    assert_eq!(reply.status, 500, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("text/xml; charset=utf-8"));
    let side = texts(reply.text(), "faultcode");
    let code: u16 = texts(reply.text(), "f:ErrorCode")[0].parse().expect("a number");
    assert_eq!(side, [if code < 5000 { "s:Server" } else { "s:Client" }]);
    let call = texts(reply.text(), "f:CallId")[0];
    assert!((20..=50).contains(&call.len()));
    assert_eq!(reply.header("x-request-id"), Some(call));
    assert_eq!(texts(reply.text(), "f:Description").len(), 1);
    code
}

#[test]
fn soap_agrees_with_lookup_for_all_recipients() {
    let (work, server) = served();
    let mut ids = far_ids();
    // Not registered, a day that does not exist, a wrong check digit, a century before the register's.
    ids.extend(
        ["196810199808", "200002309999", "191212121212", "187001019999", "160000000000"].map(str::to_owned),
    );
    let lines: Vec<&[u8]> = ids.iter().map(|id| id.as_bytes()).collect();
    for sender in [SENDER, "164821000108", "164821000181"] {
        let answers = lookup(&work, "far.nabar", Some(sender), &lines);
        let expected: Vec<_> = ids.iter().zip(&answers).map(|(id, answer)| expected(id, answer)).collect();
        let reply = sent(&server, is_reachable(sender, &ids));
        assert_eq!(reply.status, 200, "{}", reply.text());
        let found = statuses(reply.text());
        assert_eq!(found.len(), ids.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{sender}");
        }
        let reply = sent(&server, is_registered(&ids));
        for (found, mut expected) in statuses(reply.text()).into_iter().zip(expected) {
            ["accepted", "changed"].into_iter().for_each(|name| _ = expected.remove(name));
            assert_eq!(found, expected);
        }
    }
    server.is_well("all recipients");
}

#[test]
fn a_call_has_at_most_a_thousand_ids() {
    let (_work, server) = served();
    let ids: Vec<String> = far_ids().into_iter().cycle().take(1001).collect();
    for message in [is_reachable(SENDER, &ids[..1000]), is_registered(&ids[..1000])] {
        let reply = sent(&server, message);
        assert_eq!(reply.status, 200);
        let found: Vec<String> =
            statuses(reply.text()).into_iter().map(|mut s| s.remove("id").expect("id")).collect();
        assert_eq!(found, ids[..1000]);
    }
    assert_eq!(code(&sent(&server, is_reachable(SENDER, &ids))), 5005);
    assert_eq!(code(&sent(&server, is_registered(&ids))), 5005);
    let reply = sent(&server, is_reachable::<&str>(SENDER, &[]));
    assert_eq!((reply.status, statuses(reply.text()).len()), (200, 0));
    assert_eq!(code(&sent(&server, is_registered::<&str>(&[]))), 5001);
}

#[test]
fn every_invalid_call_has_its_fault() {
    let (_work, server) = served();
    let id = &far_ids()[0];
    let call = |name: &str, inner: &str| envelope(&format!("<{name} xmlns=\"{V3}\">{inner}</{name}>"));
    for (message, expected) in [
        (is_reachable("164000000000", &[id]), 5002),
        (is_reachable("4821000025", &[id]), 5001),
        (is_reachable("", &[id]), 5001),
        (is_reachable(SENDER, &["1"]), 5001),
        (is_reachable(SENDER, &[""]), 5001),
        (is_reachable(SENDER, &["196813199809"]), 5001),
        (is_reachable(SENDER, &["19681019980９"]), 5001),
        (is_reachable(SENDER, &["19681019<b/>9809 1"]), 5001),
        (call("isReachable", &format!("<recipientId>{id}</recipientId>")), 5001),
        (call("isReachable", &format!("<senderOrgNr>{SENDER}</senderOrgNr>").repeat(2)), 5001),
        (call("getAccountPreferences", ""), 5001),
        (call("getAccountPreferences", &format!("<RecipientId>{id}</RecipientId>")), 5001),
        (
            call(
                "getAccountPreferences",
                "<RecipientId>191212121212</RecipientId><UserIdentity>x</UserIdentity>",
            ),
            5003,
        ),
        (call("register", "<a/>"), 5000),
        (call("deregister", ""), 5000),
        (call("isReachabl", ""), 5000),
        (envelope("<isReachable/>"), 5000),
        (
            envelope("<changeServiceSupplier xmlns=\"http://minameddelanden.gov.se/schema/Recipient/v2\"/>"),
            5000,
        ),
        (String::new(), 5001),
        ("<a/>".to_owned(), 5001),
        (envelope(""), 5001),
        (envelope("<a/><b/>"), 5001),
        (envelope("<a:b/>"), 5001),
        (is_reachable(SENDER, &[id]).replace("</s:Body>", ""), 5001),
        (is_reachable(SENDER, &[id]).replace("soap/envelope", "soap12/envelope"), 5001),
        (format!("<!DOCTYPE a>{}", is_reachable(SENDER, &[id])), 5001),
        (
            format!(
                "<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>{}",
                is_reachable(SENDER, &["&x;"])
            ),
            5001,
        ),
        (is_reachable(SENDER, &["&undefined;"]), 5001),
        (is_reachable(SENDER, &["&#0;"]), 5001),
        (is_reachable(SENDER, &["&#xD800;"]), 5001),
        (is_reachable(SENDER, &["&#99999999999;"]), 5001),
        (envelope(&"<a>".repeat(100_000)), 5001),
        (envelope(&format!("{}{}", "<a>".repeat(33), "</a>".repeat(33))), 5001),
        ("<a ".repeat(100_000), 5001),
        (format!("<s:Envelope xmlns:s=\"{ENVELOPE}\"{}/>", " a=\"\"".repeat(100_000)), 5001),
        ("<".to_owned(), 5001),
        ("<![CDATA[".to_owned(), 5001),
        ("<!--".to_owned(), 5001),
        (is_reachable(SENDER, &["1".repeat(1 << 20)]), 5005),
    ] {
        let (reply, about) = (sent(&server, &message), &message[..message.len().min(300)]);
        assert_eq!(reply.status, 500, "{about}");
        assert_eq!(code(&reply), expected, "{about}");
        server.is_well("a wrong call");
    }
    let good = is_reachable(SENDER, &[id]);
    for kind in ["application/soap+xml", "text/plain", "application/json", "text/xml; charset=none"] {
        assert_eq!(code(&server.post("/Recipient/v3", kind, &good)), 5001, "{kind}");
    }
    for encoding in ["replacement", "utf-7", "none", "\u{e5}", ""] {
        let message = format!("<?xml version=\"1.0\" encoding=\"{encoding}\"?>{good}");
        assert_eq!(code(&server.post("/Recipient/v3", "text/xml", message)), 5001, "{encoding}");
    }
    assert_eq!(code(&server.post("/Recipient/v3", "text/xml", &good.as_bytes()[..good.len() / 2])), 5001);
}

#[test]
fn messages_may_use_all_of_xml() {
    let (_work, server) = served();
    let id = &far_ids()[0];
    let plain = sent(&server, is_reachable(SENDER, &[id]));
    assert_eq!(plain.status, 200);
    let parts: String = id.bytes().map(|digit| format!("&#{};", u32::from(digit))).collect();
    let message = is_reachable(SENDER, &[id]);
    let odd = format!(
        "<?xml version='1.0' encoding='utf-8' standalone=\"yes\"?>\r\n<!-- x --><?y z?>\n<e\u{e5}-_.1:Envelope xmlns:e\u{e5}-_.1='{ENVELOPE}' \
         xmlns:q = \"{V3}\">\n<e\u{e5}-_.1:Header><q:isReachable><q:recipientId>1</q:recipientId></q:isReachable></e\u{e5}-_.1:Header>\
         <e\u{e5}-_.1:Body x='>'><q:isReachable xmlns:z='urn:z' z:a='&lt;'>\n<z:senderOrgNr xmlns:z='{V3}'> {SENDER}\n</z:senderOrgNr>\
         <q:recipientId><![CDATA[{}]]>{}<!-- y --></q:recipientId></q:isReachable></e\u{e5}-_.1:Body></e\u{e5}-_.1:Envelope>\n<!-- end -->\n",
        &id[..5],
        &id[5..]
    );
    let utf16 = |bytes: fn(u16) -> [u8; 2], mark: bool| -> Vec<u8> {
        let mark = if mark { "\u{feff}" } else { "" };
        format!("{mark}{odd}").replace("utf-8", "utf-16").encode_utf16().flat_map(bytes).collect()
    };
    for (kind, message) in [
        ("text/xml", message.clone().into_bytes()),
        ("application/xml", message.clone().into_bytes()),
        ("TEXT/XML; Charset=\"UTF-8\"", format!("\u{feff}{message}").into_bytes()),
        ("text/xml", odd.clone().into_bytes()),
        ("text/xml", is_reachable(SENDER, &[&parts]).into_bytes()),
        ("text/xml", is_reachable(SENDER, &[format!("\n\t {id} \r\n")]).into_bytes()),
        ("text/xml", utf16(u16::to_le_bytes, true)),
        ("text/xml", utf16(u16::to_be_bytes, true)),
        ("text/xml; charset=utf-16", utf16(u16::to_be_bytes, true)),
        ("text/xml; charset=utf-16le", utf16(u16::to_le_bytes, false)),
        ("text/xml; charset=utf-16be", utf16(u16::to_be_bytes, false)),
        ("text/xml; charset=iso-8859-1", message.clone().into_bytes()),
    ] {
        let reply = server.post("/Recipient/v3", kind, &message);
        assert_eq!((reply.status, reply.text()), (200, plain.text()), "{kind}");
    }
}

#[test]
fn authority_lists_permitted_senders() {
    let (_work, server) = served();
    let ask = |call: &str| server.post("/Authority", "text/xml", envelope(call));
    let senders = ask(&format!("<getSenders xmlns=\"{AUTHORITY}\"/>"));
    let listed = server.get("/v1/senders").json();
    let ids: Vec<&str> =
        listed.as_array().expect("a list").iter().map(|s| s["id"].as_str().expect("id")).collect();
    assert_eq!((senders.status, texts(senders.text(), "s:Id")), (200, ids.clone()));
    let dispatchers = ask(&format!("<getDispatchers xmlns=\"{AUTHORITY}\"/>"));
    let listed = server.get("/v1/dispatchers").json();
    let names: Vec<&str> =
        listed.as_array().expect("a list").iter().map(|s| s["id"].as_str().expect("id")).collect();
    assert_eq!((dispatchers.status, texts(dispatchers.text(), "d:Id")), (200, names));
    let accepted = |id: &str| {
        ask(&format!("<a:isSenderAccepted xmlns:a=\"{AUTHORITY}\"><arg0>{id}</arg0></a:isSenderAccepted>"))
    };
    assert!(accepted(ids[0]).text().contains("<return xmlns=\"\">true</return>"));
    assert!(accepted("164000000000").text().contains("<return xmlns=\"\">false</return>"));
    assert_eq!(code(&accepted("1")), 5001);
    assert!(accepted("1").text().contains("<a:isSenderAcceptedFault "));
    for operation in ["getUserAccessRights", "testNewSigner", "none"] {
        assert_eq!(code(&ask(&format!("<{operation} xmlns=\"{AUTHORITY}\"/>"))), 5000);
    }
    for path in ["/Recipient/v3", "/Authority"] {
        let wsdl = server.get(&format!("{path}?wsdl"));
        assert_eq!(wsdl.status, 200);
        assert!(wsdl.text().contains(&format!("http://localhost{path}\"")), "{path}");
        assert!(!wsdl.text().contains("{address}"));
        assert_eq!(server.get(path).status, 405);
    }
}
