//! Apache Cassandra for tests: the jars that `pom.xml` pins, fetched once by Maven into `target/tools/cassandra`.
//!
//! Maven checks each jar against its repository's checksum and keeps what it fetched, so another target folder costs seconds.

use std::path::PathBuf;

use miette::{IntoDiagnostic, Result, WrapErr, miette};

use crate::shell;

const POM: &str = include_str!("pom.xml");
/// Java versions that Cassandra 5.0 runs on.
const JAVA_MAJORS: [&str; 2] = ["11", "17"];

/// The folder of Cassandra's jars. Made at first use and again whenever `pom.xml` changes.
///
/// # Errors
/// When Java or Maven is missing and cannot be installed, or the jars cannot be fetched; says what to do.
pub fn jars() -> Result<PathBuf> {
    check_java()?;
    let folder = shell::target().join("tools").join("cassandra");
    let (pom, stamp, jars) = (folder.join("pom.xml"), folder.join("fetched.xml"), folder.join("jars"));
    if std::fs::read_to_string(&stamp).is_ok_and(|fetched| fetched == POM) {
        return Ok(jars);
    }
    let missing = "the tests of the Scylla and Cassandra store need Maven: `apt-get install maven`";
    installed("mvn", "maven", missing)?;
    eprintln!("fetching the Cassandra of xtask/src/cassandra/pom.xml by Maven");
    let _ = std::fs::remove_dir_all(&jars);
    std::fs::create_dir_all(&folder).into_diagnostic()?;
    std::fs::write(&pom, POM).into_diagnostic().wrap_err("cannot write the pom.xml")?;
    let args = ["--quiet", "--batch-mode", "dependency:copy-dependencies", "--file"];
    let mut maven = shell::command("mvn", &args);
    maven.arg(&pom).arg(format!("-DoutputDirectory={}", jars.display()));
    shell::run(&mut maven).wrap_err("Cassandra's jars cannot be fetched; is Maven's repository reachable?")?;
    std::fs::write(&stamp, POM).into_diagnostic().wrap_err("cannot note what was fetched")?;
    Ok(jars)
}

/// Makes sure that `program` starts: installs `package` where that is possible.
fn installed(program: &str, package: &str, missing: &'static str) -> Result<()> {
    let starts = || shell::output(&mut shell::command(program, &["--version"])).is_ok();
    if starts() {
        return Ok(());
    }
    eprintln!("installing {package} by apt-get");
    let _ = shell::run(&mut shell::command("apt-get", &["install", "--yes", "--quiet", package]));
    if starts() { Ok(()) } else { Err(miette!("{missing}")) }
}

fn check_java() -> Result<()> {
    let missing = "the tests of the Scylla and Cassandra store need Java 17: `apt-get install openjdk-17-jre-headless`";
    installed("java", "openjdk-17-jre-headless", missing)?;
    let version = shell::output(&mut shell::command("java", &["--version"]))?;
    let major = version.split_whitespace().nth(1).and_then(|version| version.split('.').next()).unwrap_or_default();
    if JAVA_MAJORS.contains(&major) {
        return Ok(());
    }
    let wanted = JAVA_MAJORS.join(" or ");
    Err(miette!("`java` is version {major}; Cassandra needs {wanted}: put that one first on the PATH"))
}
