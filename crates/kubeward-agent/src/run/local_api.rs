//! The local API of a running agent: its socket, what it says of itself, and who is asked.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use kubeward_bpf::probe::Probes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::standing::Standing;
use crate::config::Config;
use crate::cost::CostNow;
use crate::heartbeat::Heartbeat;
use crate::serve::health::{self, alive, Checks};
use crate::serve::{Api, Facts, Questions, Server, Socket};

/// What is known before the agent runs.
pub(super) struct LocalApi {
    /// Absent where `--socket none` asks for none.
    socket: Option<Socket>,
    facts: Facts,
    reader: Heartbeat,
}

impl LocalApi {
    pub(super) fn new(socket: Option<Socket>, config: &Config, probes: &Probes, reader: Heartbeat) -> Self {
        let system = rustix::system::uname();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let facts = Facts {
            node: config.stream.node.clone(),
            cluster: config.stream.cluster.clone(),
            run: config.stream.run.clone(),
            kernel: system.release().to_string_lossy().into_owned(),
            architecture: system.machine().to_string_lossy().into_owned(),
            started_unix_ns: u64::try_from(now).unwrap_or(u64::MAX),
            backend: config.backend.name().to_owned(),
            backend_reasons: probes.explain(),
        };
        Self { socket, facts, reader }
    }

    /// The server, where there is a socket.
    pub(super) fn start(
        self,
        standing: &Standing,
        asking: Questions,
        cost: watch::Receiver<CostNow>,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Option<Server>> {
        let Some(socket) = self.socket else { return Ok(None) };
        let loops = [("reader of the ring", self.reader), ("main loop", standing.heartbeat())];
        let readiness = standing.readiness();
        let checks = Arc::new(Checks::new(move || alive(&loops), move || readiness.borrow().clone()));
        let services =
            Routes::new(health::service(checks.clone())).add_service(Api::service(self.facts, checks, asking, cost));
        tracing::info!("the local API listens on {}", socket.path().display());
        let server = Server::start(socket, services, shutdown).context("starting the local API")?;
        Ok(Some(server))
    }
}
