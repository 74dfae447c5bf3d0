//! The command line: `shardwire` is `shardwire serve`.

mod chats;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use schema::ids::{DeviceId, UserId};

use crate::backup::s3::{Access, Place, S3Error, SCHEME};
use crate::config::{self, Config, ConfigError, Layer};

pub use chats::{ChatPinArgs, ChatsArgs, ChatsTask, PinArgs, PinnedArgs};

/// A sharded, durable messaging backend.
///
/// Without a subcommand it serves, on embedded storage, as one process.
#[derive(Debug, Parser)]
#[command(name = "shardwire", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; without it, `serve`.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of `serve`.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve (the default). Prints one line on stdout when ready; logs go to stderr. SIGTERM or Ctrl-C stops it cleanly,
    /// SIGHUP reloads its configuration.
    Serve(ServeArgs),
    /// Print a token (JWT) for one device, and nothing else.
    Token(TokenArgs),
    /// Chat with a user in the terminal: ticks, history, reconnects. Where there is no terminal, lines in and lines out.
    Chat(ChatArgs),
    /// Print a commented default configuration.
    Config,
    /// Ask a running server how it stands, through the admin socket in its data folder.
    Status(StatusArgs),
    /// Have a running server read its configuration anew, whole or not at all (as SIGHUP does): keys, audiences, issuers,
    /// allowed hosts, rates, log level. Says what changed and what needs a restart.
    Reload(ReloadArgs),
    /// Have a running server refuse a user's or a device's tokens issued until now, also after a restart, and end their
    /// sessions.
    Revoke(RevokeArgs),
    /// Partitions of a store that several storage-writers share (`store.ack = "store"`).
    Partitions(PartitionsArgs),
    /// Queued sends that were refused for good (`store.ack = "store"`): list them, have them sent again, or drop them. The
    /// server that uses the data folder may run or not.
    DeadLetters(DeadLettersArgs),
    /// Groups that are so busy that they need a partition of their own, where several storage-writers share a store.
    Chats(ChatsArgs),
    /// Save the data folder, while its server serves or while there is none: a new folder in DIR, named by the time.
    /// What is in it and what is not: docs/OPERATIONS.md.
    Backup(BackupArgs),
    /// Make a data folder of a backup, whole or up to a point in time. Damaged backups are refused.
    Restore(RestoreArgs),
    /// Check this host for a number of connections: what is wrong, why, and the command that mends it. Exit code 0: fit, 1: not
    /// fit, 2: wrong use.
    Doctor(DoctorArgs),
    /// Make the tables of a Scylla or Cassandra cluster, or bring them up to date (`store.engine = "scylla"`). The server that
    /// uses the data folder must be stopped.
    Migrate(MigrateArgs),
    /// Print the completions of a shell, to be kept where it looks for them.
    Completions(CompletionsArgs),
    /// Print the manual page, or write one for every subcommand into a folder.
    Man(ManArgs),
}

/// Options of `shardwire serve`. Each overrides the configuration file.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Data folder, made at the first start [default: ./shardwire-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Configuration file (`shardwire config` prints one)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address of the native protocol [default: 127.0.0.1:7400]
    #[arg(long, value_name = "ADDR")]
    pub native: Option<SocketAddr>,
    /// Address of WebSocket [default: 127.0.0.1:7401]
    #[arg(long, value_name = "ADDR")]
    pub ws: Option<SocketAddr>,
    /// Address of HTTP: /healthz, /readyz, /metrics [default: 127.0.0.1:7480]
    #[arg(long, value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// Moves /metrics to an address of its own
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<SocketAddr>,
    /// Speak TLS on every listener, with this certificate (PEM: the server's own, then those that sign it)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Connection threads [default: one a core]
    #[arg(long, value_name = "N")]
    pub shards: Option<u16>,
    /// Owner partitions, each with a journal; may change between starts [default: one a core]
    #[arg(long, value_name = "N")]
    pub partitions: Option<u16>,
    /// This node's name in a cluster's list of nodes
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// What this node of a cluster does: gateway, router, storage-writer, or several, as its list says
    #[arg(long, value_name = "ROLES", value_delimiter = ',')]
    pub role: Option<Vec<String>>,
    /// The cluster's list of nodes (TOML)
    #[arg(long, value_name = "FILE")]
    pub nodes: Option<PathBuf>,
    /// The cluster's secret
    #[arg(long, value_name = "FILE")]
    pub cluster_secret: Option<PathBuf>,
}

