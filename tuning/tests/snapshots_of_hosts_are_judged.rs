//! Hosts there are not: each lacks one thing, and exactly that is found, with a command that mends it.
#![allow(missing_docs)]

use std::path::PathBuf;

use tuning::generator::{self, Load};
use tuning::host::{DataFolder, Host, Interrupt, Limits, Memory};
use tuning::need::Need;
use tuning::rule::{Outcome, Severity};
use tuning::text::{self, Colour};
use tuning::verdict::{Finding, Verdict};

/// A host that carries 100,000 connections and has nothing to be said about.
fn good() -> Host {
    let sysctl = [
        ("fs.file-max", "8388608"),
        ("fs.nr_open", "4194304"),
        ("kernel.io_uring_disabled", "0"),
        ("net.core.somaxconn", "8192"),
        ("net.ipv4.ip_local_port_range", "10240 60999"),
        ("net.ipv4.tcp_congestion_control", "cubic"),
        ("net.ipv4.tcp_max_syn_backlog", "8192"),
        ("net.ipv4.tcp_mem", "287898 383867 575796"),
        ("net.ipv4.tcp_rmem", "4096 16384 4194304"),
        ("net.ipv4.tcp_slow_start_after_idle", "0"),
        ("net.ipv4.tcp_wmem", "4096 16384 4194304"),
        ("vm.swappiness", "10"),
    ];
    Host {
        kernel: Some("6.18.0".to_owned()),
        cores: 2,
        sysctl: sysctl.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        limits: Limits { open_files: Some(1 << 20), locked_bytes: Some(8 << 20), processes: Some(90_000) },
        memory: Memory { total: Some(24 << 30), available: Some(20 << 30), swap: Some(0), ..Memory::default() },
        driver: Some("io_uring+defer_taskrun".to_owned()),
        long_slice: Some(true),
        huge_pages: Some("madvise".to_owned()),
        clock_source: Some("tsc".to_owned()),
        governor: Some("performance".to_owned()),
        data: Some(DataFolder {
            path: PathBuf::from("/data"),
            looked_at: PathBuf::from("/data"),
            free_bytes: Some(100 << 30),
            filesystem: Some("ext4".to_owned()),
            direct: Some(true),
            durable_write_us: Some(80),
            disk: Some("nvme0n1".to_owned()),
            write_cache: Some("write back".to_owned()),
            fua: Some(true),
            interrupts: ["0", "1"].map(interrupt).into(),
            ..DataFolder::default()
        }),
        ..Host::default()
    }
}

fn interrupt(cores: &str) -> Interrupt {
    Interrupt { number: 36, name: "nvme0q1".to_owned(), cores: cores.to_owned() }
}

fn server() -> Need {
    Need::server(100_000, 2, 2)
}

fn fallen(host: &Host, need: &Need) -> Vec<Finding> {
    Verdict::of(host, need).findings.into_iter().filter(|finding| finding.severity().is_some()).collect()
}

/// The one thing wrong with it.
fn only(host: &Host, need: &Need) -> (&'static str, Severity, String) {
    let findings = fallen(host, need);
    assert_eq!(findings.len(), 1, "{findings:#?}");
    let Outcome::Falls { severity, found, wanted, mend } = &findings[0].outcome else { unreachable!() };
    assert!(!found.is_empty() && !wanted.is_empty() && !mend.is_empty());
    (findings[0].key, *severity, mend.clone())
}

/// The good host but for one thing.
fn but(change: impl FnOnce(&mut Host)) -> Host {
    let mut host = good();
    change(&mut host);
    host
}

fn set(name: &'static str, value: &'static str) -> impl FnOnce(&mut Host) {
    move |host| drop(host.sysctl.insert(name.to_owned(), value.to_owned()))
}

fn data(change: impl FnOnce(&mut DataFolder)) -> impl FnOnce(&mut Host) {
    move |host| change(host.data.as_mut().unwrap())
}

