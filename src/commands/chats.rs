//! `shardwire chats`: gives a hot group a partition of its own, straight in the table that the writers of a shared keyspace
//! read.
//!
//! What must stay true: only groups are pinned, for a user's account is where everything of theirs begins; and the table is
//! changed only by who has seen all of it.

use miette::{IntoDiagnostic as _, Result, miette};
use schema::ids::ChatId;
use scylla_store::ScyllaStore;
use serde::{Deserialize, Serialize};
use storage_writer::pins::{Pin, Pins};
use storage_writer::store::{ChatState, SharedStore as _};

use super::{print, print_answer};
use crate::cli::{ChatPinArgs, ChatsArgs, ChatsTask, PinArgs, ServerArgs};

/// How often the table is changed anew when others change it at the same time.
const TRIES: usize = 20;

/// A chat that is in another partition than its own, or on its way. Fields are only ever added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// Its id.
    pub chat: String,
    /// The partition that its id gives.
    pub home: u16,
    /// The partition that has it now.
    pub partition: u16,
    /// The partition that is to have it, if that is another one.
    pub to: Option<u16>,
}

/// Pins or unpins a group, or lists those that are pinned.
///
/// # Errors
/// A store that is not shared or does not answer; a chat that is no group, is on its way, or is there already; too many.
pub fn run(args: &ChatsArgs) -> Result<()> {
    match &args.task {
        ChatsTask::Pin(PinArgs { partition, chat }) => place(chat, |_| *partition),
        ChatsTask::Unpin(chat) => place(chat, |partitions| chat.chat.slot().partition(partitions)),
        ChatsTask::Pinned(args) => {
            let store = open(&args.server)?;
            let pins = store.pins(true).into_diagnostic()?;
            print_answer(&listed(&pins, store.sharing().partitions), args.json, |pinned| text(pinned))
        }
    }
}

fn open(server: &ServerArgs) -> Result<ScyllaStore> {
    let config = server.load()?;
    if !config.store.is_shared() {
        return Err(miette!(
            "only chats of a store that several storage-writers share have partitions to choose from: store.engine = \
             \"scylla\" and store.ack = \"store\", in the file given by --config"
        ));
    }
    ScyllaStore::open_shared(&config.store.scylla()?).into_diagnostic()
}

fn place(args: &ChatPinArgs, to: impl FnOnce(u16) -> u16) -> Result<()> {
    let (chat, store) = (args.chat, open(&args.server)?);
    let partitions = store.sharing().partitions;
    let to = to(partitions);
    let name = group(chat, store.load_chat(chat).into_diagnostic()?)?;
    for _ in 0..TRIES {
        let pins = store.pins(true).into_diagnostic()?;
        let from = pins.place(chat, partitions);
        let next = pins.with(chat, to, partitions).into_diagnostic()?;
        if store.change_pins(&next).into_diagnostic()? {
            return print(&format!("{chat} \"{name}\" goes from partition {from} to partition {to}\n"));
        }
    }
    Err(miette!("others change the table of pinned chats all the time: try again"))
}

/// A group's name.
fn group(chat: ChatId, state: Option<ChatState>) -> Result<String> {
    let Some(state) = state else {
        return Err(miette!(
            "there is no chat {chat} in the tables; a new one is there when its partition's memory table has been written, \
             some minutes after it was made at most"
        ));
    };
    let Some(group) = state.group else {
        return Err(miette!("chat {chat} is no group: direct chats and accounts stay in their own partitions"));
    };
    Ok(String::from_utf8_lossy(&group.name).into_owned())
}

fn listed(pins: &Pins, partitions: u16) -> Vec<Pinned> {
    let of = |pin: &Pin| Pinned {
        chat: pin.chat.to_string(),
        home: pin.chat.slot().partition(partitions),
        partition: pin.place(),
        to: (!pin.settled).then_some(pin.to),
    };
    pins.rows.iter().map(of).collect()
}

fn text(pinned: &[Pinned]) -> String {
    if pinned.is_empty() {
        return "every chat is in its own partition\n".to_owned();
    }
    let line = |Pinned { chat, home, partition, to }: &Pinned| match to {
        None => format!("{chat} is in partition {partition}, its own is {home}\n"),
        Some(to) => format!("{chat} is on its way from partition {partition} to partition {to}, its own is {home}\n"),
    };
    pinned.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_and_what_is_on_its_way_are_told_apart() {
        let chat = ChatId([7; 16]);
        let home = chat.slot().partition(4);
        let to = (home + 1) % 4;
        let leaving = Pins::default().with(chat, to, 4).unwrap();
        assert_eq!(text(&listed(&Pins::default(), 4)), "every chat is in its own partition\n");
        let going = text(&listed(&leaving, 4));
        assert!(going.contains(&format!("from partition {home} to partition {to}")), "{going}");
        let there = text(&listed(&leaving.settled(home, 4, 1), 4));
        assert!(there.contains(&format!("is in partition {to}, its own is {home}")), "{there}");
    }

    #[test]
    fn only_groups_are_pinned() {
        let chat = ChatId([7; 16]);
        assert!(group(chat, None).unwrap_err().to_string().contains("no chat"));
    }
}
