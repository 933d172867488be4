//! The process of `kubeward controller`: connection, signals, health.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{signal, SignalKind};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::{spawn, Controller};
use crate::kubernetes::client::connect;
use crate::serve::health::{self, alive, Checks};
use crate::serve::{Server, Socket};

/// How the API server's log names us.
const COMPONENT: &str = "kubeward-controller";

/// How it is to run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the agents run.
    pub namespace: String,
    /// What `kubeward health` asks; `None`: nothing listens.
    pub socket: Option<PathBuf>,
}

/// Runs until a signal ends it.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("taking signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("taking signals")?;
    let socket = settings.socket.as_deref().map(Socket::claim).transpose()?;
    let (client, server) = connect(COMPONENT).await?;
    tracing::info!("policies are summed up at {server}, from the agents in namespace {:?}", settings.namespace);
    let shutdown = CancellationToken::new();
    let controller = spawn(client, &settings.namespace, shutdown.clone());
    let health = socket.map(|socket| answer_health(socket, &controller, &shutdown)).transpose()?;
    let stopped = controller.stopped();
    tokio::pin!(stopped);
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        ended = &mut stopped => return ended,
    };
    tracing::info!("{name}: ending");
    shutdown.cancel();
    stopped.await?;
    if let Some(health) = health {
        health.stopped().await;
    }
    Ok(())
}

fn answer_health(socket: Socket, controller: &Controller, shutdown: &CancellationToken) -> anyhow::Result<Server> {
    let (loops, readiness) = ([("main loop", controller.heartbeat.clone())], controller.readiness.clone());
    let checks = Checks::new(move || alive(&loops), move || readiness.borrow().clone());
    tracing::info!("kubeward health is answered on {}", socket.path().display());
    let services = Routes::new(health::service(Arc::new(checks)));
    Server::start(socket, services, shutdown).context("starting the health service")
}
