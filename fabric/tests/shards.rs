//! Shards on real sockets, files and threads, with a core that does what its clients tell it line by line.

mod toy;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fabric::disk::Block;
use fabric::shard::{Driver, DriverChoice, Options, ShardContext, ShardSpec, Shards, spawn_shards};
use fabric::wake::Waker;
use toy::{DRIVERS, Talk, Toy};

/// A folder that is removed at the end, on the disk that holds the build (a memory file system may refuse O_DIRECT).
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn start(driver: DriverChoice, shards: u16, journal: Option<&Path>) -> Shards {
    toy::start(driver, shards, journal, None)
}

fn talk(shards: &Shards) -> Talk<TcpStream> {
    Talk::over(TcpStream::connect(shards.addresses()[0].1).unwrap())
}

#[test]
fn the_driver_in_use_is_reported() {
    let shards = start(DriverChoice::Epoll, 1, None);
    assert_eq!(shards.drivers(), [Driver::Epoll]);
    shards.stopper().stop();
    shards.join();
}

#[test]
fn many_connections_are_echoed_on_every_driver() {
    for driver in DRIVERS {
        let shards = start(driver, 2, None);
        let mut talks: Vec<Talk<_>> = (0..200).map(|_| talk(&shards)).collect();
        let mut seen = [false; 2];
        for talk in &mut talks {
            seen[talk.ask("shard").parse::<usize>().unwrap()] = true;
        }
        assert_eq!(seen, [true, true], "the kernel spreads connections over both shards");
        for round in 0..5 {
            for (number, talk) in talks.iter_mut().enumerate() {
                talk.tell(&format!("echo {round} {number}\necho again\n"));
            }
            for (number, talk) in talks.iter_mut().enumerate() {
                assert_eq!(talk.hear(), format!("{round} {number}"));
                assert_eq!(talk.hear(), "again");
            }
        }
        shards.stopper().stop();
        drop(talks);
        shards.join();
    }
}

#[test]
fn a_paused_connection_is_not_read_until_it_is_resumed() {
    for driver in DRIVERS {
        let shards = start(driver, 1, None);
        let (mut paused, mut other) = (talk(&shards), talk(&shards));
        assert_eq!(paused.ask("pause"), "paused");
        paused.tell("echo later\n");
        assert_eq!(other.ask("echo now"), "now");
        assert_eq!(paused.hear(), "later");
        shards.stopper().stop();
        shards.join();
    }
}

#[test]
fn a_closed_connection_gets_all_its_output_first() {
    for driver in DRIVERS {
        let shards = start(driver, 1, None);
        let mut talk = talk(&shards);
        talk.tell("flood 4000\nclose\n");
        let mut all = Vec::new();
        talk.0.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), 4_000 * 1_024 + 4);
        assert!(all.ends_with(b"bye\n"));
        shards.stopper().stop();
        shards.join();
    }
}

#[test]
fn a_reader_that_does_not_read_holds_up_nobody() {
    for driver in DRIVERS {
        let shards = start(driver, 1, None);
        let mut stuck = talk(&shards);
        stuck.tell("flood 40000\n");
        let mut other = talk(&shards);
        for number in 0..100 {
            assert_eq!(other.ask(&format!("echo {number}")), number.to_string());
        }
        drop(stuck);
        assert_eq!(other.ask("echo still"), "still");
        shards.stopper().stop();
        shards.join();
    }
}

#[test]
fn a_connection_that_always_has_data_starves_neither_others_nor_the_journal() {
    for driver in DRIVERS {
        let folder = Folder::new(&format!("starve-{driver:?}"));
        std::fs::write(folder.0.join("segment"), vec![0; 64 * Block::ALIGN]).unwrap();
        let shards = start(driver, 1, Some(&folder.0));
        let address = shards.addresses()[0].1;
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut busy = TcpStream::connect(address).unwrap();
                let mut reader = busy.try_clone().unwrap();
                scope.spawn(move || io::copy(&mut reader, &mut io::sink()));
                let lines = b"echo a\n".repeat(20_000);
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    busy.write_all(&lines).unwrap();
                }
                busy.shutdown(std::net::Shutdown::Both).unwrap();
            });
            let mut other = talk(&shards);
            for number in 0..20 {
                assert_eq!(other.ask(&format!("echo {number}")), number.to_string());
                assert_eq!(other.ask("write segment text"), "durable");
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        shards.stopper().stop();
        shards.join();
    }
}

