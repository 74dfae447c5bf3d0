//! A group in which everybody talks is given other partitions and taken home again by the command, while the writers that have
//! them are killed: what was acknowledged is there once, in each sender's order. What cannot be pinned is refused.

use std::process::Command;
use std::time::Duration;

use client::{Client, Config};
use schema::ids::{ChatId, UserId};
use shardwire_tests::process::cluster::{Cluster, Options, Shape};
use shardwire_tests::process::{CassandraCluster, Chatter, Deadline, Manner, binary};

const PARTITIONS: u16 = 4;
const WRITERS: [&str; 2] = ["sw-1", "sw-2"];
/// They write to the group from both gateways.
const MANNER: Manner = Manner { pairs: 4, every: Duration::from_millis(40), answer_timeout_ms: 15_000, between: 20 };
/// What may take so long, may, s: a table is written when its partition has been quiet for half a minute.
const PATIENCE_S: u64 = 90;

/// Nobody is logged in as this user.
const ABSENT: UserId = UserId::new(99).expect("above 0");

fn user(id: u64) -> UserId {
    UserId::new(id).expect("above 0")
}

fn made(options: &Options) -> Cluster {
    let mut cluster = Cluster::new(options).expect("a folder");
    cluster.migrate().and_then(|()| cluster.start()).unwrap_or_else(|error| panic!("{error}"));
    cluster
}

/// `shardwire chats …` with the cluster's configuration: what it wrote, or why it refused.
fn chats(cluster: &Cluster, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(binary("shardwire"));
    command.arg("chats").args(arguments).arg("--config").arg(cluster.config_file());
    let said = command.output().expect("the command runs");
    let text = |bytes: &[u8]| {
        // An error is drawn in lines of the terminal's width.
        let words = String::from_utf8_lossy(bytes).replace('│', " ");
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    if said.status.success() { Ok(text(&said.stdout)) } else { Err(text(&said.stderr)) }
}

fn pin(cluster: &Cluster, chat: ChatId, to: u16) -> Result<String, String> {
    chats(cluster, &["pin", &chat.to_string(), "--partition", &to.to_string()])
}

/// Where the list says that a chat is, and where to it goes; `None`: it is at home.
fn listed(cluster: &Cluster, chat: ChatId) -> Option<(u64, Option<u64>)> {
    let said = chats(cluster, &["pinned", "--json"]).unwrap_or_else(|why| panic!("{why}"));
    let all: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    let all = all.as_array().unwrap_or_else(|| panic!("no list: {said}"));
    let found = all.iter().find(|one| one["chat"] == chat.to_string())?;
    assert_eq!(found["home"], u64::from(chat.slot().partition(PARTITIONS)));
    Some((found["partition"].as_u64().expect("a number"), found["to"].as_u64()))
}

fn wait_for(cluster: &mut Cluster, what: &str, holds: impl Fn(&mut Cluster) -> bool) {
    if Deadline::after_s(PATIENCE_S).wait_until(|| holds(cluster)) {
        return;
    }
    let logs: String = cluster.nodes().iter().map(|node| format!("{}:\n{}", node.place().name, node.log())).collect();
    panic!("{what}\n{logs}");
}

fn holder(cluster: &mut Cluster, partition: u16) -> Option<&'static str> {
    let label = format!("shardwire_storage_epoch{{partition=\"{partition}\"}} ");
    WRITERS.into_iter().find(|writer| {
        let metrics = cluster.node(writer).metrics();
        metrics.lines().any(|line| line.strip_prefix(&label).is_some_and(|epoch| epoch != "0"))
    })
}

/// A group of all users, by the first of them, and a direct chat with somebody who is not there.
fn make_chats(cluster: &Cluster) -> (ChatId, ChatId) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let address = cluster.natives()[0].to_string();
        let token = cluster.token(1, 9).expect("a token");
        let builder = Client::builder().config(Config::default()).address(address).token(token);
        let maker = builder.connect().await.expect("a session");
        let others: Vec<UserId> = (2..=2 * MANNER.pairs).map(user).collect();
        let group = maker.create_group("Everybody", others).await.expect("taken");
        let chat = group.chat();
        group.ack().await.expect("made");
        let send = client::NewSend::message("direct".into(), schema::encode::SendTarget::User(ABSENT), "hello".into());
        maker.send_new(send).await.expect("taken").ack().await.expect("stored");
        maker.close().await.expect("closed");
        (chat, ChatId::direct(user(1), ABSENT))
    })
}

