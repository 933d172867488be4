//! What the writer asks of the API server. Each request ends within thirty seconds.

use std::future::Future;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::Client;
use serde_json::json;
use tokio::time::timeout;

use super::claim::CLAIM;
use super::{object, Identity};
use crate::kubernetes::crd::{KubeWardNode, NodeStatus};
use crate::kubernetes::trouble::{is_absent_object, Trouble};
use crate::kubernetes::watch::{exact_config, Watch};

/// For one answer. Long: a request that is given up is work that a busy server does for nothing, and then does again.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// What messages call the resource.
const RESOURCE: &str = "kubewardnodes";

/// Who owns what the agent applies.
const MANAGER: &str = "kubeward-agent";
/// Who owns a claim: another manager, so that the holder's next apply does not take it away.
const CLAIM_MANAGER: &str = "kubeward-claim";

/// This node's object at the API server.
pub(super) struct Store {
    /// The metadata alone: the status is our own, there is no need to hear it back.
    objects: Api<PartialObjectMeta<KubeWardNode>>,
    us: Identity,
}

impl Store {
    pub(super) fn new(client: Client, us: Identity) -> Self {
        Self { objects: Api::namespaced(client, &us.namespace), us }
    }

    /// This one object alone. Its first list is of the server's store: a cache that is behind could show a node name as free
    /// that is not.
    pub(super) fn watch(&self) -> Watch<PartialObjectMeta<KubeWardNode>> {
        let config = exact_config().fields(&format!("metadata.name={}", self.us.node));
        Watch::new(RESOURCE, self.objects.clone(), config)
    }

    /// The object as it is now, from the server's store and not from its cache.
    pub(super) async fn look(&self) -> Result<Option<ObjectMeta>, Trouble> {
        let seen = self.asked("get", self.objects.get(&self.us.node)).await?;
        Ok(seen.map(|object| object.metadata))
    }

    /// Writes the object whole. With `version`, only while it is still that one; else whatever is there.
    pub(super) async fn write(
        &self,
        status: &NodeStatus,
        answered: Option<&str>,
        version: Option<&str>,
    ) -> Result<ObjectMeta, Trouble> {
        let body = object::body(&self.us, status, answered, version);
        // Forced: the fields are the agent's, whoever touched them.
        let params = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(&body);
        let written = self.asked("patch", self.objects.patch(&self.us.node, &params, &patch)).await;
        let written = written.map_err(named_by_right)?;
        let gone =
            || Trouble::Conflict { resource: RESOURCE, message: "it was deleted while it was written".to_owned() };
        written.map(|object| object.metadata).ok_or_else(gone)
    }

    /// Says beside another's status that we want the object, or with `None` that we do not any more.
    pub(super) async fn claim(&self, claim: Option<&str>) -> Result<Option<ObjectMeta>, Trouble> {
        let body = json!({ "metadata": { "annotations": { CLAIM: claim } } });
        let params = PatchParams { field_manager: Some(CLAIM_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(&body);
        let claimed = self.asked("patch", self.objects.patch(&self.us.node, &params, &patch)).await?;
        Ok(claimed.map(|object| object.metadata))
    }

    /// Deletes the object if it is still `seen`.
    pub(super) async fn delete(&self, seen: &ObjectMeta) -> Result<(), Trouble> {
        let preconditions = Preconditions { uid: seen.uid.clone(), resource_version: seen.resource_version.clone() };
        let params = DeleteParams::default().preconditions(preconditions);
        self.asked("delete", self.objects.delete(&self.us.node, &params)).await.map(|_| ())
    }

    /// `None`: the object is not there.
    async fn asked<T>(
        &self,
        verb: &'static str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<Option<T>, Trouble> {
        match timeout(ANSWER_WITHIN, request).await {
            Err(_) => Err(Trouble::Silent { resource: RESOURCE, waited: ANSWER_WITHIN }),
            Ok(Ok(answer)) => Ok(Some(answer)),
            Ok(Err(error)) if is_absent_object(&error, &self.us.node) => Ok(None),
            Ok(Err(error)) => Err(Trouble::of(verb, RESOURCE, &error)),
        }
    }
}

/// An apply that has to create needs the right to create too. The refusal for that names no verb; that of a patch does.
fn named_by_right(trouble: Trouble) -> Trouble {
    match trouble {
        Trouble::Forbidden { resource, message, .. } if !message.contains("cannot patch") => {
            Trouble::Forbidden { verb: "create".to_owned(), resource, message }
        }
        other => other,
    }
}
