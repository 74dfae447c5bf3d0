//! How a keyspace is shared: noted once, when it is made, and checked at every start.

use fabric::entropy::{Entropy as _, OsEntropy};
use scylla::client::session::Session;
use storage_writer::store::Sharing;

use crate::ScyllaConfig;
use crate::cluster::rows;
use crate::error::{SetupError, refused};
use crate::migrate::conditional;

/// The migration that brought it. A keyspace from before is one writer's.
pub const SINCE: u16 = 2;

/// What is configured can be.
pub fn check_partitions(config: &ScyllaConfig) -> Result<(), SetupError> {
    match config.partitions {
        Some(partitions) if partitions == 0 || partitions > Sharing::PARTITIONS_MAX => {
            Err(SetupError::Partitions { partitions, max: Sharing::PARTITIONS_MAX })
        }
        _ => Ok(()),
    }
}

fn wrong(config: &ScyllaConfig, found: Option<u16>) -> SetupError {
    let say = |partitions: Option<u16>| match partitions {
        None => "one writer's, with a journal (store.ack = \"journal\")".to_owned(),
        Some(partitions) => format!("shared in {partitions} partitions (store.ack = \"store\")"),
    };
    SetupError::Sharing { keyspace: config.keyspace.clone(), found: say(found), wanted: say(config.partitions) }
}

/// Of a keyspace that is one writer's.
pub fn check_one_writer(config: &ScyllaConfig) -> Result<(), SetupError> {
    if config.partitions.is_none() { Ok(()) } else { Err(wrong(config, None)) }
}

/// The keyspace is shared as configured; how.
pub async fn check(session: &Session, config: &ScyllaConfig) -> Result<Option<Sharing>, SetupError> {
    const DOING: &str = "reading how the keyspace is shared";
    check_partitions(config)?;
    let query = format!("SELECT partitions, dedupe_secret FROM {}.sharing WHERE name = 'keyspace'", config.keyspace);
    let found = session.query_unpaged(query, ()).await.map_err(refused(DOING))?;
    let found: Vec<(i16, Vec<u8>)> = rows(found).map_err(refused(DOING))?;
    let sharing = match found.into_iter().next() {
        Some((partitions, secret)) if partitions > 0 => {
            let secret = <[u8; 16]>::try_from(secret).map_err(|_| refused(DOING)("the secret has the wrong length"))?;
            Some(Sharing { partitions: partitions.cast_unsigned(), dedupe_secret: secret })
        }
        _ => None,
    };
    let partitions = sharing.map(|sharing| sharing.partitions);
    if partitions == config.partitions { Ok(sharing) } else { Err(wrong(config, partitions)) }
}

/// Notes it for a keyspace that was just made, or, where it was made before anybody could share one, that it is `of_one`.
/// What is noted already stays, and must be as configured.
pub async fn note(session: &Session, config: &ScyllaConfig, of_one: bool) -> Result<(), SetupError> {
    const DOING: &str = "noting how the keyspace is shared";
    let mut secret = [0u8; 16];
    OsEntropy.fill(&mut secret);
    let partitions = config.partitions.filter(|_| !of_one).unwrap_or(0);
    let note = format!(
        "INSERT INTO {}.sharing (name, partitions, dedupe_secret) VALUES ('keyspace', ?, ?) IF NOT EXISTS",
        config.keyspace
    );
    conditional(session, &note, (partitions.cast_signed(), &secret[..]), DOING).await?;
    check(session, config).await.map(|_| ())
}
