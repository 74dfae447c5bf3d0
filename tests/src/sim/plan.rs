//! What a seed decides before its world begins: users, limits, sizes, how bad disk and network are.

use fabric::lane::Capacities;
use fabric::sim::{DiskFaults, NetFaults, SeededEntropy};
use schema::ids::{DeviceId, UserId};
use shardwire::node::Topology;
use storage_writer::partition::PartitionConfig;

use super::case::{Case, Part};
use super::device::GUEST;

/// A lie told to the system, to show that the simulator finds out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Lie {
    /// None.
    #[default]
    None,
    /// The disk says that writes are durable which are not.
    Sync,
    /// Neither memory nor store recognise a resend for long.
    Dedupe,
    /// The store forgets that anybody left a group.
    Members,
    /// The store keeps what edits and deletions should have written over.
    Amendments,
    /// The store forgets what users have pinned.
    Settings,
    /// The store forgets what users have hidden.
    Hidden,
    /// The store forgets which devices were revoked.
    Revoked,
    /// The store forgets who tells nobody what they read.
    Private,
}

impl Lie {
    /// All, as a command line names them.
    pub const NAMED: [(&str, Self); 8] = [
        ("sync", Self::Sync),
        ("dedupe", Self::Dedupe),
        ("members", Self::Members),
        ("amendments", Self::Amendments),
        ("settings", Self::Settings),
        ("hidden", Self::Hidden),
        ("revoked", Self::Revoked),
        ("private", Self::Private),
    ];

    /// As a command line names it; `None`: it is none.
    pub fn name(self) -> Option<&'static str> {
        Self::NAMED.iter().find(|(_, lie)| *lie == self).map(|&(name, _)| name)
    }
}

/// One world's settings.
pub struct Plan {
    /// Devices, each with its user.
    pub devices: Vec<(UserId, DeviceId)>,
    /// Pairs of users who write to each other.
    pub pairs: Vec<(UserId, UserId)>,
    /// Groups that may be asked for.
    pub groups: u64,
    /// Of every gateway shard.
    pub limits: gateway::Limits,
    /// Of every partition.
    pub partition: PartitionConfig,
    /// Sends a gateway shard may have unanswered at a partition.
    pub credits: u32,
    /// Slots of each lane.
    pub ring: usize,
    /// The network while faults are made.
    pub net: NetFaults,
    /// The disk while nothing else is done to it.
    pub disk: DiskFaults,
    /// Operations before everything is healed.
    pub operations: u64,
    /// Mean time between operations, ns.
    pub operation_ns: u64,
    /// Mean time between faults, ns.
    pub fault_ns: u64,
    /// What is lied about, and left out.
    pub case: Case,
}

impl Plan {
    /// Draws a plan.
    pub fn draw(rng: &mut SeededEntropy, case: &Case) -> Self {
        let lie = case.lie;
        // A few friends with several devices each, or many who all write to one: its session has more chats than cursors.
        let wide = rng.one_in(5);
        let users = if wide { rng.between(20, 24) } else { rng.between(2, 6) };
        let user = |id: u64| UserId::new(id).expect("not 0");
        let mut devices = Vec::new();
        for id in 1..=users {
            let count = if wide { 1 + u64::from(rng.one_in(8)) } else { rng.between(1, 3) };
            devices.extend((1..=count).map(|device| (user(id), DeviceId(device as u32))));
            if rng.one_in(if wide { 20 } else { 3 }) {
                devices.push((user(id), GUEST));
            }
        }
        let mut pairs = Vec::new();
        for a in 1..=users {
            for b in a..=users {
                let writes = if wide { a == 1 && b > 1 } else { a != b || rng.one_in(8) };
                if writes {
                    pairs.push((user(a), user(b)));
                }
            }
        }
        let most = case.users.unwrap_or(u64::MAX).max(2);
        devices.retain(|(user, _)| user.get() <= most);
        pairs.retain(|(a, b)| a.get() <= most && b.get() <= most);
        let mut partition = partition(rng);
        if lie == Lie::Dedupe {
            partition.dedupe_memory_ms = 200;
        }
        Self {
            devices,
            pairs,
            groups: rng.between(1, 4),
            limits: limits(rng),
            partition,
            credits: if rng.one_in(2) { rng.between(1, 6) as u32 } else { 64 },
            ring: pick(rng, &[2, 4, 16, 64, 64]),
            net: NetFaults {
                min_latency_ns: 20_000,
                max_latency_ns: pick(rng, &[500_000, 2_000_000, 20_000_000]),
                max_chunk_bytes: pick(rng, &[40, 300, 4_096]),
                break_one_in: pick(rng, &[0, 1_500, 4_000]),
                stall_one_in: pick(rng, &[0, 500, 4_000]),
            },
            disk: DiskFaults {
                max_latency_ns: pick(rng, &[500_000, 2_000_000, 10_000_000]),
                slow_one_in: pick(rng, &[0, 50, 400]),
                sync_lies: lie == Lie::Sync,
                ..DiskFaults::default()
            },
            operations: rng.between(1_000, 1_300),
            operation_ns: pick(rng, &[1_000_000, 4_000_000, 10_000_000]),
            fault_ns: pick(rng, &[60_000_000, 150_000_000, 300_000_000]),
            case: case.clone(),
        }
    }

