//! The plan as one JSON object, its members named as in the API.

use kubeward_agent::serve::proto::{CallPlan, ContainerName, CpuTime, PlanResult};
use serde_json::{json, Value};

pub(super) fn document(result: &PlanResult) -> String {
    let prices = result.prices.iter().map(|price| json!({"of": price.of, "ns": price.ns}));
    let document = json!({
        "estimated": true,
        "window_ns": result.window_ns,
        "containers": result.containers,
        "calls_named": result.calls_named,
        "calls": result.calls.iter().map(|call| call_plan(call, Some(&call.call))).collect::<Vec<_>>(),
        "total": result.total.as_ref().map(|total| call_plan(total, None)),
        "uncounted": result.uncounted,
        "left_out": result.left_out,
        "passed_call_ns": {"before": result.passed_call_ns_before, "applied": result.passed_call_ns},
        "prices": prices.collect::<Vec<_>>(),
        "replaces": result.replaces,
        "notes": result.notes,
        "others": result.others.iter().map(container).collect::<Vec<_>>(),
        "others_total": result.others_total,
    });
    format!("{document}\n")
}

fn call_plan(plan: &CallPlan, name: Option<&str>) -> Value {
    let mut value = json!({
        "containers": plan.containers,
        "calls_per_second": plan.calls_per_second,
        "errors_per_second": plan.errors_per_second,
        "events_per_second": plan.events_per_second,
        "bytes_per_second": plan.bytes_per_second,
        "at_most": plan.at_most,
        "cpu_percent": cpu(plan.cpu.as_ref()),
        "added": {
            "events_per_second": plan.added_events_per_second,
            "bytes_per_second": plan.added_bytes_per_second,
            "cpu_percent": cpu(plan.added_cpu.as_ref()),
        },
    });
    if let (Some(name), Some(members)) = (name, value.as_object_mut()) {
        members.insert("call".to_owned(), name.into());
    }
    value
}

fn cpu(cpu: Option<&CpuTime>) -> Value {
    let CpuTime { kernel_percent, user_percent } = cpu.copied().unwrap_or_default();
    json!({"kernel": kernel_percent, "user": user_percent, "total": kernel_percent + user_percent})
}

fn container(name: &ContainerName) -> Value {
    let mut members = json!({"id": name.id});
    let optional = [("name", &name.name), ("namespace", &name.pod_namespace), ("pod", &name.pod)];
    for (member, value) in optional {
        if let (Some(value), Some(members)) = (value, members.as_object_mut()) {
            members.insert(member.to_owned(), value.as_str().into());
        }
    }
    members
}
