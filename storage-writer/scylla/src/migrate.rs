//! The schema's version: what a keyspace has, what it lacks, and applying that.
//!
//! What must stay true: migrations are applied in order, by one process at a time, each noted only when all of it is there;
//! a keyspace that is another's is never changed.

use std::collections::BTreeMap;

use schema::cql::{self, MIGRATIONS, Migration};
use scylla::client::session::Session;
use scylla::serialize::row::SerializeRow;
use scylla::value::{CqlValue, Row};
use storage_writer::folder::FolderId;
use storage_writer::store::Sharing;
use uuid::Uuid;

use crate::ScyllaConfig;
use crate::cluster::rows;
use crate::connect::{check_keyspace, connect};
use crate::error::{SetupError, refused};
use crate::runtime::Runtime;
use crate::sharing;

/// How long a lock lasts whose holder is gone, s. Above what any migration takes.
const LOCK_S: i32 = 120;
const READING: &str = "reading the schema's version";
const LOCKING: &str = "taking the lock of migrations";

/// What a keyspace lacked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Migrated {
    /// There was no such keyspace.
    pub made_keyspace: bool,
    /// Names of the migrations, in order: `1 store`.
    pub applied: Vec<String>,
}

/// Brings the keyspace of `config` to this build's version and makes it the cluster's of `owner`, or, with `check`, only
/// says what is missing. Blocks.
///
/// # Errors
/// [`SetupError`]; what had been applied before stays.
pub fn migrate(config: &ScyllaConfig, owner: FolderId, check: bool) -> Result<Migrated, SetupError> {
    sharing::check_partitions(config)?;
    Runtime::start()?.block_on(async {
        let session = connect(config).await?;
        let exists = check_keyspace(&session, config)?;
        let found = if exists { versions(&session, config).await? } else { None };
        let missing = missing(found.as_ref(), config)?;
        let names = missing.iter().map(|migration| format!("{} {}", migration.number, migration.name)).collect();
        let migrated = Migrated { made_keyspace: !exists, applied: names };
        if exists && let Some(found) = &found {
            if config.partitions.is_none() {
                check_owner(&session, config, owner).await?;
            }
            if found.contains_key(&sharing::SINCE) {
                sharing::check(&session, config).await?;
            } else if found.contains_key(&1) {
                sharing::check_one_writer(config)?;
            }
        }
        if !check {
            apply(&session, config, owner, exists).await?;
        }
        Ok(migrated)
    })
}

/// The keyspace is this build's and the cluster's of `owner`, if that is given. Returns how it is shared.
pub async fn check_version(
    session: &Session,
    config: &ScyllaConfig,
    owner: Option<FolderId>,
) -> Result<Option<Sharing>, SetupError> {
    let keyspace = || config.keyspace.clone();
    if !check_keyspace(session, config)? {
        return Err(SetupError::NoKeyspace { keyspace: keyspace() });
    }
    let found = versions(session, config).await?;
    if !missing(found.as_ref(), config)?.is_empty() {
        let found = found.and_then(|found| found.keys().last().copied()).unwrap_or(0);
        return Err(SetupError::Older { keyspace: keyspace(), found, known: cql::VERSION });
    }
    if let Some(owner) = owner {
        check_owner(session, config, owner).await?;
    }
    sharing::check(session, config).await
}

type Versions = BTreeMap<u16, i64>;

/// The migrations that a keyspace has, with their checksums; `None` when it has no tables at all.
async fn versions(session: &Session, config: &ScyllaConfig) -> Result<Option<Versions>, SetupError> {
    let query = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?";
    let tables = session.query_unpaged(query, (&config.keyspace,)).await.map_err(refused(READING))?;
    let tables: Vec<(String,)> = rows(tables).map_err(refused(READING))?;
    if tables.is_empty() {
        return Ok(None);
    }
    if !tables.iter().any(|(table,)| table == "migrations") {
        return Err(SetupError::Foreign { keyspace: config.keyspace.clone() });
    }
    let query = format!("SELECT number, checksum FROM {}.migrations", config.keyspace);
    let found = session.query_unpaged(query, ()).await.map_err(refused(READING))?;
    let found: Vec<(i32, i64)> = rows(found).map_err(refused(READING))?;
    let numbered = |(number, checksum)| (u16::try_from(number).unwrap_or(u16::MAX), checksum);
    Ok(Some(found.into_iter().map(numbered).collect()))
}

