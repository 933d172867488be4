//! A Kubernetes API server of a test's own: Kubernetes' code where Debian has it, a fake for the rest.

mod api;
mod background;
mod etcd;
mod identity;
mod programs;
mod server;

pub use api::{client_of, Answer, Api};
pub use server::ApiServer;
