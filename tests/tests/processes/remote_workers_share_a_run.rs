//! One run over several load generator processes: audited as one, refused without the secret, never passed with a part lost.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use shardwire_tests::process::{Deadline, binary, output};

const SECRET: &str = "a secret of leader and workers";

/// A remote worker; it ends with the test.
struct Worker {
    child: Child,
    address: String,
}

impl Worker {
    fn start(folder: &Path) -> Self {
        let mut command = Command::new(binary("loadgen"));
        command.args(["worker", "--listen", "127.0.0.1:0", "--workers", "1", "--token"]).arg(secret(folder, SECRET));
        let mut child = command.stdout(Stdio::piped()).spawn().expect("loadgen runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output"))
            .read_line(&mut line)
            .expect("it says that it is ready");
        let address = line.trim_end().strip_prefix("ready worker=").expect("the ready line").to_owned();
        Self { child, address }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn secret(folder: &Path, text: &str) -> std::path::PathBuf {
    let file = folder.join("secret");
    std::fs::write(&file, text).expect("the folder takes it");
    file
}

/// `loadgen run` of 40 users, shuffled over the workers, for so many seconds.
fn leader(folder: &Path, steady_s: f64, secret_text: &str, workers: &[&Worker]) -> Command {
    let scenario = folder.join("scenario.toml");
    let text = format!(
        "[load]\nusers = 40\nmode = \"open\"\nrate = 200.0\npairs = \"shuffled\"\npeers = 3\ntoken = \"es256\"\n\
         ramp_s = 0.0\nsteady_s = {steady_s:?}\n[thresholds]\nerrors = 0\nconnections_held = 40\n"
    );
    std::fs::write(&scenario, text).expect("the folder takes it");
    let mut command = Command::new(binary("loadgen"));
    command.arg("run").arg(scenario).arg("--out").arg(folder.join("out")).arg("--server").arg(binary("shardwire"));
    command.arg("--worker-token").arg(secret(folder, secret_text));
    for worker in workers {
        command.args(["--worker", &worker.address]);
    }
    command
}

fn report(folder: &Path) -> Option<Value> {
    let text = std::fs::read_to_string(folder.join("out/report.json")).ok()?;
    Some(serde_json::from_str(&text).expect("a whole report"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_message_between_them_is_audited() {
    let folder = tempfile::tempdir().unwrap();
    let workers = [Worker::start(folder.path()), Worker::start(folder.path())];
    // Twice: a worker is there for the next run too. The second time the leader has users of its own.
    for local in ["0", "1"] {
        let mut command = leader(folder.path(), 1.0, SECRET, &[&workers[0], &workers[1]]);
        command.args(["--local-workers", local]);
        let run = output(command, 60);
        let report = report(folder.path()).unwrap_or_else(|| panic!("no report: {}", said(&run)));
        assert!(run.status.success(), "{}\n{report}", said(&run));
        let (sent, delivered) = (&report["audit"]["sent"], &report["audit"]["delivered"]);
        assert!(sent == delivered && sent.as_u64() > Some(100), "{sent} sent, {delivered} delivered");
        assert!(report["latency_us"]["count"].as_u64() > Some(100), "{}", report["latency_us"]);
        let remote = report["generator"]["remote"].as_array().expect("the workers");
        let users: u64 = remote.iter().filter_map(|worker| worker["users"].as_u64()).sum();
        assert_eq!((remote.len(), users), (2, if local == "0" { 40 } else { 28 }));
        assert!(report["generator"]["clock_error_us"].as_u64() > Some(0), "pairs are shuffled over the processes");
    }
}

#[test]
fn another_secret_is_refused_before_any_load() {
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(folder.path());
    let run = output(leader(folder.path(), 1.0, "a secret of somebody else", &[&worker]), 60);
    assert_eq!(run.status.code(), Some(2));
    assert!(said(&run).contains("the secrets of leader and worker differ"), "{}", said(&run));
    assert!(said(&run).contains(&worker.address) && report(folder.path()).is_none());
}

#[test]
fn a_run_whose_worker_is_killed_ends_without_a_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let (stays, mut dies) = (Worker::start(folder.path()), Worker::start(folder.path()));
    let mut command = leader(folder.path(), 300.0, SECRET, &[&stays, &dies]);
    let mut leader = command.stderr(Stdio::piped()).spawn().expect("loadgen runs");
    let mut lines = BufReader::new(leader.stderr.take().expect("its errors")).lines().map_while(Result::ok);
    let steady = lines.by_ref().find(|line| line.starts_with("steady"));
    assert!(steady.is_some(), "it never came to the steady phase");
    dies.child.kill().expect("it runs");
    let mut ended = None;
    Deadline::after_s(60).wait_until(|| {
        ended = leader.try_wait().expect("its state");
        ended.is_some()
    });
    if ended.is_none() {
        let _ = leader.kill();
    }
    let rest: Vec<String> = lines.collect();
    assert_eq!(ended.and_then(|status| status.code()), Some(6), "{rest:?}");
    let named = format!("no verdict: worker {} was lost", dies.address);
    assert!(rest.iter().any(|line| line.contains(&named)), "{rest:?}");
    assert!(report(folder.path()).is_none(), "nothing that could be taken for a pass");
    // The other one is there for the next run.
    let run = output(self::leader(folder.path(), 0.5, SECRET, &[&stays]), 60);
    assert!(run.status.success(), "{}", said(&run));
}
