//! Faults on demand: which calls they meet, and what they do.

use super::random::Random;
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Most faults at a time.
pub(super) const FAULTS_MAX: usize = 1000;

/// A fault, and the calls that it meets. `docs/sandbox.md` lists all fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultRule {
    /// The calls that it is for.
    #[serde(default)]
    pub(super) on: Condition,
    /// Matching calls that it lets through first.
    #[serde(default)]
    pub(super) after: u64,
    /// How many calls it meets; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) times: Option<u64>,
    /// The share of the matching calls that it meets, from 0 to 1.
    #[serde(default = "whole")]
    pub(super) share: f64,
    pub(super) fault: Fault,
}

fn whole() -> f64 {
    1.0
}

/// Which calls a fault is for: those that meet all that is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Condition {
    /// The beginning of the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<String>,
    /// The SOAP operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) operation: Option<String>,
    /// The organisation of the client certificate, as it writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) caller: Option<String>,
    /// Calls with at least one of these ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) ids: Vec<String>,
    /// Calls with more ids than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) more_ids_than: Option<usize>,
}

/// What happens to a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Fault {
    /// The answer comes later.
    Latency(Latency),
    /// Beyond so many calls a second, 429.
    RateLimit {
        per_second: u32,
        #[serde(default = "one_second")]
        retry_after: u32,
    },
    /// Another answer, without the call being carried out.
    Status {
        status: u16,
        #[serde(default)]
        retry_after: Option<u32>,
        #[serde(default)]
        content_type: Option<String>,
        #[serde(default)]
        body: String,
    },
    /// FaR's fault with a code, without the call being carried out.
    #[serde(rename = "soap_fault")]
    Soap {
        code: u16,
        #[serde(default)]
        description: String,
    },
    /// The connection is reset: instead of an answer, or in the middle of its body, when the call has been carried out.
    Reset(ResetAt),
    /// The body ends after this share of it, and says so nowhere.
    Truncated(f64),
    /// The body comes with so many bytes per second.
    Slow { bytes_per_second: u32 },
    /// The rows of the answer are not those of the question.
    Rows(RowFault),
    /// The server's certificate, of new connections. `on`, `after`, `times` and `share` do not apply.
    Certificate(CertificateFault),
    /// Tokens end after so many seconds, even if `expires_in` is longer.
    TokenSeconds(u32),
    /// The token endpoint's clock is ahead by so many seconds.
    ClockSkew(i64),
    /// Maskinporten's error, such as MP-250.
    TokenError(String),
}

fn one_second() -> u32 {
    1
}

