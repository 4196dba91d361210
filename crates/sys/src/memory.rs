//! Giving memory back.

/// Gives what the allocator holds and nobody uses back to the kernel (malloc_trim(3), GNU only; elsewhere nothing).
/// It walks the heap, about a millisecond for one of some tens of megabytes.
pub fn release_free_memory() {
    // SAFETY: has no precondition; the allocator takes its own locks.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
