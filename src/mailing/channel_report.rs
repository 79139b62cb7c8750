//! The part of the report about channels and rules.

use super::register_report::RegisterSummary;
use super::tally::Ruled;
use crate::channels::ChannelRules;
use crate::register::Answer;
use serde::Serialize;
use std::collections::BTreeMap;

/// Channels and rules of a job, and their letters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChannelsSummary {
    /// `blake3:` and 64 hexadecimal digits, of the file of rules.
    pub rules_digest: String,
    /// The id lists, in the order of the file.
    pub lists: Vec<IdListSummary>,
    /// The further registers, in the order of the file; absent without.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub registers: Vec<FurtherSummary>,
    /// The channels, in the order of the file.
    pub channels: Vec<ChannelSummary>,
    /// The rules, in the order of the file.
    pub rules: Vec<RuleSummary>,
    /// What the letters cost, if a channel has a price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub costs: Option<ChannelCosts>,
}

/// An id list of the rules.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IdListSummary {
    /// Name.
    pub name: String,
    /// Different ids.
    pub ids: u64,
    /// Rows without a valid id, or with a second one.
    pub rejected: u64,
    /// `blake3:` and 64 hexadecimal digits, of the file as it is.
    pub digest: String,
}

/// A further register of the rules.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FurtherSummary {
    /// Name.
    pub name: String,
    /// FaR: the sender for whom it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// The register, and its version.
    pub register: RegisterSummary,
    /// The letters for which the rules asked it, by outcome.
    pub outcomes: BTreeMap<&'static str, u64>,
}

/// The letters of a channel.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChannelSummary {
    /// Name.
    pub name: String,
    /// Whether the letters go to the mailbox operators.
    pub mailbox: bool,
    /// Letters.
    pub letters: u64,
    /// Price of a letter, `null` if the file has none.
    pub cost: Option<f64>,
    /// Price of all its letters.
    pub total: Option<f64>,
}

/// The letters to which a rule applied.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleSummary {
    /// Name.
    pub name: String,
    /// Name of its channel.
    pub channel: String,
    /// Letters.
    pub letters: u64,
    /// Price of a letter, `null` if neither the rule nor its channel has one.
    pub cost: Option<f64>,
    /// Price of all its letters.
    pub total: Option<f64>,
}

/// What a mailing costs, and what its letters would cost in one channel.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChannelCosts {
    /// Currency, as the file of rules names it.
    pub currency: String,
    /// Letters in channels without a price, which the other figures leave out.
    pub letters_without_price: u64,
    /// Cost of the letters as the rules decide.
    pub as_split: f64,
    /// Name of the channel of the comparison, `null` if the file has none.
    pub compared_with: Option<String>,
    /// Cost of the same letters in that channel.
    pub compared: Option<f64>,
    /// The difference.
    pub saved: Option<f64>,
}

impl ChannelsSummary {
    /// Of the letters of each verdict.
    pub(super) fn new<'r>(
        rules: &ChannelRules,
        lists: &[IdListSummary],
        registers: impl Iterator<Item = (&'r str, Option<&'r str>, &'r RegisterSummary)>,
        letters: impl Iterator<Item = (Ruled, u64)>,
    ) -> ChannelsSummary {
        let mut by_rule = vec![0; rules.rules().len()];
        let mut registers: Vec<FurtherSummary> = registers
            .map(|(name, sender, register)| FurtherSummary {
                name: name.to_owned(),
                sender: sender.map(str::to_owned),
                register: register.clone(),
                outcomes: BTreeMap::new(),
            })
            .collect();
        for (ruled, letters) in letters.filter(|(_, letters)| *letters > 0) {
            if let Some(rule) = ruled.rule {
                by_rule[usize::from(rule)] += letters;
            }
            for (register, answer) in registers.iter_mut().zip(ruled.further) {
                if let Some(outcome) = answer.map(Answer::outcome) {
                    *register.outcomes.entry(outcome.name()).or_default() += letters;
                }
            }
        }
        let rule_summaries =
            rules.rules().iter().enumerate().zip(&by_rule).map(|((index, rule), &letters)| {
                let cost = rules.cost_of(index);
                RuleSummary {
                    name: rule.name.clone(),
                    channel: rules.channel_of(index).name.clone(),
                    letters,
                    cost,
                    total: cost.map(|cost| rounded(cost * letters as f64)),
                }
            });
        let rule_summaries: Vec<RuleSummary> = rule_summaries.collect();
        let channels = rules.channels().iter().map(|channel| {
            let own = || rule_summaries.iter().filter(|rule| rule.channel == channel.name);
            let totals: Vec<f64> = own().filter_map(|rule| rule.total).collect();
            ChannelSummary {
                name: channel.name.clone(),
                mailbox: channel.mailbox,
                letters: own().map(|rule| rule.letters).sum(),
                cost: channel.cost,
                total: (channel.cost.is_some() || !totals.is_empty()).then(|| rounded(totals.iter().sum())),
            }
        });
        ChannelsSummary {
            rules_digest: format!("blake3:{}", rules.digest().to_hex()),
            lists: lists.to_vec(),
            registers,
            channels: channels.collect(),
            costs: costs(rules, &rule_summaries),
            rules: rule_summaries,
        }
    }
}

fn costs(rules: &ChannelRules, summaries: &[RuleSummary]) -> Option<ChannelCosts> {
    summaries.iter().any(|rule| rule.cost.is_some()).then_some(())?;
    let as_split: f64 = summaries.iter().filter_map(|rule| rule.total).sum();
    let compared = rules.compare_with().and_then(|channel| channel.cost).map(|cost| -> f64 {
        let priced = rules.rules().iter().zip(summaries).filter(|(_, summary)| summary.cost.is_some());
        priced.map(|(rule, summary)| rule.compared_cost.unwrap_or(cost) * summary.letters as f64).sum()
    });
    Some(ChannelCosts {
        currency: rules.currency().to_owned(),
        letters_without_price: summaries
            .iter()
            .filter(|rule| rule.cost.is_none())
            .map(|rule| rule.letters)
            .sum(),
        as_split: rounded(as_split),
        compared_with: rules.compare_with().map(|channel| channel.name.clone()),
        compared: compared.map(rounded),
        saved: compared.map(|compared| rounded(compared - as_split)),
    })
}

/// To the hundredth, as prices are.
pub(super) fn rounded(amount: f64) -> f64 {
    (amount * 100.0).round() / 100.0
}
