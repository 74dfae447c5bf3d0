//! Backups taken while the server serves, and of a folder nobody serves from; what they are restored to; what is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use schema::ids::{ChatId, MessageId, UserId};
use schema::timeuuid::{ordered_key, unix_ms};
use shardwire_tests::process::{Deadline, Native, Options, Server, binary, output, unwrapped};
use tempfile::TempDir;

use super::a_full_disk_stops_acks_and_recovers_by_itself::SmallDisk;

const SENDERS: u64 = 4;
const RECEIVER: u64 = 100;

/// Memory tables are small, so that there is a store as well as journals.
fn options() -> Options {
    let config = "[limits]\nsends_per_second_per_user = 0\n[storage]\njournal_segment_bytes = 4194304\nmemory_table_bytes = 1048576\n";
    Options { config: config.to_owned(), ..Options::default() }
}

fn chat(user: u64) -> ChatId {
    ChatId::direct(UserId::new(user).unwrap(), UserId::new(RECEIVER).unwrap())
}

/// What it printed, without the lines and frames of an error report.
fn text(output: &Output) -> String {
    unwrapped(&format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

/// Takes a backup; what the command printed.
fn backup(server: &Server, to: &Path) -> serde_json::Value {
    let output = server.cli("backup", &["--json".to_owned(), "--to".to_owned(), to.display().to_string()]);
    assert!(output.status.success(), "{}\n{}", text(&output), server.log());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn restore(from: &Path, data: &Path, until: Option<String>) -> Output {
    let mut command = Command::new(binary("shardwire"));
    command.args(["restore", "--json", "--from"]).arg(from).arg("--data").arg(data);
    if let Some(until) = until {
        command.args(["--until", &until]);
    }
    output(command, 30)
}

fn restored(from: &Path, data: &Path, until: Option<String>) -> serde_json::Value {
    let output = restore(from, data, until);
    assert!(output.status.success(), "{}", text(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Starts a server on a restored folder.
fn serve(data: PathBuf) -> Server {
    Server::start(Options { data: Some(data), ..options() })
}

/// A chat's log: client_msg_id → where it is. Its seqs are gapless, and nothing is in it twice.
fn log(server: &Server, user: u64) -> BTreeMap<String, (MessageId, u64)> {
    let mut native = Native::login(server.native(), &server.token(RECEIVER, 9)).unwrap();
    let entries = native.history(chat(user)).unwrap();
    assert!(entries.iter().map(|entry| entry.0).eq(1..=entries.len() as u64), "gapless");
    assert!(entries.windows(2).all(|pair| ordered_key(pair[0].2) < ordered_key(pair[1].2)), "ids rise");
    let count = entries.len();
    let by_id: BTreeMap<_, _> =
        entries.into_iter().map(|(seq, id, message)| (String::from_utf8(id).unwrap(), (message, seq))).collect();
    assert_eq!(by_id.len(), count, "nothing twice");
    by_id
}

type Acked = Mutex<BTreeMap<String, (MessageId, u64)>>;

#[derive(Default)]
struct Load {
    acked: [Acked; SENDERS as usize],
    count: AtomicU64,
    enough: AtomicBool,
}

impl Load {
    /// Sends one after the other until it is enough.
    fn send(&self, server: &Server, user: u64) {
        let mut native = Native::login(server.native(), &server.token(user, 1)).unwrap();
        let to = UserId::new(RECEIVER).unwrap();
        for number in 0u64.. {
            if self.enough.load(Ordering::SeqCst) {
                return;
            }
            let id = format!("{user}-{number}");
            let place = native.send(&id, to, &[number as u8; 2_000]).unwrap();
            self.acked[user as usize - 1].lock().unwrap().insert(id, place);
            self.count.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Ends the senders when this is dropped, also by a panic: else they would be waited for in vain.
    fn until_dropped(&self) -> impl Drop {
        struct Enough<'a>(&'a AtomicBool);
        impl Drop for Enough<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        Enough(&self.enough)
    }

    fn now(&self) -> Vec<BTreeMap<String, (MessageId, u64)>> {
        self.acked.iter().map(|acked| acked.lock().unwrap().clone()).collect()
    }

    fn wait_for(&self, server: &Server, more: u64) {
        let enough = self.count.load(Ordering::SeqCst) + more;
        let there = || self.count.load(Ordering::SeqCst) >= enough;
        assert!(Deadline::after_s(60).wait_until(there), "the load goes on\n{}", server.log());
    }
}

#[test]
fn what_was_acknowledged_before_a_backup_under_load_began_is_in_what_is_restored() {
    let mut server = Server::start(options());
    let (load, backups) = (Load::default(), TempDir::new().unwrap());
    let (first, second, taken) = std::thread::scope(|scope| {
        for user in 1..=SENDERS {
            let (load, server) = (&load, &server);
            scope.spawn(move || load.send(server, user));
        }
        let _until = load.until_dropped();
        load.wait_for(&server, 4_000);
        let flushed = || server.metric("storage_flushes_total") > 0;
        assert!(Deadline::after_s(60).wait_until(flushed), "there is something in the store\n{}", server.log());
        let first = load.now();
        let taken = [backup(&server, backups.path()), {
            load.wait_for(&server, 1_000);
            backup(&server, backups.path())
        }];
        load.wait_for(&server, 200);
        let second = load.now();
        (first, second, taken)
    });
    server.kill9();
    assert!(taken[1]["shared_bytes"].as_u64().unwrap() > 0, "{taken:?}");
    assert_eq!(std::fs::read_dir(backups.path()).unwrap().count(), 2, "nothing half is left");
    assert!(!server.data().join("backup-staging").exists());
    for (taken, acked) in taken.iter().zip([&first, &first]) {
        let place = TempDir::new().unwrap();
        let data = place.path().join("data");
        let report = restored(Path::new(taken["path"].as_str().unwrap()), &data, None);
        let server = serve(data);
        let mut entries = 0;
        for (user, acked) in (1..=SENDERS).zip(acked) {
            let log = log(&server, user);
            entries += log.len() as u64;
            for (id, place) in acked {
                assert_eq!(log.get(id), Some(place), "{id}");
            }
            let all = &second[user as usize - 1];
            assert!(log.iter().all(|(id, place)| all.get(id).is_none_or(|other| other == place)), "nothing made up");
        }
        assert_eq!((report["chats"].as_u64(), report["entries"].as_u64()), (Some(SENDERS), Some(entries)));
        let mut native = Native::login(server.native(), &server.token(1, 1)).unwrap();
        let (_, seq) = native.send("after", UserId::new(RECEIVER).unwrap(), b"on it goes").unwrap();
        assert_eq!(seq, log(&server, 1).len() as u64, "the log goes on where it ended");
    }
}

#[test]
fn a_restore_to_a_point_in_time_has_what_came_until_then_and_no_more() {
    let mut server = Server::start(Options::default());
    let (place, to) = (TempDir::new().unwrap(), UserId::new(RECEIVER).unwrap());
    let mut native = Native::login(server.native(), &server.token(1, 1)).unwrap();
    let mut times = Vec::new();
    for number in 0..60 {
        let (message, _) = native.send(&format!("m{number}"), to, b"one every few ms").unwrap();
        times.push(unix_ms(message));
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    server.terminate();
    // Nobody serves: the folder itself is saved.
    let backups = place.path().join("backups");
    let taken = backup(&server, &backups);
    let until = times[29];
    let expected = times.iter().filter(|time| **time <= until).count();
    let rfc3339 = jiff::Timestamp::from_millisecond(until as i64).unwrap().to_string();
    for (number, until) in [until.to_string(), rfc3339].into_iter().enumerate() {
        let data = place.path().join(format!("data-{number}"));
        let report = restored(&backups, &data, Some(until));
        assert_eq!(report["entries"].as_u64(), Some(expected as u64));
        let log = log(&serve(data), 1);
        assert!((0..expected).all(|number| log.contains_key(&format!("m{number}"))) && log.len() == expected);
    }
    let all = restored(&backups, &place.path().join("all"), Some((times[59] + 1).to_string()));
    assert_eq!((all["entries"].as_u64(), all["cut_journals"].as_u64()), (Some(60), Some(0)));
    assert_eq!(all["until_ms"].as_u64(), Some(times[59]));
    assert_eq!(taken["until_ms"].as_u64(), Some(times[59]));
    let data = place.path().join("none");
    let none = restored(&backups, &data, Some((times[0] - 1).to_string()));
    assert_eq!(none["entries"].as_u64(), Some(0));
    // What is in the store has no earlier state: with a start and a stop between, all of it is there.
    server.start_again();
    let flushed = || server.metric("storage_flushed_entries_total") >= 60;
    assert!(Deadline::after_s(60).wait_until(flushed), "{}", server.log());
    server.terminate();
    let taken = backup(&server, &place.path().join("later"));
    assert!(taken["from_ms"].as_u64() >= Some(times[59]), "{taken}");
    let early = restore(&place.path().join("later"), &place.path().join("early"), Some(until.to_string()));
    let said = text(&early);
    assert!(!early.status.success() && said.contains("use an earlier backup"), "{said}");
    assert!(!place.path().join("early").exists());
}

#[test]
fn a_damaged_backup_and_a_folder_in_use_are_refused_and_left_alone() {
    let mut server = Server::start(options());
    let mut native = Native::login(server.native(), &server.token(1, 1)).unwrap();
    for number in 0..50 {
        native.send(&format!("m{number}"), UserId::new(RECEIVER).unwrap(), &[7; 2_000]).unwrap();
    }
    let place = TempDir::new().unwrap();
    let taken = backup(&server, &place.path().join("backups"));
    server.kill9();
    let path = PathBuf::from(taken["path"].as_str().unwrap());
    let target = place.path().join("data");
    let refused = |why: &[&str]| {
        let output = restore(&path, &target, None);
        let said = text(&output);
        assert!(!output.status.success() && why.iter().all(|why| said.contains(why)), "{why:?}: {said}");
        assert!(std::fs::read_dir(&target).map_or(0, Iterator::count) == 0, "nothing half is left");
    };
    let segment = std::fs::read_dir(path.join("journal")).unwrap().next().unwrap().unwrap().path();
    let name = segment.file_name().unwrap().to_str().unwrap().to_owned();
    let whole = std::fs::read(&segment).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(&segment, &damaged).unwrap();
    refused(&["damaged", &name]);
    std::fs::write(&segment, &whole[1..]).unwrap();
    refused(&["damaged", &name]);
    std::fs::remove_file(&segment).unwrap();
    refused(&["damaged", &name, "is missing"]);
    std::fs::write(&segment, &whole).unwrap();
    let manifest = std::fs::read_to_string(path.join("MANIFEST")).unwrap();
    std::fs::write(path.join("MANIFEST"), manifest.replace("\"format\": 1", "\"format\": 9")).unwrap();
    refused(&["format 9", "newer version"]);
    std::fs::write(path.join("MANIFEST"), manifest.replacen("\"started_ms\": 1", "\"started_ms\": 2", 1)).unwrap();
    refused(&["MANIFEST", "damaged", "checksum"]);
    std::fs::remove_file(path.join("MANIFEST")).unwrap();
    refused(&["is no backup"]);
    std::fs::write(path.join("MANIFEST"), manifest).unwrap();
    let report = restored(&path, &target, None);
    assert_eq!(report["entries"].as_u64(), Some(50), "whole again");
    let again = restore(&path, &target, None);
    assert!(!again.status.success() && text(&again).contains("not empty"), "{}", text(&again));
    let server = serve(target.clone());
    assert_eq!(log(&server, 1).len(), 50);
}

#[test]
fn a_backup_that_has_no_room_fails_leaves_nothing_half_and_costs_the_server_nothing() {
    let disk = SmallDisk::new(1);
    let server = Server::start(Options { through: disk.through(), ..options() });
    let mut native = Native::login(server.native(), &server.token(1, 1)).unwrap();
    let to = UserId::new(RECEIVER).unwrap();
    for number in 0..60 {
        native.send(&format!("m{number}"), to, &[7; 40_000]).unwrap();
    }
    let take = |to: &Path| server.cli("backup", &["--to".to_owned(), to.display().to_string()]);
    let full = take(&Path::new(SmallDisk::PLACE).join("backups"));
    let said = text(&full);
    assert!(!full.status.success() && said.contains("No space left on device"), "{said}\n{}", server.log());
    let left = std::fs::read_dir(disk.path().join("backups")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "nothing half is left");
    assert!(!server.data().join("backup-staging").exists());
    let file = TempDir::new().unwrap();
    std::fs::write(file.path().join("a file"), "").unwrap();
    let nowhere = take(&file.path().join("a file/backups"));
    assert!(!nowhere.status.success() && text(&nowhere).contains("a file"), "{}", text(&nowhere));
    let inside = take(&server.data().join("backups"));
    assert!(!inside.status.success() && text(&inside).contains("outside it"), "{}", text(&inside));
    // And where there is room, with a blank in its name, there is a backup.
    native.send("after", to, b"it serves").unwrap();
    let taken = backup(&server, &file.path().join("the backups"));
    assert!(Path::new(taken["path"].as_str().unwrap()).join("MANIFEST").exists());
}
