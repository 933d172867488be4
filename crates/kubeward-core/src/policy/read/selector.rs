//! `spec.selector` and label selectors.

use std::collections::BTreeMap;

use crate::policy::fault::Problem;
use crate::policy::fields::{At, Reader};
use crate::policy::glob::Glob;
use crate::policy::labels::{is_label_key, is_label_value, Expression, LabelSelector, Operator};
use crate::policy::limits::{MAX_CONTAINER_NAME, MAX_NAMESPACE, OPERATORS};
use crate::policy::selector::Selector;

pub(super) fn selector(reader: &mut Reader, at: At<'_>) -> Selector {
    let known = &["namespaces", "excludeNamespaces", "podSelector", "containers"];
    let Some(selector) = reader.object(at, known) else { return Selector::default() };
    Selector {
        namespaces: reader.list_of(selector.get("namespaces"), "a list like [default, \"team-*\"]", namespace),
        exclude_namespaces: reader.list_of(selector.get("excludeNamespaces"), "a list like [kube-system]", namespace),
        pod_selector: selector.get("podSelector").map(|at| label_selector(reader, at)),
        containers: reader.list_of(selector.get("containers"), "a list like [app]", |reader, at| {
            let wanted = "a container's name: 1 to 253 letters without blanks";
            let blank = |c: char| c.is_whitespace() || c.is_control();
            let is_name =
                |name: &str| !name.is_empty() && name.chars().count() <= MAX_CONTAINER_NAME && !name.contains(blank);
            reader.text_like(&at, wanted, is_name)
        }),
    }
}

fn namespace(reader: &mut Reader, at: At<'_>) -> Option<Glob> {
    let is_pattern = |text: &str| {
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '*' | '?');
        !text.is_empty() && text.len() <= MAX_NAMESPACE && text.chars().all(letter)
    };
    reader.text_like(&at, "a namespace or pattern: at most 63 of a-z, 0-9, '-', '*' and '?'", is_pattern).map(Glob)
}

pub(super) fn label_selector(reader: &mut Reader, at: At<'_>) -> LabelSelector {
    let Some(selector) = reader.object(at, &["matchLabels", "matchExpressions"]) else {
        return LabelSelector::default();
    };
    let labels = selector.get("matchLabels").map(|at| reader.entries(&at)).unwrap_or_default();
    let mut match_labels = BTreeMap::new();
    for (key, at) in labels {
        check_label_key(reader, &at, key);
        if let Some(value) = label_value(reader, at) {
            match_labels.insert(key.to_owned(), value);
        }
    }
    let match_expressions =
        reader.list_of(selector.get("matchExpressions"), "a list of {key, operator, values}", expression);
    LabelSelector { match_labels, match_expressions }
}

fn check_label_key(reader: &mut Reader, at: &At<'_>, key: &str) {
    if !is_label_key(key) {
        let wanted = "a label's key: at most 63 of A-Z, a-z, 0-9, '-', '_' and '.', after an optional DNS name and '/'";
        reader.fault(at, Problem::Malformed { found: key.to_owned(), wanted });
    }
}

fn label_value(reader: &mut Reader, at: At<'_>) -> Option<String> {
    let wanted = "a label's value in quotes: at most 63 of A-Z, a-z, 0-9, '-', '_' and '.'";
    reader.text_like(&at, wanted, is_label_value)
}

fn expression(reader: &mut Reader, at: At<'_>) -> Option<Expression> {
    let expression = reader.object(at, &["key", "operator", "values"])?;
    let example = "{key: tier, operator: In, values: [web]}";
    let (Some(key_at), Some(operator_at)) = (expression.get("key"), expression.get("operator")) else {
        let absent = if expression.get("key").is_none() { "key" } else { "operator" };
        reader.missing(&expression, absent, example);
        return None;
    };
    let key = reader.text(&key_at, "a label's key")?;
    check_label_key(reader, &key_at, key);
    let operator = match reader.word(&operator_at, "operator", OPERATORS)? {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        _ => Operator::DoesNotExist,
    };
    let values = reader.list_of(expression.get("values"), "a list like [web]", label_value);
    let takes_values = matches!(operator, Operator::In | Operator::NotIn);
    if takes_values && expression.get("values").is_none_or(|at| at.is_empty_list()) {
        reader.missing(&expression, "values", example);
    }
    if let Some(values_at) = expression.get("values").filter(|at| !takes_values && !at.is_empty_list()) {
        reader.wrong_type(&values_at, "absent with operator Exists or DoesNotExist");
    }
    Some(Expression { key: key.to_owned(), operator, values })
}
