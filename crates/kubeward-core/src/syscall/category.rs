//! What calls are about: the nine categories of the specification, and `other`.

use std::fmt;
use std::str::FromStr;

use super::nearest::nearest;

/// What a call is about. Each call is in exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    /// Files by path or descriptor, directories, mounts, attributes.
    File,
    /// Sockets.
    Network,
    /// Programs and threads: start, end, wait, scheduling, namespaces, confinement.
    Process,
    /// Descriptors whatever they refer to: copies, pipes, readiness.
    Fd,
    /// Address space and memory shared through it.
    Memory,
    Signal,
    /// Clocks, timers and sleeping.
    Timer,
    /// User and group identity, capabilities, keys.
    User,
    /// Facts about the system and the process, limits, and control of the machine.
    System,
    /// What fits none of these: futexes, message queues and semaphores, numbers without a function.
    Other,
}

impl Category {
    /// Every category, in the order of the specification.
    pub const ALL: [Category; 10] = [
        Category::File,
        Category::Network,
        Category::Process,
        Category::Fd,
        Category::Memory,
        Category::Signal,
        Category::Timer,
        Category::User,
        Category::System,
        Category::Other,
    ];

    /// All but [`Category::Other`]: the nine that the specification names.
    pub fn nine() -> &'static [Category] {
        const NINE: &[Category] = Category::ALL.split_at(9).0;
        NINE
    }

    pub fn all() -> &'static [Category] {
        const ALL: &[Category] = &Category::ALL;
        ALL
    }

    /// As policies, SETs and events write it: `file`.
    pub fn name(self) -> &'static str {
        match self {
            Category::File => "file",
            Category::Network => "network",
            Category::Process => "process",
            Category::Fd => "fd",
            Category::Memory => "memory",
            Category::Signal => "signal",
            Category::Timer => "timer",
            Category::User => "user",
            Category::System => "system",
            Category::Other => "other",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No category has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown category {given:?} ({})", remedy(*.suggestion))]
pub struct UnknownCategory {
    /// As it was given.
    pub given: String,
    /// The category with the nearest name, if one is near.
    pub suggestion: Option<Category>,
}

fn remedy(suggestion: Option<Category>) -> String {
    match suggestion {
        Some(category) => format!("did you mean \"{category}\"?"),
        None => format!("one of {}", Category::ALL.map(Category::name).join(", ")),
    }
}

impl FromStr for Category {
    type Err = UnknownCategory;

    fn from_str(given: &str) -> Result<Self, UnknownCategory> {
        let by_name = |name: &str| Category::ALL.into_iter().find(|category| category.name() == name);
        by_name(given).ok_or_else(|| UnknownCategory {
            given: given.to_owned(),
            suggestion: nearest(given, Category::ALL.into_iter().map(Category::name)).and_then(by_name),
        })
    }
}