impl ServeArgs {
    /// The options given, as a configuration layer.
    pub fn layer(&self) -> Layer {
        let mut layer = <Layer as confique::Layer>::empty();
        layer.server.data = self.data.clone();
        layer.server.native = self.native;
        layer.server.ws = self.ws;
        layer.server.http = self.http;
        layer.server.metrics = self.metrics;
        layer.tls.cert_file = self.tls_cert.clone();
        layer.tls.key_file = self.tls_key.clone();
        layer.server.shards = self.shards;
        layer.server.partitions = self.partitions;
        layer.cluster.name = self.name.clone();
        layer.cluster.roles = self.role.clone();
        layer.cluster.nodes_file = self.nodes.clone();
        layer.cluster.secret_file = self.cluster_secret.clone();
        layer
    }
}

/// Options that say which server's settings hold.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// Data folder of the server, made already or not [default: ./shardwire-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Configuration file of the server
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl ServerArgs {
    /// The options given, as a configuration layer.
    pub fn layer(&self) -> Layer {
        let mut layer = <Layer as confique::Layer>::empty();
        layer.server.data = self.data.clone();
        layer
    }

    /// The server's configuration. Blocks.
    ///
    /// # Errors
    /// What [`config::load`] says of the file.
    pub fn load(&self) -> Result<Config, ConfigError> {
        config::load(self.config.as_deref(), self.layer())
    }
}

/// Options of `shardwire token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Whose settings hold.
    #[command(flatten)]
    pub server: ServerArgs,
    /// User id, a decimal number from 1
    #[arg(long, value_name = "U")]
    pub user: UserId,
    /// Device id, a decimal number from 0
    #[arg(long, value_name = "D")]
    pub device: DeviceId,
    /// How long it is valid: a number with s, m, h or d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_ttl)]
    pub ttl: Duration,
    /// An operator's token (claim `adm`): may see the whole host, as on /console
    #[arg(long)]
    pub admin: bool,
}

/// Options of `shardwire revoke`.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// Whose settings hold.
    #[command(flatten)]
    pub server: ServerArgs,
    /// User id, a decimal number from 1
    #[arg(long, value_name = "U")]
    pub user: UserId,
    /// Device id, a decimal number from 0 [default: all of the user's]
    #[arg(long, value_name = "D")]
    pub device: Option<DeviceId>,
}

/// Options of `shardwire partitions`.
#[derive(Debug, Args)]
pub struct PartitionsArgs {
    /// What to do.
    #[command(subcommand)]
    pub task: PartitionsTask,
}

/// What is done with partitions.
#[derive(Debug, Subcommand)]
pub enum PartitionsTask {
    /// Have the running storage-writer that holds a partition hand it to another one, while clients go on; returns when it is
    /// the other's. Where that one then has two more than another, it gives away the one that it has had for longest.
    Move(MovePartitionArgs),
}

