//! Metrics for Prometheus and what speaks like it, on an address that somebody asked for (`--metrics-address`).
//!
//! - `text`: what is known, as metrics. Pure
//! - `server`: HTTP within limits, so that no client can hurt
//!
//! Names, units and labels are part of what users rely on: `docs/metrics.md` has them all, and a test compares. No label's values come
//! from what runs on the node.

mod server;
mod text;

pub use server::{Endpoint, EndpointError, MetricsServer, Sources};
