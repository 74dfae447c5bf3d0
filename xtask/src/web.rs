//! `cargo xtask web`: the TypeScript client and the pages, from their sources to the JavaScript that the binary serves.
//!
//! Sources and the pinned packages meet in a folder below `target/tools`, so that nothing is installed in the tree. What tsc
//! makes of the pages (and of the client's part without packages) is committed in `web/assets`; `--check` compares.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic, Result, WrapErr, miette};

use crate::{shell, tools};

/// The client's package, relative to the root.
const CLIENT: &str = "clients/typescript";
/// What is put beside the packages, relative to the root.
const SOURCES: [&str; 3] = [CLIENT, "web", "tests/browser"];
/// How the pages are compiled, relative to the root.
const PAGES: &str = "web/src/tsconfig.json";
/// Where tsc puts the client, relative to its package.
const MADE: &str = "dist/shardwire";

/// Build web/assets/*.js from clients/typescript and web/src.
#[derive(clap::Args)]
pub struct Args {
    /// Compare with what is committed instead of writing; fails on a difference.
    #[arg(long)]
    pub check: bool,
}

/// Runs the task.
///
/// # Errors
/// When a tool is missing, a source does not compile or, with `--check`, when a file differs.
pub fn run(args: &Args) -> Result<()> {
    let made = build()?;
    let committed = scripts(&shell::root().join("web/assets"), |_| true)?;
    if made == committed {
        return Ok(());
    }
    if args.check {
        let differs = |name: &&PathBuf| made.get(*name) != committed.get(*name);
        let mut names: Vec<_> = made.keys().chain(committed.keys()).filter(differs).collect();
        names.dedup();
        let names: Vec<_> = names.iter().map(|name| name.display().to_string()).collect();
        return Err(miette!("web/assets is stale: {}; run `cargo xtask web` and commit", names.join(", ")));
    }
    for name in committed.keys().filter(|name| !made.contains_key(*name)) {
        std::fs::remove_file(shell::root().join("web/assets").join(name)).into_diagnostic()?;
    }
    for (name, text) in &made {
        write(&shell::root().join("web/assets").join(name), text)?;
    }
    println!("wrote {} scripts to web/assets", made.len());
    Ok(())
}

/// Checks what is committed, then runs the tests of client and pages that need neither server nor browser.
///
/// # Errors
/// When a file is stale or a test fails.
pub fn test() -> Result<()> {
    run(&Args { check: true })?;
    // Where the check has just built client and pages.
    let place = tools::node_packages(&shell::root().join(CLIENT))?;
    tsc(&place, &Path::new(CLIENT).join("test/tsconfig.json"))?;
    let tests = [&format!("{CLIENT}/dist-test/test/units/"), "tests/browser/numbers.test.mjs"];
    let mut node = shell::command("node", &["--test", "--test-reporter=dot"]);
    node.args(tests).env("SHARDWIRE_VECTORS", shell::root().join("schema/vectors"));
    shell::run(node.current_dir(place))
}

/// The folder in which tests find the compiled client, its live tests and the packages.
///
/// # Errors
/// When a tool is missing or a source does not compile.
pub fn compile_tests() -> Result<PathBuf> {
    let place = stage()?;
    tsc(&place, &Path::new(CLIENT).join("test/tsconfig.json"))?;
    Ok(place)
}

/// Compiles client and pages; every script with its path below `web/assets`.
fn build() -> Result<BTreeMap<PathBuf, String>> {
    let place = stage()?;
    tsc(&place, &Path::new(CLIENT).join("tsconfig.json"))?;
    tsc(&place, Path::new(PAGES))?;
    let client = scripts(&place.join(CLIENT).join(MADE), |path| !path.starts_with("flatbuffers"))?;
    let mut made = scripts(&place.join("web/made"), |_| true)?;
    made.extend(client.into_iter().map(|(path, text)| (Path::new("shardwire").join(path), text)));
    Ok(made)
}

/// Copies the sources beside the packages. Returns the folder.
fn stage() -> Result<PathBuf> {
    let place = tools::node_packages(&shell::root().join(CLIENT))?;
    for folder in SOURCES {
        let target = place.join(folder);
        if target.exists() {
            std::fs::remove_dir_all(&target).into_diagnostic()?;
        }
        copy(&shell::root().join(folder), &target)?;
    }
    Ok(place)
}

fn tsc(place: &Path, project: &Path) -> Result<()> {
    let mut tsc = shell::command("node", &["node_modules/typescript/bin/tsc", "-p"]);
    shell::run(tsc.arg(project).current_dir(place))
}

/// All files of a folder, but what a person may have built in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).into_diagnostic()?;
    for entry in list(from)? {
        let name = entry.file_name().unwrap_or_default();
        if entry.is_dir() {
            if !["node_modules", "dist", "dist-test"].iter().any(|skipped| name == *skipped) {
                copy(&entry, &to.join(name))?;
            }
        } else {
            std::fs::copy(&entry, to.join(name)).into_diagnostic()?;
        }
    }
    Ok(())
}

/// The scripts of a folder, by their paths in it.
fn scripts(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Result<BTreeMap<PathBuf, String>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in list(&next)? {
            let path = entry.strip_prefix(folder).into_diagnostic()?.to_owned();
            if entry.is_dir() {
                folders.push(entry);
            } else if path.extension().is_some_and(|extension| extension == "js") && wanted(&path) {
                found.insert(path, std::fs::read_to_string(&entry).into_diagnostic()?);
            }
        }
    }
    Ok(found)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(folder).into_diagnostic().wrap_err_with(|| format!("cannot read {}", folder.display()))?;
    entries.map(|entry| entry.map(|entry| entry.path()).into_diagnostic()).collect()
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).into_diagnostic()?;
    }
    std::fs::write(path, text).into_diagnostic().wrap_err_with(|| format!("cannot write {}", path.display()))
}
