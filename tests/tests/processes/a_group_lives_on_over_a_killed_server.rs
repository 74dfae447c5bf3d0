//! A group by the Rust client: made, changed, written in and read, over a server that is killed and started with another
//! layout in the middle of it.

use std::time::Duration;

use client::core::{ChatInfo, Config, Event, Failure};
use client::{Client, ClientError, Handling};
use schema::errors::ErrorCode;
use schema::ids::{ChatId, UserId};
use schema::wire::{ChatKind, EntryKind, MarkStatus, Role};
use shardwire_tests::process::{Options, Server};

const ADA: u64 = 11;
const BEN: u64 = 12;
const CAI: u64 = 13;

fn user(id: u64) -> UserId {
    UserId::new(id).expect("not 0")
}

async fn connect(server: &Server, id: u64) -> Client {
    let config = Config { handling: Handling::OnDelivery, ..Config::default() };
    let builder = Client::builder().address(server.native().to_string()).config(config);
    builder.token(server.token(id, 1)).connect().await.expect("a session")
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.expect("within 30 s")
}

/// The next entry that is handed over.
async fn entry(client: &mut Client) -> (u64, EntryKind, Vec<u8>, Vec<u64>) {
    loop {
        if let Event::Entry(entry) = in_time(client.next()).await.expect("the client lives") {
            let users = entry.users().map(UserId::get).collect();
            return (entry.seq(), entry.kind(), entry.body().to_vec(), users);
        }
    }
}

fn members(info: &ChatInfo) -> Vec<(u64, bool)> {
    info.members.iter().map(|member| (member.user.get(), member.role == Role::admin)).collect()
}

async fn say(client: &Client, group: ChatId, text: &str) -> Result<u64, ClientError> {
    let target = schema::encode::SendTarget::Chat(group);
    let send = client::NewSend::message(bytes::Bytes::new(), target, text.to_owned().into());
    Ok(in_time(client.send_new(send).await?.ack()).await?.seq)
}

async fn first_life(server: &Server) -> ChatId {
    let (ada, mut ben) = (connect(server, ADA).await, connect(server, BEN).await);
    let made = ada.create_group("Hiking", [user(BEN)]).await.expect("taken");
    let group = made.chat();
    let place = in_time(made.ack()).await.expect("made");
    assert_eq!((place.chat, place.seq), (group, 1), "its id was known before");
    assert_eq!(entry(&mut ben).await, (1, EntryKind::created, b"Hiking".to_vec(), vec![ADA, BEN]));
    let refused = in_time(ben.rename(group, "Boating").await.expect("taken").ack()).await;
    let Err(ClientError::Failed(Failure::Refused(refusal))) = refused else { panic!("{refused:?}") };
    assert_eq!(refusal.known(), Some(ErrorCode::NotAnAdmin));
    assert_eq!(say(&ada, group, "before Cai").await.expect("sent"), 2);
    let added = ada.add_members(group, [user(CAI)]).await.expect("taken");
    assert_eq!(in_time(added.ack()).await.expect("added").seq, 3);
    let role = ada.set_role(group, [user(BEN)], Role::admin).await.expect("taken");
    in_time(role.ack()).await.expect("promoted");
    ada.close().await.expect("closed");
    ben.close().await.expect("closed");
    group
}

async fn second_life(server: &Server, group: ChatId) {
    let (mut ada, mut ben, mut cai) =
        (connect(server, ADA).await, connect(server, BEN).await, connect(server, CAI).await);
    assert_eq!(entry(&mut cai).await, (3, EntryKind::added, Vec::new(), vec![CAI]), "nothing from before");
    assert_eq!(entry(&mut cai).await, (4, EntryKind::role, Vec::new(), vec![BEN]));
    let told = in_time(cai.chat(group, None, 0)).await.expect("told");
    assert_eq!((told.kind, &told.name[..], told.head_seq, told.present), (ChatKind::group, &b"Hiking"[..], 4, true));
    assert_eq!(members(&told), [(ADA, true), (BEN, true), (CAI, false)]);
    let page = in_time(cai.history(group, 0, 100)).await.expect("a page");
    assert_eq!(page.entries.iter().map(client::Entry::seq).collect::<Vec<_>>(), [3, 4]);

    assert_eq!(say(&ada, group, "after Cai").await.expect("sent"), 5);
    assert_eq!(entry(&mut cai).await.2, b"after Cai");
    in_time(cai.mark_read(group, 5)).await.expect("marked");
    let read = async {
        loop {
            let event = ada.next().await.expect("the client lives");
            if let Event::Receipt { chat, user, seq: 5, message: Some(message), status: MarkStatus::read } = event {
                return (chat, user.get(), message);
            }
        }
    };
    let (chat, reader, message) = in_time(read).await;
    assert_eq!((chat, reader), (group, CAI));
    let status = in_time(ada.status(group, message)).await.expect("told");
    assert_eq!((status.seq, status.total, status.read), (5, 2, 1));

    in_time(ben.remove_members(group, [user(CAI)]).await.expect("taken").ack()).await.expect("removed");
    assert_eq!(entry(&mut cai).await, (6, EntryKind::removed, Vec::new(), vec![CAI]), "the last of it that Cai sees");
    let refused = say(&cai, group, "still here?").await;
    assert!(matches!(refused, Err(ClientError::Failed(Failure::Refused(_)))), "{refused:?}");
    in_time(ada.leave(group).await.expect("taken").ack()).await.expect("left");
    while entry(&mut ben).await.1 != EntryKind::left {}
    let page = in_time(ben.chats(None, 10)).await.expect("told");
    assert!(!page.has_more);
    let [told] = &page.chats[..] else { panic!("{page:?}") };
    assert_eq!((told.chat, told.head_seq, members(told)), (group, 7, vec![(BEN, true)]));
    for client in [ada, ben, cai] {
        client.close().await.expect("closed");
    }
}

#[test]
fn a_group_lives_on_over_a_killed_server() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut server = Server::new(Options::default());
    server.restart(3, 4);
    let group = runtime.block_on(first_life(&server));
    server.kill9();
    server.restart(2, 1);
    runtime.block_on(second_life(&server, group));
    server.terminate();
}