fn refuses_what_cannot_be(cluster: &mut Cluster, group: ChatId, direct: ChatId) {
    let refused = |said: Result<String, String>, why: &str| {
        let text = said.expect_err("it cannot be");
        assert!(text.contains(why), "{why}: {text}");
    };
    wait_for(cluster, "the tables have the direct chat", |cluster| {
        pin(cluster, direct, 0).is_err_and(|why| !why.contains("there is no chat"))
    });
    refused(pin(cluster, direct, 0), "is no group: direct chats and accounts stay in their own partitions");
    let unknown = ChatId([0x5a; 16]);
    refused(pin(cluster, unknown, 0), &format!("there is no chat {unknown} in the tables"));
    wait_for(cluster, "the tables have the group", |cluster| {
        pin(cluster, group, PARTITIONS).is_err_and(|why| !why.contains("there is no chat"))
    });
    refused(pin(cluster, group, PARTITIONS), "there is no partition 4");
    refused(pin(cluster, group, group.slot().partition(PARTITIONS)), "already");
    refused(chats(cluster, &["unpin", &group.to_string()]), "already");
    refused(chats(cluster, &["unpin", "a hot one"]), "invalid value");
    assert_eq!(chats(cluster, &["pinned"]).as_deref(), Ok("every chat is in its own partition"));
}

/// The group goes to a partition under the chatter; `kills`: the writer that is to give it away is killed meanwhile.
fn goes_to(cluster: &mut Cluster, chatter: &Chatter, group: ChatId, to: u16, kills: bool) {
    let home = group.slot().partition(PARTITIONS);
    let from = listed(cluster, group).map_or(home, |(partition, _)| partition as u16);
    let victim = if kills { holder(cluster, from) } else { None };
    let said = if to == home { chats(cluster, &["unpin", &group.to_string()]) } else { pin(cluster, group, to) };
    let said = said.unwrap_or_else(|why| panic!("{why}"));
    assert!(said.contains(&format!("\"Everybody\" goes from partition {from} to partition {to}")), "{said}");
    if let Some(victim) = victim {
        cluster.node(victim).kill9();
    }
    let there = (to != home).then_some((u64::from(to), None));
    wait_for(cluster, &format!("the group is in partition {to}"), |cluster| listed(cluster, group) == there);
    if let Some(victim) = victim {
        cluster.node(victim).start().unwrap_or_else(|error| panic!("{error}"));
    }
    chatter.goes_on(cluster, &format!("in partition {to}, from {from}"));
    let elsewhere = u64::from(to != home);
    for writer in WRITERS {
        wait_for(cluster, &format!("{writer} counts it"), |cluster| {
            let node = cluster.node(writer);
            node.metric("storage_chats_elsewhere") == elsewhere && node.metric("storage_chats_moving") == 0
        });
    }
}

#[test]
fn a_group_goes_to_and_fro_and_nothing_of_it_is_lost_doubled_or_reordered() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut options = Options::of_test(Shape { gateways: 2, routers: 1, writers: 2 }, folder.path());
    let store = CassandraCluster::shared().shared_store("pinned_chats");
    options.config.push_str(&format!("{store}partitions = {PARTITIONS}\n"));
    let mut cluster = made(&options);
    let (group, direct) = make_chats(&cluster);
    refuses_what_cannot_be(&mut cluster, group, direct);
    let chatter = Chatter::in_group(&cluster, group, MANNER);
    chatter.goes_on(&cluster, "at home");
    let home = group.slot().partition(PARTITIONS);
    let other = |n: u16| (home + n) % PARTITIONS;
    for (to, kills) in [(other(1), false), (home, false), (other(2), true), (other(3), false), (home, true)] {
        goes_to(&mut cluster, &chatter, group, to, kills);
    }
    chatter.goes_on(&cluster, "home again");
    match chatter.finish() {
        Ok(messages) => println!("{messages} messages"),
        Err(why) => {
            let log =
                |node: &shardwire_tests::process::cluster::Node| format!("{}:\n{}", node.place().name, node.log());
            panic!("{why}\n{}", cluster.nodes().iter().map(log).collect::<String>());
        }
    }
    cluster.stop().unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn where_a_store_is_not_shared_there_is_nothing_to_choose() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(binary("shardwire"));
    command.args(["chats", "pinned", "--data"]).arg(folder.path());
    let said = command.output().expect("the command runs");
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(!said.status.success() && text.contains("storage-writers share"), "{text}");
}
