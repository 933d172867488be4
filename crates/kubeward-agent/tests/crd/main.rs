//! The custom resources' definitions, and that they judge a policy as the reader of policy files does.

mod documents;
mod parity;
mod server;
mod status;
mod structure;
