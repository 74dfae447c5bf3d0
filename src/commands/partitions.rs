//! `shardwire partitions move`: has a running storage-writer hand one of its partitions to another.

use miette::Result;

use crate::admin;
use crate::cli::{MovePartitionArgs, PartitionsArgs, PartitionsTask};
use crate::node::Moved;

/// Moves a partition and says on stdout how long that took.
///
/// # Errors
/// When no server answers, or it could not: it does not hold the partition, or the other takes none.
pub fn run(args: &PartitionsArgs) -> Result<()> {
    let PartitionsTask::Move(MovePartitionArgs { partition, to, json, server }) = &args.task;
    let config = server.load()?;
    let moved: Moved = admin::ask(&config.server.data, &format!("move-partition {partition} {to}"))?;
    super::print_answer(&moved, *json, text)
}

fn text(moved: &Moved) -> String {
    let Moved { partition, to, epoch, read_ahead_us, drain_us, hand_over_us } = moved;
    let ms = |us: &u64| *us as f64 / 1_000.0;
    format!(
        "partition {partition} is {to}'s, under epoch {epoch}: read ahead in {:.1} ms, given up in {:.1} ms, handed over in {:.1} ms\n",
        ms(read_ahead_us),
        ms(drain_us),
        ms(hand_over_us)
    )
}
