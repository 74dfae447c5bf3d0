//! What an audit names, so that it can be searched for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A member's mark that a sender in a group had to be told of and was not.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
pub struct MissingReceipt {
    /// The group.
    pub group: String,
    /// Who was to be told.
    pub sender: u64,
    /// Whose mark.
    pub member: u64,
    /// The sender's newest message that the mark covers.
    pub seq: u64,
    /// Up to where the sender was told; 0: nothing.
    pub told_seq: u64,
    /// What it is that the member has marked: read, else delivered.
    pub read: bool,
}

/// A message that stands, or came, behind a later one of its sender's, or whose seq did not rise.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
pub struct Reordered {
    /// Who sent it.
    pub sender: u64,
    /// Who found it so: a receiver; in groups also the sender, by the acknowledgements.
    pub seen_by: u64,
    /// Its number in its sender's stream.
    pub number: u64,
    /// Its place in the chat.
    pub seq: u64,
    /// The highest place that had come before it.
    pub behind_seq: u64,
    /// In a group: which.
    #[serde(default)]
    pub group: Option<String>,
}

/// The first message that a side found out of order.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct FirstReordered {
    /// In a group: the member who sent it.
    pub member: u32,
    pub number: u64,
    pub seq: u64,
    pub behind_seq: u64,
}

/// A message that did not arrive.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
pub struct Lost {
    /// Who sent it; 0 in groups, where its seq says which it is.
    pub sender: u64,
    /// Who should have it.
    pub receiver: u64,
    /// Its number in their stream.
    pub number: u64,
    /// Whether the server had acknowledged it.
    pub acked: bool,
    /// In a group: which.
    #[serde(default)]
    pub group: Option<String>,
    /// In a group: its place there.
    #[serde(default)]
    pub seq: Option<u64>,
}

impl Lost {
    /// In a group: which, and the seq; else empty.
    pub fn place(&self) -> String {
        self.group.as_ref().zip(self.seq).map_or_else(String::new, |(group, seq)| format!("{group}, {seq}"))
    }
}
