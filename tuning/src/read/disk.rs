//! The data folder, its file system and the disk below.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use fabric::disk::BlockBuffer;
use fabric::time::{Clock as _, SystemClock};

use super::Files;
use crate::host::{DataFolder, Interrupt};

/// What is written to learn how long a durable write takes.
const WRITE_BYTES: usize = 4_096;
/// Durable writes made; the middle one counts.
const WRITES: usize = 15;

pub(super) fn look(files: &Files, path: &Path) -> DataFolder {
    let looked_at = nearest(path);
    let mut data = DataFolder { path: path.to_owned(), looked_at, ..DataFolder::default() };
    let device = fs::metadata(&data.looked_at).map(|metadata| metadata.dev());
    if let Ok(device) = device {
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        data.filesystem = filesystem(files, &format!("{major}:{minor}"));
        disk(files, &format!("{major}:{minor}"), &mut data);
    }
    data.free_bytes = rustix::fs::statvfs(&data.looked_at).ok().map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    match write(&data.looked_at) {
        Ok((direct, durable_write_us)) => (data.direct, data.durable_write_us) = (direct, durable_write_us),
        Err(error) => data.unusable = Some(error.to_string()),
    }
    data
}

/// The path itself, or the nearest folder above it that is there.
fn nearest(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.ancestors().find(|folder| folder.symlink_metadata().is_ok()).unwrap_or(Path::new("/")).to_owned()
}

/// Writes to an unnamed file of the folder: whether around the page cache, and the middle durable write, µs. A file system
/// that knows no unnamed files leaves both unknown.
fn write(folder: &Path) -> io::Result<(Option<bool>, Option<u64>)> {
    let open = |flags: i32| {
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_TMPFILE | libc::O_DSYNC | flags).open(folder)
    };
    let unsupported = |error: &io::Error| matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL));
    match open(0) {
        Err(error) if unsupported(&error) => return writable(folder).map(|()| (None, None)),
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    let direct = open(libc::O_DIRECT).and_then(|file| durable(&file));
    match direct {
        Ok(took) => Ok((Some(true), Some(took))),
        Err(error) if unsupported(&error) => Ok((Some(false), Some(durable(&open(0)?)?))),
        Err(error) => Err(error),
    }
}

fn writable(folder: &Path) -> io::Result<()> {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).map_err(io::Error::from)
}

/// Writes over the same blocks, as a journal does over its zero-filled segment; the middle one, µs.
fn durable(file: &File) -> io::Result<u64> {
    let block = BlockBuffer::new(WRITE_BYTES).lend(WRITE_BYTES);
    file.write_all_at(block.as_slice(), 0)?;
    let mut took = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let begin = SystemClock.now().mono_ns;
        file.write_all_at(block.as_slice(), 0)?;
        took.push((SystemClock.now().mono_ns - begin) / 1_000);
    }
    took.sort_unstable();
    Ok(took[WRITES / 2])
}

fn filesystem(files: &Files, device: &str) -> Option<String> {
    let mounts = files.text("proc/self/mountinfo")?;
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some(device))?;
    Some(line.split_once(" - ")?.1.split(' ').next()?.to_owned())
}

fn disk(files: &Files, device: &str, data: &mut DataFolder) {
    let Ok(mut folder) = fs::canonicalize(files.path(&format!("sys/dev/block/{device}"))) else { return };
    // A partition's disk is the folder above it.
    if !folder.join("queue").is_dir() {
        folder.pop();
    }
    let queue =
        |name: &str| fs::read_to_string(folder.join("queue").join(name)).ok().map(|text| text.trim().to_owned());
    data.disk = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    data.write_cache = queue("write_cache");
    data.fua = queue("fua").map(|text| text == "1");
    let driver = fs::canonicalize(folder.join("device")).ok();
    let driver = driver.and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()));
    data.interrupts = driver.map(|driver| interrupts(files, &driver)).unwrap_or_default();
}

/// The completion interrupts of a device: `virtio1-req.0`, `nvme0q1`. Those that only say something changed do not count.
fn interrupts(files: &Files, driver: &str) -> Vec<Interrupt> {
    let table = files.text("proc/interrupts").unwrap_or_default();
    let completes = |name: &str| {
        let Some(rest) = name.strip_prefix(driver) else { return false };
        rest.starts_with("-req") || (rest.starts_with('q') && rest != "q0")
    };
    let interrupt = |line: &str| {
        let (number, rest) = line.split_once(':')?;
        let number: u32 = number.trim().parse().ok()?;
        let name = rest.split_whitespace().last()?.to_owned();
        let cores = files.word(&format!("proc/irq/{number}/effective_affinity_list"));
        let cores = cores.or_else(|| files.word(&format!("proc/irq/{number}/smp_affinity_list")))?;
        completes(&name).then_some(Interrupt { number, name, cores })
    };
    table.lines().filter_map(interrupt).collect()
}
