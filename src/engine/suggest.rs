//! "Did you mean": the nearest known name.

/// The candidate nearest to `name`, if one is near enough to be what was meant.
///
/// Near enough: equal without case and separators, or Damerau-Levenshtein distance of at most a
/// third of the name's length (at least one), or one the beginning of the other and at least half
/// as long.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = squash(name);
    let allowed = (wanted.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| *candidate != name)
        .filter_map(|candidate| {
            let have = squash(candidate);
            let distance = strsim::damerau_levenshtein(&wanted, &have);
            let (short, long) = (wanted.len().min(have.len()), wanted.len().max(have.len()));
            let prefix = short >= 3
                && short * 2 >= long
                && (have.starts_with(&wanted) || wanted.starts_with(&have));
            (distance <= allowed || prefix).then_some((distance, candidate))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// "did you mean `x`?" when a candidate is near, else "known: `a`, `b`" when there are at most ten.
pub fn did_you_mean<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    if let Some(near) = nearest(name, candidates.iter().copied()) {
        return Some(format!("did you mean `{near}`?"));
    }
    if candidates.is_empty() || candidates.len() > 10 {
        return None;
    }
    let known: Vec<String> = candidates.iter().map(|name| format!("`{name}`")).collect();
    Some(format!("known: {}", known.join(", ")))
}

fn squash(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_wins_and_far_ones_are_not_offered() {
        let words = ["label", "list", "delete", "delete_all"];
        assert_eq!(nearest("lable", words), Some("label"));
        assert_eq!(nearest("deleteAll", words), Some("delete_all"));
        assert_eq!(nearest("frobnicate", words), None);
        assert_eq!(nearest("del", words), Some("delete"));
    }

    #[test]
    fn few_candidates_are_listed_when_none_is_near() {
        assert_eq!(
            did_you_mean("zzz", ["one", "two"]).as_deref(),
            Some("known: `one`, `two`")
        );
    }
}
