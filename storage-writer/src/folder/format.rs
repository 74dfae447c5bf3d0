//! The text of the FORMAT file.

use core::fmt;

use fabric::entropy::Entropy;
use xxhash_rust::xxh3::xxh3_64;

/// The folder format this build writes and the newest it reads.
pub const FOLDER_VERSION: u16 = 1;

const FIRST_LINE: &str = "Shardwire data folder. Do not edit.";

/// A cluster's or node's id: random, drawn once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FolderId(pub [u8; 16]);

impl fmt::Display for FolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&uuid::Uuid::from_bytes(self.0).hyphenated(), f)
    }
}
impl fmt::Debug for FolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the FORMAT file says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// The cluster the data belongs to.
    pub cluster: FolderId,
    /// The node within it.
    pub node: FolderId,
    /// How often the folder has been opened.
    pub incarnation: u64,
    /// Keys the dedupe hash: never shown, never changed.
    pub dedupe_secret: [u8; 16],
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Format")
            .field("cluster", &self.cluster)
            .field("node", &self.node)
            .field("incarnation", &self.incarnation)
            .finish_non_exhaustive()
    }
}

pub(super) enum BadFormat {
    Newer(u64),
    Damaged(&'static str),
}

impl Format {
    /// A new folder's, never opened.
    pub(super) fn draw(cluster: Option<FolderId>, node: Option<FolderId>, entropy: &mut dyn Entropy) -> Self {
        let mut bytes = || {
            let mut bytes = [0u8; 16];
            entropy.fill(&mut bytes);
            bytes
        };
        let mut id = || FolderId(uuid::Builder::from_random_bytes(bytes()).into_uuid().into_bytes());
        let cluster = cluster.unwrap_or_else(&mut id);
        let node = node.unwrap_or_else(&mut id);
        Self { cluster, node, incarnation: 0, dedupe_secret: bytes() }
    }

    pub(super) fn to_text(self) -> String {
        let secret = uuid::Uuid::from_bytes(self.dedupe_secret);
        let mut text = format!(
            "{FIRST_LINE}\nversion = {FOLDER_VERSION}\ncluster = {}\nnode = {}\nincarnation = {}\ndedupe_secret = {}\n",
            self.cluster,
            self.node,
            self.incarnation,
            secret.simple(),
        );
        text.push_str(&format!("checksum = {:016x}\n", xxh3_64(text.as_bytes())));
        text
    }
}

/// The version comes first: of a newer file nothing else is known, not even where its checksum is.
pub(super) fn parse(text: &[u8]) -> Result<Format, BadFormat> {
    let damaged = BadFormat::Damaged;
    let text = core::str::from_utf8(text).map_err(|_| damaged("it is not text"))?;
    let rest = text.strip_prefix(FIRST_LINE).ok_or(damaged("its first line is not Shardwire's"))?;
    let mut lines = rest.lines().skip(1);
    let mut value = |key: &'static str| {
        let line = lines.next().and_then(|line| line.strip_prefix(key));
        line.and_then(|line| line.strip_prefix(" = ")).ok_or(damaged("a line is missing"))
    };
    let version: u64 = value("version")?.parse().map_err(|_| damaged("its version is not a number"))?;
    if version > u64::from(FOLDER_VERSION) {
        return Err(BadFormat::Newer(version));
    }
    let uuid =
        |text: &str| uuid::Uuid::try_parse(text).map(uuid::Uuid::into_bytes).map_err(|_| damaged("an id is not one"));
    let format = Format {
        cluster: FolderId(uuid(value("cluster")?)?),
        node: FolderId(uuid(value("node")?)?),
        incarnation: value("incarnation")?.parse().map_err(|_| damaged("its incarnation is not a number"))?,
        dedupe_secret: uuid(value("dedupe_secret")?)?,
    };
    // Whatever differs from what this build would write, the checksum included, was not written by it.
    if format.to_text() == text { Ok(format) } else { Err(damaged("its checksum does not match")) }
}
