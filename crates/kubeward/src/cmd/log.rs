//! What the long-running commands say on standard error.

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use super::FormatArg;

pub(super) fn log_to_stderr(level: LevelFilter, format: FormatArg) {
    // Where standard error is gone there is nobody to tell of that either.
    let lines = fmt::layer().with_writer(std::io::stderr).log_internal_errors(false).with_target(false);
    let log = tracing_subscriber::registry().with(filter(level));
    match format {
        FormatArg::Text => log.with(lines.with_ansi(std::io::stderr().is_terminal())).init(),
        FormatArg::Json => log.with(lines.json()).init(),
    }
}

/// What fails at the API server, we say ourselves, once and with a remedy: the libraries that say it too, at each attempt,
/// are heard from `debug` on. A target also stands for those that begin like it; of several the longest counts.
fn filter(level: LevelFilter) -> Targets {
    let ours = Targets::new().with_default(level);
    if level > LevelFilter::INFO {
        return ours;
    }
    let errors = level.min(LevelFilter::ERROR);
    ours.with_targets([
        ("kube_client::client", errors),
        // Each answer of 500, each connection that broke, as an error.
        ("kube_client::client::builder", LevelFilter::OFF),
        // An authority that could not be read anew: said by nobody else.
        ("kube_client::client::tls", level),
        ("kube_runtime", errors),
        ("tower", errors),
        ("hyper", errors),
    ])
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn libraries_do_not_repeat_what_we_say_and_are_heard_in_full_from_debug_on() {
        let usual = filter(LevelFilter::INFO);
        for target in ["kube_client::client", "kube_runtime::watcher", "tower::buffer", "hyper_util::client"] {
            assert!(!usual.would_enable(target, &Level::WARN) && usual.would_enable(target, &Level::ERROR), "{target}");
        }
        assert!(!usual.would_enable("kube_client::client::builder", &Level::ERROR));
        assert!(usual.would_enable("kube_client::client::tls", &Level::WARN));
        assert!(usual.would_enable("kubeward_agent::kubernetes::watch", &Level::INFO), "ours");
        let debug = filter(LevelFilter::DEBUG);
        assert!(debug.would_enable("kube_client::client::builder", &Level::DEBUG));
        assert!(!filter(LevelFilter::OFF).would_enable("kube_runtime::watcher", &Level::ERROR));
    }
}
