//! What is known of the agent and its node, as metrics.

use std::fmt;

use kubeward_core::ledger::{FilterReason, LossReason};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{prometheus_text, text, DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::cost::CostNow;
use crate::pipeline::Accounts;

/// The form that a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    OpenMetrics,
    /// Prometheus' older form, which everything reads.
    Plain,
}

impl Form {
    /// By the request's `Accept`.
    pub(super) fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Form::OpenMetrics
        } else {
            Form::Plain
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Form::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Form::Plain => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// One moment of the agent.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) cost: CostNow,
    pub(super) accounts: Accounts,
}

impl Snapshot {
    pub(super) fn text(self, form: Form) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut written = String::new();
        match form {
            Form::OpenMetrics => text::encode(&mut written, &registry)?,
            Form::Plain => prometheus_text::encode(&mut written, &registry)?,
        }
        Ok(written)
    }

    fn families(&self) -> Vec<Family> {
        [self.cost(), self.ledger()].concat()
    }

    fn cost(&self) -> Vec<Family> {
        let CostNow { cost, is_above, .. } = self.cost;
        let seconds = |ns: u64| ns as f64 / 1e9;
        vec![
            counter(
                "kubeward_agent_cpu",
                "CPU time that KubeWard took: its programs in the kernel, by samples, and its process",
            )
            .unit(Unit::Seconds)
            .with("side", "kernel", seconds(cost.kernel_cpu_ns))
            .with("side", "user", seconds(cost.user_cpu_ns)),
            counter("kubeward_agent_program_runs", "Runs of KubeWard's programs in the kernel, by samples")
                .of(cost.runs as f64),
            gauge("kubeward_agent_resident_memory", "Memory of KubeWard's process that is in RAM")
                .unit(Unit::Bytes)
                .of(cost.resident_bytes as f64),
            gauge("kubeward_agent_map_memory", "Kernel memory of KubeWard's BPF maps")
                .unit(Unit::Bytes)
                .of(cost.map_bytes as f64),
            gauge("kubeward_agent_cost_above_limit", "Whether KubeWard takes more CPU time than --warn-cpu-percent")
                .of(f64::from(u8::from(is_above))),
        ]
    }

    fn ledger(&self) -> Vec<Family> {
        let Accounts { node, doubts, .. } = &self.accounts;
        let filtered = counter("kubeward_calls_filtered", "Watched calls without an event on purpose, by reason");
        let filtered = FilterReason::ALL
            .iter()
            .fold(filtered, |family, &reason| family.with("reason", reason.name(), node.filtered.get(reason) as f64));
        let lost = counter("kubeward_calls_lost", "Watched calls whose event is missing, by reason");
        let lost = LossReason::ALL
            .iter()
            .fold(lost, |family, &reason| family.with("reason", reason.name(), node.lost.get(reason) as f64));
        vec![
            counter("kubeward_calls_seen", "Watched calls that reached a hook").of(node.seen as f64),
            // Not what came out of it, which falls when the output drops what it had: a counter never falls.
            counter("kubeward_calls_emitted", "Watched calls whose event was handed to the output, which may lose it")
                .of((node.emitted + node.lost.get(LossReason::Output)) as f64),
            filtered,
            counter("kubeward_calls_sampled", "Watched calls over the rate limit of every policy that wanted them")
                .of(node.sampled as f64),
            lost,
            gauge("kubeward_calls_in_flight", "Watched calls that have not returned, or whose event is on its way")
                .of(node.in_flight as f64),
            counter("kubeward_runs_skipped", "Runs of hooks that the kernel refused").of(doubts.skipped as f64),
            counter("kubeward_returns_missed", "Returns for which the kernel had no slot")
                .of(doubts.missed_returns as f64),
        ]
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let about = encoder.encode_descriptor("kubeward_build", "Version of KubeWard", None, MetricType::Info);
        about?.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        for family in self.families() {
            let metric = encoder.encode_descriptor(family.name, family.help, family.unit.as_ref(), family.kind)?;
            family.encode(metric)?;
        }
        Ok(())
    }
}

/// Series of one name.
#[derive(Debug, Clone)]
struct Family {
    /// Without unit and suffix.
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    unit: Option<Unit>,
    series: Vec<(Option<(&'static str, &'static str)>, f64)>,
}

fn counter(name: &'static str, help: &'static str) -> Family {
    Family { name, help, kind: MetricType::Counter, unit: None, series: Vec::new() }
}