/// What is still to be applied.
fn missing(found: Option<&Versions>, config: &ScyllaConfig) -> Result<Vec<Migration>, SetupError> {
    let keyspace = || config.keyspace.clone();
    let empty = Versions::new();
    let found = found.unwrap_or(&empty);
    if let Some(&newest) = found.keys().last().filter(|&&newest| newest > cql::VERSION) {
        return Err(SetupError::Newer { keyspace: keyspace(), found: newest, known: cql::VERSION });
    }
    let mut missing = Vec::new();
    for migration in MIGRATIONS {
        match found.get(&migration.number) {
            None => missing.push(migration),
            Some(&checksum) if checksum != migration.checksum() => {
                return Err(SetupError::Changed { keyspace: keyspace(), number: migration.number });
            }
            Some(_) => {}
        }
    }
    Ok(missing)
}

async fn check_owner(session: &Session, config: &ScyllaConfig, owner: FolderId) -> Result<(), SetupError> {
    const DOING: &str = "reading whose keyspace it is";
    let query = format!("SELECT cluster_id FROM {}.owner WHERE name = 'cluster'", config.keyspace);
    let result = session.query_unpaged(query, ()).await.map_err(refused(DOING))?;
    let result = result.into_rows_result().map_err(refused(DOING))?;
    match result.maybe_first_row::<(Uuid,)>().map_err(refused(DOING))? {
        Some((found,)) if *found.as_bytes() != owner.0 => {
            let (keyspace, found) = (config.keyspace.clone(), FolderId(found.into_bytes()));
            Err(SetupError::OtherCluster { keyspace, found, expected: owner })
        }
        Some(_) => Ok(()),
        None => Err(SetupError::Older { keyspace: config.keyspace.clone(), found: 0, known: cql::VERSION }),
    }
}

async fn apply(session: &Session, config: &ScyllaConfig, owner: FolderId, exists: bool) -> Result<(), SetupError> {
    let keyspace = &config.keyspace;
    if !exists {
        let copies = config.replication.iter().map(|(datacenter, copies)| format!(", '{datacenter}': {copies}"));
        let copies: String = copies.collect();
        let make = format!(
            "CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {{'class': 'NetworkTopologyStrategy'{copies}}}"
        );
        session.query_unpaged(make, ()).await.map_err(refused("making the keyspace"))?;
    }
    session.use_keyspace(keyspace, false).await.map_err(refused("using the keyspace"))?;
    run(session, cql::BOOKKEEPING).await?;
    let holder = Uuid::new_v4();
    let lock =
        format!("INSERT INTO {keyspace}.locks (name, holder) VALUES ('migrate', ?) IF NOT EXISTS USING TTL {LOCK_S}");
    if !conditional(session, &lock, (holder,), LOCKING).await? {
        return Err(SetupError::Locked { keyspace: keyspace.clone(), lock_s: LOCK_S });
    }
    let applied = apply_locked(session, config, owner).await;
    let unlock = format!("DELETE FROM {keyspace}.locks WHERE name = 'migrate' IF holder = ?");
    let unlocked = conditional(session, &unlock, (holder,), LOCKING).await;
    applied.and(unlocked.map(|_| ()))
}

async fn apply_locked(session: &Session, config: &ScyllaConfig, owner: FolderId) -> Result<(), SetupError> {
    const OWNING: &str = "noting whose keyspace it is";
    let keyspace = &config.keyspace;
    let own = format!("INSERT INTO {keyspace}.owner (name, cluster_id) VALUES ('cluster', ?) IF NOT EXISTS");
    conditional(session, &own, (Uuid::from_bytes(owner.0),), OWNING).await?;
    if config.partitions.is_none() {
        check_owner(session, config, owner).await?;
    }
    // Again, now that nobody else changes it.
    let found = versions(session, config).await?;
    for migration in missing(found.as_ref(), config)? {
        run(session, migration.text).await?;
        let note = format!("INSERT INTO {keyspace}.migrations (number, name, checksum) VALUES (?, ?, ?)");
        let values = (i32::from(migration.number), migration.name, migration.checksum());
        session.query_unpaged(note, values).await.map_err(refused("noting a migration"))?;
    }
    let of_one = found.is_some_and(|found| found.contains_key(&1) && !found.contains_key(&sharing::SINCE));
    sharing::note(session, config, of_one).await?;
    Ok(())
}

async fn run(session: &Session, text: &str) -> Result<(), SetupError> {
    for statement in cql::statements(text) {
        session.query_unpaged(statement, ()).await.map_err(refused("applying a migration"))?;
    }
    Ok(())
}

/// A lightweight transaction; whether its condition held. Where it did, Cassandra answers with `[applied]` alone, where it
/// did not, with the row that is there.
pub async fn conditional(
    session: &Session,
    statement: &str,
    values: impl SerializeRow,
    doing: &'static str,
) -> Result<bool, SetupError> {
    let result = session.query_unpaged(statement, values).await.map_err(refused(doing))?;
    let row: Row = result.into_rows_result().map_err(refused(doing))?.first_row().map_err(refused(doing))?;
    Ok(matches!(row.columns.first(), Some(Some(CqlValue::Boolean(true)))))
}
