//! The Norwegian extract: persons, their contact data and reservations.

use std::io::Write;
use std::path::Path;

use crate::calendar::{DAY_SECONDS, Moment};
use crate::extract::{Header, Result, create};
use crate::random::{Random, Stream};
use crate::words::{Country, NORWAY};
use crate::{krr_json, krr_xml, population};

/// Arguments of the command.
pub struct Options {
    pub persons: u64,
    pub seed: u64,
    pub ordered: bool,
    pub test_numbers: bool,
    pub xml: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Active,
    Deleted,
}

/// An e-mail address or a mobile number, and when it was last known to be right.
#[derive(Debug)]
pub struct Channel {
    pub value: String,
    pub updated: Moment,
    pub verified: Option<Moment>,
    pub shared: bool,
}

#[derive(Debug)]
pub struct Mailbox {
    pub address: String,
    pub operator: &'static str,
}

/// One person as the register knows them. Neutral between the REST and the XML form.
#[derive(Debug)]
pub struct Person {
    pub id: u64,
    pub status: Status,
    pub reserved: Option<Moment>,
    pub notifiable: bool,
    pub email: Option<Channel>,
    pub mobile: Option<Channel>,
    pub mailbox: Option<Mailbox>,
    pub certificate: Option<String>,
    pub language: Option<(&'static str, Moment)>,
    /// For choices of spelling, which have no meaning.
    pub spelling: Random,
}

/// The day of the export, and the day contact data must be newer than.
#[derive(Clone, Copy)]
pub struct Clock {
    as_of: Moment,
    threshold: Moment,
}

/// Contact data expires after this many months (eForvaltningsforskriften §32).
const FRESH_MONTHS: i64 = 18;
/// Oldest contact data.
const OLDEST_SECONDS: u64 = 4 * 365 * DAY_SECONDS as u64;
/// No time falls this close to the threshold: whether a day counts as inside it then does not depend
/// on time zones or on how a reader counts months.
const MARGIN_SECONDS: i64 = 3 * DAY_SECONDS;

const DIGIPOST: &str = "984661185";
const E_BOKS: [&str; 2] = ["922020175", "996460320"];
const CERTIFICATES: u64 = 4;

impl Clock {
    pub fn new(as_of: Moment) -> Self {
        let threshold = as_of.date().months_before(FRESH_MONTHS).days() * DAY_SECONDS;
        Clock { as_of, threshold: Moment(threshold) }
    }

    /// A time in the four years before the export, more often recent.
    fn draw(self, random: &mut Random) -> Moment {
        let age = random.below(OLDEST_SECONDS);
        let age = if random.chance(300_000) { age / 8 } else { age };
        self.away_from_threshold(Moment(self.as_of.0 - age as i64))
    }

    fn draw_after(self, random: &mut Random, earlier: Moment) -> Moment {
        let span = (self.as_of.0 - earlier.0).max(1) as u64;
        let later = Moment(earlier.0 + random.below(span) as i64);
        self.away_from_threshold(later).max(earlier)
    }

    fn away_from_threshold(self, moment: Moment) -> Moment {
        if (moment.0 - self.threshold.0).abs() < MARGIN_SECONDS {
            Moment(moment.0 - 2 * MARGIN_SECONDS)
        } else {
            moment
        }
    }

