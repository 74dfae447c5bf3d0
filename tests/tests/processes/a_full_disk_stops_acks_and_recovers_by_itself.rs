//! The data folder on a file system that fills up: no ack, a clear state, no corruption, and back by itself.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use schema::errors::ErrorCode;
use schema::ids::{ChatId, UserId};
use shardwire_tests::process::{Deadline, Native, Options, Server, binary, output};
use tempfile::TempDir;

const DISK: &str = "/mnt";

/// A mount namespace with a small disk at [`DISK`], alive as long as its process.
pub(super) struct SmallDisk {
    holder: Child,
}

impl SmallDisk {
    /// Where its programs see it.
    pub(super) const PLACE: &str = DISK;

    pub(super) fn new(megabytes: u32) -> Self {
        let script =
            format!("mount -t tmpfs -o size={megabytes}m,mode=0700 tmpfs {DISK} && echo mounted && exec sleep 100000");
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
    pub(super) fn through(&self) -> Vec<String> {
        let mut words = vec!["nsenter".to_owned(), format!("--mount=/proc/{}/ns/mnt", self.holder.id())];
        if !rustix::process::getuid().is_root() {
            words.extend([format!("--user=/proc/{}/ns/user", self.holder.id()), "--preserve-credentials".to_owned()]);
        }
        words
    }

    /// The disk, seen from here.
    pub(super) fn path(&self) -> PathBuf {
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

/// A server on a small disk, and tokens made with a copy of its key: `shardwire token` does not run where the disk is.
struct Place {
    disk: SmallDisk,
    server: Server,
    keys: TempDir,
}

impl Place {
    fn new() -> Self {
        let disk = SmallDisk::new(64);
        let data = Some(PathBuf::from(DISK).join("data"));
        let options = Options { through: disk.through(), data, shards: 1, partitions: 1, ..Options::default() };
        let server = Server::start(options);
        let keys = tempfile::tempdir().unwrap();
        std::fs::copy(disk.path().join("data/dev-key"), keys.path().join("dev-key")).unwrap();
        Self { disk, server, keys }
    }

    fn token(&self, user: u64) -> String {
        let mut command = Command::new(binary("shardwire"));
        command.arg("token").arg("--data").arg(self.keys.path());
        command.args(["--user", &user.to_string(), "--device", "1"]);
        let output = output(command, 30);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    fn login(&self, user: u64) -> Native {
        Native::login(self.server.native(), &self.token(user)).unwrap()
    }

    /// Fills the disk, and the journal's last segments with it; `sent` counts what was acknowledged.
    fn fill(&self, native: &mut Native, sent: &mut u64) {
        self.disk.fill();
        let code = send_until_refused(native, sent, 2_000);
        assert_eq!(code, Some(ErrorCode::StorageUnavailable as u16), "after {sent} messages\n{}", self.server.log());
    }
}

#[test]
fn a_full_disk_is_said_plainly_and_costs_nothing_acknowledged() {
    let mut place = Place::new();
    assert_eq!(place.server.get("/readyz").status, 200);
    let (mut native, mut sent) = (place.login(1), 0);
    assert_eq!(send_until_refused(&mut native, &mut sent, 20), None, "there is room");
    place.fill(&mut native, &mut sent);
    let server = &place.server;
    assert!(Deadline::after_s(30).wait_until(|| server.get("/readyz").status == 503), "{}", server.log());
    let why = server.get("/readyz").body;
    assert!(why.contains("cannot be stored") && why.contains("disk full"), "{why}");
    assert_eq!(server.get("/healthz").status, 200, "it is alive");
    all_is_there(&place, sent);
    place.disk.free();
    assert!(Deadline::after_s(60).wait_until(|| server.get("/readyz").status == 200), "comes back\n{}", server.log());
    // The refused message again, then more: in order, in the same session.
    assert_eq!(send_until_refused(&mut native, &mut sent, 20), None, "\n{}", server.log());
    all_is_there(&place, sent);
    place.server.kill9();
    place.server.start_again();
    all_is_there(&place, sent);
    place.server.terminate();
}

#[test]
fn a_server_that_ends_on_a_full_disk_starts_again_with_everything_when_there_is_room() {
    for kill in [false, true] {
        let mut place = Place::new();
        let (mut native, mut sent) = (place.login(1), 0);
        place.fill(&mut native, &mut sent);
        if kill {
            place.server.kill9()
        } else {
            place.server.terminate()
        }
        let output = place.server.start_in_vain();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains("No space left on device"), "{error}");
        place.disk.free();
        place.server.start_again();
        all_is_there(&place, sent);
        place.server.terminate();
    }
}

fn all_is_there(place: &Place, sent: u64) {
    let mut native = place.login(2);
    let log = native.history(ChatId::direct(UserId::new(1).unwrap(), receiver())).unwrap();
    let ids: Vec<String> = log.iter().map(|entry| String::from_utf8(entry.1.clone()).unwrap()).collect();
    assert!(
        ids.iter().eq(&(0..sent).map(|number| format!("s{number}")).collect::<Vec<_>>()),
        "{} of {sent}",
        ids.len()
    );
    assert!(log.iter().map(|entry| entry.0).eq(1..=sent), "gapless");
}