/// How long an answer is delayed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Latency {
    /// The mean.
    pub(super) milliseconds: f64,
    /// Uniform: half of the width; normal: the standard deviation.
    #[serde(default)]
    pub(super) spread: f64,
    #[serde(default)]
    pub(super) distribution: Distribution,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Distribution {
    #[default]
    Uniform,
    Normal,
    Exponential,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ResetAt {
    Beginning,
    Middle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RowFault {
    Reordered,
    /// One is not there.
    Missing,
    /// One is there twice.
    Doubled,
    /// One is that of another recipient.
    Foreign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CertificateFault {
    Expired,
    WrongName,
    Untrusted,
}

impl Latency {
    /// A delay; none is longer than ten minutes.
    fn draw(&self, random: &mut Random) -> Duration {
        let Latency { milliseconds, spread, distribution } = *self;
        let drawn = match distribution {
            Distribution::Uniform => milliseconds + spread * (2.0 * random.fraction() - 1.0),
            // Box and Muller.
            Distribution::Normal => {
                let (radius, angle) = (random.fraction().max(f64::MIN_POSITIVE), random.fraction());
                milliseconds + spread * (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
            }
            Distribution::Exponential => -milliseconds * (1.0 - random.fraction()).ln(),
        };
        Duration::from_secs_f64((drawn / 1000.0).clamp(0.0, 600.0))
    }
}

/// What is known of a call when faults are chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallFacts<'c> {
    pub(super) path: &'c str,
    pub(super) operation: &'c str,
    pub(super) caller: Option<&'c str>,
    pub(super) ids: &'c [String],
}

impl Condition {
    fn is_met(&self, call: &CallFacts<'_>) -> bool {
        let Condition { path, operation, caller, ids, more_ids_than } = self;
        path.as_ref().is_none_or(|path| call.path.starts_with(path.as_str()))
            && operation.as_ref().is_none_or(|operation| operation == call.operation)
            && caller.as_ref().is_none_or(|caller| Some(caller.as_str()) == call.caller)
            && (ids.is_empty() || ids.iter().any(|id| call.ids.contains(id)))
            && more_ids_than.is_none_or(|most| call.ids.len() > most)
    }
}

/// What the faults do to a call, all together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Effects {
    pub(super) delay: Duration,
    /// The faults that say what is answered, in their order.
    pub(super) faults: Vec<Fault>,
}

/// The faults that are on, and how often each was met.
pub(super) struct Faults {
    state: Mutex<FaultState>,
}

struct FaultState {
    rules: Vec<CountedRule>,
    random: Random,
}

/// A fault, how many calls were for it, and how many it has met.
#[derive(Clone, Debug, Serialize)]
pub(super) struct CountedRule {
    #[serde(flatten)]
    pub(super) rule: FaultRule,
    matched: u64,
    pub(super) met: u64,
    #[serde(skip)]
    window: Option<(Instant, u32)>,
}

impl Faults {
    pub(super) fn new(seed: u64) -> Faults {
        let (rules, random) = (Vec::new(), Random::new(seed, "faults"));
        Faults { state: Mutex::new(FaultState { rules, random }) }
    }

    /// Adds faults, in place of the others if `replace` is set. Errors: there are too many, or one cannot be.
    pub(super) fn add(&self, rules: Vec<FaultRule>, replace: bool) -> Result<(), String> {
        for (number, rule) in (1..).zip(&rules) {
            if let Some(finding) = rule.finding() {
                return Err(format!("fault {number}: {finding}"));
            }
        }
        let mut state = self.lock();
        let kept = if replace { 0 } else { state.rules.len() };
        if kept + rules.len() > FAULTS_MAX {
            return Err(format!("at most {FAULTS_MAX} faults at a time"));
        }
        if replace {
            state.rules.clear();
        }
        let counted = |rule| CountedRule { rule, matched: 0, met: 0, window: None };
        state.rules.extend(rules.into_iter().map(counted));
        Ok(())
    }

    pub(super) fn clear(&self) {
        self.lock().rules.clear();
    }

    pub(super) fn all(&self) -> Vec<CountedRule> {
        self.lock().rules.clone()
    }

    /// The certificate of new connections.
    pub(super) fn certificate(&self) -> Option<CertificateFault> {
        self.lock().rules.iter().rev().find_map(|counted| match counted.rule.fault {
            Fault::Certificate(fault) => Some(fault),
            _ => None,
        })
    }

    /// Counts a call, and says what happens to it.
    pub(super) fn effects(&self, call: &CallFacts<'_>, now: Instant) -> Effects {
        let mut state = self.lock();
        let FaultState { rules, random } = &mut *state;
        let mut effects = Effects::default();
        for counted in rules {
            let CountedRule { rule, matched, met, window } = counted;
            if matches!(rule.fault, Fault::Certificate(_)) || !rule.on.is_met(call) {
                continue;
            }
            *matched += 1;
            if *matched <= rule.after || rule.times.is_some_and(|times| *met >= times) {
                continue;
            }
            if rule.share < 1.0 && random.fraction() >= rule.share {
                continue;
            }
            match &rule.fault {
                Fault::Latency(latency) => effects.delay += latency.draw(random),
                Fault::RateLimit { per_second, .. } => {
                    let (began, count) = window.get_or_insert((now, 0));
                    if now.duration_since(*began) >= Duration::from_secs(1) {
                        (*began, *count) = (now, 0);
                    }
                    *count += 1;
                    if *count <= *per_second {
                        continue;
                    }
                    effects.faults.push(rule.fault.clone());
                }
                fault => effects.faults.push(fault.clone()),
            }
            *met += 1;
        }
        effects
    }

    /// A random number below `end`.
    pub(super) fn below(&self, end: usize) -> usize {
        self.lock().random.below(end)
    }

    fn lock(&self) -> MutexGuard<'_, FaultState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FaultRule {
    /// What is wrong with it, if anything.
    fn finding(&self) -> Option<&'static str> {
        if !(0.0..=1.0).contains(&self.share) {
            return Some("share is between 0 and 1");
        }
        match &self.fault {
            Fault::Status { status, .. } if !(200..=599).contains(status) => {
                Some("status is between 200 and 599")
            }
            Fault::Soap { code, .. } if !(1..=9998).contains(code) => Some("code is between 1 and 9998"),
            Fault::Truncated(share) if !(0.0..=1.0).contains(share) => Some("truncated is between 0 and 1"),
            Fault::Slow { bytes_per_second: 0 } => Some("bytes_per_second is 1 or more"),
            Fault::Latency(Latency { milliseconds, spread, .. })
                if !(0.0..=600_000.0).contains(milliseconds) || !(0.0..=600_000.0).contains(spread) =>
            {
                Some("milliseconds and spread are between 0 and 600000")
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rule(value: serde_json::Value) -> FaultRule {
        serde_json::from_value(value).expect("a fault")
    }

    fn call<'c>(path: &'c str, operation: &'c str, ids: &'c [String]) -> CallFacts<'c> {
        CallFacts { path, operation, caller: Some("164921000016"), ids }
    }

    #[test]
    fn a_fault_meets_its_calls_so_often_as_it_says() {
        let faults = Faults::new(1);
        let fault = json!({"on": {"path": "/far", "operation": "isReachable", "ids": ["1"]}, "after": 1, "times": 2,
                           "fault": {"soap_fault": {"code": 5001}}});
        faults.add(vec![rule(fault)], true).expect("added");
        let (with, without) = (vec!["1".to_owned()], vec!["2".to_owned()]);
        let met = |call: CallFacts<'_>| !faults.effects(&call, Instant::now()).faults.is_empty();
        let seen: Vec<bool> = (0..5).map(|_| met(call("/far/x", "isReachable", &with))).collect();
        assert_eq!(seen, [false, true, true, false, false]);
        assert!(!met(call("/krr", "isReachable", &with)) && !met(call("/far", "register", &with)));
        assert!(!met(call("/far", "isReachable", &without)));
        assert_eq!((faults.all()[0].matched, faults.all()[0].met), (5, 2));
    }

    #[test]
    fn a_share_is_met_in_so_many_calls_and_by_a_seed() {
        let met = |seed| {
            let faults = Faults::new(seed);
            faults
                .add(vec![rule(json!({"share": 0.25, "fault": {"reset": "middle"}}))], true)
                .expect("added");
            let calls =
                (0..4000).map(|_| !faults.effects(&call("/", "", &[]), Instant::now()).faults.is_empty());
            calls.collect::<Vec<bool>>()
        };
        let one = met(1);
        let count = one.iter().filter(|met| **met).count();
        assert!((900..1100).contains(&count), "{count}");
        assert_eq!(met(1), one);
        assert_ne!(met(2), one);
    }

    #[test]
    fn delays_follow_their_distribution() {
        let mean = |latency: serde_json::Value| {
            let latency: Latency = serde_json::from_value(latency).expect("a latency");
            let mut random = Random::new(1, "test");
            let all: Vec<f64> = (0..4000).map(|_| latency.draw(&mut random).as_secs_f64()).collect();
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            let variance = all.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / all.len() as f64;
            ((mean * 1000.0).round(), (variance.sqrt() * 1000.0).round())
        };
        assert_eq!(mean(json!({"milliseconds": 50})), (50.0, 0.0));
        let within = |(mean, deviation): (f64, f64), expected: f64| {
            assert!((mean - 50.0).abs() < 3.0 && (deviation - expected).abs() < 3.0, "{mean} {deviation}");
        };
        within(mean(json!({"milliseconds": 50, "spread": 30})), 17.3);
        within(mean(json!({"milliseconds": 50, "spread": 10, "distribution": "normal"})), 10.0);
        within(mean(json!({"milliseconds": 50, "distribution": "exponential"})), 50.0);
    }

    #[test]
    fn a_rate_begins_again_every_second() {
        let faults = Faults::new(1);
        faults.add(vec![rule(json!({"fault": {"rate_limit": {"per_second": 2}}}))], true).expect("added");
        let start = Instant::now();
        let limited = |milliseconds| {
            let now = start + Duration::from_millis(milliseconds);
            !faults.effects(&call("/", "", &[]), now).faults.is_empty()
        };
        let seen: Vec<bool> = [0, 10, 20, 990, 1000, 1001, 1002].map(limited).to_vec();
        assert_eq!(seen, [false, false, true, true, false, false, true]);
    }

    #[test]
    fn faults_that_cannot_be_are_refused() {
        let faults = Faults::new(1);
        for fault in [
            json!({"share": 2, "fault": {"reset": "middle"}}),
            json!({"fault": {"status": {"status": 99}}}),
            json!({"fault": {"soap_fault": {"code": 0}}}),
            json!({"fault": {"truncated": 1.5}}),
            json!({"fault": {"slow": {"bytes_per_second": 0}}}),
            json!({"fault": {"latency": {"milliseconds": -1}}}),
        ] {
            assert!(faults.add(vec![rule(fault.clone())], false).is_err(), "{fault}");
        }
        let many = vec![rule(json!({"fault": {"reset": "middle"}})); FAULTS_MAX + 1];
        assert!(faults.add(many, true).is_err() && faults.all().is_empty());
        for unknown in
            [json!({"fault": {"nonsense": 1}}), json!({"fault": {"reset": "middle"}, "x": 1}), json!({})]
        {
            assert!(serde_json::from_value::<FaultRule>(unknown).is_err());
        }
    }
}
