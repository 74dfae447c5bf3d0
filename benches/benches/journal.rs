//! The journal: filling and finishing a block (copy, header, CRC) without a disk, and durable writes to a real file.
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::sync::Arc;
use std::time::Duration;

use benches::fake::NoDisk;
use benches::journal::{FRAME_BYTES, append, commit};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fabric::disk::{Disk as _, FileDisk};
use storage_writer::journal::{Journal, JournalConfig, JournalId};

fn fill(c: &mut Criterion) {
    let frame = [b'x'; FRAME_BYTES];
    let mut group = c.benchmark_group("journal/append and take");
    for records in [1u64, 16, 256, 1_024] {
        let mut journal =
            Journal::open(JournalId(1), JournalConfig::new(4_096, 7), &NoDisk).expect("no disk never fails");
        group.throughput(Throughput::Elements(records));
        group.bench_function(format!("{records} of {FRAME_BYTES} B"), |b| {
            b.iter(|| {
                append(&mut journal, &frame, records);
                commit(&mut journal, &NoDisk, |_| {});
            });
        });
    }
    group.finish();
}

fn durable(c: &mut Criterion) {
    let frame = [b'x'; FRAME_BYTES];
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for journals");
    let disk = FileDisk::open(folder.path()).expect("a folder that can be written");
    let mut group = c.benchmark_group("journal/durable write");
    for (id, records) in [1u64, 16, 256, 1_024].into_iter().enumerate() {
        let config = JournalConfig { segment_bytes: 8 << 20, ..JournalConfig::new(disk.align_bytes(), 7) };
        let mut journal = Journal::open(JournalId(id as u32 + 1), config, &disk).expect("segments are made");
        let mut files: BTreeMap<Arc<str>, File> = BTreeMap::new();
        group.throughput(Throughput::Elements(records));
        group.bench_function(format!("{records} of {FRAME_BYTES} B"), |b| {
            b.iter(|| {
                append(&mut journal, &frame, records);
                commit(&mut journal, &disk, |block| {
                    // As the shard does it: a segment is opened once.
                    if !files.contains_key(&block.file) {
                        let mut open = OpenOptions::new();
                        let open = open.write(true).custom_flags(disk.write_flags());
                        let file = open.open(disk.path(&block.file)).expect("a segment opens");
                        files.insert(Arc::clone(&block.file), file);
                    }
                    files[&block.file].write_all_at(block.bytes.as_slice(), block.offset).expect("a durable write");
                });
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = journal;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50);
    targets = fill, durable
}
criterion_main!(journal);
