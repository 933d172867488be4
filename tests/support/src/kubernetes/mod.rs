//! A Kubernetes API server of a test's own: Kubernetes' code where Debian has it, a fake for the rest.

mod api;
mod background;
mod etcd;
mod fake;
mod identity;
mod programs;
mod server;

pub use api::{client_of, Answer, Api};
pub use fake::{FakeCluster, Fault, Request};
pub use server::ApiServer;
