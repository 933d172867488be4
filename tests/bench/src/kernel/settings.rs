//! What is attached, one after the other, and what each is held against.

use crate::row::{Goal, Spec};

use super::watch::Want;
use crate::load::Load;

/// Whose calls the load makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    Watched,
    /// A container that no policy selects, beside one whose policy hooks these calls.
    Unselected,
    /// A task of the host.
    Nobody,
}

/// What is attached while the load runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attached {
    /// Programs of the floor's object, with KubeWard's record sizes where they write.
    Empty(&'static [&'static str]),
    Floor(&'static [&'static str], Want),
    /// KubeWard, for the load's own calls.
    KubeWard(Want),
    /// KubeWard, for another call.
    Elsewhere,
    /// KubeWard, for the load's calls, by so many policies that name them all.
    Policies(usize),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    pub name: &'static str,
    pub what: &'static str,
    pub attached: Attached,
    pub caller: Caller,
    /// The setting that it is held against by added time, `None`: the calls alone, by all time.
    pub against: Option<&'static str>,
    pub goal: Option<Goal>,
}

const fn plain(name: &'static str, what: &'static str, attached: Attached) -> Setting {
    Setting { name, what, attached, caller: Caller::Watched, against: None, goal: None }
}

const fn held(setting: Setting, against: &'static str, most: f64) -> Setting {
    Setting { against: Some(against), goal: Some(Goal::RatioAtMost(most)), ..setting }
}

const fn by(setting: Setting, caller: Caller) -> Setting {
    Setting { caller, ..setting }
}

pub const SETTINGS: &[Setting] = &[
    plain("empty-exit", "a program at each call's exit that does nothing", Attached::Empty(&["empty_exit"])),
    plain("empty-pair", "the same at entry and exit", Attached::Empty(&["empty_enter", "empty_exit"])),
    plain("floor-exit", "as many bytes as our record, at exit", Attached::Floor(&["floor_exit"], Want::Exit)),
    plain(
        "floor-call",
        "as many bytes, kept from entry to exit, with duration",
        Attached::Floor(&["floor_call_enter", "floor_call_exit"], Want::Call),
    ),
    held(plain("record-exit", "watched container, record at exit", Attached::KubeWard(Want::Exit)), "floor-exit", 1.2),
    held(
        plain("record-call", "watched container, record with duration", Attached::KubeWard(Want::Call)),
        "floor-call",
        1.2,
    ),
    held(plain("count-exit", "counts only", Attached::KubeWard(Want::CountExit)), "empty-exit", 1.5),
    held(plain("count-call", "counts only, with latency", Attached::KubeWard(Want::CountCall)), "empty-pair", 1.8),
    held(
        by(
            plain("unselected-exit", "container that no policy selects", Attached::KubeWard(Want::Exit)),
            Caller::Unselected,
        ),
        "empty-exit",
        1.15,
    ),
    held(
        by(
            plain("unselected-call", "the same, where entries are hooked too", Attached::KubeWard(Want::Call)),
            Caller::Unselected,
        ),
        "empty-pair",
        1.15,
    ),
    Setting {
        against: Some("empty-exit"),
        ..by(plain("host-task", "task of no container", Attached::KubeWard(Want::Exit)), Caller::Nobody)
    },
    Setting {
        against: Some("empty-exit"),
        ..plain("other-call", "watched container, call that no policy selects", Attached::Elsewhere)
    },
    plain("policies-1", "watched container, record at exit, 1 policy", Attached::Policies(1)),
    held(plain("policies-200", "the same by 200 policies", Attached::Policies(200)), "policies-1", 1.1),
];

/// The setting called so.
pub fn by_name(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

pub fn row_name(setting: &str, load: Load) -> String {
    format!("kernel/{setting}/{}", load.name())
}

/// A row for each setting and load, and one for each load alone.
pub fn rows() -> Vec<Spec> {
    let alone = Load::ALL.into_iter().map(|load| Spec {
        name: row_name("nothing", load),
        what: format!("{}, nothing attached", load.name()),
        against: "-".to_owned(),
        unit: "ns".to_owned(),
        goal: None,
    });
    let of = |load: Load| {
        SETTINGS.iter().map(move |setting| Spec {
            name: row_name(setting.name, load),
            what: format!("{}: {}", load.name(), setting.what),
            against: match setting.against {
                Some(other) => format!("{other}, added time"),
                None => "nothing attached, all time".to_owned(),
            },
            unit: "ns added".to_owned(),
            goal: setting.goal,
        })
    };
    alone.chain(Load::ALL.into_iter().flat_map(of)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_held_against_another_finds_it() {
        for against in SETTINGS.iter().filter_map(|setting| setting.against) {
            assert!(by_name(against).is_some(), "no setting is called {against}");
        }
    }
}
