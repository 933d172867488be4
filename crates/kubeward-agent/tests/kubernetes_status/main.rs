//! What agents and the controller write, at Kubernetes' own API server: the real writers, without a kernel side.

mod agents;
mod claims;
mod controller;
mod harness;
