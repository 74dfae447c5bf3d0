//! What every store must do, run over each of them.

use std::path::Path;

use super::*;

fn send(n: u8, to_user: bool) -> StoredSend {
    let chat = ChatId([n % 3; 16]);
    let target = if to_user { SendTarget::User(UserId::new(7).unwrap()) } else { SendTarget::Chat(chat) };
    StoredSend {
        client_msg_id: Bytes::from(vec![b'm', n]),
        chat,
        target,
        kind: 0,
        content_type: n,
        body: Bytes::from(vec![n; usize::from(n) * 3]),
        refers_to: to_user.then_some(MessageId([n; 16])),
        after_seq: u64::from(n),
        created_ms: 1_000 + u64::from(n),
        users: Box::default(),
        role: 0,
        extras: None,
    }
}

fn group_change(n: u8) -> StoredSend {
    let users = [UserId::new(70).unwrap(), UserId::new(u64::MAX).unwrap()].into();
    let refers_to = None;
    StoredSend { kind: schema::wire::EntryKind::role.0, users, role: 1, refers_to, ..send(n, false) }
}

fn setting(n: u8) -> StoredSend {
    let (subject, key) = (Some(ChatId([n; 16])), Bytes::from_static(b"pinned"));
    let extras = StoredExtras { ttl_s: 86_400, forwarded: 3, subject, key, device: u32::MAX };
    StoredSend { kind: schema::wire::EntryKind::setting.0, ..send(n, false) }.with(extras)
}

fn mention(n: u8) -> StoredSend {
    StoredSend { users: [UserId::new(71).unwrap()].into(), ..send(n, true) }
}

fn changes() -> Vec<Change> {
    let chat = ChatId([1; 16]);
    vec![
        Change::Identity { user: UserId::new(9).unwrap(), device: DeviceId(2) },
        Change::Queued(send(1, true)),
        Change::Queued(send(2, false)),
        Change::Queued(send(3, true)),
        Change::Queued(group_change(4)),
        Change::Queued(setting(5)),
        Change::Queued(mention(6)),
        Change::Synced { server_time_ms: 1_767_225_600_123 },
        Change::Handled { chat, seq: 4 },
        Change::Sent { client_msg_id: Bytes::from_static(b"m\x02"), chat, seq: 6 },
        Change::Dropped { client_msg_id: Bytes::from_static(b"m\x01") },
        Change::Read { chat, seq: 3 },
    ]
}

fn contract<S: ClientStore>(mut open: impl FnMut() -> S, mut crash: impl FnMut(S) -> S) {
    let mut store = open();
    assert_eq!(store.load().unwrap(), Image::default());
    let mut expected = Image::default();
    for change in changes() {
        store.append(&change).unwrap();
        expected.apply(&change);
    }
    store.sync().unwrap();
    assert_eq!(store.load().unwrap(), expected);
    let mut store = crash(store);
    let image = store.load().unwrap();
    assert_eq!(image, expected, "what was synced survives");
    assert_eq!(image.outbox.len(), 4);
    assert_eq!(image.synced_ms, 1_767_225_600_123);
    let chat = &image.chats[&ChatId([1; 16])];
    assert_eq!((chat.handled, chat.read, chat.had.clone()), (Some(4), 3, vec![(6, 6)]));

    store.append(&Change::Handled { chat: ChatId([1; 16]), seq: 5 }).unwrap();
    store.sync().unwrap();
    store.append(&Change::Queued(send(9, false))).unwrap();
    let mut store = crash(store);
    let image = store.load().unwrap();
    assert_eq!(image.chats[&ChatId([1; 16])].handled, Some(6), "a position steps over own sends");
    assert!(image.outbox.len() <= 5 && image.outbox[0].client_msg_id[..] == b"m\x03"[..], "a prefix survives");
}

#[test]
fn the_memory_store_keeps_the_contract() {
    contract(MemoryStore::new, |mut store| {
        store.crash(0);
        store
    });
}

#[test]
fn the_file_store_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    contract(
        || FileStore::open(&path).unwrap(),
        |store| {
            drop(store);
            FileStore::open(&path).unwrap()
        },
    );
}

fn log(folder: &Path) -> PathBuf {
    let mut logs: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    logs.retain(|path| path.extension().is_some_and(|e| e == "log"));
    assert_eq!(logs.len(), 1);
    logs.remove(0)
}

