//! The table of pinned chats in the cluster: one row. Every change is a lightweight transaction on its version, sent once: one
//! whose end is not heard of may still come to pass, until the latest is read or somebody changes it.

use scylla::statement::Consistency;
use storage_writer::pins::Pins;
use storage_writer::store::StoreError;

use crate::cluster::{Cluster, rows};

const READING: &str = "reading the table of pinned chats";
const CHANGING: &str = "changing the table of pinned chats";

type Row = (Option<i64>, Option<i64>, Option<Vec<u8>>);

/// The table; `latest`: with every transaction that has come to pass or may yet.
pub async fn read(cluster: &Cluster, latest: bool) -> Result<Pins, StoreError> {
    let mut statement = cluster.leases.pins.clone();
    if latest {
        statement.set_consistency(Consistency::LocalSerial);
    }
    let found = cluster.run(READING, &statement, ()).await?;
    let found: Vec<Row> = rows(found).map_err(|what| StoreError::Away { doing: READING, what })?;
    let Some((version, stamp, bytes)) = found.into_iter().next() else { return Ok(Pins::default()) };
    let rows = Pins::rows_of(&bytes.unwrap_or_default())?;
    Ok(Pins { version: version.unwrap_or(0).cast_unsigned(), stamp: stamp.unwrap_or(0), rows })
}

/// Makes it another one, if it has the version before; whether it had.
pub async fn change(cluster: &Cluster, next: &Pins) -> Result<bool, StoreError> {
    let before = next.version.checked_sub(1).filter(|before| *before > 0).map(u64::cast_signed);
    let values = (next.version.cast_signed(), next.stamp, next.to_bytes(), before);
    cluster.transact(CHANGING, &cluster.leases.change_pins, values).await
}