#[test]
fn journal_blocks_are_on_disk_when_they_are_reported() {
    for driver in DRIVERS {
        let folder = Folder::new(&format!("journal-{driver:?}"));
        std::fs::write(folder.0.join("segment"), vec![0; 8 * Block::ALIGN]).unwrap();
        let shards = start(driver, 1, Some(&folder.0));
        let mut talk = talk(&shards);
        for text in ["one", "two", "three"] {
            assert_eq!(talk.ask(&format!("write segment {text}")), "durable");
        }
        assert_eq!(talk.ask("write missing four"), "failed NotFound");
        let bytes = std::fs::read(folder.0.join("segment")).unwrap();
        for (place, text) in ["one", "two", "three"].iter().enumerate() {
            assert!(bytes[place * Block::ALIGN..].starts_with(text.as_bytes()));
        }
        assert!(!folder.0.join("missing").exists());
        shards.stopper().stop();
        shards.join();
    }
}

#[test]
fn jobs_run_on_other_threads_and_come_back() {
    for driver in DRIVERS {
        let shards = start(driver, 2, None);
        let mut talks: Vec<Talk<_>> = (0..20).map(|_| talk(&shards)).collect();
        for (number, talk) in talks.iter_mut().enumerate() {
            talk.tell(&format!("job {number}\n"));
        }
        for (number, talk) in talks.iter_mut().enumerate() {
            assert_eq!(talk.hear(), format!("job {}", number * number));
        }
        shards.stopper().stop();
        shards.join();
    }
}

#[test]
fn a_stopped_shard_closes_its_sockets_and_its_port() {
    for driver in DRIVERS {
        let shards = start(driver, 2, None);
        let address = shards.addresses()[0].1;
        let mut talk = talk(&shards);
        assert_eq!(talk.ask("echo on"), "on");
        shards.stopper().stop();
        shards.join();
        assert_eq!(talk.hear(), "", "the connection has ended");
        assert!(TcpStream::connect(address).is_err());
    }
}

#[test]
fn a_core_that_cannot_be_built_stops_the_start_and_is_named() {
    let specs = (0..3)
        .map(|shard| ShardSpec {
            shard,
            cpu: None,
            waker: Waker::new().unwrap(),
            journals: Vec::new(),
            build: |context: ShardContext| match context.shard {
                2 => Err("no such partition"),
                _ => Ok(Toy::new(&context)),
            },
        })
        .collect();
    let error = spawn_shards(&Options::default(), specs, |job| job).unwrap_err();
    assert_eq!(error.to_string(), "shard 2: no such partition");
}

/// Run in a process of its own by the test below.
#[test]
fn a_panic_on_a_shard_ends_the_process() {
    const CHILD: &str = "SHARDWIRE_TEST_PANIC";
    if std::env::var_os(CHILD).is_some() {
        let shards = start(DriverChoice::Auto, 2, None);
        talk(&shards).tell("panic\n");
        std::thread::sleep(Duration::from_secs(60));
        unreachable!("the process has ended");
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_panic_on_a_shard_ends_the_process", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(101));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("shardwire: shard-") && text.contains("panicked: asked to"), "{text}");
}

#[test]
fn who_is_told_of_a_stop_hears_it_however_much_it_was_saying() {
    for driver in DRIVERS {
        let shards = start(driver, 2, None);
        let mut talks: Vec<Talk<_>> = (0..20).map(|_| talk(&shards)).collect();
        talks.iter_mut().for_each(|talk| assert_eq!(talk.ask("tell\necho here"), "here"));
        let stopper = shards.stopper();
        std::thread::scope(|scope| {
            for talk in &mut talks {
                // What a socket that is closed unread would answer with a reset.
                let mut out = talk.0.get_ref().try_clone().unwrap();
                scope.spawn(move || while out.write_all(&[b'x'; 4_096]).is_ok() {});
                scope.spawn(move || {
                    assert_eq!(talk.hear(), "stopping");
                    assert_eq!(talk.0.read(&mut [0]).unwrap(), 0, "a clean end");
                    talk.0.get_ref().shutdown(std::net::Shutdown::Both).unwrap();
                });
            }
            stopper.stop();
        });
        shards.join();
    }
}

#[test]
fn a_stopping_shard_listens_no_more_and_its_port_is_free() {
    for driver in DRIVERS {
        let shards = start(driver, 1, None);
        let address = shards.addresses()[0].1;
        let mut talk = talk(&shards);
        assert_eq!(talk.ask("tell\necho here"), "here");
        shards.stopper().stop();
        assert_eq!(talk.hear(), "stopping");
        // Its own listener, without sharing: free means free.
        drop(std::net::TcpListener::bind(address).expect("the port is free while connections linger"));
        drop(talk);
        shards.join();
    }
}