    fn is_fresh(self, channel: &Channel) -> bool {
        channel.updated > self.threshold || channel.verified.is_some_and(|at| at > self.threshold)
    }
}

/// Writes the extract directory.
pub fn write(directory: &Path, header: &Header, options: &Options) -> Result<()> {
    let mut ids = population::norwegian(options.test_numbers).select(options.persons, options.seed)?;
    if !options.ordered {
        Random::new(options.seed, Stream::Order, 0).shuffle(&mut ids);
    }
    std::fs::create_dir_all(directory)?;
    std::fs::write(directory.join("register.toml"), header.text())?;
    let name = if options.xml { "kontaktregister.xml" } else { "personer.jsonl" };
    let mut out = create(&directory.join(name))?;
    write_persons(&mut out, &ids, header, options)?;
    out.flush()?;
    Ok(())
}

fn write_persons(out: &mut impl Write, ids: &[u64], header: &Header, options: &Options) -> Result<()> {
    let clock = Clock::new(header.as_of);
    let certificates = certificates();
    let push = if options.xml { krr_xml::push_person } else { krr_json::push_line };
    let mut buffer = Vec::with_capacity(4096);
    if options.xml {
        krr_xml::push_start(&mut buffer, header);
    }
    for &id in ids {
        let mut random = Random::new(options.seed, Stream::Person, id);
        let mut person = draw_person(id, &mut random, clock, &certificates);
        push(&mut buffer, &mut person);
        out.write_all(&buffer)?;
        buffer.clear();
    }
    if options.xml {
        krr_xml::push_end(&mut buffer);
    }
    out.write_all(&buffer)?;
    Ok(())
}

/// The certificates that persons with a mailbox share.
pub fn certificates() -> Vec<String> {
    (0..CERTIFICATES).map(certificate).collect()
}

/// Text that looks like a certificate in base64 but is not one.
fn certificate(index: u64) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut random = Random::new(0, Stream::Certificate, index);
    let noise = (0..92).map(|_| char::from(ALPHABET[random.index(64)]));
    "MIIB".chars().chain(noise).collect()
}

/// Draws all fields of a person.
pub fn draw_person(id: u64, random: &mut Random, clock: Clock, certificates: &[String]) -> Person {
    let mut person = Person {
        id,
        status: Status::Active,
        reserved: None,
        notifiable: false,
        email: None,
        mobile: None,
        mailbox: None,
        certificate: None,
        language: None,
        spelling: Random::new(random.next(), Stream::Person, 0),
    };
    let roll = random.weighted(&[93, 3, 4]);
    if roll == 2 {
        person.status = Status::Deleted;
        return person;
    }
    if roll == 1 {
        person.reserved = Some(clock.draw(random));
    }
    draw_contact(random, clock, &mut person);
    draw_mailbox(random, certificates, &mut person);
    if random.chance(800_000) {
        let language = ["nb", "nn", "en", "se"][random.weighted(&[84, 10, 5, 1])];
        person.language = Some((language, clock.draw(random)));
    }
    person.judge(clock);
    person
}

impl Person {
    /// A person is notifiable with fresh contact data and without reservation.
    fn judge(&mut self, clock: Clock) {
        let fresh = [&self.email, &self.mobile];
        let fresh = fresh.into_iter().flatten().any(|channel| clock.is_fresh(channel));
        self.notifiable = fresh && self.reserved.is_none();
    }

    /// Sets half of the times to the time of the clock, as if those fields had just changed.
    pub fn renew(&mut self, random: &mut Random, clock: Clock) {
        let now = clock.as_of;
        for channel in [&mut self.email, &mut self.mobile].into_iter().flatten() {
            if random.chance(500_000) {
                (channel.updated, channel.verified) = (now, None);
            }
        }
        let language = self.language.as_mut().map(|(_, moment)| moment);
        for moment in [self.reserved.as_mut(), language].into_iter().flatten() {
            if random.chance(500_000) {
                *moment = now;
            }
        }
        self.judge(clock);
    }
}

fn draw_contact(random: &mut Random, clock: Clock, person: &mut Person) {
    // Both, e-mail alone, mobile alone, nothing.
    let roll = random.weighted(&[86, 4, 6, 4]);
    if roll == 0 || roll == 1 {
        let value = email(random, &NORWAY);
        person.email = Some(draw_channel(random, clock, value));
    }
    if roll == 0 || roll == 2 {
        let value = format!("+4799999{:03}", random.below(1000));
        person.mobile = Some(draw_channel(random, clock, value));
    }
}