fn gauge(name: &'static str, help: &'static str) -> Family {
    Family { kind: MetricType::Gauge, ..counter(name, help) }
}

impl Family {
    fn unit(self, unit: Unit) -> Self {
        Self { unit: Some(unit), ..self }
    }

    /// Its one series.
    fn of(mut self, value: f64) -> Self {
        self.series.push((None, value));
        self
    }

    /// A series of several.
    fn with(mut self, label: &'static str, is: &'static str, value: f64) -> Self {
        self.series.push((Some((label, is)), value));
        self
    }

    fn encode(&self, mut metric: MetricEncoder<'_>) -> fmt::Result {
        for (label, value) in &self.series {
            match label {
                Some(label) => self.value(&mut metric.encode_family(&[*label])?, *value)?,
                None => self.value(&mut metric, *value)?,
            }
        }
        Ok(())
    }

    fn value(&self, metric: &mut MetricEncoder<'_>, value: f64) -> fmt::Result {
        match self.kind {
            MetricType::Counter => metric.encode_counter::<NoLabelSet, f64, f64>(&value, None),
            _ => metric.encode_gauge(&value),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kubeward_core::ledger::Account;

    use super::*;
    use crate::cost::Cost;
    use crate::pipeline::Doubts;

    fn snapshot() -> Snapshot {
        let cost = Cost {
            kernel_cpu_ns: 1_500_000_000,
            user_cpu_ns: 250_000_000,
            runs: 7,
            resident_bytes: 4096,
            map_bytes: 8192,
            ..Cost::default()
        };
        let mut node = Account { seen: 10, emitted: 5, in_flight: 1, sampled: 1, ..Account::default() };
        node.lost.add(LossReason::Ring, 2);
        node.lost.add(LossReason::Output, 1);
        let accounts = Accounts { node, doubts: Doubts { skipped: 3, missed_returns: 4 }, ..Accounts::default() };
        Snapshot { cost: CostNow { cost, is_above: true, limit: None }, accounts }
    }

    #[test]
    fn plain_text_has_each_number_by_its_name() {
        let text = snapshot().text(Form::Plain).expect("a string takes everything");
        for line in [
            "# TYPE kubeward_build_info gauge",
            concat!("kubeward_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "# TYPE kubeward_agent_cpu_seconds_total counter",
            "kubeward_agent_cpu_seconds_total{side=\"kernel\"} 1.5",
            "kubeward_agent_cpu_seconds_total{side=\"user\"} 0.25",
            "kubeward_agent_program_runs_total 7.0",
            "kubeward_agent_resident_memory_bytes 4096.0",
            "kubeward_agent_map_memory_bytes 8192.0",
            "kubeward_agent_cost_above_limit 1.0",
            "kubeward_calls_seen_total 10.0",
            "kubeward_calls_emitted_total 6.0",
            "kubeward_calls_lost_total{reason=\"ring\"} 2.0",
            "kubeward_calls_lost_total{reason=\"output\"} 1.0",
            "kubeward_runs_skipped_total 3.0",
            "kubeward_returns_missed_total 4.0",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
        }
        assert!(!text.contains("# EOF"), "{text}");
    }

    #[test]
    fn open_metrics_has_units_and_an_end() {
        let text = snapshot().text(Form::OpenMetrics).expect("a string takes everything");
        assert!(text.contains("# UNIT kubeward_agent_cpu_seconds seconds\n"), "{text}");
        assert!(text.contains("# TYPE kubeward_agent_cpu_seconds counter\n"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn client_gets_open_metrics_where_it_asks_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        assert_eq!([Form::accepted(prometheus), Form::accepted("*/*")], [Form::OpenMetrics, Form::Plain]);
    }

    /// The page's rows begin with a name, and say its type and labels.
    #[test]
    fn page_names_exactly_the_metrics_that_are_served() {
        let text = snapshot().text(Form::Plain).expect("a string takes everything");
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let served: BTreeSet<(&str, &str)> = types.filter_map(|line| line.split_once(' ')).collect();
        let page = include_str!("../../../../docs/metrics.md");
        let rows = page.lines().filter(|line| line.starts_with("| `kubeward_"));
        let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
        let documented: BTreeSet<(&str, &str)> = cells.map(|cells| (cells[1].trim_matches('`'), cells[2])).collect();
        assert_eq!(documented, served);
    }
}
