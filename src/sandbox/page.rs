//! What a sandbox writes for its users: the files of sources, and the page.

use super::error::SandboxError;
use super::kivra::{CLIENT, SECRET, TENANT};
use super::place::Place;
use super::population::{self, CUSTOMER, DISPATCHER, OPERATOR, OTHER_OPERATOR, Resident, SENDER, SUPPLIER};
use maud::{DOCTYPE, Markup, html};

/// Where a sandbox listens.
pub(super) struct Addresses {
    /// With TLS, such as `https://localhost:8443`.
    pub(super) tls: String,
    /// Without, such as `http://127.0.0.1:8480`.
    pub(super) plain: String,
}

/// Recipients of each state on the page.
const EXAMPLES: usize = 3;

/// Writes the files of sources.
pub(super) fn write_sources(place: &Place, addresses: &Addresses) -> Result<(), SandboxError> {
    let Addresses { tls, .. } = addresses;
    let far = format!(
        "# FaR of the sandbox, asked by {} ({}): nabar split --source far.toml --sender {} LIST -o DIR\n\
         kind = \"far\"\naddress = \"{tls}/far/Recipient/v3\"\n\n\
         [tls]\ncertificate = \"sender.pem\"\nkey = \"sender.key\"\nca = \"ca.pem\"\n",
        SENDER.1, SENDER.0, SENDER.0
    );
    let krr = format!(
        "# KRR of the sandbox, asked by {}: nabar split --source krr.toml LIST -o DIR\n\
         kind = \"krr\"\naddress = \"{tls}/krr\"\n\n\
         [token]\nissuer = \"{tls}/\"\nclient_id = \"sandbox\"\nkey = \"maskinporten.jwk\"\n\
         scopes = [\"krr:global/kontaktinformasjon.read\", \"krr:global/digitalpost.read\"]\n\n\
         [tls]\nca = \"ca.pem\"\n",
        CUSTOMER.1
    );
    let kivra = format!(
        "# Kivra of the sandbox: nabar split --source kivra.toml LIST -o DIR\n\
         kind = \"kivra\"\naddress = \"{tls}/kivra\"\n\n\
         [token]\nclient_id = \"{CLIENT}\"\nsecret_file = \"kivra.secret\"\ntenant = \"{TENANT}\"\n\n\
         [tls]\nca = \"ca.pem\"\n"
    );
    for (name, text) in
        [("far.toml", far), ("krr.toml", krr), ("kivra.toml", kivra), ("kivra.secret", SECRET.to_owned())]
    {
        place.write(name, text.as_bytes())?;
    }
    Ok(())
}

/// The page: addresses, files, and which id is in which state.
pub(super) fn page(place: &Place, addresses: &Addresses, residents: &[Resident]) -> String {
    let Addresses { tls, plain } = addresses;
    let rows = [
        ("FaR: Recipient v3", format!("{tls}/far/Recipient/v3"), "client certificate; WSDL with ?wsdl"),
        ("FaR: Authority", format!("{tls}/far/Authority"), "client certificate; WSDL with ?wsdl"),
        ("KRR", format!("{tls}/krr/rest/v2/personer"), "token"),
        (
            "Maskinporten",
            format!("{tls}/token"),
            "JWT grant; the issuer is the address with a slash at its end",
        ),
        ("Kivra", format!("{tls}/kivra/v2/tenant/{TENANT}/usermatch/ssn"), "token of /kivra/v1/auth"),
        ("Faults", format!("{plain}/sandbox/faults"), "GET, POST (add), PUT (replace), DELETE"),
        ("Calls", format!("{plain}/sandbox/requests"), "GET, DELETE; path, operation, status, id, after"),
        ("Recipients", format!("{plain}/sandbox/recipients"), "GET; register, state, id, limit"),
    ];
    let actors = [
        ("sender", SENDER, "sender.pem, sender.key"),
        ("dispatcher", DISPATCHER, "dispatcher.pem, dispatcher.key"),
        ("mailbox operator", OPERATOR, "operator.pem, operator.key"),
        ("mailbox operator", OTHER_OPERATOR, "operator2.pem, operator2.key"),
        ("customer of KRR", CUSTOMER, "client_id sandbox, maskinporten.jwk"),
        ("supplier of that customer", SUPPLIER, "client_id sandbox-supplier, maskinporten.jwk"),
    ];
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width";
                title { "nabar sandbox" }
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                h1 { "nabar sandbox" }
                p { "Registers to develop against. Everybody in them is synthetic. Files: " code { (place.path().display()) } }
                h2 { "Addresses" }
                (table(&["what", "address", "how"], rows.iter().map(|(what, address, how)| [*what, address, *how])))
                h2 { "Who calls" }
                (table(&["role", "number", "name", "files"], actors.iter().map(|(role, (id, name), files)| [*role, *id, *name, *files])))
                @for (register, name) in [("far", "FaR"), ("krr", "KRR")] {
                    h2 { "Recipients of " (name) }
                    (table(&["state", "meaning", "how many", "for example"], population::states(register).iter().map(|state| {
                        let of_state: Vec<&str> = residents
                            .iter()
                            .filter(|one| one.register == register && one.state == state.name)
                            .map(|one| one.id.as_str())
                            .collect();
                        let examples = of_state.iter().take(EXAMPLES).copied().collect::<Vec<_>>().join(", ");
                        [state.name.to_owned(), state.meaning.to_owned(), of_state.len().to_string(), examples]
                    })))
                }
            }
        }
    };
    page.into_string()
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem}\
                     table{border-collapse:collapse}td,th{text-align:left;padding:.2rem 1rem .2rem 0;\
                     border-bottom:1px solid #ccc;vertical-align:top}code{font-size:.9em}";

fn table<const N: usize>(heads: &[&str; N], rows: impl Iterator<Item = [impl AsRef<str>; N]>) -> Markup {
    html! {
        table {
            thead { tr { @for head in heads { th scope="col" { (head) } } } }
            tbody { @for row in rows { tr { @for cell in &row { td { (cell.as_ref()) } } } } }
        }
    }
}
