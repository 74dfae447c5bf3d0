//! What an operator does to a running server: reload its configuration, revoke a user's or a device's tokens, save its data,
//! move a partition to another writer.

use std::path::Path;
use std::sync::Arc;

use fabric::time::{Clock as _, SystemClock};
use gateway::Change;
use gateway::auth::Trust;
use gateway::auth::revoked::{Revocation, RevokedError};
use schema::ids::{DeviceId, UserId};

use crate::backup::job::{BackupStatus, Backups};
use crate::node::{Holdings, Inbox, Moved, ShardChange};
use crate::reload::{ReloadError, Reloaded, Reloader};
use crate::status::Status;

/// Clones do the same. Any thread but a shard's: what is here blocks.
#[derive(Clone, Debug)]
pub struct Operator(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    trust: Arc<Trust>,
    inboxes: Vec<Inbox>,
    reloader: Reloader,
    backups: Option<Backups>,
    holdings: Option<Holdings>,
}

impl Operator {
    /// Of a server with this trust and these shards; `backups`: where it has data of its own; `holdings`: where partitions
    /// move between writers and this is one.
    pub fn new(
        trust: Arc<Trust>,
        inboxes: Vec<Inbox>,
        reloader: Reloader,
        backups: Option<Backups>,
        holdings: Option<Holdings>,
    ) -> Self {
        Self(Arc::new(Inner { trust, inboxes, reloader, backups, holdings }))
    }

    /// Has a partition that is held here moved to another writer, by its name. Returns when it is that one's.
    ///
    /// # Errors
    /// For people: why not, or not yet.
    pub fn move_partition(&self, partition: u16, to: &str) -> Result<Moved, String> {
        let holdings = self.0.holdings.as_ref().ok_or_else(|| {
            "it is no storage-writer that shares its store with others; ask the one that holds the partition".to_owned()
        })?;
        holdings.move_to(partition, to)
    }

    /// Begins a backup into a new folder in `to`.
    ///
    /// # Errors
    /// For people: another one is under way, or there is nothing to save.
    pub fn backup(&self, to: &Path) -> Result<BackupStatus, String> {
        self.backups()?.start(to).map_err(|error| error.to_string())
    }

    /// Where the backup has come to.
    ///
    /// # Errors
    /// For people: there is nothing to save.
    pub fn backup_status(&self) -> Result<BackupStatus, String> {
        Ok(self.backups()?.status())
    }

    fn backups(&self) -> Result<&Backups, String> {
        self.0.backups.as_ref().ok_or_else(|| {
            "it has no store of its own; back up the storage writers, or the cluster that has their messages".to_owned()
        })
    }

    /// Reads the configuration and its files anew; logs what came of it.
    ///
    /// # Errors
    /// [`ReloadError`]: everything is as it was.
    pub fn reload(&self) -> Result<Reloaded, ReloadError> {
        let reloaded = self.0.reloader.reload();
        match &reloaded {
            Ok(Reloaded { changed, restart, read }) => {
                for change in changed {
                    tracing::info!(key = change.key, before = change.before, after = change.after, "reloaded");
                }
                for change in restart {
                    tracing::warn!(key = change.key, before = change.before, after = change.after, "needs a restart");
                }
                tracing::info!(changed = changed.len(), restart = restart.len(), ?read, "configuration reloaded");
            }
            Err(error) => tracing::error!(%error, "the configuration is not reloaded"),
        }
        reloaded
    }

    /// Refuses the tokens of `user` (of one `device`, or of all) issued until now, and ends their sessions. Durable when it
    /// returns; the sessions end within a turn of their shards.
    ///
    /// # Errors
    /// [`RevokedError`]: nothing is revoked.
    pub fn revoke(&self, user: UserId, device: Option<DeviceId>) -> Result<Revocation, RevokedError> {
        // First the tokens, then the sessions: whoever comes between the two is refused.
        let revocation = self.0.trust.revoked().add(user, device, SystemClock.now().wall_ms() / 1_000)?;
        self.0.inboxes.iter().for_each(|inbox| inbox.put(ShardChange::Gateway(Change::Revoked { user, device })));
        tracing::info!(user = user.get(), device = device.map(|device| device.0), "revoked");
        Ok(revocation)
    }

    /// Adds what is trusted and what is not to a status.
    pub fn add_to(&self, status: &mut Status) {
        let trusted = self.0.trust.trusted();
        status.development_key = trusted.development;
        status.keys = trusted.keys.names();
        status.revoked = self.0.trust.revoked().list();
    }
}
