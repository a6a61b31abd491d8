//! The `throng` binary: everything is in [`throng::cli`].

use std::process::ExitCode;

// All users may log in, or call, in the same moment: a peak whose memory is to be given back, since it says nothing of what
// a user takes. The system's allocator keeps it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// jemalloc's options (its manual, section TUNING): a thread of its own gives unused pages back after 300 ms, so that a
/// process that waits does so too.
#[expect(
    unsafe_code,
    reason = "the name under which jemalloc looks for its options; nobody else may define it"
)]
#[unsafe(export_name = "_rjem_malloc_conf")]
static MALLOC_CONF: &[u8; 59] = b"background_thread:true,dirty_decay_ms:300,muzzy_decay_ms:0\0";

fn main() -> ExitCode {
    throng::cli::main()
}
