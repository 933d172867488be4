//! What the agent says that it costs: in its answers, in its metrics, in `kubeward doctor`, and above its limit.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};

use kubeward_agent::serve::client;
use kubeward_agent::serve::proto::{GetInfoRequest, GetInfoResponse};
use tempfile::TempDir;

use crate::events::Stream;
use crate::tracer::kubeward;

/// More than nothing, so that an agent beside a busy program is above it.
const LIMIT: &str = "0.01";

/// An agent that serves metrics somewhere. Dropping it kills it.
struct Agent {
    process: Child,
    log: BufReader<ChildStderr>,
    folder: TempDir,
    address: String,
}

impl Agent {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = kubeward(["agent", "--kubernetes", "off", "-e", "openat", "--cri-socket", "/missing/socket"]);
        command.args(["--metrics-address", "127.0.0.1:0", "--warn-cpu-percent", LIMIT]);
        command.arg("--socket").arg(folder.path().join("agent.sock")).arg("-o").arg(folder.path().join("events"));
        let mut process = command.stderr(Stdio::piped()).spawn().expect("kubeward starts");
        let log = BufReader::new(process.stderr.take().expect("it is piped"));
        let mut agent = Self { process, log, folder, address: String::new() };
        let line = agent.logged("metrics are at http://");
        let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
        agent.address = address.to_owned();
        agent
    }

    /// The next line of the log with these words.
    fn logged(&mut self, words: &str) -> String {
        let line = self.log.by_ref().lines().map_while(Result::ok).find(|line| line.contains(words));
        line.unwrap_or_else(|| panic!("the log ended without {words:?}"))
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    fn info(&self) -> GetInfoResponse {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let asking = async {
            let mut api = client::kubeward(client::connect(&self.socket()).await.expect("it listens"));
            api.get_info(GetInfoRequest {}).await.expect("it answers").into_inner()
        };
        runtime.block_on(asking)
    }

    /// Head and body of the answer to this request.
    fn http(&self, method: &str, path: &str, accept: &str) -> (String, String) {
        let mut connection = TcpStream::connect(&self.address).expect("it listens");
        let request = format!("{method} {path} HTTP/1.1\r\nHost: here\r\nAccept: {accept}\r\n\r\n");
        connection.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        (head.to_owned(), body.to_owned())
    }

    /// CPU time of the process, s, as the kernel books it.
    fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).expect("it runs");
        let fields: Vec<&str> = stat.rsplit_once(") ").expect("a name").1.split(' ').collect();
        let ticks = |field: usize| fields[field].parse::<f64>().expect("a number");
        // Fields 14 and 15, of which the first two are cut off; the kernel tells in hundredths.
        (ticks(11) + ticks(12)) / 100.0
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A program that makes calls without end. Dropping it ends it.
struct Busy(Child);

impl Busy {
    fn start() -> Self {
        let mut command = Command::new("dd");
        command.args(["if=/dev/zero", "of=/dev/null", "bs=1"]).stderr(Stdio::null());
        Self(command.spawn().expect("dd runs"))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Samples by name and labels. Panics where the text breaks a rule of the format.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut types = BTreeMap::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(comment) = line.strip_prefix("# ") {
            let [kind, name, rest] = comment.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            assert!(["HELP", "TYPE", "UNIT"].contains(&kind), "{line}");
            if kind == "TYPE" {
                assert_eq!(types.insert(name, rest), None, "one family, one type: {line}");
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let name = series.split('{').next().expect("there is a first part");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
        let family = |suffix: &str| types.get(name).or_else(|| types.get(name.strip_suffix(suffix)?)).copied();
        let kind = family("_total").or_else(|| family("_info")).unwrap_or_else(|| panic!("no type: {line}"));
        assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert_eq!(samples.insert(series.to_owned(), value), None, "twice: {line}");
    }
    samples
}

/// Prometheus' own judgement, where it is installed.
fn promtool_is_content_with(text: &str) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut promtool) = command.spawn() else {
        println!("not run: promtool check metrics (promtool is not installed)");
        return;
    };
    promtool.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("it reads");
    let said = promtool.wait_with_output().expect("it ends");
    let words = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    assert!(said.status.success() && words.is_empty(), "{words}");
}

