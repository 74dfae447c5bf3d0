//! Memory from the kernel in one go, and memory that will be looked at soon.
//!
//! Fresh memory comes a page at a time, each with a fault of its own. Whoever is going to fill a large piece of it says so.
//! A look into a large table waits for the memory: whoever knows the place before says so, and does something else meanwhile.
//! In a large table of small pages each look waits for the walk through the page tables too: [`Zeroed`] is in huge ones.

use core::fmt;
use core::mem::MaybeUninit;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

/// Has the kernel give the pages that lie wholly in `room` now, if it can (Linux 5.14); else they come as they are written.
/// Blocks for about 0.1 ms a MiB.
pub fn populate<T>(room: &mut [MaybeUninit<T>]) {
    let page = page_bytes();
    let start = room.as_mut_ptr() as usize;
    let (first, end) = (start.next_multiple_of(page), (start + size_of_val(room)) / page * page);
    if first < end {
        // SAFETY: the range lies in `room`; its pages become present, and what they hold stays as it is. An older kernel or
        // one without memory says no: then they come one by one as ever.
        unsafe { libc::madvise(first as *mut libc::c_void, end - first, libc::MADV_POPULATE_WRITE) };
    }
}

/// Asks the processor for the line of memory that holds `item`; nothing where it cannot be asked.
#[inline]
pub fn prefetch<T>(item: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch changes nothing that a program can see, and the reference is valid.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(core::ptr::from_ref(item).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = item;
}

/// Length of a huge page where there are any, bytes: x86-64's and, with pages of 4 KiB, AArch64's.
const HUGE_PAGE: usize = 2 << 20;

/// Gives huge pages to memory that asks for them ([`Zeroed`]), and to no other, whatever the host's setting; where the kernel
/// knows no such choice (before Linux 6.18) and the host gives them to everybody, to none. To be called once, at a program's start.
///
/// # Errors
/// What `prctl(2)` says: pages stay as the host has them.
pub fn huge_pages_if_asked() -> std::io::Result<()> {
    /// Of `prctl(PR_SET_THP_DISABLE)`.
    const EXCEPT_ADVISED: libc::c_ulong = 1 << 1;
    let set = |disable: libc::c_ulong, flags: libc::c_ulong| {
        let none: libc::c_ulong = 0;
        // SAFETY: no pointers. A kernel that does not know the flag refuses.
        let set = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, disable, flags, none, none) };
        if set == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    if set(1, EXCEPT_ADVISED).is_ok() {
        return Ok(());
    }
    let mode = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    if mode.contains("[madvise]") { Ok(()) } else { set(1, 0) }
}

/// Numbers, all 0 at first, of which the kernel gives those pages that are written to; huge ones if it has them and there is more
/// than one. For tables whose looks are spread over megabytes: it is a mapping of its own, so the smallest costs a page.
pub struct Zeroed {
    start: NonNull<u64>,
    len: usize,
    /// What was mapped: longer, so that `start` can be where a huge page begins.
    mapped: (NonNull<libc::c_void>, usize),
}

impl Zeroed {
    /// So many.
    ///
    /// # Panics
    /// The kernel has no memory, or no more mappings, for this process.
    pub fn new(len: usize) -> Self {
        let bytes = len.checked_mul(size_of::<u64>()).expect("a table of less than the address space");
        if bytes == 0 {
            return Self { start: NonNull::dangling(), len: 0, mapped: (NonNull::dangling(), 0) };
        }
        let room = if bytes < HUGE_PAGE { bytes } else { bytes + HUGE_PAGE };
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let mapped = unsafe { libc::mmap(core::ptr::null_mut(), room, access, kind, -1, 0) };
        assert!(
            mapped != libc::MAP_FAILED,
            "no memory for a table of {bytes} bytes: {}",
            std::io::Error::last_os_error()
        );
        let mapped = NonNull::new(mapped).expect("a mapping is never at 0");
        let ahead = if room == bytes { 0 } else { mapped.as_ptr().cast::<u8>().align_offset(HUGE_PAGE) };
        // SAFETY: less than a huge page ahead, of which the mapping is longer than `bytes`.
        let start: NonNull<u64> = unsafe { mapped.byte_add(ahead) }.cast();
        if room != bytes {
            // SAFETY: the range lies in the mapping; where there are no huge pages the kernel says no, and small ones do.
            unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
        }
        Self { start, len, mapped: (mapped, room) }
    }
}

// SAFETY: it owns its mapping, and is shared like a slice.
unsafe impl Send for Zeroed {}
// SAFETY: as above.
unsafe impl Sync for Zeroed {}

impl Deref for Zeroed {
    type Target = [u64];

    #[inline]
    fn deref(&self) -> &[u64] {
        // SAFETY: so many numbers lie in the mapping, which lives as long as this; fresh pages are zeros.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Zeroed {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u64] {
        // SAFETY: as above, and this is the only one who has it.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Zeroed {
    fn drop(&mut self) {
        let (mapped, bytes) = self.mapped;
        if bytes > 0 {
            // SAFETY: the whole of a mapping that nobody has a part of any more.
            unsafe { libc::munmap(mapped.as_ptr(), bytes) };
        }
    }
}

impl fmt::Debug for Zeroed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zeroed").field("len", &self.len).finish_non_exhaustive()
    }
}

fn page_bytes() -> usize {
    // SAFETY: no pointers.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).ok().filter(|bytes| bytes.is_power_of_two()).unwrap_or(4_096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_piece_of_any_place_and_length_holds_stays() {
        for (from, len) in [(0, 0), (1, 100), (0, 1 << 20), (4_095, 4_097), (7, 100_000)] {
            let mut memory: Vec<u8> = Vec::with_capacity(from + len);
            memory.resize((from + len) / 2, 7);
            let filled = memory.len();
            populate(memory.spare_capacity_mut());
            assert!(memory.iter().all(|&byte| byte == 7));
            memory.resize(from + len, 9);
            assert!(memory[filled..].iter().all(|&byte| byte == 9));
        }
    }
    #[test]
    fn a_table_of_any_length_is_zeros_and_keeps_what_is_written() {
        let huge = HUGE_PAGE / size_of::<u64>();
        for len in [0, 1, 511, huge - 1, huge, huge + 1, 3 * huge] {
            let mut table = Zeroed::new(len);
            assert!(table.len() == len && table.iter().all(|&number| number == 0), "{len}");
            for (number, at) in (1..).zip(0..len) {
                table[at] = number;
            }
            assert!((1..).zip(table.iter()).all(|(number, &kept)| number == kept), "{len}");
        }
    }
}
