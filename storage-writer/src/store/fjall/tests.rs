//! What only this store can get wrong: merges, failures of its engine, damage, kills.

mod checkpoints;
mod processes;

use std::fs;

use super::*;
use crate::store::contract::{self, Place, all, chat, entries, state};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }
    fn store(&self) -> Result<FjallStore, StoreError> {
        FjallStore::open(&self.0.path().join("store"), FjallConfig { cache_bytes: 1 << 20, ..FjallConfig::default() })
    }
}

impl Place for Folder {
    fn open(&self) -> Box<dyn Store> {
        Box::new(self.store().expect("a store"))
    }
}

crate::store_contract!(Folder::new());

fn full_run(upto: u64) -> FlushRun<'static> {
    FlushRun {
        applied: vec![(JournalId(0), Lsn(upto))],
        entries: contract::flat((1..=50).map(|n| (chat(n), entries(chat(n), 1..=upto))).collect()),
        amended: Vec::new(),
        states: (1..=50).map(|n| state(chat(n), upto)).collect(),
        dedupe: (0..200u8)
            .map(|n| {
                let message = contract::message(u64::from(n));
                let wall_ms = contract::START_MS + u64::from(n);
                (DedupeKey([n; 16]), DedupeHit { chat: chat(1), seq: u64::from(n), message, wall_ms })
            })
            .collect(),
    }
}

/// Everything a reader can see, or the first error.
fn seen(store: &FjallStore) -> Result<impl PartialEq + std::fmt::Debug + use<>, StoreError> {
    let (mut chats, mut hits) = (Vec::new(), Vec::new());
    store.load_chats(&mut |state| chats.push(state))?;
    store.dedupe_since(0, &mut |key, hit| hits.push((key, hit)))?;
    let range = HistoryRange { after_seq: 0, up_to_seq: u64::MAX, limit_entries: usize::MAX, limit_bytes: usize::MAX };
    let logs = (1..=50).map(|n| store.history(chat(n), range)).collect::<Result<Vec<_>, _>>()?;
    Ok((chats, hits, logs, store.applied()?))
}

#[test]
fn one_process_at_a_time() {
    let folder = Folder::new();
    let first = folder.store().expect("a store");
    assert!(matches!(folder.store(), Err(StoreError::Locked)));
    drop(first);
    folder.store().expect("free again");
}

#[test]
fn another_format_is_refused_and_named() {
    let refused = |format| {
        let folder = Folder::new();
        drop(folder.store().expect("a store"));
        let engine = Engine::open(&folder.0.path().join("store"), FjallConfig::default(), &ClockSeconds::default())
            .expect("an engine");
        engine.set_format_for_tests(format);
        drop(engine);
        folder.store().map(|_| ()).expect_err("not this build's format")
    };
    let next = engine::STORE_FORMAT + 1;
    assert!(matches!(refused(next), StoreError::Newer { found, known } if (found, known + 1) == (next, next)));
    let error = refused(1);
    assert!(matches!(error, StoreError::Older { found: 1, .. }) && error.to_string().contains("format 1"), "{error}");
}

#[test]
fn merges_keep_the_newest_of_many_overwrites() {
    let folder = Folder::new();
    let store = folder.store().expect("a store");
    for round in 1..=40 {
        store.flush(full_run(round)).expect("flush");
    }
    let stats = store.stats();
    assert!(stats.level0_runs < 40, "{stats:?}: merges ran");
    for n in 1..=50 {
        assert_eq!(all(&store, chat(n)), entries(chat(n), 1..=40));
    }
    let mut heads = Vec::new();
    store.load_chats(&mut |state| heads.push(state.head_seq)).expect("chats");
    assert_eq!(heads, [40; 50]);
    drop(store);
    let store = folder.store().expect("a store");
    store.flush(full_run(41)).expect("flush");
    store.load_chats(&mut |state| assert_eq!(state.head_seq, 41)).expect("chats");
}

#[test]
fn the_engines_own_journal_stays_empty() {
    let folder = Folder::new();
    let store = folder.store().expect("a store");
    store.flush(full_run(5)).expect("flush");
    let journals: Vec<_> =
        files(folder.0.path()).into_iter().filter(|file| file.extension().is_some_and(|e| e == "jnl")).collect();
    assert!(!journals.is_empty());
    for journal in journals {
        assert!(fs::read(journal).expect("a journal").iter().all(|byte| *byte == 0));
    }
}