#[test]
fn root_agent_tells_its_own_cost_to_whoever_asks_and_warns_above_its_limit() {
    let busy = Busy::start();
    let mut agent = Agent::start();
    let warning = agent.logged("more than --warn-cpu-percent 0.01");
    assert!(warning.contains("in the kernel and") && warning.contains("mode: Count"), "{warning}");

    let info = agent.info();
    let cost = info.cost.expect("it was measured");
    assert!(cost.kernel_cpu_percent > 0.0 && cost.runs_per_second > 1_000.0, "dd makes calls: {cost:?}");
    assert!(cost.ns_per_run.is_some_and(|ns| (1.0..100_000.0).contains(&ns)), "{cost:?}");
    assert!(cost.averaged_seconds >= 10.0 && cost.kernel_cpu_seconds > 0.0, "{cost:?}");
    assert_eq!(cost.warn_cpu_percent, Some(0.01));
    // The ring alone has 8 MiB.
    assert!(cost.map_bytes > 8 << 20 && cost.resident_bytes > 4 << 20, "{cost:?}");
    let spent = agent.cpu_seconds();
    assert!(cost.user_cpu_seconds > 0.0 && cost.user_cpu_seconds <= spent + 0.02, "{spent} s by the kernel: {cost:?}");
    let condition = info.conditions.iter().find(|condition| condition.r#type == "CostAboveLimit");
    assert!(condition.is_some_and(|condition| condition.holds && condition.message.contains("0.01")), "{condition:?}");

    let (head, plain) = agent.http("GET", "/metrics", "*/*");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
    promtool_is_content_with(&plain);
    let (head, open) = agent.http("GET", "/metrics", "application/openmetrics-text;version=1.0.0");
    assert!(head.contains("application/openmetrics-text; version=1.0.0") && open.ends_with("# EOF\n"), "{head}");
    for text in [&plain, &open] {
        let samples = samples(text);
        assert!(samples["kubeward_agent_cpu_seconds_total{side=\"kernel\"}"] >= cost.kernel_cpu_seconds, "{text}");
        assert!(samples["kubeward_agent_cpu_seconds_total{side=\"user\"}"] >= cost.user_cpu_seconds, "{text}");
        assert!(samples["kubeward_agent_map_memory_bytes"] > f64::from(8 << 20), "{text}");
        assert_eq!(samples["kubeward_agent_cost_above_limit"], 1.0);
        assert_eq!(samples["kubeward_calls_seen_total"], 0.0, "no container is there");
    }
    assert!(agent.http("GET", "/", "*/*").0.starts_with("HTTP/1.1 404"));
    assert!(agent.http("POST", "/metrics", "*/*").0.starts_with("HTTP/1.1 405"));

    let doctor = kubeward(["doctor", "--socket"]).arg(agent.socket()).output().expect("kubeward runs");
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains("% of a CPU: ") && said.contains("MiB of maps"), "{said}");
    assert!(said.contains("more than 0.01 % of a CPU (--warn-cpu-percent)"), "{said}");
    drop(busy);

    let sent = Command::new("kill").arg(agent.process.id().to_string()).status().expect("kill runs");
    assert!(sent.success());
    assert_eq!(agent.process.wait().expect("a child of ours").code(), Some(0));
    let written = fs::read(agent.folder.path().join("events")).expect("the output");
    let stream = Stream::parse(&written).unwrap_or_else(|error| panic!("{error}"));
    let notice = stream.others.iter().find(|line| line["code"] == "cost_above_limit").expect("a notice");
    assert_eq!(notice["level"], "warning");
    assert!(TcpStream::connect(&agent.address).is_err(), "the port goes with the agent");
}

#[test]
fn root_clients_that_say_nothing_keep_nobody_from_ending() {
    let mut agent = Agent::start();
    // More than are served at a time.
    let silent: Vec<_> = (0..20).map(|_| TcpStream::connect(&agent.address).expect("it listens")).collect();
    let sent = Command::new("kill").arg(agent.process.id().to_string()).status().expect("kill runs");
    assert!(sent.success());
    assert_eq!(agent.process.wait().expect("a child of ours").code(), Some(0));
    drop(silent);
}

#[test]
fn root_metrics_address_that_is_taken_is_refused_by_name() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    let mut command = kubeward(["agent", "--kubernetes", "off", "-e", "openat", "--socket", "none"]);
    let output = command.args(["--metrics-address", &address]).output().expect("kubeward runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("--metrics-address {address}")) && said.contains("a port that is free"), "{said}");
}
