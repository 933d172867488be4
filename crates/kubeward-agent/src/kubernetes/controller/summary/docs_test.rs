//! The guide has a line for each reason that a policy or a node's word of it can have.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::*;

const GUIDE: &str = include_str!("../../../../../../getting-started/README.md");

/// Reasons in the rows of the guide from `begin` to `end`.
fn documented(begin: &str, end: &str) -> BTreeSet<String> {
    let (_, text) = GUIDE.split_once(begin).unwrap_or_else(|| panic!("the guide has no {begin:?}"));
    let text = text.split_once(end).map_or(text, |(text, _)| text);
    let first_cells = text.lines().filter_map(|line| line.strip_prefix("| `")?.split('|').next());
    first_cells.flat_map(|cell| cell.split(',')).map(|name| name.trim_matches([' ', '`']).to_owned()).collect()
}

/// All variants, from the schema.
fn reasons_of_a_node() -> BTreeSet<PolicyReason> {
    let schema = serde_json::to_value(schemars::schema_for!(PolicyReason)).expect("a schema is JSON");
    let alternatives = schema["oneOf"].as_array().expect("variants with a description each").iter();
    let names = alternatives.map(|variant| variant.get("const").unwrap_or(&variant["enum"][0]).clone());
    names.map(|name: Value| serde_json::from_value(name).expect("the schema's own names")).collect()
}

/// What the sum says where every node, if any, says the same.
fn reason_of(words: &[Option<NodePolicy>]) -> String {
    let old = KubeWardStatus::default();
    let nodes = words.iter().map(|word| ("n1", word.as_ref()));
    let now = Time(Timestamp::UNIX_EPOCH);
    summarise(Policy { generation: 3, old: &old }, nodes, Agents::default(), &now).status.reason
}

#[test]
fn guide_names_exactly_the_reasons_that_there_are() {
    let of_nodes = reasons_of_a_node();
    let word = |reason, selects_containers| {
        let ready = !matches!(reason, PolicyReason::ProbeRefused | PolicyReason::ApplyFailed);
        Some(NodePolicy { ready, selects_containers, ..super::tests::word(reason) })
    };
    let told = of_nodes.iter().flat_map(|reason| [vec![word(*reason, true)], vec![word(*reason, false)]]);
    let summed: BTreeSet<String> = told.chain([vec![], vec![None]]).map(|words| reason_of(&words)).collect();
    let only_of_nodes: BTreeSet<String> =
        of_nodes.into_iter().map(name).filter(|name| !summed.contains(name)).collect();

    assert_eq!(documented("### The policy is not ready", "A single node says"), summed);
    assert_eq!(documented("A single node says", "\n### "), only_of_nodes);
}
