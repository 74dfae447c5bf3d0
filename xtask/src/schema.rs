//! `cargo xtask schema`: everything that is generated from `schema/`.
//!
//! flatc makes the accessors, in Rust and (of the client's schema) in TypeScript; the error table makes the enum, the rows in
//! both languages and `docs/ERRORS.md`. `--check` compares instead of
//! writing, for CI.

use std::path::{Path, PathBuf};

use miette::{IntoDiagnostic, Result, WrapErr, miette};

use crate::{errors_gen, shell, tools};

/// The TypeScript client's sources.
const TYPESCRIPT: &str = "clients/typescript/src";

/// Regenerate what is made from schema/fbs and schema/errors.toml.
#[derive(clap::Args)]
pub struct Args {
    /// Compare with what is committed instead of writing; fails on a difference.
    #[arg(long)]
    pub check: bool,
}

/// Runs the task.
///
/// # Errors
/// When a generator fails or, with `--check`, when a file differs.
pub fn run(args: &Args) -> Result<()> {
    let mut stale = Vec::new();
    for (path, text) in generate()? {
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        if committed == text {
            continue;
        }
        if args.check {
            stale.push(path.display().to_string());
        } else {
            std::fs::write(&path, text)
                .into_diagnostic()
                .wrap_err_with(|| format!("cannot write {}", path.display()))?;
            println!("wrote {}", path.display());
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(miette!("generated files are stale: {}; run `cargo xtask schema` and commit", stale.join(", ")))
}

/// Every generated file with its text.
fn generate() -> Result<Vec<(PathBuf, String)>> {
    let generated = shell::root().join("schema/src/generated");
    let mut files = Vec::new();
    let scratch = shell::target().join("tools").join("flatc");
    std::fs::create_dir_all(&scratch).into_diagnostic()?;
    for schema in sources()? {
        let mut flatc = shell::command(tools::program("flatc")?, &["--rust", "-o"]);
        shell::run(flatc.arg(&scratch).arg(&schema))?;
        let stem = schema.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let name = format!("{stem}_generated.rs");
        let text = std::fs::read_to_string(scratch.join(&name)).into_diagnostic()?;
        files.push((generated.join(name), text));
    }
    files.extend(typescript(&scratch)?);
    let table = errors_gen::read(&shell::root().join("schema/errors.toml"))?;
    files.push((generated.join("errors.rs"), errors_gen::rust(&table)));
    files.push((shell::root().join(TYPESCRIPT).join("generated/errors.ts"), errors_gen::typescript(&table)));
    files.push((shell::root().join("docs/ERRORS.md"), errors_gen::markdown(&table)));
    Ok(files)
}

/// The client's accessors in TypeScript: one file a table.
fn typescript(scratch: &Path) -> Result<Vec<(PathBuf, String)>> {
    let made = scratch.join("typescript");
    if made.exists() {
        std::fs::remove_dir_all(&made).into_diagnostic()?;
    }
    let mut flatc = shell::command(tools::program("flatc")?, &["--ts", "-o"]);
    shell::run(flatc.arg(&made).arg(shell::root().join("schema/fbs/client.fbs")))?;
    let home = shell::root().join(TYPESCRIPT).join("flatbuffers/generated/shardwire/client");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(made.join("shardwire/client")).into_diagnostic()? {
        let path = entry.into_diagnostic()?.path();
        let text = std::fs::read_to_string(&path).into_diagnostic()?;
        files.push((home.join(path.file_name().unwrap_or_default()), text));
    }
    files.sort();
    Ok(files)
}

fn sources() -> Result<Vec<PathBuf>> {
    let folder: &Path = &shell::root().join("schema/fbs");
    let entries = std::fs::read_dir(folder).into_diagnostic().wrap_err("cannot read schema/fbs")?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "fbs"));
    paths.sort();
    Ok(paths)
}