#[test]
fn a_torn_tail_is_cut_wherever_it_tears() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = FileStore::open(folder.path()).unwrap();
    changes().iter().for_each(|change| store.append(change).unwrap());
    store.sync().unwrap();
    let before = store.load().unwrap();
    let whole = store.log_bytes();
    store.append(&Change::Handled { chat: ChatId([2; 16]), seq: 77 }).unwrap();
    store.sync().unwrap();
    let after = store.load().unwrap();
    drop(store);
    let path = log(folder.path());
    let bytes = std::fs::read(&path).unwrap();
    for end in whole..bytes.len() as u64 {
        std::fs::write(&path, &bytes[..end as usize]).unwrap();
        let mut store = FileStore::open(folder.path()).unwrap();
        assert_eq!(store.load().unwrap(), before);
        assert_eq!(store.cut_bytes(), end - whole);
    }
    for flipped in whole as usize..bytes.len() {
        let mut garbled = bytes.clone();
        garbled[flipped] ^= 0x40;
        std::fs::write(&path, &garbled).unwrap();
        assert_eq!(FileStore::open(folder.path()).unwrap().load().unwrap(), before);
    }
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(FileStore::open(folder.path()).unwrap().load().unwrap(), after);
}

#[test]
fn damage_below_what_was_durable_is_not_taken_for_a_torn_tail() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = FileStore::open(folder.path()).unwrap();
    let mut ends = vec![store.log_bytes()];
    for seq in 1..=4 {
        store.append(&Change::Handled { chat: ChatId([1; 16]), seq }).unwrap();
        store.sync().unwrap();
        ends.push(store.log_bytes());
    }
    drop(store);
    let path = log(folder.path());
    let bytes = std::fs::read(&path).unwrap();
    for flipped in 0..ends[3] as usize {
        let mut garbled = bytes.clone();
        garbled[flipped] ^= 1;
        std::fs::write(&path, &garbled).unwrap();
        let error = FileStore::open(folder.path()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. } | StoreError::Newer { .. }), "byte {flipped}: {error}");
    }
}

#[test]
fn compaction_keeps_everything_and_bounds_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = FileStore::open(folder.path()).unwrap();
    for round in 0..400u64 {
        let mut one = send(200, true);
        one.client_msg_id = Bytes::from(round.to_string());
        store.append(&Change::Queued(one.clone())).unwrap();
        if round % 10 != 0 {
            let (client_msg_id, chat) = (one.client_msg_id, one.chat);
            store.append(&Change::Sent { client_msg_id, chat, seq: 2 * round }).unwrap();
        }
        if round % 100 == 0 {
            store.sync().unwrap();
        }
    }
    store.sync().unwrap();
    let image = store.load().unwrap();
    assert_eq!(image.outbox.len(), 40);
    assert!(store.log_bytes() < 4 * COMPACTED_BYTES, "{} bytes", store.log_bytes());
    drop(store);
    log(folder.path());
    assert_eq!(FileStore::open(folder.path()).unwrap().load().unwrap(), image);
}

const COMPACTED_BYTES: u64 = 64 << 10;

#[test]
fn one_client_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let first = FileStore::open(folder.path()).unwrap();
    assert!(matches!(FileStore::open(folder.path()), Err(StoreError::Locked { .. })));
    drop(first);
    FileStore::open(folder.path()).unwrap();
}

#[test]
fn a_log_of_the_first_format_is_read_and_goes_on_in_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = FileStore::open(folder.path()).unwrap();
    let known = [Change::Queued(send(1, true)), Change::Queued(group_change(2)), changes().remove(0)];
    known.iter().for_each(|change| store.append(change).unwrap());
    store.sync().unwrap();
    let image = store.load().unwrap();
    drop(store);
    let path = log(folder.path());
    let mut bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes[4..8], 2u32.to_le_bytes());
    bytes[4] = 1;
    std::fs::write(&path, &bytes).unwrap();
    let mut store = FileStore::open(folder.path()).unwrap();
    assert_eq!(store.load().unwrap(), image);
    let newest = log(folder.path());
    assert_eq!(std::fs::read(&newest).unwrap()[4..8], 2u32.to_le_bytes(), "what comes next may be of the newest only");
    store.append(&Change::Queued(setting(3))).unwrap();
    store.sync().unwrap();
    let image = store.load().unwrap();
    drop(store);
    assert_eq!(FileStore::open(folder.path()).unwrap().load().unwrap(), image);
}
