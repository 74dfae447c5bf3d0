//! `cargo xtask instructions`: counts instructions of the hot paths (`benches/benches/instructions.rs`) with valgrind, which
//! is the machine's; the runner of gungraun is installed below `target/tools`, in the version of the library.

use std::path::PathBuf;
use std::process::Stdio;

use miette::{Result, miette};

use crate::shell;

/// The library's version, which the runner's must be.
const VERSION: &str = "0.20.0";

/// Count instructions of the hot paths, with valgrind.
#[derive(clap::Args)]
pub struct Args {
    /// Only the benches whose name contains this, e.g. `owner`.
    #[arg(long)]
    only: Option<String>,
}

/// Runs the task.
///
/// # Errors
/// When valgrind is missing, the runner cannot be installed, or a bench fails.
pub fn run(args: &Args) -> Result<()> {
    let quiet = shell::command("valgrind", &["--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !quiet.is_ok_and(|status| status.success()) {
        return Err(miette!(
            "valgrind is missing: install it with `apt-get install valgrind libc6-dbg` (Debian, Ubuntu), `dnf install valgrind` (Fedora)"
        ));
    }
    let runner = runner()?;
    let mut bench = shell::cargo(&["bench", "--quiet", "--package", "shardwire-benches", "--bench", "instructions"]);
    if let Some(only) = &args.only {
        bench.arg("--").arg(format!("*{only}*"));
    }
    bench.env("GUNGRAUN_RUNNER", runner).env("GUNGRAUN_SAVE_SUMMARY", "json");
    shell::run(&mut bench)
}

/// The runner, installed at first use.
fn runner() -> Result<PathBuf> {
    let folder = shell::target().join("tools").join(format!("gungraun-{VERSION}"));
    let runner = folder.join("bin").join("gungraun-runner");
    if runner.is_file() {
        return Ok(runner);
    }
    eprintln!("installing gungraun-runner {VERSION}");
    let version = format!("={VERSION}");
    // Unoptimised: it starts valgrind and reads what it wrote.
    let mut install =
        shell::cargo(&["install", "--quiet", "--debug", "--locked", "gungraun-runner", "--version", &version]);
    install.arg("--root").arg(&folder).env_remove("CARGO_TARGET_DIR");
    shell::run(&mut install)?;
    Ok(runner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runner_has_the_library_s_version() {
        let manifest = std::fs::read_to_string(shell::root().join("benches/Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("gungraun = \"={VERSION}\"")), "{manifest}");
    }
}
