//! `shardwire backup`: saves the data folder, beside the server that uses it or without one.

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use fabric::disk::FileDisk;
use fabric::entropy::OsEntropy;
use miette::{IntoDiagnostic as _, Result, WrapErr as _, miette};
use storage_writer::folder::{self, DataFolder, Expected};
use storage_writer::store::fjall::{FjallConfig, FjallStore};

use crate::admin::{self, AskError};
use crate::backup::bucket::{self, Staging};
use crate::backup::files::Progress;
use crate::backup::job::BackupStatus;
use crate::backup::s3::Place;
use crate::backup::take::{Source, Taken};
use crate::backup::{BackupError, rfc3339, size};
use crate::cli::BackupArgs;
use crate::engine;

/// How often a server is asked how far it is.
const POLL: Duration = Duration::from_millis(200);

/// Takes a backup and says on stdout what it is.
///
/// # Errors
/// When there is none; nothing half is left.
pub fn run(args: &BackupArgs) -> Result<()> {
    let config = args.server.load()?;
    let data = &config.server.data;
    let taken = match args.s3.place(&args.to).into_diagnostic()? {
        Some(place) => into_bucket(data, &place, args)?,
        None => take(data, &args.to)?,
    };
    super::print_answer(&taken, args.json, text)
}

/// Takes one into a folder of backups.
fn take(data: &Path, to: &Path) -> Result<Taken> {
    let to = std::path::absolute(to).into_diagnostic()?;
    let path = to.to_str().filter(|path| !path.contains(['\n', '\r'])).map(str::to_owned);
    let path = path.ok_or_else(|| miette!("--to {}: the path must be one line of UTF-8", to.display()))?;
    match admin::ask(data, &format!("backup {path}")) {
        Ok(status) => follow(data, status),
        Err(AskError::Unreachable { source, .. })
            if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            alone(data, &to).wrap_err("no backup was taken")
        }
        Err(error) => Err(error.into()),
    }
}

/// Takes one into a folder beside the data, and sends it.
fn into_bucket(data: &Path, place: &Place, args: &BackupArgs) -> Result<Taken> {
    place.list().into_diagnostic().wrap_err("no backup was taken")?;
    let staging = Staging::new(args.s3.staging.as_deref(), data).into_diagnostic().wrap_err("no backup was taken")?;
    let taken = take(data, staging.folder())?;
    let name = taken.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let progress = Progress::default();
    shown("sent", &progress, || bucket::send(&taken.path, place, &name, &progress))
        .into_diagnostic()
        .wrap_err("the backup did not reach the bucket")?;
    Ok(Taken { path: PathBuf::from(place.show(&name)), ..taken })
}

/// Shows on a terminal how far `work` is, which runs here.
pub(super) fn shown<T>(word: &'static str, progress: &Progress, work: impl FnOnce() -> T) -> T {
    let (done, wait) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut line = Shown::new(word);
            while wait.recv_timeout(POLL) == Err(RecvTimeoutError::Timeout) {
                let (done, total) = progress.bytes();
                line.show(done, total);
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// Waits for the server's backup.
fn follow(data: &Path, mut status: BackupStatus) -> Result<Taken> {
    let mut shown = Shown::new("copied");
    loop {
        match status {
            BackupStatus::Running { done_bytes, total_bytes, .. } => shown.show(done_bytes, total_bytes),
            BackupStatus::Done { taken } => return Ok(taken),
            BackupStatus::Failed { why } => return Err(miette!("no backup was taken: {why}")),
            BackupStatus::Idle => {
                return Err(miette!("no backup was taken: the server has been started anew meanwhile"));
            }
        }
        std::thread::sleep(POLL);
        status = admin::ask(data, "backup-status").wrap_err("the server does not say what became of the backup")?;
    }
}

/// On a folder that nobody serves from.
fn alone(data: &Path, to: &Path) -> Result<Taken> {
    if folder::format_of(data).into_diagnostic()?.is_none() {
        return Err(BackupError::NoData { path: data.to_owned() }).into_diagnostic();
    }
    let opened = DataFolder::open(data, Expected::default(), &mut OsEntropy).into_diagnostic()?;
    if let Some(noted) = engine::noted(&opened) {
        let what = "stop its server, copy the folder and take a snapshot of that cluster";
        return Err(miette!("data folder {} keeps its messages in `{noted}`: {what}", data.display()));
    }
    let source = Source {
        folder: std::path::absolute(data).into_diagnostic()?,
        format: *opened.format(),
        store: Arc::new(FjallStore::open(&opened.store_path(), FjallConfig::default()).into_diagnostic()?),
        disk: FileDisk::open(opened.journal_path()).into_diagnostic()?,
        watches: Vec::new(),
    };
    source.take(to, &Progress::default()).into_diagnostic()
}

/// Progress on a terminal.
struct Shown {
    word: &'static str,
    done: u64,
}

impl Shown {
    const fn new(word: &'static str) -> Self {
        Self { word, done: 0 }
    }

    fn show(&mut self, done: u64, total: u64) {
        let mut stderr = std::io::stderr().lock();
        if done > self.done && stderr.is_terminal() {
            self.done = done;
            // Who cannot be told has not asked.
            let _ = write!(stderr, "\r{} {} of {}  ", self.word, size(done), size(total));
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if self.done > 0 {
            eprintln!();
        }
    }
}

fn text(taken: &Taken) -> String {
    let Taken { path, files, bytes, shared_bytes, started_ms, from_ms, until_ms } = taken;
    let shared = if *shared_bytes > 0 {
        format!(", {} shared with the backup before", size(*shared_bytes))
    } else {
        String::new()
    };
    format!(
        "backup {}\n  {files} files, {}{shared}\n  has everything acknowledged before {}\n  can be restored to times from {} to {}\n",
        path.display(),
        size(*bytes),
        rfc3339(*started_ms),
        rfc3339(*from_ms),
        rfc3339(*until_ms),
    )
}
