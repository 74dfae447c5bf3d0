//! The open session and its statements, and the ways in which rows come and go: one, a page, a batch of one partition.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::TryStreamExt as _;
use scylla::client::session::Session;
use scylla::deserialize::row::DeserializeRow;
use scylla::response::query_result::QueryResult;
use scylla::serialize::row::SerializeRow;
use scylla::statement::batch::{Batch, BatchStatement, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlValue, Row};
use storage_writer::store::StoreError;

use crate::error::away;
use crate::statements::{LeaseStatements, Statements};

/// Rows of one batch at most.
pub const BATCH_ROWS: usize = 100;
/// Bytes of the values of one batch at most, but for a single row; below what a cluster warns of.
pub const BATCH_BYTES: usize = 64 << 10;

/// See the module.
pub struct Cluster {
    session: Session,
    /// What can be asked.
    pub statements: Statements,
    /// What can be asked about leases.
    pub leases: LeaseStatements,
    requests: AtomicU64,
    failures: AtomicU64,
    is_away: AtomicBool,
}

impl Cluster {
    /// Over a session whose statements are prepared.
    pub const fn new(session: Session, statements: Statements, leases: LeaseStatements) -> Self {
        let (requests, failures) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { session, statements, leases, requests, failures, is_away: AtomicBool::new(false) }
    }

    /// Requests made so far, and those that failed after everything that was tried.
    pub fn counts(&self) -> (u64, u64) {
        (self.requests.load(Ordering::Relaxed), self.failures.load(Ordering::Relaxed))
    }

    /// Whether the last request failed.
    pub fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Relaxed)
    }

    /// Counts how a request ended, and says when that changes.
    fn ended<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let failed = result.is_err();
        self.failures.fetch_add(u64::from(failed), Ordering::Relaxed);
        if self.is_away.swap(failed, Ordering::Relaxed) != failed {
            match &result {
                Err(error) => tracing::warn!(%error, "the store is away; what it has not taken is tried again"),
                Ok(_) => tracing::info!("the store answers again"),
            }
        }
        result
    }

    /// Asks for one thing.
    pub async fn run(
        &self,
        doing: &'static str,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<QueryResult, StoreError> {
        self.ended(self.session.execute_unpaged(statement, values).await.map_err(away(doing)))
    }

    /// Asks for a lightweight transaction; whether its condition held. Where it did, Cassandra answers with `[applied]` alone,
    /// where it did not, with the row that is there.
    pub async fn transact(
        &self,
        doing: &'static str,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<bool, StoreError> {
        let result = self.run(doing, statement, values).await?;
        let row = result.into_rows_result().map_err(away(doing))?.first_row::<Row>().map_err(away(doing))?;
        Ok(matches!(row.columns.first(), Some(Some(CqlValue::Boolean(true)))))
    }

    /// Reads rows of one partition until `each` has enough, which it says by `false`.
    pub async fn read<R>(
        &self,
        doing: &'static str,
        statement: &PreparedStatement,
        values: impl SerializeRow,
        mut each: impl FnMut(R) -> bool,
    ) -> Result<(), StoreError>
    where
        R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata> + 'static,
    {
        let read = async {
            let pages = self.session.execute_iter(statement.clone(), values).await.map_err(away(doing))?;
            let mut rows = pages.rows_stream::<R>().map_err(away(doing))?;
            while let Some(row) = rows.try_next().await.map_err(away(doing))? {
                if !each(row) {
                    break;
                }
            }
            Ok(())
        };
        self.ended(read.await)
    }

    /// Writes rows of one partition, at once. At most [`BATCH_ROWS`].
    pub async fn write<R: SerializeRow>(
        &self,
        doing: &'static str,
        statement: &PreparedStatement,
        rows: &[R],
    ) -> Result<(), StoreError> {
        if let [row] = rows {
            return self.run(doing, statement, row).await.map(|_| ());
        }
        let statements = vec![BatchStatement::from(statement.clone()); rows.len()];
        let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements);
        batch.set_is_idempotent(true);
        self.ended(self.session.batch(&batch, rows).await.map_err(away(doing))).map(|_| ())
    }
}

/// The rows of an answer.
pub fn rows<R>(result: QueryResult) -> Result<Vec<R>, String>
where
    R: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
{
    let result = result.into_rows_result().map_err(|error| error.to_string())?;
    let rows = result.rows::<R>().map_err(|error| error.to_string())?;
    rows.collect::<Result<_, _>>().map_err(|error| error.to_string())
}

/// Cuts rows of one partition into batches: how many go into the first. `bytes`: of each row's values.
pub fn batch_len(bytes: impl Iterator<Item = usize>) -> usize {
    let mut sum = 0;
    let fits = |bytes: &usize| {
        sum += bytes;
        sum <= BATCH_BYTES
    };
    bytes.take(BATCH_ROWS).take_while(fits).count().max(1)
}
