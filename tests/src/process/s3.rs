//! A real S3 service over a folder: versitygw.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::Deadline;
use super::programs::tool;

const KEY: &str = "shardwire-tests";
const SECRET: &str = "not-a-secret-of-anyone";

/// A running service; it ends with this.
pub struct S3 {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl S3 {
    /// Starts one with these buckets.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub fn start(buckets: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        for bucket in buckets {
            std::fs::create_dir(folder.path().join(bucket)).expect("a bucket");
        }
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let mut command = Command::new(tool("SHARDWIRE_VERSITYGW", "go/versitygw"));
        command.env("ROOT_ACCESS_KEY", KEY).env("ROOT_SECRET_KEY", SECRET).arg("--quiet");
        command.args(["--port", &free.to_string(), "posix", "--nometa"]).arg(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let s3 = Self { child, address: free, folder };
        assert!(Deadline::after_s(30).wait_until(|| TcpStream::connect(free).is_ok()), "versitygw does not listen");
        s3
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Credentials that may do everything.
    pub const fn credentials(&self) -> [(&'static str, &'static str); 2] {
        [("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", SECRET)]
    }

    /// The folder with a bucket's objects.
    pub fn bucket(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
