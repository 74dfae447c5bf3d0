//! The table of leases in the cluster. Every change is a lightweight transaction, which is sent once: one whose end is not
//! heard of may still come to pass, and the next reading shows whether it has.

use storage_writer::lease::{Epoch, LeaseTable, PartitionRow, TableView, WriterId, WriterRow};
use storage_writer::store::{SharedStore as _, StoreError};

use crate::ScyllaStore;

const READING: &str = "reading leases";
const CHANGING: &str = "changing a lease";

type Lease = (i16, Option<i64>, Option<String>, Option<i64>);
type Holder = (String, i64, Option<i64>, Option<bool>, Option<bool>);

/// Who, as the table has it: name and number.
fn columns(owner: Option<&WriterId>) -> (Option<&str>, Option<i64>) {
    (owner.map(|owner| owner.name.as_str()), owner.map(|owner| owner.incarnation.cast_signed()))
}

impl LeaseTable for ScyllaStore {
    fn read(&self) -> Result<TableView, StoreError> {
        let free = |partition| PartitionRow { partition, epoch: Epoch::default(), owner: None };
        let mut partitions: Vec<PartitionRow> = (0..self.sharing().partitions).map(free).collect();
        let mut writers = Vec::new();
        self.runtime.block_on(async {
            let take = |(part, epoch, name, incarnation): Lease| {
                let row = usize::try_from(part).ok().and_then(|part| partitions.get_mut(part));
                if let Some(row) = row {
                    row.epoch = Epoch(epoch.unwrap_or(0).cast_unsigned());
                    let incarnation = incarnation.map(i64::cast_unsigned);
                    row.owner = name.zip(incarnation).map(|(name, incarnation)| WriterId { name, incarnation });
                }
                true
            };
            self.cluster.read(READING, &self.cluster.leases.leases, (), take).await?;
            let take = |(name, incarnation, beat, buried, leaving): Holder| {
                let writer = WriterId { name, incarnation: incarnation.cast_unsigned() };
                let (beat, buried) = (beat.unwrap_or(0).cast_unsigned(), buried.unwrap_or(true));
                writers.push(WriterRow { writer, beat, buried, leaving: leaving.unwrap_or(false) });
                true
            };
            self.cluster.read(READING, &self.cluster.leases.holders, (), take).await
        })?;
        writers.sort_by(|a, b| a.writer.cmp(&b.writer));
        Ok(TableView { writers, partitions })
    }

    fn enter(&self, writer: &WriterId) -> Result<bool, StoreError> {
        let values = (&writer.name, writer.incarnation.cast_signed());
        self.runtime.block_on(self.cluster.transact(CHANGING, &self.cluster.leases.enter, values))
    }

    fn renew(&self, writer: &WriterId, beat: u64, leaving: bool) -> Result<bool, StoreError> {
        let (name, incarnation) = (&writer.name, writer.incarnation.cast_signed());
        let values = ((beat + 1).cast_signed(), leaving, name, incarnation, beat.cast_signed());
        self.runtime.block_on(self.cluster.transact(CHANGING, &self.cluster.leases.renew, values))
    }

    fn bury(&self, writer: &WriterId, beat: u64) -> Result<bool, StoreError> {
        let values = (&writer.name, writer.incarnation.cast_signed(), beat.cast_signed());
        self.runtime.block_on(self.cluster.transact(CHANGING, &self.cluster.leases.bury, values))
    }

    fn remove(&self, writer: &WriterId) -> Result<(), StoreError> {
        let values = (&writer.name, writer.incarnation.cast_signed());
        let removed = self.cluster.transact(CHANGING, &self.cluster.leases.remove, values);
        self.runtime.block_on(removed).map(|_| ())
    }

    fn take(&self, seen: &PartitionRow, writer: &WriterId) -> Result<bool, StoreError> {
        let epoch = (seen.epoch.0 > 0).then_some(seen.epoch.0.cast_signed());
        let (name, incarnation) = columns(seen.owner.as_ref());
        let new = ((seen.epoch.0 + 1).cast_signed(), &writer.name, writer.incarnation.cast_signed());
        let values = (new.0, new.1, new.2, seen.partition.cast_signed(), epoch, name, incarnation);
        self.runtime.block_on(self.cluster.transact(CHANGING, &self.cluster.leases.take, values))
    }

    fn release(&self, partition: u16, epoch: Epoch, writer: &WriterId) -> Result<bool, StoreError> {
        let values = (partition.cast_signed(), epoch.0.cast_signed(), &writer.name, writer.incarnation.cast_signed());
        self.runtime.block_on(self.cluster.transact(CHANGING, &self.cluster.leases.release, values))
    }
}
