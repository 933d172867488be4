//! The SET of `-e`, in strace's notation, and sets of calls.

use super::{all, by_nr, in_category, resolve, Category, Syscall, UnknownCall, UnknownCategory};

const WORDS: usize = 8;

/// A set of native calls: one bit per number from 0 to 511.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallSet {
    bits: [u64; WORDS],
}

impl CallSet {
    /// Every call of the catalogue.
    pub fn all() -> Self {
        all().iter().collect()
    }

    /// Every call of a category.
    pub fn category(category: Category) -> Self {
        in_category(category).collect()
    }

    pub fn insert(&mut self, call: &Syscall) {
        let (word, bit) = place(call);
        self.bits[word] |= bit;
    }

    pub fn remove(&mut self, call: &Syscall) {
        let (word, bit) = place(call);
        self.bits[word] &= !bit;
    }

    pub fn contains(&self, call: &Syscall) -> bool {
        let (word, bit) = place(call);
        self.bits[word] & bit != 0
    }

    #[must_use]
    pub fn union(&self, other: &CallSet) -> CallSet {
        CallSet { bits: std::array::from_fn(|word| self.bits[word] | other.bits[word]) }
    }

    #[must_use]
    pub fn difference(&self, other: &CallSet) -> CallSet {
        CallSet { bits: std::array::from_fn(|word| self.bits[word] & !other.bits[word]) }
    }

    pub fn is_empty(&self) -> bool {
        self.bits == [0; WORDS]
    }

    pub fn len(&self) -> usize {
        self.bits.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The calls, in number order.
    pub fn iter(&self) -> impl Iterator<Item = &'static Syscall> + use<> {
        let set = *self;
        all().iter().filter(move |call| set.contains(call))
    }

    /// The bitmap as the kernel side keeps it: call `nr` is bit `nr % 64` of word `nr / 64`.
    pub fn words(&self) -> [u64; WORDS] {
        self.bits
    }
}

impl<'a> FromIterator<&'a Syscall> for CallSet {
    fn from_iter<I: IntoIterator<Item = &'a Syscall>>(calls: I) -> Self {
        let mut set = CallSet::default();
        calls.into_iter().for_each(|call| set.insert(call));
        set
    }
}

fn place(call: &Syscall) -> (usize, u64) {
    (usize::from(call.nr / 64), 1 << (call.nr % 64))
}

/// A SET that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    #[error(transparent)]
    Call(#[from] UnknownCall),
    #[error(transparent)]
    Category(#[from] UnknownCategory),
    /// A category's name where a call was expected.
    #[error("unknown call {given:?} (the category is written \"%{category}\")")]
    MissingPercent { given: String, category: Category },
    /// An item between two commas, or the whole SET, is missing.
    #[error("empty item in the set {set:?} (calls are separated by single commas, as in \"openat,%network\")")]
    Empty { set: String },
}

/// The calls that the SETs of several `-e` options name together, as strace reads them.
///
/// A SET is a list of calls and `%categories`, or `all` or `none`; after `!` it is everything but that. A leading
/// `trace=` is strace's long form. Of several options the positive ones add up and the negated ones take away, in
/// any order; negated ones alone take away from everything.
///
/// No option at all gives the empty set: what is watched by default is the command's decision.
pub fn parse_set(sets: &[&str]) -> Result<CallSet, SetError> {
    let mut named = None::<CallSet>;
    let mut taken = CallSet::default();
    for set in sets {
        let set = set.trim().strip_prefix("trace=").unwrap_or(set.trim());
        match set.strip_prefix('!') {
            Some(rest) => taken = taken.union(&parse_list(rest)?),
            None => named = Some(named.unwrap_or_default().union(&parse_list(set)?)),
        }
    }
    let named = named.unwrap_or_else(|| if sets.is_empty() { CallSet::default() } else { CallSet::all() });
    Ok(named.difference(&taken))
}

fn parse_list(list: &str) -> Result<CallSet, SetError> {
    match list {
        "all" => return Ok(CallSet::all()),
        "none" => return Ok(CallSet::default()),
        _ => {}
    }
    list.split(',').map(str::trim).try_fold(CallSet::default(), |mut calls, item| {
        if item.is_empty() {
            return Err(SetError::Empty { set: list.to_owned() });
        }
        if let Some(category) = item.strip_prefix('%') {
            return Ok(calls.union(&CallSet::category(category.parse()?)));
        }
        calls.insert(parse_call(item)?);
        Ok(calls)
    })
}

fn parse_call(item: &str) -> Result<&'static Syscall, SetError> {
    let by_number = || item.parse().ok().and_then(by_nr);
    resolve(item).or_else(|unknown| match (by_number(), item.parse()) {
        (Some(call), _) => Ok(call),
        (None, Ok(category)) => Err(SetError::MissingPercent { given: item.to_owned(), category }),
        (None, Err(_)) => Err(unknown.into()),
    })
}
