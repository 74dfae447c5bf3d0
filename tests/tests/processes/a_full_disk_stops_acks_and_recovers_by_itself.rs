//! The data folder on a file system that fills up: no ack, a clear state, no corruption, and back by itself.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use schema::errors::ErrorCode;
use schema::ids::{ChatId, UserId};
use shardwire_tests::process::{Deadline, Native, Options, Server};

const DISK: &str = "/mnt";

/// A mount namespace with a small disk at [`DISK`], alive as long as its process.
struct SmallDisk {
    holder: Child,
}

impl SmallDisk {
    fn new(megabytes: u32) -> Self {
        let script = format!(
            "mount -t tmpfs -o size={megabytes}m,mode=0700 tmpfs {DISK} && echo mounted && exec sleep 100000"
        );
        let own_user = if rustix::process::getuid().is_root() { "--mount" } else { "--map-root-user" };
        let mut command = Command::new("unshare");
        command.args([own_user, "--mount", "--propagation", "private", "sh", "-c", &script]);
        let mut holder = command
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .expect("this test needs `unshare` (util-linux) to mount a small disk in a namespace of its own");
        let mut line = String::new();
        let _ = BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line);
        if line != "mounted\n" {
            let _ = holder.kill();
            let status = holder.wait();
            panic!(
                "a full disk cannot be tested here: `{command:?}` failed ({status:?}). Run as root, or where user \
                 namespaces are allowed"
            );
        }
        Self { holder }
    }

    /// The command that runs a program where the disk is.
    fn through(&self) -> Vec<String> {
        let mut words = vec!["nsenter".to_owned(), format!("--mount=/proc/{}/ns/mnt", self.holder.id())];
        if !rustix::process::getuid().is_root() {
            words.extend([format!("--user=/proc/{}/ns/user", self.holder.id()), "--preserve-credentials".to_owned()]);
        }
        words
    }

    /// The disk, seen from here.
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{DISK}", self.holder.id()))
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(self.path().join("fill")).unwrap();
        while file.write_all(&[1; 64 << 10]).is_ok() {}
        while file.write_all(&[1; 512]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.path().join("fill")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn receiver() -> UserId {
    UserId::new(2).unwrap()
}

/// Sends until one is refused; how many were acknowledged, and with which code the other was refused.
fn send_until_refused(native: &mut Native, from: &mut u64, most: u64) -> Option<u16> {
    for _ in 0..most {
        let frame = native.message(&format!("s{from}"), receiver(), &[9; 60_000], false);
        native.write(&frame).unwrap();
        loop {
            let got = native.next(60).unwrap().expect("an answer in time");
            if got.ack().is_some() {
                *from += 1;
                break;
            }
            if let Some(code) = got.code() {
                return Some(code);
            }
        }
    }
    None
}

#[test]
fn a_full_disk_is_said_plainly_and_costs_nothing_acknowledged() {
    let disk = SmallDisk::new(64);
    let folder = PathBuf::from(DISK).join("data");
    let options = Options { through: disk.through(), data: Some(folder), shards: 1, partitions: 1, ..Options::default() };
    let mut server = Server::new(options);
    // The key is made where the server will look for it.
    server.start_again();
    assert_eq!(server.get("/readyz").status, 200);
    let key = disk.path().join("data/dev-key");
    let outside = tempfile::tempdir().unwrap();
    std::fs::copy(key, outside.path().join("dev-key")).unwrap();
    let token = |user: u64| {
        let mut command = Command::new(shardwire_tests::process::binary("shardwire"));
        command.arg("token").arg("--data").arg(outside.path());
        command.args(["--user", &user.to_string(), "--device", "1"]);
        let output = shardwire_tests::process::output(command, 30);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    let mut native = Native::login(server.native(), &token(1)).unwrap();
    let mut sent = 0;
    assert_eq!(send_until_refused(&mut native, &mut sent, 20), None, "there is room");
    disk.fill();
    let code = send_until_refused(&mut native, &mut sent, 2_000);
    assert_eq!(code, Some(ErrorCode::StorageUnavailable as u16), "after {sent} messages\n{}", server.log());
    let unready = || server.get("/readyz").status == 503;
    assert!(Deadline::after_s(30).wait_until(unready), "{}", server.log());
    let why = server.get("/readyz").body;
    assert!(why.contains("cannot be stored") && why.contains("disk full"), "{why}");
    assert_eq!(server.get("/healthz").status, 200, "it is alive");
    disk.free();
    let ready = || server.get("/readyz").status == 200;
    assert!(Deadline::after_s(60).wait_until(ready), "recovers by itself\n{}", server.log());
    // The refused message again, then more: in order, in the same session.
    assert_eq!(send_until_refused(&mut native, &mut sent, 20), None, "\n{}", server.log());
    all_is_there(&server, &token(2), sent);
    server.kill9();
    server.start_again();
    all_is_there(&server, &token(2), sent);
    server.terminate();
}

fn all_is_there(server: &Server, token: &str, sent: u64) {
    let mut native = Native::login(server.native(), token).unwrap();
    let log = native.history(ChatId::direct(UserId::new(1).unwrap(), receiver())).unwrap();
    let ids: Vec<String> = log.iter().map(|entry| String::from_utf8(entry.1.clone()).unwrap()).collect();
    assert!(ids.iter().eq(&(0..sent).map(|number| format!("s{number}")).collect::<Vec<_>>()), "{} of {sent}", ids.len());
    assert!(log.iter().map(|entry| entry.0).eq(1..=sent), "gapless");
}