#[test]
fn a_good_host_has_nothing_wrong_and_everything_known() {
    for need in [server(), Need::generator(100_000, 5, 5)] {
        let verdict = Verdict::of(&good(), &need);
        assert!(verdict.fit && fallen(&good(), &need).is_empty(), "{:#?}", fallen(&good(), &need));
        let unknown: Vec<_> =
            verdict.findings.iter().filter(|f| f.outcome == Outcome::Unknown).map(|f| f.key).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}

#[test]
fn too_few_descriptors_name_the_limit_and_the_shards_that_would_do() {
    let host = but(|host| host.limits.open_files = Some(20_000));
    let (key, severity, mend) = only(&host, &server());
    assert_eq!((key, severity), ("limits.nofile", Severity::Fatal));
    assert!(mend.contains("ulimit -Hn 53200") && mend.contains("--shards 6"), "{mend}");
    assert!(fallen(&host, &Need::server(100_000, 6, 2)).is_empty(), "with six shards it fits");
    assert!(fallen(&host, &Need::server(10_000, 2, 2)).is_empty(), "with few connections it fits");
    let unlimited = but(|host| host.limits.open_files = Some(u64::MAX));
    assert!(fallen(&unlimited, &server()).is_empty());
}

#[test]
fn each_kernel_setting_is_found_and_mended() {
    let cases = [
        ("fs.file-max", "100000", Severity::Fatal, "fs.file-max=265536"),
        ("net.core.somaxconn", "128", Severity::Warning, "net.core.somaxconn=8192"),
        ("net.ipv4.tcp_max_syn_backlog", "256", Severity::Warning, "tcp_max_syn_backlog=8192"),
        ("net.ipv4.tcp_mem", "1 2 3", Severity::Warning, "tcp_mem=\"200000 266666 400000\""),
        ("net.ipv4.tcp_rmem", "4096 131072 33554432", Severity::Warning, "tcp_rmem=\"4096 16384 4194304\""),
        ("net.ipv4.tcp_wmem", "4096 999999 4194304", Severity::Warning, "tcp_wmem=\"4096 16384 4194304\""),
        ("net.ipv4.tcp_slow_start_after_idle", "1", Severity::Info, "tcp_slow_start_after_idle=0"),
        ("net.ipv4.tcp_congestion_control", "bbr", Severity::Info, "tcp_congestion_control=cubic"),
    ];
    for (name, value, severity, mends) in cases {
        let (key, how_bad, mend) = only(&but(set(name, value)), &server());
        assert_eq!((key, how_bad), (name, severity));
        assert!(mend.contains("sysctl -w") && mend.contains(mends), "{mend}");
    }
}

#[test]
fn the_most_a_limit_can_be_raised_to_counts_only_where_it_must_be_raised() {
    let low = |host: &mut Host| drop(host.sysctl.insert("fs.nr_open".to_owned(), "30000".to_owned()));
    assert_eq!(only(&but(low), &server()).1, Severity::Info);
    let host = but(|host| {
        low(host);
        host.limits.open_files = Some(30_000);
    });
    let keys: Vec<_> = fallen(&host, &server()).iter().map(|f| (f.key, f.severity())).collect();
    assert_eq!(keys, [("limits.nofile", Some(Severity::Fatal)), ("fs.nr_open", Some(Severity::Fatal))]);
}

#[test]
fn memory_is_counted_for_every_connection_and_bounded_by_the_group() {
    let little = but(|host| host.memory.available = Some(900 << 20));
    let (key, severity, _) = only(&little, &server());
    assert_eq!((key, severity), ("memory.available", Severity::Fatal));
    let scarce = but(|host| host.memory.available = Some(server().bytes() * 5 / 4));
    assert_eq!(only(&scarce, &server()).1, Severity::Warning);
    let group = but(|host| (host.memory.group_limit, host.memory.group_used) = (Some(1 << 30), Some(900 << 20)));
    let (key, severity, mend) = only(&group, &server());
    assert_eq!((key, severity), ("cgroup.memory.max", Severity::Fatal));
    assert!(mend.contains("MemoryMax="), "{mend}");
    let swaps = |swap, swappiness| {
        but(move |host: &mut Host| {
            host.memory.swap = Some(swap);
            host.sysctl.insert("vm.swappiness".to_owned(), swappiness);
        })
    };
    assert_eq!(only(&swaps(1 << 30, "60".to_owned()), &server()).0, "vm.swappiness");
    assert!(fallen(&swaps(0, "60".to_owned()), &server()).is_empty(), "without swap it does not matter");
    assert_eq!(only(&but(|host| host.huge_pages = Some("always".to_owned())), &server()).0, "vm.transparent_hugepage");
}

#[test]
fn threads_and_locked_memory_have_limits_too() {
    let (key, severity, mend) = only(&but(|host| host.limits.processes = Some(20)), &server());
    assert_eq!((key, severity), ("limits.nproc", Severity::Fatal));
    assert!(mend.contains("ulimit -Hu"), "{mend}");
    let group = but(|host| (host.tasks.group_limit, host.tasks.group_used) = (Some(100), Some(90)));
    assert!(only(&group, &server()).2.contains("TasksMax"));
    let old = but(|host| (host.kernel, host.limits.locked_bytes) = (Some("5.10.0".to_owned()), Some(65_536)));
    assert_eq!(only(&old, &server()).0, "limits.memlock");
    let new = but(|host| host.limits.locked_bytes = Some(65_536));
    assert!(fallen(&new, &server()).is_empty(), "since 5.12 rings are not locked memory");
}

#[test]
fn the_data_folder_and_its_disk_are_judged() {
    type Change = Box<dyn FnOnce(&mut DataFolder)>;
    let cases: [(Change, &str, Severity); 8] = [
        (Box::new(|d| d.unusable = Some("Permission denied".to_owned())), "data.folder", Severity::Fatal),
        (Box::new(|d| d.free_bytes = Some(100 << 20)), "data.free", Severity::Fatal),
        (Box::new(|d| d.free_bytes = Some(5 << 30)), "data.free", Severity::Warning),
        (Box::new(|d| d.filesystem = Some("tmpfs".to_owned())), "data.filesystem", Severity::Warning),
        (Box::new(|d| d.direct = Some(false)), "data.o_direct", Severity::Warning),
        (Box::new(|d| d.durable_write_us = Some(12_000)), "data.durable_write", Severity::Warning),
        (Box::new(|d| d.fua = Some(false)), "block.write_cache", Severity::Info),
        (Box::new(|d| d.interrupts = vec![interrupt("1"), interrupt("1")]), "irq.disk", Severity::Info),
    ];
    for (change, key, severity) in cases {
        let (found, how_bad, _) = only(&but(data(change)), &server());
        assert_eq!((found, how_bad), (key, severity));
    }
    let nobody_asked = but(|host| host.data = None);
    assert!(
        Verdict::of(&nobody_asked, &server())
            .findings
            .iter()
            .all(|f| !f.key.starts_with("data.") || f.outcome == Outcome::NotHere)
    );
}

#[test]
fn one_core_for_the_disk_s_interrupts_is_worse_without_a_long_slice() {
    let host = but(|host| {
        host.long_slice = Some(false);
        host.data.as_mut().unwrap().interrupts = vec![interrupt("1")];
    });
    let found: Vec<_> = fallen(&host, &server()).iter().map(|f| (f.key, f.severity())).collect();
    assert_eq!(found, [("irq.disk", Some(Severity::Warning)), ("sched.slice", Some(Severity::Warning))]);
}

#[test]
fn drivers_clocks_and_governors_are_judged() {
    let driver = |name: &'static str| but(move |host: &mut Host| host.driver = Some(name.to_owned()));
    assert_eq!(only(&driver("io_uring"), &server()).1, Severity::Info);
    assert!(only(&driver("epoll"), &server()).2.contains("seccomp"));
    let forbidden = but(|host| {
        host.driver = Some("epoll".to_owned());
        host.sysctl.insert("kernel.io_uring_disabled".to_owned(), "2".to_owned());
    });
    assert!(only(&forbidden, &server()).2.contains("kernel.io_uring_disabled=0"));
    assert_eq!(only(&but(|host| host.clock_source = Some("hpet".to_owned())), &server()).0, "clock.source");
    assert_eq!(only(&but(|host| host.governor = Some("powersave".to_owned())), &server()).0, "cpu.governor");
    assert!(fallen(&but(|host| host.governor = None), &server()).is_empty(), "a guest has none");
}

#[test]
fn followed_connections_need_room_in_the_table() {
    let table = |count: &'static str| {
        but(move |host: &mut Host| {
            host.sysctl.insert("net.netfilter.nf_conntrack_max".to_owned(), "65536".to_owned());
            host.sysctl.insert("net.netfilter.nf_conntrack_count".to_owned(), count.to_owned());
        })
    };
    let (key, severity, mend) = only(&table("17"), &server());
    assert_eq!((key, severity), ("net.netfilter.nf_conntrack_max", Severity::Fatal));
    assert!(mend.contains("nf_conntrack_max=131072") && !mend.contains("90-shardwire"), "{mend}");
    assert_eq!(only(&table("0"), &server()).1, Severity::Info);
}

