//! Changes of a KRR register.

use super::newcomers::Newcomers;
use super::{Options, Source};
use crate::calendar::{Instant, Moment};
use crate::extract::Result;
use crate::identity::Register;
use crate::json::Object;
use crate::krr::{self, Clock};
use crate::krr_json;
use crate::random::Random;

/// A KRR register between two changes. The fields of a person are drawn again each time.
pub struct Krr {
    /// The persons, in no order.
    ids: Vec<u64>,
    newcomers: Newcomers,
    certificates: Vec<String>,
}

impl Krr {
    pub fn new(ids: Vec<u64>, options: &Options) -> Result<Self> {
        let newcomers = Newcomers::new(Register::Krr, options.test_numbers, ids.clone())?;
        Ok(Krr { ids, newcomers, certificates: krr::certificates() })
    }

    fn put_person(&self, line: &mut Object<'_>, id: u64, now: Instant, random: &mut Random) {
        // Decimals of these times are drawn, so they lie in the second before.
        let clock = Clock::new(Moment(now.moment().0 - 1));
        let mut person = krr::draw_person(id, random, clock, &self.certificates);
        person.renew(random, clock);
        line.value_with("put_person", |out| krr_json::push_person(out, &mut person));
    }
}

impl Source for Krr {
    /// Three quarters are changes, 15 % join, 10 % are removed.
    fn push_change(
        &mut self,
        line: &mut Object<'_>,
        _index: u64,
        now: Instant,
        random: &mut Random,
    ) -> Result<()> {
        let event = if self.ids.is_empty() { 1 } else { random.weighted(&[75, 15, 10]) };
        let place = random.index(self.ids.len());
        match event {
            0 => self.put_person(line, self.ids[place], now, random),
            1 => {
                let id = self.newcomers.join(random)?;
                self.ids.push(id);
                self.put_person(line, id, now, random);
            }
            _ => {
                let id = self.ids.swap_remove(place);
                self.newcomers.leave(id);
                let mut object = line.object("remove_person");
                object.id("personidentifikator", id, 11);
                object.close();
            }
        }
        Ok(())
    }
}
