//! Tests call this kit from plain functions and from async ones; its own async work runs here, on threads of its own.

use std::future::Future;
use std::sync::OnceLock;
use std::thread;

use tokio::runtime::{Builder, Runtime};

/// One for the process, never ended: a runtime may not be dropped inside another one.
pub(super) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime needs only threads")
    })
}

/// Waits for `future`, whether or not the caller is in a runtime.
pub(super) fn wait_for<F>(future: F) -> F::Output
where
    F: Future + Send,
    F::Output: Send,
{
    thread::scope(|scope| {
        let waiting = scope.spawn(|| runtime().block_on(future));
        waiting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
