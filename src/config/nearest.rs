//! The known name that an unknown one was probably meant to be.

use super::keys::{FAMILIES, KEYS};

/// The nearest known name, unless even that is another word altogether.
pub fn nearest(name: &str) -> Option<&'static str> {
    let names = KEYS.iter().map(|key| key.name).chain(FAMILIES.iter().map(|(prefix, _)| *prefix));
    let distance = |known: &'static str| (distance(&lower(name), &lower(known)), known);
    let (far, known) = names.map(distance).min_by_key(|(far, _)| *far)?;
    (far <= (name.len() / 3).max(1)).then_some(known)
}

fn lower(name: &str) -> Vec<char> {
    name.chars().take(MAX_CHARS).flat_map(char::to_lowercase).collect()
}

/// No known name is as long; it bounds the work on a name that is a whole file.
const MAX_CHARS: usize = 100;

/// How many characters must be put in, taken out or exchanged to make one of the other.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let exchanged = above[j] + usize::from(x != y);
            row.push(exchanged.min(above[j + 1] + 1).min(row[j] + 1));
        }
        above = row;
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_a_strange_word_none() {
        assert_eq!(nearest("ticktime"), Some("tickTime"));
        assert_eq!(nearest("maxClientCnxn"), Some("maxClientCnxns"));
        assert_eq!(nearest("autopurge.purgeIntervall"), Some("autopurge.purgeInterval"));
        assert_eq!(nearest("snapcout"), Some("snapCount"));
        assert_eq!(nearest("completely.other.words"), None);
        assert_eq!(nearest(""), None);
    }

    #[test]
    fn the_distance_counts_single_changes() {
        let far = |a: &str, b: &str| distance(&lower(a), &lower(b));
        assert_eq!(far("kitten", "sitting"), 3);
        assert_eq!(far("", "abc"), 3);
        assert_eq!(far("abc", "abc"), 0);
    }
}
