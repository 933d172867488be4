//! A measurement, not a test: how long after its creation a policy's first record comes. `scripts/bench.sh apply` runs it.

use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use crate::cluster::{entry, Cluster};
use crate::containerd_with_image;
use crate::policies::moment;
use crate::stream::is_call;
use crate::told::Told;

const ROUNDS: usize = 50;

/// The container makes an openat each millisecond. The clock runs from before the request that creates the policy until the
/// time in the first event of it, so that it has the API server's own work in it.
#[test]
#[ignore = "a measurement: scripts/bench.sh apply"]
fn kubernetes_measure_from_creation_to_first_record() -> Result<()> {
    let (containerd, cluster) = (containerd_with_image()?, Cluster::start()?);
    let mut agent = cluster.agent(&containerd, "n1")?;
    let mut told = Told::start(&containerd, "web")?;
    let id = told.id.clone();
    let mut took = thread::scope(|scope| {
        let measured = scope.spawn(|| {
            let mut took = Vec::new();
            for _ in 0..ROUNDS {
                let (start, created) = (agent.now(), SystemTime::now());
                let name = cluster.create_seed()?;
                let first = agent.line_after(start, "an openat", |line| is_call(line, &id, "openat", "/pace"));
                took.push(moment(&first)?.duration_since(created).context("the record is older than the policy")?);
                cluster.delete(&name)?;
                cluster.node("n1", |status| status["run"].is_string() && entry(status, &name).is_null())?;
            }
            anyhow::Ok(took)
        });
        while !measured.is_finished() {
            told.tell("pace 500")?;
        }
        measured.join().expect("measuring returns its errors")
    })?;
    took.sort();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100];
    println!(
        "{ROUNDS} policies of five hooks, from creation to first record: median {}, 90th percentile {}, longest {}",
        ms(at(50)),
        ms(at(90)),
        ms(at(100))
    );
    Ok(())
}

fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