/// Options of `shardwire partitions move`.
#[derive(Debug, Args)]
pub struct MovePartitionArgs {
    /// The partition's number, from 0
    #[arg(value_name = "N")]
    pub partition: u16,
    /// The name of the storage-writer that is to have it, as the list of nodes has it
    #[arg(long, value_name = "NAME")]
    pub to: String,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
    /// Whose settings hold: those of the one that has it now.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Options of `shardwire backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Folder of backups, made if it is not there, or s3://BUCKET/PREFIX. In a folder, what has not changed since the last one
    /// in it is shared with that
    #[arg(long, value_name = "DIR|S3")]
    pub to: PathBuf,
    /// How a bucket is reached.
    #[command(flatten)]
    pub s3: S3Args,
    /// Whose settings hold.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// How a bucket of S3 is reached, by `backup` and `restore`. Credentials come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
/// AWS_SESSION_TOKEN.
#[derive(Debug, Args)]
pub struct S3Args {
    /// URL of the S3 service, path style [default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, else Amazon's]
    #[arg(long, value_name = "URL")]
    pub s3_endpoint: Option<String>,
    /// The bucket's region [default: AWS_REGION, AWS_DEFAULT_REGION, else us-east-1]
    #[arg(long, value_name = "NAME")]
    pub s3_region: Option<String>,
    /// Folder for what is on its way to or from a bucket, new or empty [default: beside the data folder]. A backup shares the
    /// store's files on the data folder's file system; a restore needs room for the backup
    #[arg(long, value_name = "DIR")]
    pub staging: Option<PathBuf>,
}

impl S3Args {
    /// The place meant, if it is one in a bucket.
    ///
    /// # Errors
    /// [`S3Error`].
    pub fn place(&self, given: &Path) -> Result<Option<Place>, S3Error> {
        let Some(place) = given.to_str().filter(|text| text.starts_with(SCHEME)) else { return Ok(None) };
        let access = Access { endpoint: self.s3_endpoint.clone(), region: self.s3_region.clone() };
        Place::new(place, &access).map(Some)
    }
}

/// Options of `shardwire restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup, or a folder of backups, or either as s3://BUCKET/PREFIX. Of several the newest, or the newest that has the
    /// time asked for
    #[arg(long, value_name = "DIR|S3")]
    pub from: PathBuf,
    /// How a bucket is reached.
    #[command(flatten)]
    pub s3: S3Args,
    /// Data folder to make: not there, or empty
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Leave out what is later: RFC 3339 (2026-11-22T18:30:00Z) or ms since 1970
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub until: Option<u64>,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// Options of `shardwire chat`.
#[derive(Debug, Args)]
pub struct ChatArgs {
    /// Who you are: a user id. The token is made with the server's own secret, so this works where `shardwire token` does
    #[arg(long, value_name = "U", required_unless_present = "token_file")]
    pub user: Option<UserId>,
    /// Whom to chat with: a user id
    #[arg(long, value_name = "U")]
    pub to: UserId,
    /// Your device. Two chats of one user at a time need two
    #[arg(long, value_name = "D", default_value = "1")]
    pub device: DeviceId,
    /// A file with a token, in place of --user and --device
    #[arg(long, value_name = "FILE", conflicts_with_all = ["user", "device"])]
    pub token_file: Option<PathBuf>,
    /// The server's native listener, host:port [default: as configured, 127.0.0.1:7400]
    #[arg(long, value_name = "ADDR")]
    pub address: Option<String>,
    /// Speak TLS; the server's certificate must be for the address' host, from an authority this host trusts
    #[arg(long)]
    pub tls: bool,
    /// Speak TLS, and trust the authorities in this PEM file instead of this host's
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Whose settings hold.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Folder for unsent messages and positions [default: in the state folder, by server, user and device]
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Lines of history shown at the start
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(0..=5_000))]
    pub history: u16,
    /// Plain lines, also on a terminal
    #[arg(long)]
    pub plain: bool,
}

/// Options of `shardwire migrate`.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// Whose settings hold.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Change nothing, say what is missing. Exit code 0: nothing is
    #[arg(long)]
    pub check: bool,
}

/// Options of `shardwire dead-letters`.
#[derive(Debug, Args)]
pub struct DeadLettersArgs {
    /// What to do.
    #[command(subcommand)]
    pub what: DeadLetters,
}

/// What is done with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadLetters {
    /// Print them, the oldest first: number, when, why, whose, where to. Never what they say.
    List {
        /// Whose settings hold.
        #[command(flatten)]
        server: ServerArgs,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Have them sent again under their old client_msg_id: within seconds where the server runs, else when it starts.
    Replay(Letters),
    /// Remove them for good.
    Drop(Letters),
}

/// Which dead letters.
#[derive(Debug, Args)]
pub struct Letters {
    /// Whose settings hold.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Their numbers, as `list` prints them
    #[arg(value_name = "NUMBER", required_unless_present = "all")]
    pub numbers: Vec<String>,
    /// All there are
    #[arg(long, conflicts_with = "numbers")]
    pub all: bool,
}

