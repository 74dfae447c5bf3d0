//! What is run: a seed, and what of its world is left out to find the least that still fails.
//!
//! What must stay true: leaving a part out changes no draw of the others. Operations and faults have their own randomness,
//! one draw each; those that are left out are drawn and not done.

use core::fmt;

use super::plan::Lie;

macro_rules! parts {
    ($($(#[$doc:meta])* $part:ident = $name:literal),* $(,)?) => {
        /// A part of a world that can be left out.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Part {
            $($(#[$doc])* $part,)*
        }

        impl Part {
            /// All, those that most failures do not need first.
            pub const ALL: &[Self] = &[$(Self::$part),*];

            /// As it is named on a command line.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$part => $name,)*
                }
            }
        }
    };
}

parts! {
    /// Connections that keep no rule.
    Strangers = "strangers",
    /// Second processes of devices.
    Copies = "copies",
    /// Readers that do not read.
    Readers = "readers",
    /// The wall clock steps.
    Clock = "clock",
    /// Shards that do not run for a while.
    Shards = "shards",
    /// Devices crash.
    Clients = "clients",
    /// Connections drop.
    Drops = "drops",
    /// The disk fails, is full or slow, or its power goes.
    Disk = "disk",
    /// The store is full, or fails to read.
    Store = "store",
    /// Flushes end in the middle.
    Flushes = "flushes",
    /// The server stops in order.
    Stops = "stops",
    /// The server crashes.
    Crashes = "crashes",
    /// Old messages are sent again.
    Resends = "resends",
    /// History is looked at.
    History = "history",
    /// Chats and messages are asked about.
    Questions = "questions",
    /// Chats are marked as read.
    Reads = "reads",
    /// Accounts change.
    Accounts = "accounts",
    /// Messages are amended.
    Amendments = "amendments",
    /// Groups are made and changed.
    Groups = "groups",
}

/// See the module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    /// Which.
    pub seed: u64,
    /// What is lied about.
    pub lie: Lie,
    /// So many operations; `None`: as the seed says.
    pub operations: Option<u64>,
    /// Only the first so many users; `None`: as the seed says.
    pub users: Option<u64>,
    /// What is left out.
    pub without: Vec<Part>,
}

impl Case {
    /// A seed's whole world.
    pub const fn whole(seed: u64, lie: Lie) -> Self {
        Self { seed, lie, operations: None, users: None, without: Vec::new() }
    }

    /// Whether nothing is left out.
    pub const fn is_whole(&self) -> bool {
        self.operations.is_none() && self.users.is_none() && self.without.is_empty()
    }

    /// Whether a part is left out.
    pub fn is_without(&self, part: Part) -> bool {
        self.without.contains(&part)
    }
}

/// As `simulate` is told it.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--seed {}", self.seed)?;
        if let Some(lie) = self.lie.name() {
            write!(f, " --lie {lie}")?;
        }
        if let Some(operations) = self.operations {
            write!(f, " --operations {operations}")?;
        }
        if let Some(users) = self.users {
            write!(f, " --users {users}")?;
        }
        if !self.without.is_empty() {
            let names: Vec<_> = self.without.iter().map(|part| part.name()).collect();
            write!(f, " --without {}", names.join(","))?;
        }
        Ok(())
    }
}
