//! The suggestion in "did you mean": which of the valid names was probably meant.

/// The candidate with the fewest edits from `given`, the first of equals; `None` when every one differs in more
/// than a third of its letters, where a suggestion would be a guess.
///
/// An edit inserts, deletes or replaces a letter, or swaps two neighbours. Costs about 0.3 ms over the whole
/// catalogue, so call it for an error and not to search.
pub(super) fn nearest<'a>(given: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|candidate| (strsim::osa_distance(given, candidate), candidate))
        .filter(|&(edits, candidate)| edits <= candidate.len().div_ceil(3))
        .min_by_key(|&(edits, _)| edits)
        .map(|(_, candidate)| candidate)
}