/// Options of `shardwire completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Which shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// Options of `shardwire man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Folder for the pages: shardwire.1 and one a subcommand. Made if it is not there
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Options of `shardwire status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Ask every node of the cluster's list instead, over HTTP. Exit code 1 unless all are ready
    #[arg(long)]
    pub cluster: bool,
    /// The list of nodes [default: cluster.nodes_file of --config]
    #[arg(long, value_name = "FILE", requires = "cluster")]
    pub nodes: Option<PathBuf>,
    /// Whose settings hold.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// Options of `shardwire reload`.
#[derive(Debug, Args)]
pub struct ReloadArgs {
    /// Whose settings hold.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// Options of `shardwire doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Connections the host is to hold at once
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub connections: u64,
    /// Whose settings hold.
    #[command(flatten)]
    pub server: ServerArgs,
    /// Connection threads the connections are spread over [default: one a core]
    #[arg(long, value_name = "N")]
    pub shards: Option<u16>,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

impl DoctorArgs {
    /// The options given, as a configuration layer.
    pub fn layer(&self) -> Layer {
        let mut layer = self.server.layer();
        layer.server.shards = self.shards;
        layer
    }
}

fn parse_ttl(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a number with s, m, h or d, e.g. 90s or 1h, at most 3650d".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let total = number.parse::<u64>().ok().and_then(|number| number.checked_mul(seconds)).ok_or_else(wrong)?;
    if total == 0 || total > 3_650 * 86_400 { Err(wrong()) } else { Ok(Duration::from_secs(total)) }
}

/// ms since 1970.
fn parse_time(text: &str) -> Result<u64, String> {
    let time = text.parse::<u64>().ok().or_else(|| {
        let time: jiff::Timestamp = text.parse().ok()?;
        u64::try_from(time.as_millisecond()).ok()
    });
    time.ok_or_else(|| "expected a time with its zone, e.g. 2026-11-22T18:30:00Z, or ms since 1970".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn serving_needs_no_subcommand() {
        let cli = Cli::try_parse_from(["shardwire", "--shards", "3"]).unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.serve.shards, Some(3));
        let cli = Cli::try_parse_from(["shardwire", "serve", "--shards", "3"]).unwrap();
        assert!(matches!(cli.command, Some(Command::Serve(ServeArgs { shards: Some(3), .. }))));
    }

    #[test]
    fn a_doctor_is_asked_about_a_sensible_number() {
        let parse = |words: &[&str]| Cli::try_parse_from([&["shardwire", "doctor"], words].concat());
        let Some(Command::Doctor(args)) = parse(&["--connections", "100000", "--shards", "6"]).unwrap().command else {
            panic!("no doctor");
        };
        assert_eq!((args.connections, args.layer().server.shards), (100_000, Some(6)));
        for wrong in ["0", "-1", "many", "100000001"] {
            assert!(parse(&["--connections", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_to_live_have_a_unit_and_bounds() {
        assert_eq!(parse_ttl("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_ttl("2h"), Ok(Duration::from_secs(7_200)));
        for wrong in ["", "5", "h", "0s", "-1h", "1y", "9999999d", "99999999999999999999s"] {
            assert!(parse_ttl(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn points_in_time_have_a_zone_or_are_milliseconds() {
        assert_eq!(parse_time("1790000000123"), Ok(1_790_000_000_123));
        assert_eq!(parse_time("2026-11-22T18:30:00.250Z"), Ok(1_795_372_200_250));
        assert_eq!(parse_time("2026-11-22T19:30:00.250+01:00"), Ok(1_795_372_200_250));
        for wrong in ["", "now", "2026-11-22", "2026-11-22T18:30:00", "-5", "1960-01-01T00:00:00Z"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn users_and_devices_are_checked_where_they_are_given() {
        let parse = |user, device| Cli::try_parse_from(["shardwire", "token", "--user", user, "--device", device]);
        assert!(parse("7", "0").is_ok());
        let error = parse("0", "1").unwrap_err().to_string();
        assert!(error.contains("1 to 18446744073709551615"), "{error}");
        assert!(parse("7", "x").is_err());
    }
}
