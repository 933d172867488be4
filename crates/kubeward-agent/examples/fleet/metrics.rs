//! What the API server counted, from its own metrics.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use http::Method;
use kubeward_testkit::kubernetes::ApiServer;

/// Counts by what is counted.
pub(crate) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    pub(crate) fn read(server: &ApiServer) -> Result<Self> {
        let answer = server.api().call(Method::GET, "/metrics", &[], None)?;
        let text = answer.body.as_str().context("metrics are text")?;
        let mut counts = BTreeMap::new();
        for line in text.lines() {
            if let Some((what, count)) = counted(line) {
                *counts.entry(what).or_default() += count;
            }
        }
        Ok(Self(counts))
    }

    /// What was counted since `before`, a line each; nothing is said so.
    pub(crate) fn print_since(&self, before: &Self) {
        let since = |what: &String, count: &f64| count - before.0.get(what).copied().unwrap_or(0.0);
        let moved: Vec<_> =
            self.0.iter().map(|(what, count)| (what, since(what, count))).filter(|(_, n)| *n > 0.0).collect();
        for (what, count) in &moved {
            println!("  {count:>9} {what}");
        }
        if moved.is_empty() {
            println!("  {:>9} requests and watch events", 0);
        }
    }
}

/// `requests: APPLY kubewardnodes (status) 200`, `watch events: kubewards`; `None` for what is not ours.
fn counted(line: &str) -> Option<(String, f64)> {
    let (series, count) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{')?;
    let label = |key: &str| {
        let start = labels.find(&format!("{key}=\""))? + key.len() + 2;
        labels[start..].split('"').next().filter(|value| !value.is_empty())
    };
    let resource =
        label("resource").or(label("kind")).filter(|resource| resource.to_lowercase().starts_with("kubeward"))?;
    let what = match name {
        "apiserver_request_total" => {
            let status = if label("subresource") == Some("status") { "/status" } else { "" };
            format!("requests: {} {resource}{status} {}", label("verb")?, label("code")?)
        }
        "apiserver_watch_events_total" => format!("watch events: {resource}"),
        "apiserver_watch_events_sizes_sum" => format!("watch events, bytes: {resource}"),
        _ => return None,
    };
    Some((what, count.parse().ok()?))
}
