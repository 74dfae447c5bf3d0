//! `cargo xtask tidy`: the habits of this code base, checked.
//!
//! rustfmt, clippy with warnings denied, rustdoc, cargo-deny, and what no tool checks: [`lengths`], [`reach`] (dead files),
//! [`words`] (what must not be named in the tree), [`layers`] (tiers do not import each other).

mod layers;
mod lengths;
mod reach;
mod words;

use std::path::{Path, PathBuf};

use miette::{Result, miette};

use crate::{shell, tools};

/// Check the habits.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Only what takes no compiling: format, lengths, dead files, words, layers.
    #[arg(long)]
    pub quick: bool,
}

/// One finding: where, and what is wrong.
pub struct Finding {
    /// File and line.
    pub place: String,
    /// What is wrong, and what to do.
    pub what: String,
}

/// Runs the task.
///
/// # Errors
/// When a check fails; every finding has been printed.
pub fn run(args: &Args) -> Result<()> {
    let sources = sources()?;
    let mut findings = lengths::check(&sources)?;
    findings.extend(reach::check(&sources)?);
    findings.extend(words::check()?);
    findings.extend(layers::check()?);
    for finding in &findings {
        eprintln!("tidy: {}: {}", finding.place, finding.what);
    }
    if !findings.is_empty() {
        return Err(miette!("tidy: {} findings", findings.len()));
    }
    shell::run(&mut shell::cargo(&["fmt", "--all", "--check"]))?;
    if args.quick {
        return Ok(());
    }
    shell::run(&mut shell::cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    let mut doc = shell::cargo(&["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"]);
    shell::run(doc.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links"))?;
    let mut deny = shell::command(tools::program("cargo-deny")?, &["--log-level", "error", "check"]);
    shell::run(deny.args(["bans", "licenses", "sources"]))
}

/// Every Rust file that git knows of or would add, but for generated ones.
fn sources() -> Result<Vec<PathBuf>> {
    let files = tracked()?;
    let rust = files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    Ok(rust.filter(|path| !path.components().any(|part| part.as_os_str() == "generated")).collect())
}

/// Every file that git knows of or would add, relative to the root.
fn tracked() -> Result<Vec<PathBuf>> {
    let args = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let list = shell::output(&mut shell::command("git", &args))?;
    let paths = list.lines().map(PathBuf::from);
    Ok(paths.filter(|path| shell::root().join(path).is_file()).collect())
}

/// A tracked file's text.
fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(shell::root().join(path))
        .map_err(|error| miette!("cannot read {}: {error}", path.display()))
}
