//! What every field of the definitions must have, and the committed file.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kubeward_agent::kubernetes::crd::{definitions, manifest};
use serde_json::{json, Value};

use super::server::schema_of;

/// Calls `visit` with each schema below `schema` and where it is; `[]` and `.*` are the entries of lists and maps.
fn walk(path: &str, schema: &JSONSchemaProps, visit: &mut impl FnMut(&str, &JSONSchemaProps)) {
    visit(path, schema);
    for (name, member) in schema.properties.iter().flatten() {
        walk(&format!("{path}.{name}"), member, visit);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &schema.additional_properties {
        walk(&format!("{path}.*"), value, visit);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(entry)) = &schema.items {
        walk(&format!("{path}[]"), entry, visit);
    }
}

fn each_schema(mut visit: impl FnMut(&str, &JSONSchemaProps)) {
    for definition in definitions() {
        walk(&definition.spec.names.kind, schema_of(&definition), &mut visit);
    }
}

#[test]
fn every_field_has_a_description() {
    each_schema(|path, schema| {
        // Entries that are plain words are described by their list.
        let is_word = schema.type_.as_deref() == Some("string") && path.ends_with(['*', ']']);
        assert!(is_word || schema.description.as_ref().is_some_and(|text| text.len() > 5), "{path}");
    });
}

#[test]
fn every_list_map_text_and_number_is_bounded() {
    each_schema(|path, schema| match schema.type_.as_deref() {
        Some("array") => assert!(schema.max_items.is_some() && schema.items.is_some(), "{path}"),
        Some("object") => assert!(schema.max_properties.is_some() || schema.additional_properties.is_none(), "{path}"),
        Some("string") => {
            let closed = schema.enum_.is_some() || schema.format.as_deref() == Some("date-time");
            assert!(closed || schema.max_length.is_some(), "{path}");
        }
        Some("integer") => {
            assert!(schema.minimum.is_some_and(|least| least >= 0.0), "{path}");
            assert!(schema.maximum.is_some() || schema.format.as_deref() == Some("int64"), "{path}");
        }
        Some("boolean") => (),
        other => panic!("{path} is of type {other:?}"),
    });
}

#[test]
fn every_text_of_a_policy_has_a_pattern() {
    each_schema(|path, schema| {
        if path.starts_with("KubeWard.spec") && schema.type_.as_deref() == Some("string") {
            assert!(schema.pattern.is_some() || schema.enum_.is_some(), "{path}");
        }
    });
}

#[test]
fn the_schema_is_structural_and_no_younger_than_kubernetes_1_24() {
    const KNOWN: &[&str] = &[
        "additionalProperties",
        "default",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minLength",
        "minimum",
        "pattern",
        "properties",
        "required",
        "type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-validations",
    ];
    each_schema(|path, schema| {
        let Value::Object(members) = serde_json::to_value(schema).expect("plain data") else { panic!("{path}") };
        for keyword in members.keys() {
            assert!(KNOWN.contains(&keyword.as_str()), "{path} has {keyword}");
        }
        let format = schema.format.as_deref();
        assert!(format.is_none_or(|format| ["int64", "date-time"].contains(&format)), "{path} has format {format:?}");
        for rule in schema.x_kubernetes_validations.iter().flatten() {
            let members = serde_json::to_value(rule).expect("plain data");
            assert_eq!(members, json!({"rule": rule.rule, "message": rule.message}), "{path}");
        }
    });
}

#[test]
fn an_object_read_back_has_only_the_mode_added() {
    let mut defaults = Vec::new();
    each_schema(|path, schema| {
        if let Some(default) = &schema.default {
            defaults.push(format!("{path} = {}", default.0));
        }
    });
    assert_eq!(defaults, ["KubeWard.spec = {}", "KubeWard.spec.mode = \"Events\"", "KubeWardNode.spec = {}"]);
}

#[test]
fn names_scope_and_columns_are_as_documented() {
    let [policy, node] = definitions();
    let columns = |definition: &CustomResourceDefinition| {
        let version = &definition.spec.versions[0];
        assert_eq!(version.name, "v1");
        let columns = version.additional_printer_columns.iter().flatten();
        columns.map(|column| format!("{}={}", column.name, column.json_path)).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(policy.metadata.name.as_deref(), Some("kubewards.kubeward.kubeward"));
    assert_eq!(
        (policy.spec.scope.as_str(), policy.spec.names.short_names.clone()),
        ("Cluster", Some(vec!["kw".into()]))
    );
    assert_eq!(
        columns(&policy),
        "Ready=.status.ready Calls=.status.calls Mode=.spec.mode Age=.metadata.creationTimestamp Reason=.status.reason"
    );
    assert_eq!(node.metadata.name.as_deref(), Some("kubewardnodes.kubeward.kubeward"));
    assert_eq!(
        (node.spec.scope.as_str(), node.spec.names.short_names.clone()),
        ("Namespaced", Some(vec!["kwn".into()]))
    );
    let has_subresource = |definition: &CustomResourceDefinition| definition.spec.versions[0].subresources.is_some();
    // The agent writes its node's object and status at once.
    assert_eq!((has_subresource(&policy), has_subresource(&node)), (true, false));
    assert!(columns(&node).starts_with("Ready=.status.conditions"), "{}", columns(&node));
}

#[test]
fn the_yaml_says_what_the_definitions_say() {
    let text = manifest();
    let documents: Vec<&str> = text.split("\n---\n").skip(1).collect();
    let read = documents.iter().map(|document| serde_saphyr::from_str::<Value>(document).expect("YAML"));
    let expected = definitions().map(|definition| serde_json::to_value(definition).expect("plain data"));
    for (read, expected) in read.zip(expected) {
        // Bounds are fractions in the one and whole numbers in the other.
        assert_eq!(with_fractions(read), with_fractions(expected));
    }
    assert_eq!(documents.len(), 2);
}

fn with_fractions(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(entries) => entries.into_iter().map(with_fractions).collect(),
        Value::Object(members) => members.into_iter().map(|(key, value)| (key, with_fractions(value))).collect(),
        other => other,
    }
}

#[test]
fn the_committed_file_is_what_the_command_prints() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deployments/crds/kubeward.yaml");
    let committed = std::fs::read_to_string(path).expect("deployments/crds/kubeward.yaml");
    assert!(
        committed == manifest(),
        "deployments/crds/kubeward.yaml is old; renew it: kubeward crd > deployments/crds/kubeward.yaml, then make manifests"
    );
}
