//! The data folder of a restored backup.

use std::path::Path;

use fabric::entropy::Entropy;

use super::{FolderError, Format, read_format, write_format};

/// Incarnations below this bit count openings; those from it on tell apart what was restored.
const LINEAGE_BIT: u32 = 32;
/// A restore goes on by 1 to this many lineages, so that two restores of one backup are not likely to meet.
const LINEAGE_STEPS: u64 = 1 << 20;

/// What the FORMAT file in `folder` says; `None` without one.
///
/// # Errors
/// As [`FolderError`] says.
pub fn format_of(folder: &Path) -> Result<Option<Format>, FolderError> {
    read_format(folder)
}

/// Makes `into`, which holds a restored store and journals, a data folder: the same cluster, node and dedupe secret as
/// `from`, and an incarnation that no opening of the original has or will have. Durable when it returns.
///
/// # Errors
/// As [`FolderError`] says.
pub fn make_restored(from: &Format, into: &Path, entropy: &mut dyn Entropy) -> Result<Format, FolderError> {
    let step = 1 + entropy.next_u64() % LINEAGE_STEPS;
    let format = Format { incarnation: from.incarnation.saturating_add(step << LINEAGE_BIT), ..*from };
    write_format(into, &format)?;
    Ok(format)
}

#[cfg(test)]
mod tests {
    use fabric::sim::SeededEntropy;

    use super::super::{DataFolder, Expected};
    use super::*;

    #[test]
    fn a_restored_folder_is_the_same_nodes_and_never_of_the_same_incarnation() {
        let root = tempfile::tempdir().expect("a folder");
        let (original, restored) = (root.path().join("original"), root.path().join("restored"));
        let mut entropy = SeededEntropy::new(5);
        drop(DataFolder::open(&original, Expected::default(), &mut entropy).expect("new"));
        std::fs::create_dir(&restored).expect("a folder");
        let from = format_of(&original).expect("whole").expect("there");
        let made = make_restored(&from, &restored, &mut entropy).expect("written");
        assert_eq!((made.cluster, made.node, made.dedupe_secret), (from.cluster, from.node, from.dedupe_secret));
        assert!(made.incarnation > from.incarnation + u64::from(u32::MAX));
        let opened = DataFolder::open(&restored, Expected::default(), &mut entropy).expect("a data folder");
        assert_eq!(opened.incarnation(), made.incarnation + 1);
        assert!(!opened.is_new());
        assert_eq!(format_of(root.path()).expect("no error"), None);
    }
}