#[test]
fn dedupe_keyspaces_are_bounded_and_dropped() {
    let folder = Folder::new();
    let store = folder.store().expect("a store");
    let hit = |n: u64| DedupeHit { chat: chat(1), seq: n, message: contract::message(n), wall_ms: n * rows::BUCKET_MS };
    for n in 0..60 {
        store
            .flush(FlushRun { dedupe: vec![(DedupeKey([n as u8; 16]), hit(n))], ..FlushRun::default() })
            .expect("flush");
    }
    let count = |store: &FjallStore| store.with("counting", |engine| Ok(engine.buckets(0).len())).expect("count");
    assert_eq!(count(&store), engine::MAX_BUCKETS);
    store.expire(60 * rows::BUCKET_MS).expect("expired");
    assert_eq!(count(&store), 8);
    drop(store);
    let store = folder.store().expect("a store");
    assert_eq!(count(&store), 8);
    assert_eq!(store.dedupe(DedupeKey([59; 16])).expect("hit"), Some(hit(59)));
    assert_eq!(store.dedupe(DedupeKey([51; 16])).expect("hit"), None);
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for item in fs::read_dir(folder).expect("a folder") {
        let path = item.expect("an item").path();
        if path.is_dir() { out.extend(files(&path)) } else { out.push(path) }
    }
    out.sort();
    out
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).expect("below"));
        fs::create_dir_all(target.parent().expect("a parent")).expect("a folder");
        if file.extension().is_some_and(|e| e == "jnl") {
            // 64 MiB of nothing.
            fs::File::create(target)
                .expect("a file")
                .set_len(fs::metadata(file).expect("a file").len())
                .expect("a length");
        } else {
            fs::copy(file, target).expect("a copy");
        }
    }
}

/// Damages one file at a time: the store answers with an error or with the truth, and never panics.
fn damage_each_file(damage: impl Fn(&Path)) -> (u32, u32) {
    let folder = Folder::new();
    let store = folder.store().expect("a store");
    store.flush(full_run(30)).expect("flush");
    let truth = seen(&store).expect("undamaged");
    drop(store);
    let whole = folder.0.path().join("store");
    let (mut errors, mut unharmed) = (0, 0);
    for file in files(&whole) {
        let name = file.strip_prefix(&whole).expect("below");
        if name.extension().is_some_and(|e| e == "jnl") || name.ends_with("lock") {
            continue;
        }
        let copied = Folder::new();
        copy(&whole, &copied.0.path().join("store"));
        damage(&copied.0.path().join("store").join(name));
        match copied.store().and_then(|store| seen(&store)) {
            Ok(found) => {
                assert!(found == truth, "{}: a damaged store must not lie", name.display());
                unharmed += 1;
            }
            Err(StoreError::Damaged { .. } | StoreError::Io { .. } | StoreError::Poisoned) => errors += 1,
            Err(other) => panic!("{}: {other}", name.display()),
        }
    }
    (errors, unharmed)
}

#[test]
fn a_flipped_byte_is_an_error_never_a_lie() {
    let (errors, _) = damage_each_file(|file| {
        let mut bytes = fs::read(file).expect("a file");
        let at = bytes.len() / 3;
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 0x10;
        }
        fs::write(file, bytes).expect("written");
    });
    assert!(errors >= 4, "{errors}");
}

#[test]
fn a_cut_file_is_an_error_never_a_lie() {
    let (errors, _) = damage_each_file(|file| {
        let len = fs::metadata(file).expect("a file").len();
        fs::OpenOptions::new().write(true).open(file).expect("a file").set_len(len / 2).expect("cut");
    });
    assert!(errors >= 4, "{errors}");
}

#[test]
fn a_missing_file_is_an_error_never_a_lie() {
    let (errors, _) = damage_each_file(|file| fs::remove_file(file).expect("removed"));
    assert!(errors >= 4, "{errors}");
}

#[test]
fn expired_entries_leave_the_disk_with_the_next_merge_and_amended_bodies_too() {
    let folder = Folder::new();
    let store = folder.store().expect("a store");
    let mut run = contract::run(vec![(chat(1), entries(chat(1), 1..=40))]);
    run.entries.iter_mut().filter(|entry| entry.seq % 2 == 0).for_each(|entry| entry.expires_s = 100);
    store.flush(run).expect("flush");
    let amended = contract::flat(vec![(chat(1), vec![contract::entry(chat(1), 3, 0)])]);
    store.flush(FlushRun { amended, ..FlushRun::default() }).expect("flush");
    let merge = || store.with("merging", |engine| engine.entries.major_compact().map_err(error::engine("merging")));
    store.expire(99_999).expect("expire");
    merge().expect("merges");
    assert_eq!(all(&store, chat(1)).len(), 40, "not yet");
    store.expire(100_000).expect("expire");
    merge().expect("merges");
    let mut left = entries(chat(1), (1..=40).step_by(2));
    left[1] = contract::entry(chat(1), 3, 0);
    assert_eq!(all(&store, chat(1)), left);
    assert_eq!(store.find_message(chat(1), contract::message(39)).expect("found"), Some(39));
    assert_eq!(store.find_message(chat(1), contract::message(40)).expect("looked for"), None);
    // Tables that were merged go with the last who may read them.
    drop(store);
    drop(folder.store().expect("a store"));
    let body = contract::entry(chat(1), 2, 40).frame;
    let mut files = vec![folder.0.path().to_owned()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(fs::read_dir(&path).expect("a folder").map(|file| file.expect("a file").path()));
        } else {
            let bytes = fs::read(&path).unwrap_or_default();
            assert!(!bytes.windows(40).any(|part| part == &body[..]), "{} has it", path.display());
        }
    }
}
