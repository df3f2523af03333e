//! What a program that runs an engine asks of the kernel for its memory.

/// Has the kernel back the memory of this process with pages of the usual size only.
///
/// Results are many small pieces on many threads, held and freed in any order. With transparent huge pages, which many
/// distributions switch on for every process, whatever touches 2 MiB takes all of it: twice the memory, and no
/// time is won.
pub fn use_small_pages() {
    // A kernel without huge pages refuses, and there is nothing to switch off.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
