//! `shardwire chats`.

use clap::{Args, Subcommand};
use schema::ids::ChatId;

use super::ServerArgs;

/// Options of `shardwire chats`.
#[derive(Debug, Args)]
pub struct ChatsArgs {
    /// What to do.
    #[command(subcommand)]
    pub task: ChatsTask,
}

/// What is done with chats.
#[derive(Debug, Subcommand)]
pub enum ChatsTask {
    /// Give a group another partition than the one that its id gives, while everybody talks: its own partition and the other
    /// one each stand still for a moment, and what is sent to the group meanwhile is refused to be sent again. Returns when that
    /// is noted; `pinned` says when it is there.
    Pin(PinArgs),
    /// Take a group back to its own partition, in the same way.
    Unpin(ChatPinArgs),
    /// List the groups that are in another partition, or on their way.
    Pinned(PinnedArgs),
}

/// Options of `shardwire chats pin`.
#[derive(Debug, Args)]
pub struct PinArgs {
    /// The partition that is to have it, from 0
    #[arg(long, value_name = "N")]
    pub partition: u16,
    /// Which.
    #[command(flatten)]
    pub chat: ChatPinArgs,
}

/// Options of `shardwire chats unpin`.
#[derive(Debug, Args)]
pub struct ChatPinArgs {
    /// The group's id, a UUID
    #[arg(value_name = "CHAT")]
    pub chat: ChatId,
    /// Whose settings hold: those of any server of the cluster.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Options of `shardwire chats pinned`.
#[derive(Debug, Args)]
pub struct PinnedArgs {
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
    /// Whose settings hold: those of any server of the cluster.
    #[command(flatten)]
    pub server: ServerArgs,
}
