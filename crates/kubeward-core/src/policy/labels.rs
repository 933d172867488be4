//! Kubernetes label selectors: what they match, and which texts can be labels at all.

use std::collections::BTreeMap;
use std::fmt;

use super::limits::{MAX_DNS_NAME, MAX_LABEL};

/// All requirements must hold. None of them: everything matches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector {
    pub match_labels: BTreeMap<String, String>,
    pub match_expressions: Vec<Expression>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    pub key: String,
    pub operator: Operator,
    /// At least one for `In` and `NotIn`, none for the others.
    pub values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    In,
    /// Holds also where the label is absent, as in Kubernetes.
    NotIn,
    Exists,
    DoesNotExist,
}

impl LabelSelector {
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|expression| expression.holds(labels))
    }
}

impl Expression {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => !value.is_some_and(|value| self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

/// As `kubectl get -l` writes it.
impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let equal = self.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
        let others = self.match_expressions.iter().map(|expression| {
            let Expression { key, operator, values } = expression;
            match operator {
                Operator::In => format!("{key} in ({})", values.join(",")),
                Operator::NotIn => format!("{key} notin ({})", values.join(",")),
                Operator::Exists => key.clone(),
                Operator::DoesNotExist => format!("!{key}"),
            }
        });
        f.write_str(&equal.chain(others).collect::<Vec<_>>().join(","))
    }
}

/// A label's key: a name of at most 63 letters, after an optional DNS name and a slash.
pub(super) fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && !name.is_empty() && is_label_value(name),
        None => !key.is_empty() && is_label_value(key),
    }
}

/// A label's value: at most 63 of `A-Z a-z 0-9 - _ .`, the first and last a letter or digit; or nothing.
pub(super) fn is_label_value(value: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    value.len() <= MAX_LABEL
        && value.chars().all(|c| alphanumeric(c) || matches!(c, '-' | '_' | '.'))
        && (value.is_empty() || (value.starts_with(alphanumeric) && value.ends_with(alphanumeric)))
}

/// A DNS subdomain of RFC 1123, as Kubernetes names objects: at most 253 letters in dotted labels.
pub(super) fn is_dns_subdomain(name: &str) -> bool {
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= MAX_DNS_NAME
        && name.split('.').all(|label| {
            label.starts_with(lower) && label.ends_with(lower) && label.chars().all(|c| lower(c) || c == '-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    fn expression(operator: Operator, values: &[&str]) -> LabelSelector {
        let values = values.iter().map(|value| value.to_string()).collect();
        let expression = Expression { key: "tier".to_owned(), operator, values };
        LabelSelector { match_labels: BTreeMap::new(), match_expressions: vec![expression] }
    }

    #[test]
    fn operators_mean_what_kubernetes_says() {
        let (web, none) = (labels(&[("tier", "web")]), labels(&[("app", "x")]));
        let cases = [
            (expression(Operator::In, &["web", "db"]), true, false),
            (expression(Operator::In, &["db"]), false, false),
            (expression(Operator::NotIn, &["web"]), false, true),
            (expression(Operator::NotIn, &["db"]), true, true),
            (expression(Operator::Exists, &[]), true, false),
            (expression(Operator::DoesNotExist, &[]), false, true),
        ];
        for (selector, on_web, on_none) in cases {
            assert_eq!((selector.matches(&web), selector.matches(&none)), (on_web, on_none), "{selector}");
        }
    }

    #[test]
    fn every_requirement_must_hold() {
        let mut selector = expression(Operator::Exists, &[]);
        selector.match_labels = labels(&[("app", "x")]);
        assert!(selector.matches(&labels(&[("app", "x"), ("tier", "web")])));
        assert!(!selector.matches(&labels(&[("app", "y"), ("tier", "web")])));
        assert!(LabelSelector::default().matches(&labels(&[])));
    }

    #[test]
    fn label_syntax_is_kubernetes_own() {
        for key in ["app", "app.kubernetes.io/name", "a_b.c-d", &"k".repeat(63)] {
            assert!(is_label_key(key), "{key}");
        }
        for key in ["", "/name", "a/", "a/b/c", "-a", "a-", "A.b/", "UPPER.io/x", &"k".repeat(64)] {
            assert!(!is_label_key(key), "{key}");
        }
        assert!(is_label_value("") && is_label_value("v1.2_x") && !is_label_value("a b") && !is_label_value("_a"));
        assert!(is_dns_subdomain("web-1.team") && !is_dns_subdomain("Web") && !is_dns_subdomain("a..b"));
    }
}
