//! `loadgen scenarios`: what scenarios a folder has.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::scenario::Scenario;

/// What it is asked for.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The folder.
    #[arg(default_value = "loadgen/scenarios")]
    folder: PathBuf,
}

/// Prints each scenario's name, length and description; 2 when the folder cannot be read or a file is no scenario.
pub fn run(args: &Args) -> ExitCode {
    match list(&args.folder) {
        Ok((lines, wrong)) => {
            lines.iter().for_each(|line| println!("{line}"));
            wrong.iter().for_each(|line| eprintln!("loadgen: {line}"));
            if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) }
        }
        Err(error) => {
            eprintln!("loadgen: {}: cannot be read: {error}", args.folder.display());
            ExitCode::from(2)
        }
    }
}

/// A line for each scenario, and one for each file that is none.
fn list(folder: &Path) -> std::io::Result<(Vec<String>, Vec<String>)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    let (mut lines, mut wrong) = (Vec::new(), Vec::new());
    for file in files {
        match Scenario::load(&file) {
            Ok(Scenario { name, description, load, .. }) => {
                let whole = load.ramp_s + load.steady_s + load.cool_down_s;
                lines.push(format!("{name:<22}{whole:>5.0} s  {description}"));
            }
            Err(failure) => wrong.push(failure.to_string()),
        }
    }
    Ok((lines, wrong))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scenario_has_a_line_and_what_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        put("b.toml", "description = \"silence\"\n[load]\nusers = 1\nmode = \"idle\"\nsteady_s = 9.0\n");
        put("a.toml", "[load]\nusers = 0\nmode = \"idle\"\nsteady_s = 9.0\n");
        put("README.md", "not one");
        let (lines, wrong) = list(folder.path()).unwrap();
        assert_eq!(lines, [format!("{:<22}{:>5} s  silence", "b", 10)]);
        assert!(wrong.len() == 1 && wrong[0].contains("a.toml") && wrong[0].contains("load.users = 0"), "{wrong:?}");
    }
}
