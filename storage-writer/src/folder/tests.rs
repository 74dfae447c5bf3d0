//! Folders: new, reopened, in use, foreign, newer, damaged.

use fabric::entropy::OsEntropy;

use super::*;

fn open(path: &Path) -> Result<DataFolder, FolderError> {
    DataFolder::open(path, Expected::default(), &mut OsEntropy)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}

#[test]
fn a_new_folder_is_private_and_keeps_its_identity() {
    let root = tempfile::tempdir().expect("a folder");
    let path = root.path().join("a/b/data");
    let first = open(&path).expect("made");
    assert!(first.is_new());
    assert_eq!((mode(&path), mode(&path.join(FORMAT_FILE)), mode(&first.store_path())), (0o700, 0o600, 0o700));
    let format = *first.format();
    assert_eq!(format.incarnation, 1);
    assert_ne!(format.cluster, format.node);
    drop(first);
    for incarnation in 2..5 {
        let again = open(&path).expect("opened");
        assert!(!again.is_new());
        assert_eq!(*again.format(), Format { incarnation, ..format });
    }
    let other = open(&root.path().join("other")).expect("made");
    assert_ne!(other.format().dedupe_secret, format.dedupe_secret);
    assert!(!format!("{other:?}").contains("secret"));
}

#[test]
fn one_process_at_a_time() {
    let root = tempfile::tempdir().expect("a folder");
    let first = open(root.path()).expect("made");
    let error = open(root.path()).expect_err("held");
    assert!(matches!(error, FolderError::InUse { .. }) && error.to_string().contains("--data"), "{error}");
    drop(first);
    assert_eq!(open(root.path()).expect("free").incarnation(), 2);
}

#[test]
fn a_newer_folder_is_refused_unread_and_untouched() {
    let root = tempfile::tempdir().expect("a folder");
    drop(open(root.path()).expect("made"));
    let newer = format!("{}\nversion = 2\nsomething = else\n", "Shardwire data folder. Do not edit.");
    fs::write(root.path().join(FORMAT_FILE), &newer).expect("written");
    let error = open(root.path()).expect_err("newer");
    assert!(matches!(error, FolderError::Newer { found: 2, known: FOLDER_VERSION, .. }), "{error}");
    assert_eq!(fs::read_to_string(root.path().join(FORMAT_FILE)).expect("read"), newer);
}

#[test]
fn a_foreign_folder_is_refused_and_left_alone() {
    let root = tempfile::tempdir().expect("a folder");
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    fs::write(root.path().join("thesis.tex"), "x").expect("written");
    let error = open(root.path()).expect_err("foreign");
    assert!(matches!(&error, FolderError::Foreign { entry, .. } if entry == "thesis.tex"), "{error}");
    assert_eq!(fs::read_dir(root.path()).expect("listed").count(), 1);
    assert_eq!(mode(root.path()), 0o755);
}

#[test]
fn a_folder_with_only_a_development_key_is_new() {
    let root = tempfile::tempdir().expect("a folder");
    let path = root.path().join("data");
    prepare(&path).expect("made");
    write_file(&path, DEVELOPMENT_KEY_FILE, "development.key.new", b"key").expect("written");
    assert_eq!(mode(&path.join(DEVELOPMENT_KEY_FILE)), 0o600);
    fs::write(path.join(FORMAT_NEW_FILE), "half a fi").expect("written");
    assert!(open(&path).expect("made").is_new());
    assert!(!path.join(FORMAT_NEW_FILE).exists());
}

#[test]
fn data_without_format_is_refused() {
    let root = tempfile::tempdir().expect("a folder");
    drop(open(root.path()).expect("made"));
    fs::remove_file(root.path().join(FORMAT_FILE)).expect("removed");
    assert!(matches!(open(root.path()), Err(FolderError::FormatMissing { .. })));
}

#[test]
fn every_flipped_or_missing_byte_of_format_is_noticed() {
    let root = tempfile::tempdir().expect("a folder");
    drop(open(root.path()).expect("made"));
    let file = root.path().join(FORMAT_FILE);
    let good = fs::read(&file).expect("read");
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&file, &bad).expect("written");
        let refused = open(root.path());
        assert!(matches!(refused, Err(FolderError::FormatDamaged { .. } | FolderError::Newer { .. })), "byte {at}");
        fs::write(&file, &good[..at]).expect("written");
        assert!(matches!(open(root.path()), Err(FolderError::FormatDamaged { .. })), "cut at {at}");
    }
    fs::write(&file, &good).expect("written");
    assert_eq!(open(root.path()).expect("whole again").incarnation(), 2);
}

#[test]
fn another_clusters_or_nodes_folder_is_refused() {
    let root = tempfile::tempdir().expect("a folder");
    let (ours, theirs) = (FolderId([1; 16]), FolderId([2; 16]));
    let expect = |cluster, node| {
        let expected = Expected { cluster: Some(cluster), node: Some(node) };
        DataFolder::open(root.path(), expected, &mut OsEntropy)
    };
    assert_eq!(expect(ours, ours).expect("made").format().node, ours);
    assert!(matches!(expect(theirs, ours), Err(FolderError::OtherOwner { what: "cluster", .. })));
    assert!(matches!(expect(ours, theirs), Err(FolderError::OtherOwner { what: "node", .. })));
    assert_eq!(expect(ours, ours).expect("ours").incarnation(), 2);
}
