//! Why two nodes do not link, as a code on the wire and as words for people.

use std::fmt;

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum RefusalCode {
    /// The two are configured for clusters of different names.
    WrongCluster,
    /// The two do not know the same secret.
    BadSecret,
    /// No version of the link protocol is common.
    Version,
    /// The acceptor's list has no node of this name, or another node answers at the address.
    UnknownNode,
    /// The node has a role that the other's list does not give it.
    WrongRole,
    /// Another process of this name is alive. It may be this node's own predecessor, until it has been silent for
    /// [`super::LinkConfig::silent_ms`]: believe it only when it is still said twice as long after the start.
    NameInUse,
    /// Something that a newer version refuses for.
    Other(u8),
}

impl RefusalCode {
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::WrongCluster => 1,
            Self::BadSecret => 2,
            Self::Version => 3,
            Self::UnknownNode => 4,
            Self::WrongRole => 5,
            Self::NameInUse => 6,
            Self::Other(code) => code,
        }
    }

    pub(super) const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::WrongCluster,
            2 => Self::BadSecret,
            3 => Self::Version,
            4 => Self::UnknownNode,
            5 => Self::WrongRole,
            6 => Self::NameInUse,
            other => Self::Other(other),
        }
    }

    /// As metrics and status pages name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WrongCluster => "wrong_cluster",
            Self::BadSecret => "bad_secret",
            Self::Version => "version",
            Self::UnknownNode => "unknown_node",
            Self::WrongRole => "wrong_role",
            Self::NameInUse => "name_in_use",
            Self::Other(_) => "other",
        }
    }

    /// What to do about it.
    const fn advice(self) -> &'static str {
        match self {
            Self::WrongCluster => "give both the same cluster name, or correct the address",
            Self::BadSecret => "give every node of the cluster the same secret",
            Self::Version => "upgrade the older of the two: versions may be one apart, not more",
            Self::UnknownNode => "make the lists of nodes the same on both, with the right name and address",
            Self::WrongRole => "give the node the same roles in its own settings and in every node's list",
            Self::NameInUse => "stop the other process of this name, or give this one a name of its own",
            Self::Other(_) => "see the other node's log",
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A link that was refused, by either end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the link with {node} is refused, {code}: {said}; {}", code.advice())]
pub struct LinkRefusal {
    /// Why.
    pub code: RefusalCode,
    /// The other end: its name, or its address while it has not said one.
    pub node: String,
    /// In the words of the end that refused.
    pub said: String,
}
