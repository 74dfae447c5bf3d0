//! Tools that tests and generators need, pinned by hash in `requirements.txt`, in a Python environment below `target/tools`.

use std::path::PathBuf;

use miette::{IntoDiagnostic, Result, WrapErr};

use crate::shell;

const REQUIREMENTS: &str = include_str!("../requirements.txt");

/// A program of the environment, which is made at first use and again whenever `requirements.txt` changes.
///
/// # Errors
/// When Python is missing or the packages cannot be installed.
pub fn program(name: &str) -> Result<PathBuf> {
    Ok(environment()?.join("bin").join(name))
}

fn environment() -> Result<PathBuf> {
    let folder = shell::target().join("tools").join("python");
    let stamp = folder.join("requirements.txt");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == REQUIREMENTS) {
        return Ok(folder);
    }
    eprintln!("installing the pinned tools of xtask/requirements.txt");
    let folder_text = folder.to_string_lossy().into_owned();
    shell::run(&mut shell::command("python3", &["-m", "venv", "--clear", &folder_text]))?;
    let pip = folder.join("bin").join("pip");
    let args = ["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps", "-r"];
    let mut install = shell::command(pip, &args);
    install.arg(shell::root().join("xtask").join("requirements.txt"));
    shell::run(&mut install)?;
    std::fs::write(&stamp, REQUIREMENTS).into_diagnostic().wrap_err("cannot note which tools are installed")?;
    Ok(folder)
}
