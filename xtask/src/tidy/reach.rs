//! Dead files: every Rust file must be a crate's root or be named by a `mod` above it.

use std::path::{Path, PathBuf};

use miette::Result;

use super::Finding;

/// Checks that every module file is declared by its parent.
pub fn check(sources: &[PathBuf]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for path in sources {
        if is_root(path) || declared(path)? {
            continue;
        }
        let place = path.display().to_string();
        findings.push(Finding { place, what: "no `mod` names this file: it is never compiled".to_owned() });
    }
    Ok(findings)
}

/// Crate roots: lib.rs, main.rs, and what cargo finds by folder (bin, tests, benches, examples, fuzz targets).
fn is_root(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
    let found_by_folder = ["bin", "tests", "benches", "examples", "fuzz_targets"].contains(&folder);
    matches!(name, "lib.rs" | "main.rs" | "build.rs") || found_by_folder
}

fn declared(path: &Path) -> Result<bool> {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let folder = path.parent().unwrap_or(Path::new(""));
    let (module, home) = if stem == "mod" {
        (
            folder.file_name().and_then(|name| name.to_str()).unwrap_or_default(),
            folder.parent().unwrap_or(Path::new("")),
        )
    } else {
        (stem, folder)
    };
    let beside = home.with_extension("rs");
    let mut parents = vec![home.join("mod.rs"), home.join("lib.rs"), home.join("main.rs"), beside];
    // A test or bench with modules of its own in a folder.
    if let Ok(entries) = std::fs::read_dir(crate::shell::root().join(home)) {
        parents.extend(entries.filter_map(|entry| entry.ok()).map(|entry| home.join(entry.file_name())));
    }
    let declarations = [format!("mod {module};"), format!("#[path = \"{module}.rs\"]")];
    let declares = |text: &str| declarations.iter().any(|declaration| text.contains(declaration));
    for parent in parents {
        let is_rust = parent.extension().is_some_and(|extension| extension == "rs");
        if is_rust && crate::shell::root().join(&parent).is_file() && declares(&super::read(&parent)?) {
            return Ok(true);
        }
    }
    Ok(false)
}
