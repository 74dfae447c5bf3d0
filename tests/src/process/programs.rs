//! The programs that tests start: the built binaries, Python and Node.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::Deadline;

fn build_folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("SHARDWIRE_BIN_DIR") {
        return folder.into();
    }
    // A test's executable is target/PROFILE/deps/NAME-HASH.
    let own = std::env::current_exe().unwrap_or_default();
    let target = own.ancestors().nth(3).unwrap_or_else(|| Path::new("target"));
    target.join("release")
}

/// A built binary: in `SHARDWIRE_BIN_DIR`, else in the target folder's `release`.
///
/// # Panics
/// When it is missing, with the command that builds it.
pub fn binary(name: &str) -> PathBuf {
    let path = build_folder().join(name);
    assert!(path.is_file(), "{} is missing; run `cargo build --release --workspace --bins`", path.display());
    path
}

fn python_program() -> PathBuf {
    if let Some(python) = std::env::var_os("SHARDWIRE_PYTHON") {
        return python.into();
    }
    let folder = build_folder();
    let path = folder.parent().unwrap_or(&folder).join("tools/python/bin/python3");
    assert!(
        path.is_file(),
        "{} is missing; run the tests by `cargo xtask test --only processes`, which installs it, or set SHARDWIRE_PYTHON \
         to a Python with the packages of xtask/requirements.txt",
        path.display()
    );
    path
}

/// A command of Python on `docs/examples/SCRIPT`.
///
/// # Panics
/// When Python is missing.
pub fn example(script: &str, args: &[&str]) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples").join(script);
    let mut command = Command::new(python_program());
    command.env("PYTHONDONTWRITEBYTECODE", "1").arg(path).args(args);
    command
}

/// Runs `tests/python/SCRIPT` to its end, at most 90 s, and gives its stdout.
///
/// # Panics
/// When Python is missing or the script fails, with all it printed.
pub fn python(script: &str, args: &[&str]) -> String {
    let output = python_with(script, args, &[]);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}: {}\n{stdout}\n{stderr}", output.status);
    stdout.into_owned()
}

/// As [`python`], with more environment; what came of it is the caller's to judge.
///
/// # Panics
/// When Python is missing or takes longer.
pub fn python_with(script: &str, args: &[&str], environment: &[(&str, &Path)]) -> Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
    let mut command = Command::new(python_program());
    command.env("PYTHONDONTWRITEBYTECODE", "1").envs(environment.iter().copied()).arg(path).args(args);
    output(command, 90)
}

/// A program that `cargo xtask test` installs: the one that `variable` names, else `place` below the target folder's `tools`.
///
/// # Panics
/// When it is missing.
pub(super) fn tool(variable: &str, place: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let folder = build_folder();
    let path = folder.parent().unwrap_or(&folder).join("tools").join(place);
    let why = "run the tests by `cargo xtask test --only processes`, which installs it, or set";
    assert!(path.is_file(), "{} is missing; {why} {variable}", path.display());
    path
}

fn node_folder() -> PathBuf {
    let folder = std::env::var_os("SHARDWIRE_NODE").map_or_else(
        || {
            let folder = build_folder();
            folder.parent().unwrap_or(&folder).join("tools/node")
        },
        PathBuf::from,
    );
    assert!(
        folder.join("node_modules").is_dir(),
        "{} has no packages; run the tests by `cargo xtask test --only processes`, which installs them",
        folder.display()
    );
    folder
}

/// The browser of `SHARDWIRE_CHROMIUM`.
///
/// # Panics
/// When that is not set.
pub fn chromium() -> PathBuf {
    let path = std::env::var_os("SHARDWIRE_CHROMIUM");
    path.expect("SHARDWIRE_CHROMIUM is not set; `cargo xtask test --only processes` installs and names a Chromium")
        .into()
}

/// A command of Node on a compiled test of `clients/typescript/test` (or a script of `tests/browser`), by its path below the
/// folder of `SHARDWIRE_NODE`.
///
/// # Panics
/// When Node's packages are not installed.
pub fn node(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new("node");
    command.args(arguments).current_dir(node_folder()).envs(variables.iter().copied());
    command
}

/// Runs Node to its end, at most `seconds`, and gives its stdout.
///
/// # Panics
/// When it fails, with all it printed.
pub fn run_node(arguments: &[&str], variables: &[(&str, &str)], seconds: u64) -> String {
    let output = output(node(arguments, variables), seconds);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "node {arguments:?}: {}\n{stdout}\n{stderr}", output.status);
    stdout.into_owned()
}

/// An error report on one line: it is wrapped and framed for the terminal.
pub fn unwrapped(report: &str) -> String {
    report.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

/// Runs a command to its end and collects what it prints.
///
/// # Panics
/// When it cannot be started or takes longer than `seconds`; it is killed then.
pub fn output(mut command: Command, seconds: u64) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let reader = |stream: Option<Box<dyn std::io::Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut stream) = stream {
                let _ = stream.read_to_end(&mut bytes);
            }
            bytes
        })
    };
    let stdout = reader(child.stdout.take().map(|stream| Box::new(stream) as _));
    let stderr = reader(child.stderr.take().map(|stream| Box::new(stream) as _));
    let deadline = Deadline::after_s(seconds);
    let mut status = None;
    deadline.wait_until(|| {
        status = child.try_wait().ok().flatten();
        status.is_some()
    });
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let (stdout, stderr) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let Some(status) = status else {
        panic!("{command:?} did not end within {seconds} s\n{}\n{}", text(&stdout), text(&stderr));
    };
    Output { status, stdout, stderr }
}
