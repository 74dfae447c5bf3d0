//! Who a node says it is.

use std::fmt;
use std::ops::BitOr;
use std::str::FromStr;

/// Longest name of a node or a cluster, bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 64;

/// What a process does: a set of gateway, router and storage-writer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Roles(u8);

const NAMES: [(Roles, &str); 3] =
    [(Roles::GATEWAY, "gateway"), (Roles::ROUTER, "router"), (Roles::STORAGE_WRITER, "storage-writer")];

impl Roles {
    /// None at all.
    pub const NONE: Self = Self(0);
    /// Has sessions.
    pub const GATEWAY: Self = Self(1);
    /// Knows where users are.
    pub const ROUTER: Self = Self(2);
    /// Owns chats.
    pub const STORAGE_WRITER: Self = Self(4);
    /// All of them: the process without a cluster.
    pub const ALL: Self = Self(7);

    /// Every role of `other` is among these.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// There is none.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    /// Roles this version does not know are kept, so that they are seen as not allowed.
    pub(super) const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
}

impl BitOr for Roles {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "";
        for (_, name) in NAMES.iter().filter(|(role, _)| self.has(*role)) {
            write!(f, "{before}{name}")?;
            before = ",";
        }
        match self.0 & !Self::ALL.0 {
            0 => Ok(()),
            unknown => write!(f, "{before}unknown({unknown:#x})"),
        }
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roles({self})")
    }
}

/// A list of roles that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// A word that is no role.
    #[error("{0:?} is no role: write gateway, router or storage-writer, several with commas between")]
    Unknown(String),
    /// No word at all.
    #[error("no role is given: write gateway, router or storage-writer, several with commas between")]
    Empty,
}

impl FromStr for Roles {
    type Err = RoleError;

    fn from_str(list: &str) -> Result<Self, RoleError> {
        if list.trim().is_empty() {
            return Err(RoleError::Empty);
        }
        list.split(',').map(str::trim).try_fold(Self::NONE, |roles, word| {
            let known = NAMES.iter().find(|(_, name)| *name == word);
            known.map(|(role, _)| roles | *role).ok_or_else(|| RoleError::Unknown(word.to_owned()))
        })
    }
}

/// Who this shard's process is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeIdentity {
    /// The cluster's name; at most [`NAME_BYTES_MAX`] bytes.
    pub cluster: String,
    /// The node's name, one of a kind in the cluster; at most [`NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// Drawn at the process's start; not 0.
    pub incarnation: u64,
    /// What it does.
    pub roles: Roles,
    /// Which of its shards this is.
    pub shard: u16,
    /// How many of its shards dial; 0 = it does not say, being of a version that could not.
    pub shards: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_as_they_are_written() {
        for list in ["gateway", "router", "storage-writer", "gateway,router", "gateway,router,storage-writer"] {
            assert_eq!(list.parse::<Roles>().unwrap().to_string(), list);
        }
        assert_eq!(" router , gateway".parse(), Ok(Roles::GATEWAY | Roles::ROUTER));
        assert!(Roles::ALL.has(Roles::ROUTER) && !Roles::ROUTER.has(Roles::ROUTER | Roles::GATEWAY));
        assert_eq!("".parse::<Roles>(), Err(RoleError::Empty));
        let error = "gateway,writer".parse::<Roles>().unwrap_err();
        assert!(error.to_string().starts_with("\"writer\" is no role: write gateway"), "{error}");
        assert_eq!(Roles::from_bits(9).to_string(), "gateway,unknown(0x8)");
    }
}
