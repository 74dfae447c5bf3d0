//! How messages spread in groups, as it is reported.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Percentiles;
use crate::scenario::Load;
use crate::spread::KindLatencies;

/// Messages of the steady phase to groups; times count from their intended send times. The first and the last delivery are
/// those to members who were online all the while.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct GroupFigures {
    /// Groups.
    pub groups: u64,
    /// Members of all of them; a user in two counts twice.
    pub memberships: u64,
    /// Deliveries to members.
    pub deliveries: u64,
    /// The same a second.
    pub deliveries_per_second: f64,
    /// To the acknowledgement at the sender.
    pub ack_us: Percentiles,
    /// Of that, from when a worker learned that the sender's socket had something to the acknowledgement it read from there:
    /// the generator's own.
    #[serde(default)]
    pub ack_reading_lag_us: Percentiles,
    /// To the first member's delivery.
    pub first_us: Percentiles,
    /// To the last member's delivery.
    pub last_us: Percentiles,
    /// CPU of all threads of the server a delivery, to members and in pairs, µs; absent when unknown.
    pub cpu_us_per_delivery: Option<f64>,
    /// Messages whose first and last delivery are not known: some did not arrive, or there were too many to be followed.
    pub not_followed: u64,
    /// Receipts that came to senders, whole run.
    pub receipts: u64,
    /// The groups' part of `audit.receipts_missing`.
    #[serde(default)]
    pub receipts_missing: u64,
    /// The groups' part of `audit.receipts_unjudged`.
    #[serde(default)]
    pub receipts_unjudged: u64,
    /// By the scenario's kinds of groups, in its order.
    pub kinds: Vec<GroupKind>,
}

/// The same of the groups of one kind.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct GroupKind {
    /// Of each group.
    pub members: u32,
    /// How many groups.
    pub groups: u32,
    /// Deliveries to members.
    pub deliveries: u64,
    /// To the acknowledgement at the sender.
    pub ack_us: Percentiles,
    /// To the first member's delivery.
    pub first_us: Percentiles,
    /// To the last member's delivery.
    pub last_us: Percentiles,
}

impl GroupFigures {
    /// Of a load's kinds of groups; `counts`: messages not followed, receipts.
    pub fn new(load: &Load, kinds: &[KindLatencies], (not_followed, receipts): (u64, u64), steady_s: f64) -> Self {
        let mut all = KindLatencies::default();
        kinds.iter().for_each(|kind| all.add(kind));
        let of_kind = |(of, kind): (&crate::scenario::Groups, &KindLatencies)| GroupKind {
            members: of.members,
            groups: of.count,
            deliveries: kind.deliveries,
            ack_us: Percentiles::from(&kind.ack),
            first_us: Percentiles::from(&kind.first),
            last_us: Percentiles::from(&kind.last),
        };
        Self {
            groups: load.groups.iter().map(|of| u64::from(of.count)).sum(),
            memberships: load.groups.iter().map(|of| u64::from(of.count) * u64::from(of.members)).sum(),
            deliveries: all.deliveries,
            deliveries_per_second: if steady_s > 0.0 { all.deliveries as f64 / steady_s } else { 0.0 },
            ack_us: Percentiles::from(&all.ack),
            ack_reading_lag_us: Percentiles::default(),
            first_us: Percentiles::from(&all.first),
            last_us: Percentiles::from(&all.last),
            cpu_us_per_delivery: None,
            not_followed,
            receipts,
            receipts_missing: 0,
            receipts_unjudged: 0,
            kinds: load.groups.iter().zip(kinds).map(of_kind).collect(),
        }
    }
}
