//! The local API: gRPC on a Unix socket, for the commands of this machine and the pod's probes.
//!
//! - `socket`: the file, its owner's alone
//! - `connection`, `server`: accepting within limits, so that no client can hurt
//! - `health`: grpc.health.v1, also for who has nothing else to serve
//! - `question`, `api`: `kubeward.v1.KubeWard`; whoever owns what is asked for is asked by message
//! - `planning`: the one answer that takes its time
//! - `client`: the other end
//!
//! It must not know containerd, policy files or the kernel side: it asks, and says what it was told.

mod api;
pub mod client;
mod connection;
pub mod health;
mod messages;
mod planning;
mod question;
mod server;
mod socket;

pub use api::{Api, Facts};
pub(crate) use messages::{container as container_message, policy as policy_message};
pub use question::{questions, Question, Questions, TrialAsked, TrialRefused, TrialStep};
pub use server::Server;
pub use socket::{Socket, SocketError};

/// The messages and services of `proto/kubeward/v1/kubeward.proto`.
#[allow(unreachable_pub, clippy::all)]
pub mod proto {
    tonic::include_proto!("kubeward.v1");
}