#[test]
fn a_load_generator_is_refused_in_the_doctor_s_words() {
    let load = Load { users: 100_000, tables: 5, sources: 5 };
    assert!(generator::check_on(&good(), &load).is_ok());
    let few = but(|host| host.limits.open_files = Some(4_096));
    let unfit = generator::check_on(&few, &load).unwrap_err().to_string();
    assert!(
        unfit.contains("limits.nofile") && unfit.contains("20,016 a worker") && unfit.contains("load.workers = 25"),
        "{unfit}"
    );
    let narrow = but(set("net.ipv4.ip_local_port_range", "50000 50999"));
    let unfit = generator::check_on(&narrow, &load).unwrap_err().to_string();
    assert!(unfit.contains("1,000 ports") && unfit.contains("ip_local_port_range=\"10240 60999\""), "{unfit}");
    let words = text::verdict(&Verdict::of(&narrow, &load.need()), Colour::None);
    assert!(words.contains(unfit.trim()), "the same words:\n{words}\n{unfit}");
    let far = Load { sources: 1, ..load };
    assert!(generator::check_on(&good(), &far).unwrap_err().to_string().contains("more source addresses"));
}

#[test]
fn the_text_says_the_worst_first_and_ends_with_the_sentence_that_counts() {
    let host = but(|host| {
        host.limits.open_files = Some(1_024);
        host.sysctl.insert("net.core.somaxconn".to_owned(), "128".to_owned());
    });
    let shown = text::verdict(&Verdict::of(&host, &server()), Colour::None);
    let at = |word: &str| shown.find(word).unwrap_or_else(|| panic!("{word} is missing:\n{shown}"));
    assert!(
        at("fatal     limits.nofile") < at("warning   net.core.somaxconn")
            && at("warning   net") < at("ok        fs.file-max")
    );
    assert!(shown.ends_with("not fit for 100,000 connections: 1 thing to mend, with 1 warning\n"), "{shown}");
    assert!(!shown.contains('\x1b'));
    let coloured = text::verdict(&Verdict::of(&good(), &server()), Colour::Ansi);
    assert!(coloured.ends_with("\x1b[1;32mfit\x1b[0m for 100,000 connections\n"), "{coloured}");
}

#[test]
fn the_json_has_every_finding_with_its_reason() {
    let host = but(set("net.core.somaxconn", "128"));
    let json = serde_json::to_value(Verdict::of(&host, &server())).unwrap();
    assert_eq!(
        (&json["schema"], &json["fit"], &json["need"]["connections"]),
        (&1.into(), &true.into(), &100_000.into())
    );
    let first = &json["findings"][0];
    assert_eq!((&first["key"], &first["outcome"]), (&"net.core.somaxconn".into(), &"falls".into()));
    for field in ["severity", "found", "wanted", "mend", "why", "reads"] {
        assert!(first[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {first}");
    }
    assert_eq!(first["effect"]["known"], "documented");
}

#[test]
fn a_host_nothing_is_known_of_is_not_called_unfit() {
    let verdict = Verdict::of(&Host::default(), &server());
    assert!(verdict.fit && verdict.findings.iter().any(|f| f.outcome == Outcome::Unknown));
}
