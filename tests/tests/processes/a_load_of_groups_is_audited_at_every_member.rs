//! The load generator's groups against the real server: every member's view is audited, in one process and over several, natively
//! and in JSON.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use shardwire_tests::process::{binary, output};

/// A run of a scenario, which must pass: its report.
fn run(folder: &Path, scenario: &Path, more: &[&str]) -> Value {
    let mut command = Command::new(binary("loadgen"));
    command.arg("run").arg(scenario).arg("--out").arg(folder.join("out")).arg("--server").arg(binary("shardwire"));
    let run = output(
        {
            command.args(more);
            command
        },
        60,
    );
    let report = std::fs::read_to_string(folder.join("out/report.json")).expect("a report");
    let report: Value = serde_json::from_str(&report).expect("a whole report");
    assert!(run.status.success(), "{}\n{}", report["reason"], String::from_utf8_lossy(&run.stderr));
    report
}

/// Every message is with every other member of a group of so many: `direct` messages have one receiver.
fn is_whole(report: &Value) {
    let (audit, groups) = (&report["audit"], &report["groups"]);
    assert_eq!((&audit["sent"], &audit["lost"]), (&audit["delivered"], &0.into()), "{audit}");
    assert!(audit["deliveries"].as_u64() > Some(5 * audit["sent"].as_u64().expect("a count")), "{audit}");
    for until in ["ack_us", "first_us", "last_us"] {
        assert!(groups[until]["count"].as_u64() > Some(20), "{until}: {groups}");
    }
    assert_eq!(groups["not_followed"], 0, "{groups}");
}

#[test]
fn the_scenario_of_the_gate_passes() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("../loadgen/scenarios/quick-groups.toml");
    let report = run(folder.path(), &scenario, &[]);
    is_whole(&report);
    assert!(report["connections"]["dropped"].as_u64() > Some(0), "{}", report["connections"]);
    assert!(report["groups"]["receipts"].as_u64() > Some(0), "{}", report["groups"]);
    assert!(std::fs::read_to_string(folder.path().join("out/report.html")).unwrap().contains("last member"));
}

/// A group of 20 and one of 10 beside it, for a second.
fn scenario(folder: &Path, protocol: &str) -> std::path::PathBuf {
    let file = folder.join("scenario.toml");
    let text = format!(
        "[load]\nusers = 30\nprotocol = \"{protocol}\"\nmode = \"open\"\nrate = 60.0\nramp_s = 0.0\nsteady_s = 1.0\n\
         groups = [{{ members = 20, share = 0.6 }}, {{ members = 10, from = 20, writers = 2, share = 0.3 }}]\n\
         [thresholds]\nerrors = 0\n"
    );
    std::fs::write(&file, text).expect("the folder takes it");
    file
}

#[test]
fn groups_are_spoken_to_in_json_too() {
    let folder = tempfile::tempdir().unwrap();
    is_whole(&run(folder.path(), &scenario(folder.path(), "websocket"), &[]));
}

/// A remote worker; it ends with the test.
struct Worker(Child, String);

impl Worker {
    fn start(secret: &Path) -> Self {
        let mut command = Command::new(binary("loadgen"));
        command.args(["worker", "--listen", "127.0.0.1:0", "--workers", "2", "--token"]).arg(secret);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("loadgen runs");
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().expect("its output"));
        said.read_line(&mut line).expect("it says that it is ready");
        let address = line.trim_end().strip_prefix("ready worker=").expect("the ready line").to_owned();
        Self(child, address)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_group_over_several_processes_is_joined() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "a secret of leader and workers").unwrap();
    let worker = Worker::start(&secret);
    let more = ["--worker-token", secret.to_str().unwrap(), "--worker", &worker.1, "--local-workers", "1"];
    let report = run(folder.path(), &scenario(folder.path(), "native"), &more);
    is_whole(&report);
    assert_eq!(report["generator"]["workers"], 3, "{}", report["generator"]);
}
