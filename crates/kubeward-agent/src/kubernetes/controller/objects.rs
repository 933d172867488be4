//! The objects as the controller reads them: of each only what a sum needs, and nothing that a newer version may write breaks
//! the reading of the rest.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use kube::Resource;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::kubernetes::crd::{KubeWard, KubeWardNode, KubeWardStatus, NodePolicy};

/// A `KubeWard`: who it is, and its status. Not its spec: the agents alone judge that.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct PolicyObject {
    #[serde(default)]
    pub(super) metadata: ObjectMeta,
    /// One that cannot be read is as good as none: it is written anew.
    #[serde(default, deserialize_with = "readable")]
    pub(super) status: KubeWardStatus,
}

/// A `KubeWardNode`: what it says of policies.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct NodeObject {
    #[serde(default)]
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    pub(super) status: NodeWords,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct NodeWords {
    /// A word that cannot be read, of a newer agent, counts as not said.
    #[serde(default, deserialize_with = "readable_words")]
    pub(super) policies: Vec<NodePolicy>,
}

fn readable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<KubeWardStatus, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

fn readable_words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<NodePolicy>, D::Error> {
    let values = Vec::<Value>::deserialize(deserializer)?;
    Ok(values.into_iter().filter_map(|value| serde_json::from_value(value).ok()).collect())
}

/// The same resource as `$whole`, read otherwise.
macro_rules! resource {
    ($part:ty, $whole:ty, $scope:ty) => {
        impl Resource for $part {
            type DynamicType = ();
            type Scope = $scope;

            fn kind(_: &()) -> Cow<'_, str> {
                <$whole>::kind(&())
            }

            fn group(_: &()) -> Cow<'_, str> {
                <$whole>::group(&())
            }

            fn version(_: &()) -> Cow<'_, str> {
                <$whole>::version(&())
            }

            fn plural(_: &()) -> Cow<'_, str> {
                <$whole>::plural(&())
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

resource!(PolicyObject, KubeWard, ClusterResourceScope);
resource!(NodeObject, KubeWardNode, NamespaceResourceScope);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn word_that_only_a_newer_version_knows_does_not_hide_the_others() {
        let word = |reason: &str| {
            json!({"name": "a", "uid": "1", "observedGeneration": 1, "ready": true, "reason": reason, "calls": 1,
                   "selectsContainers": true, "coversRefused": true})
        };
        let node: NodeObject = serde_json::from_value(json!({
            "metadata": {"name": "n1"},
            "status": {"policies": [word("Applied"), word("SomethingNew")], "run": "r"},
        }))
        .expect("it is an object");
        assert_eq!(node.status.policies.len(), 1);
    }

    #[test]
    fn status_that_somebody_broke_is_read_as_none() {
        let policy: PolicyObject = serde_json::from_value(json!({"status": {"ready": 7}})).expect("it is an object");
        assert_eq!(policy.status, KubeWardStatus::default());
    }
}
