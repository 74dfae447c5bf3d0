//! The mirror's thread: what changed, twenty times a second; everything there is, once in ten seconds; connections that broke.

use std::sync::Arc;
use std::time::Duration;

use fabric::time::{Clock as _, SystemClock};
use router::{Change, MemoryDirectory};
use tokio::sync::oneshot;

use crate::nodes::Nodes;
use crate::read::Readers;
use crate::write::{BATCH, write};
use crate::{MirrorMetrics, RedisConfig};

/// How often it looks what changed.
const TICK: Duration = Duration::from_millis(50);
/// A round through all users takes so long, ms: a third of the time that online counts.
const ROUND_MS: u64 = 10_000;
/// Parts of a round done in one tick at most: at 256 parts, everything is written again in a second.
const PARTS_A_TICK: usize = 16;
/// How often nodes are asked whether they are there, and looked for when they are not, ms.
const PING_EVERY_MS: u64 = 1_000;
const RETRY_EVERY_MS: u64 = 500;
/// What was read back is forgotten so long after, ms: where its gateway is not heard,
const HEARD_WITHIN_MS: u64 = 5_000;
/// and where its gateway has not registered it again.
const CONFIRMED_WITHIN_MS: u64 = 15_000;
/// The last changes are given so long.
const LAST_WITHIN: Duration = Duration::from_secs(1);

/// See the module.
pub struct Worker {
    config: RedisConfig,
    directory: MemoryDirectory,
    readers: Option<Readers>,
    metrics: Arc<MirrorMetrics>,
    nodes: Nodes,
    /// Somebody is missing, and that was said.
    is_away: bool,
    /// Why it could not be reached last.
    said: String,
    /// When nodes are asked, or looked for, next, ms.
    look_at_ms: u64,
    /// The round's next part, and when the round began, ms.
    part: usize,
    round_began_ms: u64,
    /// Everything is to be written without waiting for its time.
    heals: bool,
    /// When reading back had ended, ms.
    read_at_ms: u64,
}

fn now_ms() -> u64 {
    SystemClock.now().mono_ms()
}

impl Worker {
    /// Of `nodes` that are connected.
    pub fn new(
        config: RedisConfig,
        directory: MemoryDirectory,
        readers: Option<Readers>,
        metrics: Arc<MirrorMetrics>,
        nodes: Nodes,
    ) -> Self {
        let now_ms = now_ms();
        Self {
            config,
            directory,
            readers,
            metrics,
            nodes,
            is_away: false,
            said: String::new(),
            look_at_ms: 0,
            part: 0,
            round_began_ms: now_ms,
            heals: false,
            read_at_ms: now_ms,
        }
    }

    /// Works until it is told to stop, or whoever could tell it is gone.
    pub async fn run(mut self, stopped: oneshot::Receiver<()>) {
        tokio::select! {
            _ = stopped => {}
            () = self.work() => {}
        }
        let _ = tokio::time::timeout(LAST_WITHIN, self.write_changes()).await;
    }

    async fn work(&mut self) {
        loop {
            tokio::time::sleep(TICK).await;
            self.forget_unconfirmed();
            self.look_after_nodes().await;
            self.write_changes().await;
            self.write_round().await;
        }
    }

    /// What was read back goes in the end.
    fn forget_unconfirmed(&mut self) {
        let Some(readers) = &self.readers else { return };
        let unconfirmed = self.directory.mirror_counts().unconfirmed;
        let since_ms = now_ms() - self.read_at_ms;
        if unconfirmed == 0 || since_ms < HEARD_WITHIN_MS {
            return;
        }
        let heard = if since_ms < CONFIRMED_WITHIN_MS { (readers.heard)() } else { Vec::new() };
        self.directory.forget_unconfirmed(|incarnation| heard.contains(&incarnation));
        let forgotten = unconfirmed.saturating_sub(self.directory.mirror_counts().unconfirmed);
        if forgotten > 0 {
            tracing::info!(sessions = forgotten, "sessions in Redis were not confirmed by their gateways: forgotten");
        }
    }

    async fn look_after_nodes(&mut self) {
        if now_ms() < self.look_at_ms && self.nodes.is_whole() != self.is_away {
            return;
        }
        if self.nodes.is_whole() && !self.is_away {
            self.nodes.ping().await;
            self.look_at_ms = now_ms() + PING_EVERY_MS;
        }
        if self.nodes.is_whole() && !self.is_away {
            return;
        }
        if !self.is_away {
            self.is_away = true;
            self.metrics.away.set(1);
            tracing::warn!(why = self.nodes.why(), "Redis does not answer or refuses: the directory goes on in memory");
        }
        match self.nodes.reconnect(&self.config).await {
            Ok(nodes) => self.nodes = nodes,
            Err(error) => self.say(&error.to_string()),
        }
        if self.nodes.is_whole() {
            self.is_away = false;
            self.said.clear();
            self.metrics.away.set(0);
            (self.heals, self.part, self.round_began_ms) = (true, 0, now_ms());
            tracing::info!("Redis is back: the directory is written again");
        }
        self.look_at_ms = now_ms() + RETRY_EVERY_MS;
    }

    /// Why it is still away, once for each reason.
    fn say(&mut self, why: &str) {
        if self.said != why {
            tracing::warn!(why, "Redis is away");
            self.said = why.to_owned();
        }
    }

    /// Everything that changed; while a node is away, that waits.
    async fn write_changes(&mut self) {
        let mut batch = Vec::new();
        for part in 0..MemoryDirectory::PARTS {
            loop {
                if !self.nodes.is_whole() {
                    return batch.iter().for_each(|change| self.directory.put_back(change));
                }
                self.directory.take_changes(part, BATCH - batch.len(), &mut batch);
                if batch.len() < BATCH {
                    break;
                }
                self.write(std::mem::take(&mut batch)).await;
            }
        }
        if !batch.is_empty() {
            self.write(batch).await;
        }
    }

    /// The parts whose time has come.
    async fn write_round(&mut self) {
        if self.nodes.is_gone() {
            return;
        }
        let elapsed_ms = now_ms() - self.round_began_ms;
        let due = (elapsed_ms * MemoryDirectory::PARTS as u64 / ROUND_MS) as usize;
        let due = if self.heals { MemoryDirectory::PARTS } else { due.min(MemoryDirectory::PARTS) };
        let mut users = Vec::new();
        for part in self.part..due.min(self.part + PARTS_A_TICK) {
            self.directory.copy_part(part, &mut users);
            self.part = part + 1;
        }
        while !users.is_empty() {
            let batch = users.split_off(users.len() - BATCH.min(users.len()));
            self.write(batch).await;
        }
        if self.part == MemoryDirectory::PARTS {
            let now_ms = now_ms();
            self.metrics.round.set((now_ms - self.round_began_ms) as f64 / 1_000.0);
            (self.heals, self.part, self.round_began_ms) = (false, 0, now_ms);
        }
    }

    async fn write(&mut self, batch: Vec<Change>) {
        let written = write(&mut self.nodes, &self.config.writer, batch).await;
        self.metrics.written.inc_by(written.users as u64);
        if !written.failed.is_empty() {
            self.metrics.failures.inc();
            // Who is there is written by a round; who ended is known nowhere else.
            let ended = written.failed.iter().filter(|change| !change.removed.is_empty());
            ended.for_each(|change| self.directory.put_back(change));
        }
    }
}
