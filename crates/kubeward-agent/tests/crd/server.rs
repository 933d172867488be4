//! What an API server says of a document, as far as a structural schema decides it: the rules of `apiextensions/v1` under
//! strict field validation, without CEL. The real server is asked in the kubernetes tier.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, JSON,
};
use regex::Regex;
use serde_json::Value;

/// The places in `document` that the definition refuses, each with why; empty if it is accepted.
pub(crate) fn refusals(definition: &CustomResourceDefinition, document: &Value) -> Vec<String> {
    let mut root = schema_of(definition).clone();
    let own = [("apiVersion", "string"), ("kind", "string"), ("metadata", "object")];
    for (member, type_) in own {
        let schema = JSONSchemaProps { type_: Some(type_.to_owned()), ..Default::default() };
        root.properties.get_or_insert_default().insert(member.to_owned(), schema);
    }
    let mut found = Vec::new();
    judge("", &root, document, &mut found);
    found
}

pub(crate) fn schema_of(definition: &CustomResourceDefinition) -> &JSONSchemaProps {
    let version = definition.spec.versions.first().expect("one version");
    let validation = version.schema.as_ref().expect("a schema");
    validation.open_api_v3_schema.as_ref().expect("a schema")
}

fn judge(path: &str, schema: &JSONSchemaProps, value: &Value, found: &mut Vec<String>) {
    let type_ = schema.type_.as_deref().expect("every schema says its type");
    if !has_type(value, type_) {
        found.push(format!("{path}: not of type {type_}"));
        return;
    }
    if schema.enum_.as_ref().is_some_and(|words| !words.contains(&JSON(value.clone()))) {
        found.push(format!("{path}: unsupported value"));
    }
    match value {
        Value::String(text) => judge_text(path, schema, text, found),
        Value::Number(number) => {
            let number = number.as_f64().expect("a number of JSON");
            if schema.minimum.is_some_and(|least| number < least) || schema.maximum.is_some_and(|most| number > most) {
                found.push(format!("{path}: out of range"));
            }
        }
        Value::Array(entries) => {
            check_len(path, entries.len(), schema.min_items, schema.max_items, found);
            let Some(JSONSchemaPropsOrArray::Schema(entry_schema)) = &schema.items else { panic!("{path}: no items") };
            for (index, entry) in entries.iter().enumerate() {
                judge(&format!("{path}[{index}]"), entry_schema, entry, found);
            }
        }
        Value::Object(_) => judge_object(path, schema, value, found),
        Value::Bool(_) | Value::Null => (),
    }
}

fn judge_text(path: &str, schema: &JSONSchemaProps, text: &str, found: &mut Vec<String>) {
    check_len(path, text.chars().count(), schema.min_length, schema.max_length, found);
    if schema.pattern.as_deref().is_some_and(|pattern| !matches(pattern, text)) {
        found.push(format!("{path}: does not match"));
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    // Compiling one costs a thousand times what matching does.
    static COMPILED: LazyLock<Mutex<HashMap<String, Regex>>> = LazyLock::new(Mutex::default);
    let mut compiled = COMPILED.lock().expect("no test fails in here");
    let regex = compiled.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).expect("a pattern"));
    regex.is_match(text)
}

fn judge_object(path: &str, schema: &JSONSchemaProps, value: &Value, found: &mut Vec<String>) {
    let members = value.as_object().expect("an object");
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    // What nobody may write `null` into is as good as absent where it says `null`.
    let present = || members.iter().filter(|(_, value)| !value.is_null());
    for name in schema.required.iter().flatten() {
        if !present().any(|(present, _)| present == name) {
            found.push(format!("{}: required", below(name)));
        }
    }
    check_len(path, members.len(), schema.min_properties, schema.max_properties, found);
    for (name, value) in present() {
        let own = schema.properties.as_ref().and_then(|known| known.get(name));
        let of_any = match &schema.additional_properties {
            Some(JSONSchemaPropsOrBool::Schema(schema)) => Some(&**schema),
            _ => None,
        };
        match own.or(of_any) {
            Some(schema) => judge(&below(name), schema, value, found),
            // The server's own rules judge metadata.
            None if path == "metadata" => (),
            None => found.push(format!("{}: unknown field", below(name))),
        }
    }
}

fn has_type(value: &Value, type_: &str) -> bool {
    match type_ {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        other => panic!("no custom resource of ours has a member of type {other}"),
    }
}

fn check_len(path: &str, len: usize, min: Option<i64>, max: Option<i64>, found: &mut Vec<String>) {
    let len = i64::try_from(len).expect("no document is that long");
    if min.is_some_and(|min| len < min) {
        found.push(format!("{path}: too short"));
    }
    if max.is_some_and(|max| len > max) {
        found.push(format!("{path}: too long"));
    }
}
