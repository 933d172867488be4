//! A containerd of thousands of containers, of which nothing is there but what discovery asks for. Each container's init is a
//! thread of this process: a task that lives, which is all that the kernel is asked about it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use containerd_client::services::v1 as api;
use containerd_client::types::v1::{Process, Status};
use containerd_client::types::{Descriptor, Envelope};
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use prost_types::Any;
use tempfile::TempDir;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic_prost::ProstCodec;

/// Containers of a pod: its sandbox, and two that do something.
const OF_A_POD: usize = 3;

/// A thread that only waits needs little.
const STACK_BYTES: usize = 16 << 10;

type Response = http::Response<Body>;

/// Dropping it ends its containers.
pub(super) struct FakeContainerd {
    folder: TempDir,
    runtime: Option<tokio::runtime::Runtime>,
    inits: Inits,
}

impl FakeContainerd {
    pub(super) fn start(containers: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let inits = Inits::start(containers)?;
        let node = Arc::new(Node::new(&inits.tids));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = UnixListener::bind(folder.path().join("containerd.sock"))?;
        listener.set_nonblocking(true)?;
        let listener = {
            let _entered = runtime.enter();
            tokio::net::UnixListener::from_std(listener)?
        };
        runtime.spawn(serve(listener, node));
        Ok(Self { folder, runtime: Some(runtime), inits })
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("containerd.sock")
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for FakeContainerd {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        self.inits.end();
    }
}

/// Threads that wait until they are told to end.
struct Inits {
    tids: Vec<u32>,
    threads: Vec<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl Inits {
    fn start(count: usize) -> Result<Self> {
        let (told, tids) = mpsc::channel();
        let threads = (0..count).map(|_| {
            let told = told.clone();
            let (end, ended) = mpsc::channel::<()>();
            let init = thread::Builder::new().name("pause".to_owned()).stack_size(STACK_BYTES).spawn(move || {
                // Nobody listens where the start of another failed.
                let _ = told.send(nix::unistd::gettid().as_raw().cast_unsigned());
                let _ = ended.recv();
            });
            Ok((end, init?))
        });
        let threads = threads.collect::<std::io::Result<Vec<_>>>();
        let threads = threads.with_context(|| format!("starting {count} threads that stand for containers' inits"))?;
        Ok(Self { tids: tids.iter().take(count).collect(), threads })
    }

    fn end(&mut self) {
        for (end, thread) in self.threads.drain(..) {
            drop(end);
            // It does not panic.
            let _ = thread.join();
        }
    }
}

/// What this containerd runs.
struct Node {
    by_id: HashMap<String, api::Container>,
    tasks: Vec<Process>,
}

impl Node {
    fn new(tids: &[u32]) -> Self {
        let containers: Vec<api::Container> = (0..tids.len()).map(container).collect();
        let tasks = containers.iter().zip(tids).map(|(container, tid)| Process {
            id: container.id.clone(),
            pid: *tid,
            status: Status::Running.into(),
            ..Process::default()
        });
        let tasks = tasks.collect();
        Self { by_id: containers.into_iter().map(|container| (container.id.clone(), container)).collect(), tasks }
    }
}

fn id(index: usize) -> String {
    format!("{index:064x}")
}

/// As the CRI plugin writes it under a kubelet, for a pod of a Deployment that a chart installed.
fn container(index: usize) -> api::Container {
    let (pod, place) = (index / OF_A_POD, index % OF_A_POD);
    let service = pod % 50;
    let pod_name = format!("service-{service}-{:08x}9c-{:05x}", service * 7919, pod);
    let pod_labels = [
        ("app.kubernetes.io/name", format!("service-{service}")),
        ("app.kubernetes.io/instance", format!("service-{service}-production")),
        ("app.kubernetes.io/version", "1.42.0".to_owned()),
        ("app.kubernetes.io/component", "backend".to_owned()),
        ("app.kubernetes.io/part-of", "shop".to_owned()),
        ("app.kubernetes.io/managed-by", "Helm".to_owned()),
        ("helm.sh/chart", format!("service-{service}-1.42.0")),
        ("pod-template-hash", format!("{:08x}9c", service * 7919)),
    ];
    let names = [
        ("io.kubernetes.pod.name", pod_name),
        ("io.kubernetes.pod.namespace", format!("team-{}", service % 10)),
        ("io.kubernetes.pod.uid", format!("0a1b2c3d-0000-4000-8000-{pod:012x}")),
    ];
    let is_sandbox = place == 0;
    let kind = if is_sandbox { "sandbox" } else { "container" };
    let mut labels: Vec<(&str, String)> = names.to_vec();
    labels.push(("io.cri-containerd.kind", kind.to_owned()));
    if is_sandbox {
        labels.extend(pod_labels);
    } else {
        let name = if place == 1 { "app" } else { "istio-proxy" };
        labels.push(("io.kubernetes.container.name", name.to_owned()));
    }
    let spec = serde_json::json!({
        "ociVersion": "1.0.2",
        "process": {"args": ["/app"], "env": vec!["SERVICE_HOST=10.96.0.1"; 60]},
        "annotations": {"io.kubernetes.cri.sandbox-id": id(index - place)},
    });
    api::Container {
        id: id(index),
        image: match place {
            0 => "registry.k8s.io/pause:3.10".to_owned(),
            _ => format!("registry.example.com/team-{}/service-{service}:1.42.0", service % 10),
        },
        labels: labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        spec: Some(Any { type_url: String::new(), value: spec.to_string().into_bytes() }),
        extensions: [(format!("io.cri-containerd.{kind}.metadata"), Any::default())].into(),
        ..api::Container::default()
    }
}

async fn serve(listener: tokio::net::UnixListener, node: Arc<Node>) {
    while let Ok((stream, _)) = listener.accept().await {
        let node = node.clone();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let node = node.clone();
            async move { Ok::<_, Infallible>(answer(&node, request.map(Body::new)).await) }
        });
        tokio::spawn(async move {
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            // A client that goes away is its own business.
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(node: &Arc<Node>, request: Request<Body>) -> Response {
    let node = node.clone();
    let (_, method) = request.uri().path().rsplit_once('/').unwrap_or_default();
    match (request.uri().path().contains(".images."), method) {
        (_, "Version") => unary(request, |()| Ok(version())).await,
        (_, "Subscribe") => subscribe(request).await,
        (true, "Get") => unary(request, |request: api::GetImageRequest| Ok(image(request.name))).await,
        (false, "Get") => {
            unary(request, move |request: api::GetContainerRequest| match node.by_id.get(&request.id) {
                Some(container) => Ok(api::GetContainerResponse { container: Some(container.clone()) }),
                None => Err(tonic::Status::not_found(request.id)),
            })
            .await
        }
        (_, "List") if request.uri().path().contains(".namespaces.") => {
            unary(request, |_: api::ListNamespacesRequest| {
                let namespace = api::Namespace { name: "k8s.io".to_owned(), ..api::Namespace::default() };
                Ok(api::ListNamespacesResponse { namespaces: vec![namespace] })
            })
            .await
        }
        (_, "List") => {
            unary(request, move |_: api::ListTasksRequest| Ok(api::ListTasksResponse { tasks: node.tasks.clone() }))
                .await
        }
        _ => tonic::Status::unimplemented("no part of what discovery asks").into_http(),
    }
}

fn version() -> api::VersionResponse {
    api::VersionResponse { version: "simulated".to_owned(), revision: String::new() }
}

fn image(name: String) -> api::GetImageResponse {
    let digest = format!("sha256:{:064x}", name.len());
    let target = Some(Descriptor { digest, ..Descriptor::default() });
    api::GetImageResponse { image: Some(api::Image { name, target, ..api::Image::default() }) }
}

async fn unary<Q, A>(request: Request<Body>, handle: impl Fn(Q) -> Result<A, tonic::Status> + Clone) -> Response
where
    Q: Message + Default + 'static,
    A: Message + 'static,
{
    let service = tower::service_fn(|request: tonic::Request<Q>| {
        let answered = handle(request.into_inner()).map(tonic::Response::new);
        std::future::ready(answered)
    });
    Grpc::new(ProstCodec::<A, Q>::default()).unary(service, request).await
}

/// Events never come: nothing changes here.
async fn subscribe(request: Request<Body>) -> Response {
    let service = tower::service_fn(|_: tonic::Request<api::SubscribeRequest>| {
        std::future::ready(Ok(tonic::Response::new(tokio_stream::pending::<Result<Envelope, tonic::Status>>())))
    });
    Grpc::new(ProstCodec::<Envelope, api::SubscribeRequest>::default()).server_streaming(service, request).await
}
