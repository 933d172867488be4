//! The cluster's policies, followed: every `KubeWard` object as it was last seen.
//!
//! What was known stays known while the server cannot be reached; a new list takes the old one's place as a whole, so that
//! listing again changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use kube::core::{ApiResource, DynamicObject};
use kube::runtime::watcher::Event;
use kube::{Api, Client, Resource, ResourceExt};
use kubeward_core::policy::{load_object, CheckedPolicy, Fault, Source};
use serde_json::{json, Value};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::crd::KubeWard;
use super::watch::{config, Watch};

/// What messages call the resource.
const KUBEWARDS: &str = "kubewards";

/// Before an object's name, where messages name a policy's source.
const KIND: &str = "KubeWard ";

/// A policy of the cluster.
#[derive(Debug, Clone)]
pub struct PolicyObject {
    pub name: Arc<str>,
    pub uid: String,
    /// Counts changes of `spec`.
    pub generation: i64,
    /// By the API server's clock, to the second.
    pub created: SystemTime,
    /// The policy, or all that is wrong with it.
    pub read: Result<CheckedPolicy, Vec<Fault>>,
    /// The last version that could be read, where this one cannot.
    pub last_good: Option<CheckedPolicy>,
}

impl PolicyObject {
    /// What is to be in force of it.
    pub fn policy(&self) -> Option<&CheckedPolicy> {
        self.read.as_ref().ok().or(self.last_good.as_ref())
    }

    /// Whether a policy with this source was read from this object.
    pub fn is_source(&self, source: &Source) -> bool {
        source.document.is_none() && source.file.strip_prefix(KIND).is_some_and(|name| name == &*self.name)
    }
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub struct ClusterPolicies {
    pub objects: BTreeMap<String, Arc<PolicyObject>>,
    /// The server's list has been read once.
    pub is_listed: bool,
    /// Why nothing new is heard now; absent while all is well.
    pub trouble: Option<String>,
}

/// Follows them until `shutdown`. The receiver's value is the newest state: states in between may be skipped.
pub fn spawn(client: Client, shutdown: CancellationToken) -> (watch::Receiver<ClusterPolicies>, JoinHandle<()>) {
    let (sender, receiver) = watch::channel(ClusterPolicies::default());
    let task = tokio::spawn(async move {
        tokio::select! {
            () = follow(client, sender) => {}
            () = shutdown.cancelled() => {}
        }
    });
    (receiver, task)
}

async fn follow(client: Client, sender: watch::Sender<ClusterPolicies>) {
    let resource = ApiResource::erase::<KubeWard>(&());
    let mut watch = Watch::new(KUBEWARDS, Api::<DynamicObject>::all_with(client, &resource), config());
    // Of a list that is being read.
    let mut listing = BTreeMap::new();
    loop {
        match watch.next().await {
            Ok(Event::Init) => listing.clear(),
            Ok(Event::InitApply(object)) => {
                listing.insert(object.name_any(), object);
            }
            Ok(Event::InitDone) => {
                let listed = std::mem::take(&mut listing);
                sender.send_if_modified(|known| known.replace(listed));
            }
            Ok(Event::Apply(object)) => {
                sender.send_if_modified(|known| known.take(object));
            }
            Ok(Event::Delete(object)) => {
                sender.send_modify(|known| {
                    known.trouble = None;
                    known.objects.remove(&object.name_any());
                });
            }
            Err(trouble) => {
                let told = Some(trouble.to_string());
                sender.send_if_modified(|known| std::mem::replace(&mut known.trouble, told.clone()) != told);
            }
        }
    }
}

impl ClusterPolicies {
    /// False when the list says nothing new.
    fn replace(&mut self, listed: BTreeMap<String, DynamicObject>) -> bool {
        let known = self.objects.len();
        self.objects.retain(|name, _| listed.contains_key(name));
        let mut is_news = self.objects.len() < known || self.trouble.is_some() || !self.is_listed;
        for object in listed.into_values() {
            is_news |= self.take(object);
        }
        (self.is_listed, self.trouble) = (true, None);
        is_news
    }

