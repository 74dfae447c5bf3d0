//! Where a report goes: all places are proved writable before any load, and each file is written whole or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Report, junit, prometheus};
use crate::fail::Failure;
use crate::html;

/// The report's file.
pub const JSON: &str = "report.json";
/// The report's page.
pub const PAGE: &str = "report.html";

/// The files of a run.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    /// `--out`: the folder of [`JSON`] and [`PAGE`].
    pub folder: PathBuf,
    /// `--junit`.
    pub junit: Option<PathBuf>,
    /// `--prometheus`.
    pub prometheus: Option<PathBuf>,
}

impl Outputs {
    /// Makes the folder and proves that every file can be written.
    ///
    /// # Errors
    /// The first that cannot, with its option.
    pub fn prepare(&self) -> Result<(), Failure> {
        fs::create_dir_all(&self.folder).map_err(|e| refused("--out", &self.folder, e))?;
        self.each(prove)
    }

    /// Writes all of them.
    ///
    /// # Errors
    /// The first that could not be written; the others were tried all the same.
    pub fn write(&self, report: &Report) -> Result<(), Failure> {
        let mut failed = Ok(());
        let written = self.each(|path| {
            let result = text(path, self, report).and_then(|text| replace(path, &text));
            if let (Err(error), Ok(())) = (result, &failed) {
                failed = Err(refused(self.option_of(path), path, error));
            }
            Ok(())
        });
        written.and(failed)
    }

    fn each(&self, mut with: impl FnMut(&Path) -> io::Result<()>) -> Result<(), Failure> {
        let own = [self.folder.join(JSON), self.folder.join(PAGE)];
        for path in own.iter().chain(&self.junit).chain(&self.prometheus) {
            with(path).map_err(|e| refused(self.option_of(path), path, e))?;
        }
        Ok(())
    }

    fn option_of(&self, path: &Path) -> &'static str {
        match path {
            path if self.junit.as_deref() == Some(path) => "--junit",
            path if self.prometheus.as_deref() == Some(path) => "--prometheus",
            _ => "--out",
        }
    }
}

fn text(path: &Path, outputs: &Outputs, report: &Report) -> io::Result<String> {
    if outputs.junit.as_deref() == Some(path) {
        return Ok(junit::text(report));
    }
    if outputs.prometheus.as_deref() == Some(path) {
        return Ok(prometheus::text(report));
    }
    if path.ends_with(PAGE) {
        return Ok(html::page(report));
    }
    Ok(serde_json::to_string_pretty(report)? + "\n")
}

fn refused(option: &'static str, path: &Path, source: io::Error) -> Failure {
    Failure::Out { option, path: path.to_owned(), source }
}

fn part(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    path.with_file_name(name)
}

/// That a file can be written there: beside it one is, and goes away again. An earlier run's file goes too: it must not be
/// taken for this run's.
fn prove(path: &Path) -> io::Result<()> {
    if path.file_name().is_none() || path.is_dir() {
        return Err(io::Error::other("it is a folder"));
    }
    let part = part(path);
    fs::write(&part, b"\n")?;
    fs::remove_file(part)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Puts a text in a file's place, whole.
///
/// # Errors
/// The folder cannot take it.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let part = part(path);
    fs::write(&part, text)?;
    fs::rename(part, path)
}
