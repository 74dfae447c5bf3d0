//! A folder of real files.
//!
//! Holds a path and no file descriptors: shard threads have descriptor tables of their own, so a number must not cross.
//! Writes go around the page cache (`O_DIRECT`) where the file system allows it, through it otherwise; they are durable
//! either way (`O_DSYNC`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Block, BlockBuffer, Disk};

/// Assumed where the kernel does not tell.
const DEFAULT_ALIGN: usize = 4_096;
/// Zeros are written in pieces of this many bytes.
const ZERO_CHUNK: usize = 1 << 20;
/// Made and removed when a folder is opened, to learn what its file system allows.
const PROBE: &str = ".probe";

/// See the module.
#[derive(Clone, Debug)]
pub struct FileDisk {
    folder: PathBuf,
    align: usize,
    direct: bool,
}

impl FileDisk {
    /// Opens a folder, made if it is missing, and learns its alignment.
    ///
    /// # Errors
    /// What the folder says, e.g. that it is read only or full.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        fs::create_dir_all(&folder)?;
        let probe = folder.join(PROBE);
        let probed = File::create(&probe).and_then(|file| probe_align(&file, &probe));
        let removed = fs::remove_file(&probe);
        let (align, direct) = probed?;
        removed?;
        if !direct {
            tracing::warn!(folder = %folder.display(), "no O_DIRECT here: durable writes go through the page cache");
        }
        Ok(Self { folder, align, direct })
    }

    /// Where a file is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether writes go around the page cache.
    pub const fn is_direct(&self) -> bool {
        self.direct
    }

    /// `open(2)` flags with which a write to one of these files is durable when it returns.
    pub const fn write_flags(&self) -> i32 {
        libc::O_DSYNC | self.bulk_flags()
    }

    const fn bulk_flags(&self) -> i32 {
        if self.direct { libc::O_DIRECT } else { 0 }
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    fn fill_with_zeros(&self, file: &File, len_bytes: u64) -> io::Result<()> {
        let zeros = BlockBuffer::new(ZERO_CHUNK).lend(ZERO_CHUNK);
        let mut at = 0;
        while at < len_bytes {
            let n = (len_bytes - at).min(ZERO_CHUNK as u64);
            file.write_all_at(&zeros.as_slice()[..n as usize], at)?;
            at += n;
        }
        file.sync_all()
    }
}

/// (alignment, whether `O_DIRECT` works).
fn probe_align(file: &File, path: &Path) -> io::Result<(usize, bool)> {
    let told = told_align(file);
    let align = told.unwrap_or(DEFAULT_ALIGN).max(512);
    if align > Block::ALIGN {
        return Ok((DEFAULT_ALIGN, false));
    }
    let direct = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path);
    let wrote = direct.and_then(|file| file.write_all_at(BlockBuffer::new(Block::ALIGN).lend(align).as_slice(), 0));
    match wrote {
        Ok(()) => Ok((align, true)),
        Err(error) if error.kind() == ErrorKind::InvalidInput || error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            Ok((DEFAULT_ALIGN, false))
        }
        Err(error) => Err(error),
    }
}

/// What `STATX_DIOALIGN` says: the stricter of memory and offset alignment, `None` where unsupported.
#[allow(unsafe_code)]
fn told_align(file: &File) -> Option<usize> {
    use std::os::fd::AsRawFd;
    // SAFETY: `statx` is plain data, all zeros is a value of it.
    let mut stat: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: an open descriptor, an empty NUL-terminated path (AT_EMPTY_PATH) and a valid result pointer.
    let result = unsafe {
        libc::statx(file.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH, libc::STATX_DIOALIGN, &raw mut stat)
    };
    let told = result == 0 && stat.stx_mask & libc::STATX_DIOALIGN != 0 && stat.stx_dio_offset_align != 0;
    told.then(|| stat.stx_dio_offset_align.max(stat.stx_dio_mem_align) as usize).filter(|align| align.is_power_of_two())
}

impl Disk for FileDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.path(name))?.len())
    }

    fn create_zeroed(&self, name: &str, len_bytes: u64) -> io::Result<()> {
        let aligned = len_bytes.is_multiple_of(self.align as u64);
        let flags = if aligned { self.bulk_flags() } else { 0 };
        let file = OpenOptions::new().write(true).create_new(true).custom_flags(flags).open(self.path(name))?;
        let done = self.fill_with_zeros(&file, len_bytes).and_then(|()| self.sync_folder());
        if done.is_err() {
            drop(file);
            // The first error is the one to report.
            let _ = fs::remove_file(self.path(name));
        }
        done
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let file = File::open(self.path(name))?;
        let mut done = 0;
        while done < buffer.len() {
            match file.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_durable(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let aligned = offset.is_multiple_of(self.align as u64) && bytes.len().is_multiple_of(self.align);
        assert!(aligned, "write of {} bytes at {offset} of {name} is not aligned to {}", bytes.len(), self.align);
        let file = OpenOptions::new().write(true).custom_flags(self.write_flags()).open(self.path(name))?;
        if self.direct && !(bytes.as_ptr() as usize).is_multiple_of(self.align) {
            return file.write_all_at(Block::copy_of(bytes).as_slice(), offset);
        }
        file.write_all_at(bytes, offset)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))?;
        self.sync_folder()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => self.sync_folder(),
        }
    }

    fn align_bytes(&self) -> usize {
        self.align
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("shardwire-disk-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn zeroed_files_are_whole_and_never_overwrite() {
        let folder = scratch("zeroed");
        let disk = FileDisk::open(&folder).unwrap();
        disk.create_zeroed("a", 3 << 20).unwrap();
        assert_eq!(disk.len("a").unwrap(), 3 << 20);
        assert_eq!(disk.create_zeroed("a", 4_096).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(disk.len("a").unwrap(), 3 << 20);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_written_is_read_back_from_any_memory() {
        let folder = scratch("written");
        let disk = FileDisk::open(&folder).unwrap();
        let align = disk.align_bytes();
        disk.create_zeroed("a", 4 * align as u64).unwrap();
        let bytes: Vec<u8> = (0..=2 * align).map(|i| i as u8 | 1).collect();
        disk.write_durable("a", align as u64, &bytes[1..]).unwrap();
        let mut read = vec![9u8; 4 * align + 7];
        assert_eq!(disk.read_at("a", 0, &mut read).unwrap(), 4 * align);
        assert!(read[..align].iter().all(|&b| b == 0));
        assert_eq!(&read[align..3 * align], &bytes[1..]);
        disk.rename("a", "b").unwrap();
        assert_eq!(disk.list().unwrap(), ["b"]);
        disk.remove("b").unwrap();
        disk.remove("b").unwrap();
        assert_eq!(disk.len("b").unwrap_err().kind(), ErrorKind::NotFound);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_failed_creation_leaves_no_file_behind() {
        let folder = scratch("failed");
        let disk = FileDisk::open(&folder).unwrap();
        let gone = FileDisk { folder: folder.join("gone"), ..disk.clone() };
        assert_eq!(gone.create_zeroed("a", 4_096).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(disk.list().unwrap().is_empty());
        fs::remove_dir_all(folder).unwrap();
    }
}
