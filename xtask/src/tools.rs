//! Tools that tests and generators need, in folders below `target/tools`: Python's pinned by hash in `requirements.txt`,
//! Node's in the TypeScript client's `package-lock.json`, an S3 service for backups by its version. A browser, Redis and faketime come from the system.

use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic, Result, WrapErr, miette};

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

/// The oldest Node that runs the TypeScript client's tests.
const NODE_MAJOR: u32 = 20;

/// A folder whose `node_modules` holds what the `package-lock.json` in `package` pins; made at first use and again whenever
/// that changes.
///
/// # Errors
/// When Node or npm is missing or too old, or the packages cannot be installed.
pub fn node_packages(package: &Path) -> Result<PathBuf> {
    let folder = shell::target().join("tools").join("node");
    let stamp = folder.join("installed.json");
    let lock = std::fs::read_to_string(package.join("package-lock.json"))
        .into_diagnostic()
        .wrap_err("cannot read the TypeScript client's package-lock.json")?;
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(folder);
    }
    let version = shell::output(&mut shell::command("node", &["--version"]))
        .wrap_err("Node 20 or later and npm are needed (Debian: apt-get install nodejs npm)")?;
    let major = version.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < NODE_MAJOR) {
        return Err(miette!("node is {}; version {NODE_MAJOR} or later is needed", version.trim()));
    }
    eprintln!("installing the pinned packages of {}", package.join("package-lock.json").display());
    std::fs::create_dir_all(&folder).into_diagnostic()?;
    for name in ["package.json", "package-lock.json", ".npmrc"] {
        std::fs::copy(package.join(name), folder.join(name)).into_diagnostic()?;
    }
    let mut npm = shell::command("npm", &["ci", "--silent", "--ignore-scripts"]);
    shell::run(npm.current_dir(&folder))?;
    std::fs::write(&stamp, lock).into_diagnostic().wrap_err("cannot note which packages are installed")?;
    Ok(folder)
}

/// Go's name of the S3 service that backups are tested with, and its version.
const VERSITYGW: &str = "github.com/versity/versitygw/cmd/versitygw@v1.8.0";

/// An S3 service over a folder, built at first use and again whenever its version changes.
///
/// # Errors
/// When Go is missing or the service cannot be built.
pub fn versitygw() -> Result<PathBuf> {
    let folder = shell::target().join("tools").join("go");
    let (program, stamp) = (folder.join("versitygw"), folder.join("versitygw.version"));
    if program.is_file() && std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == VERSITYGW) {
        return Ok(program);
    }
    shell::output(&mut shell::command("go", &["version"]))
        .wrap_err("Go 1.24 or later is needed for the tests of backups in S3 (https://go.dev/dl)")?;
    eprintln!("installing {VERSITYGW}");
    std::fs::create_dir_all(&folder).into_diagnostic()?;
    let mut install = shell::command("go", &["install", VERSITYGW]);
    shell::run(install.env("GOBIN", &folder).env("CGO_ENABLED", "0"))?;
    std::fs::write(&stamp, VERSITYGW).into_diagnostic().wrap_err("cannot note which tools are installed")?;
    Ok(program)
}

/// A Chromium for the browser tests: `SHARDWIRE_CHROMIUM`, else the system's; installed by apt where that is possible.
///
/// # Errors
/// When there is none and it cannot be installed; says what to do.
pub fn chromium() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SHARDWIRE_CHROMIUM") {
        return Ok(path.into());
    }
    if let Some(found) = system_chromium() {
        return Ok(found);
    }
    eprintln!("installing chromium by apt-get");
    let _ = shell::run(&mut shell::command("apt-get", &["install", "--yes", "--quiet", "chromium"]));
    system_chromium().ok_or_else(|| {
        miette!("the browser tests need Chromium: `apt-get install chromium`, or set SHARDWIRE_CHROMIUM to one")
    })
}

/// Makes sure that `redis-server` and `redis-cli` are there, for the directory in Redis; installed by apt where that is
/// possible.
///
/// # Errors
/// When they are missing and cannot be installed; says what to do.
pub fn redis() -> Result<()> {
    let missing = "the directory in Redis needs redis-server and redis-cli: `apt-get install redis-server`";
    let starts = |program| shell::output(&mut shell::command(program, &["--version"])).is_ok();
    installed("redis-server", || starts("redis-server") && starts("redis-cli"), missing)
}

/// Makes sure that there is what gives each process a host and a clock of its own, for faults with engines; installed by apt where
/// that is possible.
///
/// # Errors
/// When something is missing and cannot be installed; says what to do.
pub fn faults() -> Result<()> {
    let missing = "faults with engines need network namespaces, and so iproute2: `apt-get install iproute2`, as root";
    installed("iproute2", || shell::output(&mut shell::command("ip", &["-Version"])).is_ok(), missing)?;
    let missing =
        "clocks that jump need faketime: `apt-get install faketime`, or name libfaketimeMT.so.1 in SHARDWIRE_FAKETIME";
    let is_named = || std::env::var_os("SHARDWIRE_FAKETIME").is_some();
    let starts = || shell::output(&mut shell::command("faketime", &["--version"])).is_ok();
    installed("faketime", || is_named() || starts(), missing)
}

/// Installs a package where what it brings is not there.
fn installed(package: &str, is_there: impl Fn() -> bool, missing: &'static str) -> Result<()> {
    if is_there() {
        return Ok(());
    }
    eprintln!("installing {package} by apt-get");
    let _ = shell::run(&mut shell::command("apt-get", &["install", "--yes", "--quiet", package]));
    if is_there() { Ok(()) } else { Err(miette!("{missing}")) }
}

fn system_chromium() -> Option<PathBuf> {
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    let candidates = ["chromium", "chromium-browser", "google-chrome"];
    candidates.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|path| path.is_file())
}