    /// Whether a part of the world is left out.
    pub fn is_without(&self, part: Part) -> bool {
        self.case.is_without(part)
    }

    /// How many users there are.
    pub fn users(&self) -> usize {
        self.devices.iter().map(|&(user, _)| user).collect::<std::collections::BTreeSet<_>>().len()
    }

    /// Lanes of the plan's size.
    pub fn capacities(&self) -> Capacities {
        Capacities::uniform(self.ring)
    }
}

/// Another layout for each life of the server.
pub fn topology(rng: &mut SeededEntropy) -> Topology {
    Topology::new(rng.between(1, 5) as u16, rng.between(1, 5) as u16, rng.between(1, 3) as u16)
}

/// One of a few.
pub fn pick<T: Copy>(rng: &mut SeededEntropy, choices: &[T]) -> T {
    choices[rng.below(choices.len() as u64) as usize]
}

fn limits(rng: &mut SeededEntropy) -> gateway::Limits {
    gateway::Limits {
        frame_limit_bytes: 8_192,
        in_flight_per_session: pick(rng, &[2, 8, 64]),
        sends_per_second_per_user: pick(rng, &[0, 20, 100]),
        burst_per_user: pick(rng, &[5, 20, 50]),
        idle_timeout_ms: pick(rng, &[1_500, 3_000]),
        ping_interval_ms: 700,
        auth_timeout_ms: 1_500,
        out_buffer_bytes: pick(rng, &[1_500, 4_000, 64_000]),
        cursors_per_session: pick(rng, &[16, 64]),
        max_connections: pick(rng, &[4, 64, 64, 64]),
        drain_spread_ms: 300,
        ..gateway::Limits::default()
    }
}

/// Small enough that everything happens within a thousand operations.
fn partition(rng: &mut SeededEntropy) -> PartitionConfig {
    PartitionConfig {
        freeze_bytes: pick(rng, &[3_000, 12_000, 60_000]),
        freeze_idle_ms: pick(rng, &[300, 2_000]),
        freeze_age_ms: pick(rng, &[800, 5_000]),
        frozen_tables: pick(rng, &[1, 2]),
        hot_tail_bytes: pick(rng, &[1_000, 8_000]),
        hot_tail_entries: 6,
        nudge_after_ms: pick(rng, &[400, 1_500]),
        dedupe_memory_ms: pick(rng, &[800, 3_000, 60_000]),
        dedupe_entries: pick(rng, &[120, 400, 10_000]),
        waiting_sends: pick(rng, &[100, 1_000]),
        waiting_reads: pick(rng, &[24, 1_000]),
        sync_timeout_ms: pick(rng, &[60, 500]),
        block_bytes: pick(rng, &[1_000, 6_000]),
        max_block_bytes: 20_480,
        segment_bytes: 65_536,
        max_segments: pick(rng, &[4, 8]),
        seal_after_ms: 50,
        retry_after_ms: pick(rng, &[50, 300]),
        edit_window_s: pick(rng, &[1, 5, 900]),
        delete_window_s: pick(rng, &[2, 60, 172_800]),
        group_members: pick(rng, &[3, 5, 500]),
        fanout_members: pick(rng, &[2, 4, 100]),
        fanout_step: pick(rng, &[1, 3, 1_000]),
        fanout_jobs: pick(rng, &[2, 1_000]),
        ..PartitionConfig::default()
    }
}
