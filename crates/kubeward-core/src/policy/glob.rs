//! Patterns with `*` (any letters, also none) and `?` (one letter); anything else means itself.

use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(pub String);

impl Glob {
    /// Whether all of `text` fits. Costs at most the product of both lengths, whatever the pattern.
    pub fn matches(&self, text: &str) -> bool {
        let (pattern, text) = (self.0.as_bytes(), text.as_bytes());
        let (mut p, mut t) = (0, 0);
        // Where to go on if the letters after the latest `*` do not fit: it then takes one letter more.
        let mut retry: Option<(usize, usize)> = None;
        while t < text.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    retry = Some((p + 1, t));
                    p += 1;
                }
                Some(letter) if *letter == b'?' || *letter == text[t] => {
                    p += 1;
                    t += 1;
                }
                _ => match retry {
                    Some((after_star, taken)) => {
                        p = after_star;
                        t = taken + 1;
                        retry = Some((after_star, taken + 1));
                    }
                    None => return false,
                },
            }
        }
        pattern[p..].iter().all(|letter| *letter == b'*')
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_names() {
        let cases = [
            ("default", "default", true),
            ("default", "default2", false),
            ("team-*", "team-a", true),
            ("team-*", "team-", true),
            ("team-*", "team", false),
            ("*-*-x", "a-b-c-x", true),
            ("*-*-x", "a-x", false),
            ("te?m", "team", true),
            ("te?m", "tem", false),
            ("*", "", true),
            ("a*b*a", "aba", true),
            ("a*b*a", "ab", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(Glob(pattern.to_owned()).matches(text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn many_stars_do_not_explode() {
        let pattern = Glob("*a".repeat(30) + "b");
        assert!(!pattern.matches(&"a".repeat(63)));
    }
}
