//! One process in no list of nodes, with the store as the commit: it is stopped, it is killed and its data folder goes with it,
//! and what was acknowledged is there. It knows of nobody, so it does not begin beside another writer.

use schema::ids::{ChatId, MessageId, UserId};
use shardwire_tests::process::{CassandraCluster, Native, Options, Server};

const SENDER: u64 = 1;
/// Chats of the sender; they and the accounts are in most of the 16 partitions.
const RECEIVERS: u64 = 12;

type Said = Vec<Vec<(u64, Vec<u8>, MessageId)>>;

fn user(id: u64) -> UserId {
    UserId::new(id).expect("above 0")
}

fn receivers() -> impl Iterator<Item = UserId> {
    (0..RECEIVERS).map(|n| user(SENDER + 1 + n))
}

fn login(server: &Server) -> Native {
    Native::login(server.native(), &server.token(SENDER, 1)).expect("a session")
}

/// Says something in every chat, and notes what it was answered.
fn talk(server: &Server, said: &mut Said, messages: usize) {
    let mut native = login(server);
    for (receiver, log) in receivers().zip(said) {
        for _ in 0..messages {
            let id = format!("{receiver} {}", log.len());
            let (message, seq) = native.send(&id, receiver, b"hello").expect("acknowledged");
            log.push((seq, id.into_bytes(), message));
        }
    }
}

/// What is read is what was acknowledged, whole and in order; what is sent again is known.
fn audit(server: &Server, said: &Said) {
    let mut native = login(server);
    for (receiver, acked) in receivers().zip(said) {
        let log = native.history(ChatId::direct(user(SENDER), receiver)).expect("history");
        assert!(log == *acked, "{} of {} are there\n{}", log.len(), acked.len(), server.log());
        let (seq, id, message) = acked.last().expect("something was said");
        let again = native.send(std::str::from_utf8(id).expect("a text"), receiver, b"hello").expect("acknowledged");
        assert_eq!(again, (*message, *seq), "sent again");
    }
}

#[test]
fn a_process_alone_may_have_its_store_as_the_commit() {
    let cassandra = CassandraCluster::shared();
    let store = cassandra.shared_store("alone");
    let options = |hold_ms: u32| {
        let config = format!("[limits]\nsends_per_second_per_user = 0\nhold_ms = {hold_ms}\n{store}");
        Options { config, ..Options::default() }
    };
    let mut server = Server::new(options(20_000));
    let migrated = server.cli("migrate", &["--config".to_owned(), server.config_file().display().to_string()]);
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    server.start_again();
    assert!(!server.log().contains("limits.hold_ms"), "{}", server.log());
    let mut said = vec![Vec::new(); RECEIVERS as usize];
    talk(&server, &mut said, 20);

    // In order: nothing is left behind, and what is there again is whole.
    server.terminate();
    server.start_again();
    audit(&server, &said);
    talk(&server, &mut said, 20);

    // Killed: its former life holds all partitions for some seconds more. What is asked and sent waits.
    server.kill9();
    server.start_again();
    audit(&server, &said);
    talk(&server, &mut said, 20);

    // Nothing that was said is in the folder.
    server.kill9();
    std::fs::remove_dir_all(server.data()).expect("the folder can be removed");
    server.start_again();
    audit(&server, &said);

    // Another process that is alone too does not begin, and the first goes on.
    let other = Server::new(options(5_000));
    let refused = other.start_in_vain();
    // What is said to people is broken into lines.
    let text = String::from_utf8_lossy(&refused.stderr).replace('│', " ");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!refused.status.success(), "{text}");
    assert!(text.contains("limits.hold_ms is 5000") && text.contains("limits.hold_ms to 7500"), "{text}");
    assert!(text.contains("in no list, folder") && text.contains("cluster.nodes_file"), "{text}");
    talk(&server, &mut said, 5);
    audit(&server, &said);
    server.terminate();
}
