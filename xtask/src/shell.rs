//! Runs commands in the workspace, and says which one failed.

use std::path::{Path, PathBuf};
use std::process::Command;

use miette::{IntoDiagnostic, Result, WrapErr, miette};

/// The workspace's root folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lives one folder below the root")
}

/// What tasks run: the server, the load generator, what starts clusters, and the limit that the gate compares the server with.
pub const PROGRAMS: [&str; 4] = ["shardwire", "loadgen", "cluster", "limit"];

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A command in the workspace's root, its words given one by one.
pub fn command(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    command
}

/// `cargo` as this xtask was started with.
pub fn cargo(args: &[&str]) -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), args)
}

/// Builds [`PROGRAMS`], and what is asked for besides, for release. The folder they are in.
///
/// Of the whole workspace, as tests: which packages are selected decides the features of what they share, so another selection
/// would compile most of it again.
///
/// # Errors
/// When something does not compile.
pub fn build_programs(besides: &[&str]) -> Result<PathBuf> {
    let mut build = cargo(&["build", "--quiet", "--release", "--workspace"]);
    build.args(PROGRAMS.iter().flat_map(|program| ["--bin", program])).args(besides);
    run(&mut build)?;
    Ok(target().join("release"))
}

/// Runs to the end.
///
/// # Errors
/// When the program is missing or fails; names the whole command.
pub fn run(command: &mut Command) -> Result<()> {
    let words = words(command);
    let status = command.status().into_diagnostic().wrap_err_with(|| format!("cannot start `{words}`"))?;
    if status.success() { Ok(()) } else { Err(miette!("`{words}` failed: {status}")) }
}

/// Runs to the end and returns what it printed on stdout.
///
/// # Errors
/// As [`run`].
pub fn output(command: &mut Command) -> Result<String> {
    let words = words(command);
    let output = command.output().into_diagnostic().wrap_err_with(|| format!("cannot start `{words}`"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(miette!("`{words}` failed: {}\n{stderr}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