    /// False when nothing is new: somebody wrote the status, or the server's cache is behind what was seen already.
    fn take(&mut self, object: DynamicObject) -> bool {
        let was_troubled = self.trouble.take().is_some();
        let name = object.name_any();
        let (uid, generation) = (object.uid().unwrap_or_default(), object.meta().generation.unwrap_or_default());
        let known = self.objects.get(&name).filter(|known| known.uid == uid);
        if known.is_some_and(|known| known.generation >= generation) {
            return was_troubled;
        }
        let mut read = load_object(&format!("{KIND}{name}"), &document(&name, &object.data));
        let last_good = match (&read, known) {
            (Err(_), Some(known)) => known.policy().cloned(),
            _ => None,
        };
        let created = object.creation_timestamp().map_or(SystemTime::UNIX_EPOCH, |time| time.0.into());
        read.iter_mut().for_each(|policy| policy.created = Some(created));
        let name_shared = Arc::from(name.as_str());
        let seen = PolicyObject { name: name_shared, uid, generation, created, read, last_good };
        self.objects.insert(name, Arc::new(seen));
        true
    }
}

/// What the object's author wrote, without what the server keeps beside it.
fn document(name: &str, data: &Value) -> Vec<u8> {
    let spec = data.get("spec").cloned().unwrap_or_else(|| json!({}));
    let whole = json!({
        "apiVersion": "kubeward.kubeward/v1",
        "kind": "KubeWard",
        "metadata": {"name": name},
        "spec": spec,
    });
    whole.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, uid: &str, generation: i64, spec: Value) -> DynamicObject {
        let whole = json!({
            "apiVersion": "kubeward.kubeward/v1",
            "kind": "KubeWard",
            "metadata": {"name": name, "uid": uid, "generation": generation, "creationTimestamp": "2026-01-02T03:04:05Z"},
            "spec": spec,
        });
        serde_json::from_value(whole).expect("it is an object")
    }

    fn mkdir() -> Value {
        json!({"syscalls": [{"name": "mkdir"}]})
    }

    #[test]
    fn write_of_the_status_is_no_news() {
        let mut known = ClusterPolicies::default();
        assert!(known.take(object("a", "1", 1, mkdir())));
        assert!(!known.take(object("a", "1", 1, mkdir())));
        assert!(known.take(object("a", "1", 2, json!({}))));
    }

    #[test]
    fn server_whose_cache_is_behind_changes_nothing() {
        let mut known = ClusterPolicies::default();
        known.take(object("a", "1", 7, mkdir()));
        known.replace(BTreeMap::from([("a".to_owned(), object("a", "1", 6, json!({})))]));
        assert_eq!(known.objects["a"].generation, 7);
    }

    #[test]
    fn object_of_the_same_name_that_was_made_anew_is_another() {
        let mut known = ClusterPolicies::default();
        known.take(object("a", "1", 7, mkdir()));
        assert!(known.take(object("a", "2", 1, json!({}))));
        assert_eq!(known.objects["a"].generation, 1);
    }

    #[test]
    fn broken_version_keeps_the_good_one_before() {
        let mut known = ClusterPolicies::default();
        known.take(object("a", "1", 1, mkdir()));
        known.take(object("a", "1", 2, json!({"timing": "yes"})));
        known.take(object("a", "1", 3, json!({"timing": "no"})));
        let seen = &known.objects["a"];
        assert!(seen.read.is_err() && !seen.policy().expect("the first was good").calls.is_empty());
        known.take(object("a", "1", 4, json!({})));
        assert!(known.objects["a"].policy().expect("it is good").calls.is_empty());
    }

    #[test]
    fn list_that_says_nothing_new_is_no_news() {
        let list = || BTreeMap::from([("a".to_owned(), object("a", "1", 1, mkdir()))]);
        let mut known = ClusterPolicies::default();
        assert!(known.replace(list()));
        let before = known.objects["a"].clone();
        assert!(!known.replace(list()));
        assert!(Arc::ptr_eq(&before, &known.objects["a"]));
        known.trouble = Some("gone".to_owned());
        assert!(known.replace(list()));
    }

    #[test]
    fn what_is_gone_from_the_list_is_gone() {
        let mut known = ClusterPolicies::default();
        known.take(object("a", "1", 1, mkdir()));
        known.replace(BTreeMap::from([("b".to_owned(), object("b", "2", 1, mkdir()))]));
        assert_eq!(known.objects.keys().collect::<Vec<_>>(), ["b"]);
        assert!(known.is_listed);
    }
}
