//! From the Rust types to the definitions that an API server takes.
//!
//! The rules stand at the fields; here is what holds for every field. Nothing in it is younger than Kubernetes 1.24: servers
//! below 1.25 know rules over several members (CEL), but do not apply them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, JSON,
};
use kube::CustomResourceExt;
use serde_json::{json, Number, Value};

use super::{KubeWard, KubeWardNode};

const HEADER: &str = "# KubeWard's custom resources. Written by `kubeward crd`.\n";

/// The definitions of our custom resources, in the order in which they are applied.
pub fn definitions() -> [CustomResourceDefinition; 2] {
    [KubeWard::crd(), without_status_subresource(KubeWardNode::crd())].map(finished)
}

/// The definitions as YAML, as `kubectl apply` takes them.
pub fn manifest() -> String {
    let documents = definitions().map(|definition| {
        let value = serde_json::to_value(definition).expect("a definition is plain data");
        serde_saphyr::to_string(&with_whole_numbers(value)).expect("a definition is plain data")
    });
    documents.iter().fold(HEADER.to_owned(), |text, document| text + "---\n" + document)
}

/// With the subresource an agent's first word would be two writes, one for the object and one for its status. The agent
/// alone writes either, so that nothing is kept apart by it; `.status` reads the same.
fn without_status_subresource(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        version.subresources = None;
    }
    definition
}

fn finished(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        let schema = version.schema.as_mut().and_then(|validation| validation.open_api_v3_schema.as_mut());
        let root = schema.expect("the derive writes a schema");
        tidy(root);
        // A document without a spec reads back with an empty one: whoever reads typed objects finds it.
        root.required = None;
        let spec = root.properties.as_mut().and_then(|members| members.get_mut("spec"));
        spec.expect("the derive writes a spec").default = Some(JSON(json!({})));
    }
    definition
}

/// Takes away what Rust types bring along. An object read back has no member that nobody wrote, but for those whose default a
/// printed column shows. `null` is an absent member to an API server unless `nullable` says that it means something.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.title = None;
    if schema.enum_.is_none() {
        schema.default = None;
    }
    // Formats of Rust's numbers mean nothing to the server, which warns of them.
    if schema.format.as_deref().is_some_and(|format| format.starts_with("uint")) {
        schema.format = None;
    }
    if let Some(description) = &mut schema.description {
        *description = description.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    schema.properties.iter_mut().flat_map(|members| members.values_mut()).for_each(tidy);
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &mut schema.additional_properties {
        tidy(value);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(entry)) = &mut schema.items {
        tidy(entry);
    }
}

/// `1` instead of `1.0`: bounds are kept as fractions, and nobody would write them so.
fn with_whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^53 is exact in both")]
            Some(float) if float.fract() == 0.0 && float.abs() < 9e15 => Value::Number(Number::from(float as i64)),
            _ => Value::Number(number),
        },
        Value::Array(entries) => entries.into_iter().map(with_whole_numbers).collect(),
        Value::Object(members) => {
            Value::Object(members.into_iter().map(|(key, value)| (key, with_whole_numbers(value))).collect())
        }
        other => other,
    }
}
