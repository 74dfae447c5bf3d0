//! What needs a process of its own: being killed, and running out of room. The test starts its own executable again, as
//! the child named by an environment variable.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::*;

const CHILD: &str = "SHARDWIRE_STORE_TEST_CHILD";
/// Largest file of the child that runs out of room, KiB.
const ROOM_KIB: u32 = 1_024;

fn child(test: &str, folder: &Folder, shell: &str) -> Child {
    let test = format!("store::fjall::tests::processes::{test}");
    Command::new("sh")
        .args(["-c", &format!("{shell} exec \"$0\" --exact \"$1\" --nocapture")])
        .arg(std::env::current_exe().expect("a test executable"))
        .arg(test)
        .env(CHILD, folder.0.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child")
}

fn in_child() -> Option<FjallStore> {
    let path = std::env::var_os(CHILD)?;
    let config = FjallConfig { level0_merge: 4, level0_limit: 8, ..FjallConfig::default() };
    Some(FjallStore::open(&Path::new(&path).join("store"), config).expect("a store"))
}

fn applied(store: &FjallStore) -> u64 {
    store.applied().expect("applied").first().map_or(0, |(_, lsn)| lsn.0)
}

#[test]
fn a_killed_process_leaves_whole_runs_and_positions_that_hold() {
    if let Some(store) = in_child() {
        for upto in applied(&store) + 1.. {
            store.flush(full_run(upto)).expect("flush");
            println!("\nflushed {upto}");
        }
    }
    let folder = Folder::new();
    let mut before = 0;
    for round in 1..=6 {
        let mut child = child("a_killed_process_leaves_whole_runs_and_positions_that_hold", &folder, "");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines().map(|line| line.expect("a line"));
        let mut reports = lines.filter_map(|line| line.strip_prefix("flushed ")?.parse::<u64>().ok());
        let reported = reports.by_ref().take(round).last().expect("a report");
        child.kill().expect("killed");
        child.wait().expect("ended");
        let reported = reports.last().unwrap_or(reported);

        let store = folder.store().expect("opens after a kill");
        let applied = applied(&store);
        assert!(applied >= reported && applied > before, "applied {applied}, reported {reported}");
        for n in 1..=50 {
            let log = all(&store, chat(n));
            // The run that the kill interrupted may be there in part.
            assert!(log == entries(chat(n), 1..=applied) || log == entries(chat(n), 1..=applied + 1));
        }
        store.load_chats(&mut |state| assert!((applied..=applied + 1).contains(&state.head_seq))).expect("chats");
        before = applied;
    }
}

/// 64 chats of `each` entries of 512 bytes, from `first` on.
fn large_run(first: u64, each: u64) -> FlushRun<'static> {
    let entry = |chat, seq| contract::entry(chat, seq, 512);
    let log = |n| (chat(n), (first..first + each).map(|seq| entry(chat(n), seq)).collect());
    let entries = contract::flat((1..=64).map(log).collect());
    FlushRun { entries, applied: vec![(JournalId(0), Lsn(first))], ..FlushRun::default() }
}

#[test]
fn a_store_out_of_room_refuses_and_recovers() {
    const NAME: &str = "a_store_out_of_room_refuses_and_recovers";
    if let Some(store) = in_child() {
        let too_much = ROOM_KIB as u64 / 32 + 1;
        let refused = store.flush(large_run(1_000, too_much));
        assert!(refused.as_ref().is_err_and(StoreError::is_transient), "{refused:?}");
        assert_eq!(all(&store, chat(1)).len(), 0);
        // Small runs fit, until merging them does not.
        let mut taken = 0;
        let refused = loop {
            match store.flush(large_run(taken + 1, 10)) {
                Ok(_) => taken += 10,
                Err(error) => break error,
            }
            assert!(taken < 10_000, "merges that cannot work must be noticed");
        };
        assert!(refused.is_transient(), "{refused}");
        assert_eq!(all(&store, chat(1)).len() as u64, taken);
        // At the change after the first refusal. Whether a merge failed before the last one did is the scheduler's choice.
        assert!(store.stats().reopened >= 1, "{:?}", store.stats());
        println!("\ntaken {taken}");
        return;
    }
    let folder = Folder::new();
    drop(folder.store().expect("a store"));
    // Beyond the limit a write fails, as on a full disk, once the signal is ignored.
    let shell = format!("trap '' XFSZ; ulimit -f {ROOM_KIB};");
    let output = child(NAME, &folder, &shell).wait_with_output().expect("ended");
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let taken: u64 = output.lines().find_map(|line| line.strip_prefix("taken ")?.parse().ok()).expect(&output);

    let store = folder.store().expect("a store");
    assert_eq!(all(&store, chat(64)).len() as u64, taken);
    store.flush(large_run(taken + 1, 100)).expect("there is room again");
    assert_eq!(all(&store, chat(64)).len() as u64, taken + 100);
    assert_eq!(applied(&store), taken + 1);
}
