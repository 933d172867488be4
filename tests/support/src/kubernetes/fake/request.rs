//! A request as RBAC names it.

use hyper::http::request::Parts;
use hyper::Method;

/// What somebody asked of the fake cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Request {
    /// The token that it came with, which is the user's name here.
    pub user: String,
    pub user_agent: String,
    /// get, list, watch, create, update, patch, delete or deletecollection; of a path that is no resource, the method.
    pub verb: String,
    pub group: String,
    /// The plural, with its subresource: `kubewards/status`. Empty: the path is no resource.
    pub resource: String,
    pub namespace: Option<String>,
    pub name: Option<String>,
    pub path: String,
    pub query: String,
}

impl Request {
    pub(super) fn read(parts: &Parts) -> Self {
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        let mut request = Self {
            user: header("authorization").trim_start_matches("Bearer ").to_owned(),
            user_agent: header("user-agent").to_owned(),
            verb: parts.method.as_str().to_ascii_lowercase(),
            group: String::new(),
            resource: String::new(),
            namespace: None,
            name: None,
            path: path.to_owned(),
            query: query.to_owned(),
        };
        request.read_resource();
        request.verb = request.verb_of(&parts.method).to_owned();
        request
    }

    pub fn is_watch(&self) -> bool {
        self.query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"))
    }

    fn read_resource(&mut self) {
        let path = self.path.clone();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let rest = match parts.as_slice() {
            ["api", _, rest @ ..] => rest,
            ["apis", group, _, rest @ ..] => {
                self.group = (*group).to_owned();
                rest
            }
            _ => return,
        };
        let rest = match rest {
            // A namespace itself is a resource too.
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => {
                self.namespace = Some((*namespace).to_owned());
                rest
            }
            _ => rest,
        };
        let Some((resource, rest)) = rest.split_first() else { return };
        self.resource = (*resource).to_owned();
        if let Some((name, subresource)) = rest.split_first() {
            self.name = Some((*name).to_owned());
            for part in subresource {
                self.resource.push('/');
                self.resource.push_str(part);
            }
        }
    }

    fn verb_of(&self, method: &Method) -> &str {
        let named = self.name.is_some();
        match *method {
            _ if self.resource.is_empty() => &self.verb,
            Method::GET if self.is_watch() => "watch",
            Method::GET if named => "get",
            Method::GET => "list",
            Method::POST => "create",
            Method::PUT => "update",
            Method::DELETE if named => "delete",
            Method::DELETE => "deletecollection",
            _ => &self.verb,
        }
    }

    /// As the API server says why it refuses.
    pub(super) fn forbidden(&self) -> String {
        let Self { user, verb, group, resource, .. } = self;
        if resource.is_empty() {
            return format!("forbidden: User \"{user}\" cannot {verb} path \"{}\"", self.path);
        }
        let scope = match &self.namespace {
            Some(namespace) => format!("in the namespace \"{namespace}\""),
            None => "at the cluster scope".to_owned(),
        };
        format!(
            "{} is forbidden: User \"{user}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {scope}",
            self.object()
        )
    }

    /// As its messages name what was asked for: `kubewards.kubeward.kubeward "web"`.
    pub(super) fn object(&self) -> String {
        let plural = self.resource.split('/').next().unwrap_or_default();
        let dot = if self.group.is_empty() { "" } else { "." };
        let name = self.name.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
        format!("{plural}{dot}{}{name}", self.group)
    }
}
