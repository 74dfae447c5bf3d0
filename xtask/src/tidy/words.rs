//! What must not be named in the tree: paths of somebody's machine, hosts of package registries, unfinished work.

use miette::Result;

use super::Finding;

/// Each in two parts, so that this file does not name them either.
const BANNED: [(&str, &str, &str); 8] = [
    ("/wo", "rk/", "a path of one machine"),
    ("/ro", "ot/", "a path of one machine"),
    ("/ho", "me/", "a path of one machine"),
    ("crates", ".io/", "a registry's host: name the package only"),
    ("pypi", ".org", "a registry's host: name the package only"),
    ("registry.npm", "js", "a registry's host: name the package only"),
    ("TO", "DO", "finish it, or write the decision into docs"),
    ("FIX", "ME", "finish it, or write the decision into docs"),
];

/// Files whose words are not ours: licences and lock files.
const EXEMPT: [&str; 3] = ["Cargo.lock", "LICENSE", "package-lock.json"];

/// Checks every text file that git knows of.
pub fn check() -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for path in super::tracked()? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if EXEMPT.contains(&name) {
            continue;
        }
        // Binary vectors and pictures are no text.
        let Ok(text) = super::read(&path) else { continue };
        for (number, line) in text.lines().enumerate() {
            for (head, tail, why) in BANNED {
                if line.contains(&format!("{head}{tail}")) {
                    let place = format!("{}:{}", path.display(), number + 1);
                    findings.push(Finding { place, what: format!("names `{head}{tail}`: {why}") });
                }
            }
        }
    }
    Ok(findings)
}
