//! The whole product on Cassandra, with the journal as the commit: the server is killed, the node is killed, and what was
//! acknowledged is there.

use schema::ids::{ChatId, MessageId, UserId};
use shardwire_tests::process::{CassandraCluster, Deadline, Native, Options, Server};

const SENDER: u64 = 1;
const RECEIVER: u64 = 2;
/// A body; some of them fill the smallest memory table, 1 MiB.
const BODY: [u8; 2_048] = [b'x'; 2_048];
const TABLE_SENDS: u32 = 600;

struct Sent {
    server: Server,
    acked: Vec<(Vec<u8>, MessageId, u64)>,
}

impl Sent {
    /// Sends so many and notes what each was answered.
    fn send(&mut self, count: u32) {
        let mut native = Native::login(self.server.native(), &self.server.token(SENDER, 1)).expect("a session");
        for _ in 0..count {
            let id = format!("m{}", self.acked.len());
            let (message, seq) = native.send(&id, user(RECEIVER), &BODY).expect("acknowledged");
            self.acked.push((id.into_bytes(), message, seq));
        }
    }

    /// What is read is what was acknowledged, whole and in order.
    fn audit(&self) {
        let mut native = Native::login(self.server.native(), &self.server.token(RECEIVER, 1)).expect("a session");
        let log = native.history(ChatId::direct(user(SENDER), user(RECEIVER))).expect("history");
        let acked: Vec<_> = self.acked.iter().map(|(id, message, seq)| (*seq, id.clone(), *message)).collect();
        assert!(log == acked, "{} of {} are there", log.len(), acked.len());
    }

    fn wait_for(&self, what: &str, holds: impl Fn(&Server) -> bool) {
        assert!(Deadline::after_s(60).wait_until(|| holds(&self.server)), "{what}\n{}", self.server.log());
    }
}

fn user(id: u64) -> UserId {
    UserId::new(id).expect("above 0")
}

fn options(cassandra: &CassandraCluster, keyspace: &str) -> Options {
    let nodes = cassandra.addresses_toml();
    let config = format!(
        "[limits]\nsends_per_second_per_user = 0\n[storage]\njournal_segment_bytes = 4194304\nmemory_table_bytes = 1048576\n\
         [store]\nengine = \"scylla\"\nnodes = {nodes}\nkeyspace = \"{keyspace}\"\nreplication = {{ datacenter1 = 1 }}\n"
    );
    Options { config, ..Options::default() }
}

fn migrate(server: &Server, check: bool) -> (bool, String) {
    let mut arguments = vec!["--config".to_owned(), server.config_file().display().to_string()];
    arguments.extend(check.then(|| "--check".to_owned()));
    let output = server.cli("migrate", &arguments);
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn kills_of_the_server_and_of_the_node_lose_nothing() {
    let mut cassandra = CassandraCluster::start(1);
    let mut server = Server::new(options(&cassandra, "shardwire"));
    let early = server.start_in_vain();
    let text = String::from_utf8_lossy(&early.stderr).into_owned();
    assert!(!early.status.success() && text.contains("there is no keyspace") && text.contains("migrate"), "{text}");
    assert!(!migrate(&server, true).0, "a check finds the keyspace missing");
    let (applied, text) = migrate(&server, false);
    assert!(applied && text.contains("migration 1 store: applied"), "{text}");
    assert!(migrate(&server, true).0, "nothing is missing");

    server.start_again();
    assert!(server.stdout().contains("store=scylla"), "{}", server.stdout());
    let mut sent = Sent { server, acked: Vec::new() };
    sent.send(TABLE_SENDS);
    sent.wait_for("the store has a table", |server| server.metric("storage_flushed_entries_total") > 0);
    sent.send(50);
    sent.server.kill9();
    sent.server.start_again();
    sent.audit();

    // The node goes under a server that runs. What a new session sends may be a resend, which only the store knows: refused.
    // What was acknowledged before goes to the store when the node is back.
    sent.send(20);
    cassandra.kill(0);
    let mut native = Native::login(sent.server.native(), &sent.server.token(SENDER, 2)).expect("a session");
    let refused = native.send("later", user(RECEIVER), &BODY).expect_err("the store cannot be asked");
    assert!(refused.to_string().contains("refused"), "{refused}");
    sent.wait_for("a flush fails", |server| server.metric("storage_flush_failures_total") > 0);
    assert_eq!(sent.server.metric("store_away"), 1);
    let flushed = sent.server.metric("storage_flushed_entries_total");
    cassandra.start_again(0);
    sent.wait_for("the store takes it", |server| server.metric("storage_flushed_entries_total") > flushed);
    assert_eq!(sent.server.metric("store_away"), 0);
    sent.audit();

    // Nothing is served whose history cannot be read, and the start says why.
    sent.send(20);
    cassandra.kill(0);
    sent.server.kill9();
    let away = sent.server.start_in_vain();
    let text = String::from_utf8_lossy(&away.stderr).into_owned();
    assert!(!away.status.success() && text.contains("store.nodes"), "{text}");
    cassandra.start_again(0);
    sent.server.start_again();
    sent.audit();

    // The folder's messages are in that keyspace: no other engine and no other keyspace is taken instead.
    sent.server.terminate();
    for (wrong, named) in
        [("[store]\nengine = \"embedded\"\n".to_owned(), "embedded"), (options(&cassandra, "other").config, "other")]
    {
        std::fs::write(sent.server.config_file(), wrong).expect("another configuration");
        let refused = sent.server.start_in_vain();
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && text.contains("keeps its messages in") && text.contains(named), "{text}");
    }
}
