//! What KubeWard takes of this machine.

use std::path::Path;

use kubeward_agent::cost::MapMemory;
use kubeward_agent::serve::client::{self, ClientError};
use kubeward_agent::serve::proto::{self, GetInfoResponse};
use kubeward_bpf::object::LoadOptions;
use kubeward_bpf::timing::TimedRuns;

use super::line;
use crate::cmd::told;

/// What an agent that runs says of itself.
pub(super) fn tell(report: &mut String, socket: &Path) {
    match ask(socket) {
        Err(error) => line(report, "agent", &told(&error)),
        Ok(info) => {
            line(report, "agent", &format!("version {} answers on {}", info.version, socket.display()));
            let cost = info.cost.as_ref().map_or_else(|| "not measured yet".to_owned(), said);
            line(report, "agent's cost", &cost);
            let limit = info.conditions.iter().find(|condition| condition.r#type == "CostAboveLimit");
            line(report, "", limit.map_or("this agent knows no limit of it", |limit| limit.message.as_str()));
        }
    }
}

/// Of an agent that is started here as nothing else is said.
pub(super) fn of_maps(report: &mut String, options: &LoadOptions) {
    match MapMemory::now(options) {
        Err(error) => line(report, "kernel's maps", &format!("what they take is not known: {error}")),
        Ok(memory) => {
            line(report, "kernel's maps", &memory.said());
            memory.warning().iter().for_each(|warning| line(report, "", warning));
        }
    }
}

/// Of the hooks' trials: no more than how long such programs take here.
pub(super) fn of_a_run(timed: TimedRuns) -> String {
    match timed.runs {
        0 => "no program ran".to_owned(),
        runs => format!("{} ns on average of the {runs} runs in the trials above", timed.ns / runs),
    }
}

fn ask(socket: &Path) -> anyhow::Result<GetInfoResponse> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asking = async {
        let mut api = client::kubeward(client::connect(socket).await?);
        let answer = api.get_info(proto::GetInfoRequest {}).await;
        answer.map_err(|status| ClientError::Status { path: socket.to_owned(), status: Box::new(status) })
    };
    let limited = async { tokio::time::timeout(client::ANSWER_WITHIN, asking).await };
    let silent = |_| ClientError::Silent { path: socket.to_owned(), limit: client::ANSWER_WITHIN };
    Ok(runtime.block_on(limited).map_err(silent)??.into_inner())
}

fn said(cost: &proto::Cost) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let run = cost.ns_per_run.map_or_else(String::new, |ns| format!(" of {ns:.0} ns"));
    format!(
        "{:.2} % of a CPU: {:.2} % in the kernel ({:.0} runs/s{run}), {:.2} % in the agent, over {:.0} s; {:.1} MiB resident, {:.1} MiB of maps",
        cost.kernel_cpu_percent + cost.user_cpu_percent,
        cost.kernel_cpu_percent,
        cost.runs_per_second,
        cost.user_cpu_percent,
        cost.averaged_seconds,
        mib(cost.resident_bytes),
        mib(cost.map_bytes),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_told_in_one_line_with_units() {
        let cost = proto::Cost {
            averaged_seconds: 60.0,
            kernel_cpu_percent: 1.5,
            user_cpu_percent: 0.25,
            runs_per_second: 150_000.0,
            ns_per_run: Some(100.2),
            resident_bytes: 24 << 20,
            map_bytes: 18 << 20,
            ..proto::Cost::default()
        };
        let expected =
            "1.75 % of a CPU: 1.50 % in the kernel (150000 runs/s of 100 ns), 0.25 % in the agent, over 60 s; \
                        24.0 MiB resident, 18.0 MiB of maps";
        assert_eq!(said(&cost), expected);
        let idle = proto::Cost { ns_per_run: None, runs_per_second: 0.0, ..cost };
        assert!(said(&idle).contains("(0 runs/s)"), "{}", said(&idle));
    }

    #[test]
    fn trial_without_a_run_has_no_average() {
        assert_eq!(of_a_run(TimedRuns::default()), "no program ran");
        assert_eq!(of_a_run(TimedRuns { runs: 4, ns: 400 }), "100 ns on average of the 4 runs in the trials above");
    }
}
