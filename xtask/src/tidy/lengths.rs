//! A file is read without a map, a function without scrolling.
//!
//! Files are counted here (their tests apart); functions by clippy's `too_many_lines` (clippy.toml).

use std::path::PathBuf;

use miette::Result;

use super::Finding;

/// Most lines of a file's code, its test module not counted.
const CODE_LINES_MAX: usize = 500;
/// Most lines of a whole file.
const FILE_LINES_MAX: usize = 1_000;

/// Checks every file, and that each begins by saying what lives in it.
pub fn check(sources: &[PathBuf]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for path in sources {
        let text = super::read(path)?;
        let lines = text.lines().count();
        let code = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count();
        let place = path.display().to_string();
        if code > CODE_LINES_MAX || lines > FILE_LINES_MAX {
            let what = format!(
                "{code} lines of code, {lines} in all (at most {CODE_LINES_MAX} and {FILE_LINES_MAX}): split it"
            );
            findings.push(Finding { place: place.clone(), what });
        }
        if !text.starts_with("//!") && !text.starts_with("#![") && !text.starts_with("#!/") {
            findings.push(Finding { place, what: "begins without `//!` saying what lives here".to_owned() });
        }
    }
    Ok(findings)
}
