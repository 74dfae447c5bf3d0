//! Memory from the kernel in one go, and memory that will be looked at soon.
//!
//! Fresh memory comes a page at a time, each with a fault of its own. Whoever is going to fill a large piece of it says so.
//! A look into a large table waits for the memory: whoever knows the place before says so, and does something else meanwhile.

use core::mem::MaybeUninit;

/// Has the kernel give the pages that lie wholly in `room` now, if it can (Linux 5.14); else they come as they are written.
/// Blocks for about 0.1 ms a MiB.
pub fn populate(room: &mut [MaybeUninit<u8>]) {
    let page = page_bytes();
    let start = room.as_mut_ptr() as usize;
    let (first, end) = (start.next_multiple_of(page), (start + room.len()) / page * page);
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
}