fn draw_channel(random: &mut Random, clock: Clock, value: String) -> Channel {
    let updated = clock.draw(random);
    let verified = random.chance(600_000).then(|| clock.draw_after(random, updated));
    Channel { value, updated, verified, shared: random.chance(20_000) }
}

/// An address in a domain that is reserved for examples.
fn email(random: &mut Random, country: &Country) -> String {
    let first = ascii(random.pick(country.first_names));
    let last = ascii(random.pick(country.last_names));
    let domain = random.pick(&["example.no", "example.com", "post.example.no"]);
    format!("{first}.{last}{}@{domain}", random.below(10_000))
}

fn ascii(name: &str) -> String {
    let lower = name.to_lowercase();
    lower.replace('æ', "ae").replace('ø', "o").replace('å', "a").replace(' ', "")
}

fn draw_mailbox(random: &mut Random, certificates: &[String], person: &mut Person) {
    if !random.chance(570_000) {
        return;
    }
    let digipost = random.chance(600_000);
    person.mailbox = Some(if digipost {
        let first = ascii(random.pick(NORWAY.first_names));
        let last = ascii(random.pick(NORWAY.last_names));
        let suffix = random.below(1 << 16);
        Mailbox { address: format!("{first}.{last}#{suffix:04X}"), operator: DIGIPOST }
    } else {
        let address = format!("{:012}", random.below(1_000_000_000_000));
        Mailbox { address, operator: E_BOKS[random.weighted(&[7, 3])] }
    });
    person.certificate = Some(certificates[random.index(certificates.len())].clone());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Register;
    use crate::text::checksum;

    fn sample(seed: u64, xml: bool) -> String {
        let options = Options { persons: 5000, seed, ordered: true, test_numbers: true, xml };
        let as_of = Moment::parse("2026-06-01T04:00:00Z").unwrap();
        let header = Header { register: Register::Krr, sequence: 1000, as_of };
        let ids = population::norwegian(true).select(options.persons, seed).unwrap();
        let mut out = Vec::new();
        write_persons(&mut out, &ids, &header, &options).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn same_seed_same_bytes() {
        for xml in [false, true] {
            assert_eq!(sample(1, xml), sample(1, xml));
            assert_ne!(sample(1, xml), sample(2, xml));
        }
    }

    /// Pins the output itself: a change here changes every fixture and every benchmark's data.
    #[test]
    fn the_output_never_changes() {
        assert_eq!(checksum(sample(1, false).as_bytes()), 11_847_230_253_409_978_584);
        assert_eq!(checksum(sample(1, true).as_bytes()), 9_494_087_537_228_427_291);
    }

    #[test]
    fn the_mix_is_as_documented() {
        let text = sample(1, false);
        let share = |needle: &str| text.lines().filter(|line| line.contains(needle)).count();
        assert!((150..250).contains(&share("SLETTET")), "{}", share("SLETTET"));
        assert!((100..200).contains(&share("\"JA\",\"reservasjonstidspunkt\"")));
        assert!((2500..3000).contains(&share("\"sertifikat\":\"MII")));
        assert!((3000..4200).contains(&share("KAN_VARSLES")), "{}", share("KAN_VARSLES"));
        assert_eq!(share("\"personidentifikator\""), 5000);
    }

    #[test]
    fn no_time_is_near_the_threshold() {
        let clock = Clock::new(Moment::parse("2026-06-01T04:00:00Z").unwrap());
        let mut random = Random::new(1, Stream::Person, 1);
        for _ in 0..100_000 {
            let earlier = clock.draw(&mut random);
            let later = clock.draw_after(&mut random, earlier);
            assert!(earlier <= later && later <= clock.as_of);
            for moment in [earlier, later] {
                assert!((moment.0 - clock.threshold.0).abs() >= MARGIN_SECONDS);
            }
        }
    }
}
