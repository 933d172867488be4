//! The plan as a table for people.

use std::fmt::Write;

use kubeward_agent::serve::proto::{CallPlan, ContainerName, CpuTime, PlanResult};

const HEAD: [&str; 7] = ["CALL", "CONTAINERS", "CALLS/S", "EVENTS/S", "BYTES/S", "CPU%", "ADDS%"];

/// The calls that cost most come first.
pub(super) fn table(result: &PlanResult) -> String {
    let mut text = String::new();
    let seconds = result.window_ns as f64 / 1e9;
    let containers = plural(result.containers, "container");
    line(&mut text, format_args!("counted for {seconds:.1} s in {containers}; events, bytes and CPU are estimated"));
    let mut calls: Vec<&CallPlan> = result.calls.iter().collect();
    calls.sort_by(|a, b| {
        let cost = |plan: &CallPlan| (percent(plan.cpu.as_ref()), plan.calls_per_second);
        cost(b).partial_cmp(&cost(a)).unwrap_or(std::cmp::Ordering::Equal).then_with(|| a.call.cmp(&b.call))
    });
    if !calls.is_empty() {
        let rows = calls.iter().map(|plan| row(&plan.call, plan));
        let total = result.total.as_ref().map(|total| row("in all", total));
        write_rows(&mut text, &[HEAD.map(str::to_owned)].into_iter().chain(rows).chain(total).collect::<Vec<_>>());
    }
    if let Some(total) = &result.total {
        write_totals(&mut text, result, total);
    }
    for note in notes(result) {
        line(&mut text, format_args!("- {note}"));
    }
    text
}

fn row(name: &str, plan: &CallPlan) -> [String; 7] {
    let bound = if plan.at_most { "<=" } else { "" };
    [
        name.to_owned(),
        plan.containers.to_string(),
        rate(plan.calls_per_second),
        format!("{bound}{}", rate(plan.events_per_second)),
        format!("{bound}{}", rate(plan.bytes_per_second)),
        format!("{:.2}", percent(plan.cpu.as_ref())),
        format!("{:.2}", percent(plan.added_cpu.as_ref())),
    ]
}

/// The first column to the left, numbers to the right.
fn write_rows(text: &mut String, rows: &[[String; 7]]) {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    for row in rows {
        let mut columns = format!("{:<1$}", row[0], widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            write!(columns, "  {cell:>width$}").expect("writing to a String cannot fail");
        }
        line(text, format_args!("{columns}"));
    }
}

fn write_totals(text: &mut String, result: &PlanResult, total: &CallPlan) {
    let CpuTime { kernel_percent, user_percent } = total.cpu.unwrap_or_default();
    let (cpu, added) = (percent(total.cpu.as_ref()), percent(total.added_cpu.as_ref()));
    line(
        text,
        format_args!(
            "CPU: {cpu:.2} % of one CPU, {kernel_percent:.2} % of it in the kernel and {user_percent:.2} % in the agent"
        ),
    );
    line(
        text,
        format_args!(
            "on top of the policies in force: {} events/s, {} bytes/s, {added:.2} % of one CPU; they pay for {:.2} % already",
            rate(total.added_events_per_second),
            rate(total.added_bytes_per_second),
            cpu - added
        ),
    );
    let passed = match (result.passed_call_ns_before, result.passed_call_ns) {
        (_, 0.0) => "other calls of the machine: no cost, since only the calls named are hooked".to_owned(),
        (before, now) if before >= now => format!("other calls of the machine: {now:.0} ns each, whoever makes them, which the policies in force cost already (raw tracepoint)"),
        (before, now) if before > 0.0 => format!("other calls of the machine: {now:.0} ns each, whoever makes them, where the policies in force cost {before:.0} ns already (raw tracepoint)"),
        (_, now) => format!("other calls of the machine: {now:.0} ns each, whoever makes them (raw tracepoint)"),
    };
    line(text, format_args!("{passed}"));
}

fn notes(result: &PlanResult) -> Vec<String> {
    let mut notes = Vec::new();
    if result.containers == 0 && result.left_out == 0 {
        notes.push(match result.others_total {
            0 => "the policies select no container, and none is watched on this node".to_owned(),
            total => {
                let named: Vec<String> = result.others.iter().map(name).collect();
                let more = total as usize - named.len();
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!("the policies select no container; there are: {}{more}", named.join(", "))
            }
        });
    }
    let made = u32::try_from(result.calls.len()).unwrap_or(u32::MAX);
    match (result.calls_named, result.calls_named.saturating_sub(made)) {
        (0, _) => notes.push("the policies name no call".to_owned()),
        (_, 0) => {}
        (named, quiet) => notes.push(format!("{quiet} of {} named were not made", plural(named, "call"))),
    }
    if result.uncounted > 0 {
        let uncounted = result.uncounted;
        notes.push(format!("{uncounted} calls found no room in the kernel's table and are in no number here: name fewer calls or containers"));
    }
    if result.left_out > 0 {
        let left_out = plural(result.left_out, "container");
        notes.push(format!("{left_out} that began or ended meanwhile are in no number here, as slots were short: start the agent with a larger --max-containers"));
    }
    let replaced = result.replaces.iter();
    notes.extend(
        replaced.map(|name| format!("policy {name} is in force: what is added is as if this one took its place")),
    );
    notes.extend(result.refusals.iter().map(|refusal| format!("left out {refusal}")));
    notes.extend(result.notes.iter().cloned());
    notes
}

fn name(container: &ContainerName) -> String {
    match (&container.pod_namespace, &container.pod, &container.name) {
        (Some(namespace), Some(pod), Some(name)) => format!("{namespace}/{pod}/{name}"),
        (Some(namespace), Some(pod), None) => format!("{namespace}/{pod}"),
        _ => container.id.clone(),
    }
}

fn percent(cpu: Option<&CpuTime>) -> f64 {
    cpu.map_or(0.0, |cpu| cpu.kernel_percent + cpu.user_percent)
}

fn rate(by_second: f64) -> String {
    match by_second {
        0.0 => "0".to_owned(),
        small if small.abs() < 10.0 => format!("{small:.1}"),
        _ => format!("{by_second:.0}"),
    }
}

fn plural(count: u32, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    writeln!(text, "{words}").expect("writing to a String cannot fail");
}
