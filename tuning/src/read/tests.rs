//! A host laid out in a folder is read as it is; so is this one, whatever it is.

use super::*;
use crate::host::Tasks;

fn lay_out(parts: &[(&str, &str)]) -> (tempfile::TempDir, Files) {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in parts {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let root = folder.path().to_owned();
    (folder, Files { root })
}

#[test]
fn settings_limits_and_memory_are_read_from_their_files() {
    let (_folder, files) = lay_out(&[
        ("proc/sys/kernel/osrelease", "6.1.0-23-amd64\n"),
        ("proc/sys/net/core/somaxconn", "4096\n"),
        ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
        ("proc/meminfo", "MemTotal:       1000 kB\nMemFree:  10 kB\nMemAvailable:    800 kB\n"),
        (
            "proc/swaps",
            "Filename Type Size Used Priority\n/dev/zram0 partition 500 0 100\n/dev/sda2 partition 300 0 -2\n",
        ),
        ("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n"),
        ("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n"),
    ]);
    let host = from_files(&files);
    assert_eq!(host.release(), Some((6, 1)));
    assert_eq!(host.number("net.core.somaxconn", 0), Some(4_096));
    assert_eq!(host.setting("net.ipv4.ip_local_port_range"), Some("32768 60999"));
    assert_eq!(host.number("net.ipv4.ip_local_port_range", 1), Some(60_999));
    assert_eq!((host.memory.total, host.memory.available), (Some(1_000 << 10), Some(800 << 10)));
    assert_eq!(host.memory.swap, Some(300 << 10), "compressed memory is no disk");
    assert_eq!((host.huge_pages.as_deref(), host.clock_source.as_deref()), (Some("always"), Some("hpet")));
    assert_eq!((host.governor.as_deref(), host.setting("fs.nr_open")), (None, None), "what is not there is not known");
}

#[test]
fn the_tightest_of_the_groups_counts_in_both_versions() {
    let (_folder, files) = lay_out(&[
        ("proc/self/cgroup", "0::/system.slice/a.service\n"),
        ("proc/self/mountinfo", "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"),
        ("sys/fs/cgroup/system.slice/a.service/memory.max", "max\n"),
        ("sys/fs/cgroup/system.slice/memory.max", "4096\n"),
        ("sys/fs/cgroup/system.slice/memory.current", "1024\n"),
        ("sys/fs/cgroup/system.slice/a.service/pids.max", "100\n"),
        ("sys/fs/cgroup/system.slice/a.service/pids.current", "7\n"),
    ]);
    assert_eq!(group::memory(&files), Some((4_096, 1_024)));
    assert_eq!(group::tasks(&files), Tasks { group_limit: Some(100), group_used: Some(7) });
    let (_folder, files) = lay_out(&[
        ("proc/self/cgroup", "8:pids:/\n4:memory:/box\n0::/\n"),
        (
            "proc/self/mountinfo",
            "31 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n32 24 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n",
        ),
        ("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "9000\n"),
        ("sys/fs/cgroup/memory/box/memory.usage_in_bytes", "10\n"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
    ]);
    assert_eq!(group::memory(&files), Some((9_000, 10)));
    assert_eq!(group::tasks(&files), Tasks::default(), "no limit");
}

#[test]
fn this_host_is_read_and_its_folder_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("a/b");
    let read = host(Some(&missing));
    assert!(read.cores > 0 && read.release().is_some() && read.memory.available.is_some(), "{read:?}");
    assert!(read.limits.open_files.is_some() && read.long_slice.is_some(), "{read:?}");
    let data = read.data.unwrap();
    assert_eq!((data.unusable, data.looked_at.as_path()), (None, folder.path()));
    assert!(data.free_bytes.is_some() && data.filesystem.is_some());
    assert!(!missing.exists() && fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing was made");
}

#[test]
fn a_file_where_a_folder_should_be_is_unusable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "").unwrap();
    let data = host(Some(&path)).data.unwrap();
    assert!(data.unusable.is_some(), "{data:?}");
}
