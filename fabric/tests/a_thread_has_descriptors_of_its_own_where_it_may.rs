//! Containers' seccomp profiles refuse `unshare(2)`: a thread then keeps the process's descriptor table as it is.
#![allow(missing_docs)]

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;

/// Refuses `unshare` on this thread from now on, as a container's profile does.
fn refuse_unshare() -> io::Result<()> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const ON: libc::c_ulong = 1;
    const OFF: libc::c_ulong = 0;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // `seccomp_data` begins with the number of the call.
    let mut steps = [
        step(LOAD, 0, 0, 0),
        step(IF_EQUAL, 0, 1, libc::SYS_unshare as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: no pointers; concerns this thread only.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, ON, OFF, OFF, OFF) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the pointer is to a sock_fprog whose steps live until the kernel has copied them.
    if unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[test]
fn a_thread_that_may_not_have_a_table_of_its_own_keeps_what_is_open() {
    let on_its_own = std::thread::spawn(|| {
        let mut file = File::open("/proc/self/status").unwrap();
        refuse_unshare().unwrap();
        let own = fabric::shard::own_descriptors(Vec::new()).unwrap();
        let mut text = String::new();
        (own, file.read_to_string(&mut text).map(|_| text))
    });
    let (own, text) = on_its_own.join().unwrap();
    assert!(!own);
    assert!(text.unwrap().contains("Name:"), "the file stayed open");
}

#[test]
fn one_that_may_closes_what_it_does_not_keep_in_its_own_table_only() {
    let (mut kept, closed) = (File::open("/proc/self/status").unwrap(), File::open("/proc/self/status").unwrap());
    let keep = vec![kept.as_raw_fd()];
    let other = closed.as_raw_fd();
    let on_its_own = std::thread::spawn(move || {
        let own = fabric::shard::own_descriptors(keep).unwrap();
        // SAFETY: asks about a number; nothing is done with a descriptor.
        (own, unsafe { libc::fcntl(other, libc::F_GETFD) })
    });
    assert_eq!(on_its_own.join().unwrap(), (true, -1));
    assert!(closed.metadata().is_ok(), "it is open here");
    assert!(kept.read_to_string(&mut String::new()).is_ok());
}
