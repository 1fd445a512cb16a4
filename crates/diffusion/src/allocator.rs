//! How the C library hands out memory to libtorch.
//!
//! A step allocates and frees the same hundreds of tensors as the one before. By its defaults, glibc gives the large
//! ones back to the operating system each time, which must then clear every page again: an eighth of a step's time.

/// Lets freed memory stay in this process for the next tensor. For programs that paint, once, at their start, and
/// which [give it back](give_back_freed_memory) when a job has ended. Does nothing where the C library is not glibc.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // The largest that glibc accepts. Tensors above, as the autoencoder's, leave gaps that the next does not fit into:
        // decoding would take half as much memory again. They come and go by themselves, as before.
        const LARGEST: libc::c_int = 32 << 20;
        // Never reached: the program decides when.
        const ALL: libc::c_int = libc::c_int::MAX;
        const AHEAD: libc::c_int = 64 << 20;
        set(libc::M_MMAP_THRESHOLD, LARGEST);
        set(libc::M_TRIM_THRESHOLD, ALL);
        set(libc::M_TOP_PAD, AHEAD);
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "a function of the C library")]
fn set(parameter: libc::c_int, value: libc::c_int) {
    // SAFETY: it takes two numbers, checks them, and takes the allocator's own lock.
    unsafe { libc::mallopt(parameter, value) };
}

/// Hands what was freed, and what the allocator keeps between small blocks, back to the operating system. Does nothing where the C library is not
/// glibc.
pub fn give_back_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code, reason = "a function of the C library")]
    // SAFETY: it may be called at any time, from any thread; it touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}
