//! Who may do what, which the test decides, and what was asked.

use std::collections::{HashMap, HashSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{json, Value};

use super::request::Request;

/// How requests go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answered with this code: 401, 403, 500, ...
    Code(u16),
    /// Never answered.
    Hang,
    /// The connection is closed instead of an answer.
    Drop,
}

/// The test's own user: neither recorded nor refused.
pub(super) const ADMINISTRATOR: &str = "administrator";

#[derive(Default)]
pub(super) struct Judge {
    state: Mutex<State>,
    asked: Condvar,
}

#[derive(Default)]
struct State {
    faults: Vec<(String, Fault)>,
    expired: HashSet<String>,
    granted: HashMap<String, Vec<Value>>,
    requests: Vec<Request>,
}

pub(super) enum Verdict {
    Answer,
    Refuse(Value),
    Hang,
    Drop,
}

impl Judge {
    fn state(&self) -> MutexGuard<'_, State> {
        // A test that failed elsewhere still gets its answers.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_fault(&self, prefix: &str, fault: Fault) {
        self.state().faults.push((prefix.to_owned(), fault));
    }

    pub(super) fn clear_faults(&self) {
        self.state().faults.clear();
    }

    pub(super) fn expire(&self, token: &str) {
        self.state().expired.insert(token.to_owned());
    }

    pub(super) fn grant(&self, user: &str, roles: &[Value]) {
        self.state().granted.insert(user.to_owned(), roles.to_vec());
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    pub(super) fn record(&self, request: Request) {
        if request.user != ADMINISTRATOR {
            self.state().requests.push(request);
            self.asked.notify_all();
        }
    }

    /// The first request after the `skip` first that `is_it` says yes to.
    pub(super) fn wait_for(&self, skip: usize, limit: Duration, is_it: impl Fn(&Request) -> bool) -> Option<Request> {
        let deadline = Instant::now() + limit;
        let mut state = self.state();
        loop {
            if let Some(found) = state.requests.iter().skip(skip).find(|request| is_it(request)) {
                return Some(found.clone());
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            state = self.asked.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Faults come first, then whether the user is known, then what it may do, as in the real server's order.
    pub(super) fn judge(&self, request: &Request) -> Verdict {
        if request.user == ADMINISTRATOR {
            return Verdict::Answer;
        }
        let state = self.state();
        let fault = state.faults.iter().rev().find(|(prefix, _)| request.path.starts_with(prefix.as_str()));
        match fault {
            Some((_, Fault::Code(code))) => return Verdict::Refuse(refusal(*code, request)),
            Some((_, Fault::Hang)) => return Verdict::Hang,
            Some((_, Fault::Drop)) => return Verdict::Drop,
            None => {}
        }
        if request.user.is_empty() || state.expired.contains(&request.user) {
            return Verdict::Refuse(refusal(401, request));
        }
        match is_granted(&state, request) {
            true => Verdict::Answer,
            false => Verdict::Refuse(refusal(403, request)),
        }
    }

    /// The refusal of an apply that would have to create, for a user who may not. It names no verb, as the real server's.
    pub(super) fn judge_creation(&self, request: &Request) -> Option<Value> {
        let creation = Request { verb: "create".to_owned(), ..request.clone() };
        let is_allowed = request.user == ADMINISTRATOR || is_granted(&self.state(), &creation);
        (!is_allowed).then(|| status(403, "Forbidden", &format!("{} is forbidden: ", request.object())))
    }
}

fn is_granted(state: &State, request: &Request) -> bool {
    state.granted.get(&request.user).is_none_or(|roles| roles.iter().any(|role| allows(role, request)))
}

/// Whether a Role or a ClusterRole allows it.
fn allows(role: &Value, request: &Request) -> bool {
    let namespace = role["metadata"]["namespace"].as_str().filter(|_| role["kind"] == "Role");
    if namespace.is_some() && namespace != request.namespace.as_deref() {
        return false;
    }
    let has = |rule: &Value, list: &str, wanted: &str| {
        let entries = rule[list].as_array();
        entries.into_iter().flatten().any(|entry| entry == wanted || entry == "*")
    };
    let names_it = |rule: &Value| match rule["resourceNames"].as_array() {
        Some(names) if !names.is_empty() => {
            request.name.as_ref().is_some_and(|name| names.iter().any(|each| each == name))
        }
        _ => true,
    };
    role["rules"].as_array().into_iter().flatten().any(|rule| {
        if request.resource.is_empty() {
            return has(rule, "nonResourceURLs", &request.path) && has(rule, "verbs", &request.verb);
        }
        has(rule, "apiGroups", &request.group)
            && has(rule, "resources", &request.resource)
            && has(rule, "verbs", &request.verb)
            && names_it(rule)
    })
}

fn refusal(code: u16, request: &Request) -> Value {
    let (reason, message) = match code {
        401 => ("Unauthorized", "Unauthorized".to_owned()),
        403 => ("Forbidden", request.forbidden()),
        429 => ("TooManyRequests", "too many requests, please try again later".to_owned()),
        500 => ("InternalError", "Internal error occurred: the fake cluster was told to fail".to_owned()),
        _ => ("", "the fake cluster was told to fail".to_owned()),
    };
    status(code, reason, &message)
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message,
    })
}
