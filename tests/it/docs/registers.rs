//! Registers for the tests of the documentation.

use super::{done, today};
use nabar::identities::{Country, Identity};
use std::fs;
use std::path::{Path, PathBuf};

/// `start` with check digits that make it an identity, if there are any.
pub(crate) fn completed(start: &str, country: Country) -> Option<Identity> {
    let missing = country.digits() - start.len();
    let all = (0..10u32.pow(missing as u32)).map(|tail| format!("{start}{tail:0missing$}"));
    all.into_iter().find_map(|text| Identity::parse(text.as_bytes(), country, today()).ok())
}

pub(crate) fn organisation(number: u32) -> String {
    completed(&format!("1648{number:07}"), Country::Sweden).expect("an organisation").as_str().to_owned()
}

/// Ids of senders: test organisations, the first digit is 4.
pub(crate) fn senders() -> Vec<String> {
    (0..10).map(|n| organisation(2_100_000 + n)).collect()
}

/// An extract with recipients of all kinds, and so many rules that not all of them can be shared.
pub(crate) fn write_far(directory: &Path) {
    fs::create_dir_all(directory).expect("directory");
    let file = |name: &str, text: String| fs::write(directory.join(name), text).expect(name);
    file("register.toml", "kind = \"far\"\nsequence = 7\nas_of = \"2026-06-01T04:00:00.25Z\"\n".into());
    let operators: Vec<String> = (0..3).map(|n| organisation(9_200_000 + n)).collect();
    file(
        "operators.csv",
        format!(
            "id,name,service_address,ui_address,logo\n{},Kort,https://a.example/service,,x\n{},\
             En brevlåda med ett långt namn,,https://b.example/,\n{},,https://c.example/,,\n",
            operators[0], operators[1], operators[2]
        ),
    );
    let senders = senders();
    let rows: Vec<String> = senders.iter().map(|id| format!("{id},Myndighet {id},\n")).collect();
    file("senders.csv", format!("id,name,attention\n{}", rows.concat()));
    let dispatcher = organisation(7_300_000);
    file("dispatchers.csv", format!("id,name,senders\n{dispatcher},Utskick,{} {}\n", senders[4], senders[1]));
    let mut text = String::from(
        "recipient_id,type,pending,operator_id,last_registration,acceptance,exceptions,last_sender_accept_change\n",
    );
    for n in 0..700u32 {
        let (year, month, day) = (1930 + n % 80, 1 + n % 12, 1 + n % 28);
        let start = match n % 7 {
            6 => format!("1642{:07}", 2_000_000 + n * 7919),
            5 => format!("{year}{month:02}{:02}{}", day + 60, 980 + n % 2),
            _ => format!("{year}{month:02}{day:02}{}", 238 + n % 2),
        };
        let identity = completed(&start, Country::Sweden).expect("a recipient");
        let account = ["Secure", "Secure", "Anonymous", "Not"][(n % 23 / 7) as usize];
        let rule = n / 2; // most rules of one or two recipients
        let named = (0..10).filter(|bit| rule >> bit & 1 == 1).map(|bit| &senders[bit][..]);
        let acceptance = if rule % 3 == 0 { "only" } else { "all-except" };
        text += &format!(
            "{},{account},{},{},2025-01-{day:02}T10:00:{:02}Z,{acceptance},{},{}\n",
            identity.as_str(),
            n % 11 == 0,
            if n % 5 == 4 { "" } else { &operators[(n % 3) as usize] },
            n % 60,
            named.collect::<Vec<_>>().join(" "),
            if n % 4 == 0 { String::new() } else { format!("2025-02-{day:02}T10:00:00.{:03}Z", n % 1000) },
        );
    }
    file("recipients.csv", text);
}

/// Persons of all kinds.
fn write_krr(directory: &Path) {
    fs::create_dir_all(directory).expect("directory");
    fs::write(
        directory.join("register.toml"),
        "kind = \"krr\"\nsequence = 9\nas_of = \"2026-06-01T00:00:00Z\"\n",
    )
    .expect("register.toml");
    let mut lines = String::new();
    for n in 0..300u32 {
        let (day, month, year) = (1 + n % 28 + if n % 6 == 5 { 40 } else { 0 }, 81 + n % 12, 50 + n % 40);
        let start = format!("{day:02}{month}{year}{:03}", n % 400);
        let Some(identity) = completed(&start, Country::Norway) else { continue };
        let time = |minute: u32| format!("202{}-03-04T05:{minute:02}:06.5Z", 1 + n % 6);
        let mut person = serde_json::json!({"personidentifikator": identity.as_str()});
        if n % 10 != 0 {
            person["kontaktinformasjon"] = serde_json::json!({
                "epostadresse": if n % 3 == 0 { "" } else { "kari@example.com" },
                "epostadresse_oppdatert": time(1), "epostadresse_sist_verifisert": time(2),
                "epostadresse_duplisert": (["", "JA", "NEI"][n as usize % 3]),
                "mobiltelefonnummer": if n % 4 == 0 { "" } else { "+4799999999" },
                "mobiltelefonnummer_oppdatert": time(3), "mobiltelefonnummer_sist_verifisert": time(4),
                "mobiltelefonnummer_duplisert": (["NEI", "", "JA", ""][n as usize % 4]),
            });
            if n % 4 == 1 {
                person["kontaktinformasjon"]["epostadresse_sist_validert"] = time(8).into();
            }
            if n % 5 < 2 {
                person["kontaktinformasjon"]["mobiltelefonnummer_sist_validert"] = time(9).into();
            }
            person["reservasjon"] = ["JA", "NEI"][usize::from(n % 7 != 0)].into();
            person["reservasjonstidspunkt"] = time(5).into();
            person["reservasjon_oppdatert"] = time(6).into();
            person["status"] = ["SLETTET", "AKTIV"][usize::from(n % 9 != 0)].into();
            person["spraak"] = "nn".into();
            person["spraak_oppdatert"] = time(7).into();
            person["sertifikat"] = format!("MIIC{}", n % 5).into();
        }
        if n % 2 == 0 {
            person["digital_post"] = serde_json::json!({
                "postkasseadresse": format!("kari#{n}"),
                "postkasseleverandoeradresse": (["984661185", "996460320"][n as usize % 4 / 2]),
            });
        }
        lines += &format!("{person}\n");
    }
    fs::write(directory.join("personer.jsonl"), lines).expect("personer.jsonl");
}

pub(crate) struct Registers(tempfile::TempDir);

impl Registers {
    pub(crate) fn new() -> Registers {
        let directory = tempfile::tempdir().expect("directory");
        write_far(&directory.path().join("far"));
        write_krr(&directory.path().join("krr"));
        for kind in ["far", "krr"] {
            done(directory.path(), 0, &["build", kind, "-o", &format!("{kind}.nabar"), "--strict", "-q"]);
        }
        Registers(directory)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self, kind: &str) -> PathBuf {
        self.path().join(format!("{kind}.nabar"))
    }
}
