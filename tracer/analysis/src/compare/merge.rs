//! Two sequences as one that keeps the order of both.

/// Every item of both, each once, in A's order, and in B's wherever the two do not contradict each
/// other. Between items that both have, one of A's own comes before one of B's own where `a_first` says
/// so of them.
pub(crate) fn merge<T: Clone + PartialEq>(
    a: &[T],
    b: &[T],
    a_first: impl Fn(&T, &T) -> bool,
) -> Vec<T> {
    let mut merged: Vec<T> = Vec::with_capacity(a.len() + b.len());
    let mut add = |item: &T| {
        if !merged.contains(item) {
            merged.push(item.clone());
        }
    };
    let mut between = |own_a: &[T], own_b: &[T]| {
        let mut waiting = own_b.iter().peekable();
        for item in own_a {
            while let Some(other) = waiting.next_if(|other| !a_first(item, other)) {
                add(other);
            }
            add(item);
        }
        waiting.for_each(&mut add);
    };
    // A's items from here on are still to come, as are B's own since the last common one.
    let (mut rest, mut own) = (a, Vec::new());
    for item in b {
        if let Some(at) = rest.iter().position(|other| other == item) {
            between(&rest[..at], &own);
            between(&rest[at..=at], &[]);
            own.clear();
            rest = &rest[at + 1..];
        } else if !a.contains(item) {
            own.push(item.clone());
        }
    }
    between(rest, &own);
    merged
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::merge;

    fn merged(a: &str, b: &str) -> String {
        let letters = |text: &str| text.chars().collect::<Vec<_>>();
        merge(&letters(a), &letters(b), char::le)
            .into_iter()
            .collect()
    }

    #[test]
    fn own_items_stand_between_the_common_ones() {
        assert_eq!(merged("abcz", "axyz"), "abcxyz");
        assert_eq!(merged("", "ab"), "ab");
        assert_eq!(merged("ab", ""), "ab");
        assert_eq!(merged("ab", "xaby"), "xaby");
        assert_eq!(merged("abd", "cde"), "abcde");
        assert_eq!(merged("acz", "bdz"), "abcdz");
        assert_eq!(merged("ca", "b"), "bca");
    }

    #[test]
    fn where_orders_contradict_the_first_wins() {
        assert_eq!(merged("abc", "cba"), "abc");
        assert_eq!(merged("abc", "cxa"), "abcx");
    }

    proptest! {
        /// Both are parts of one order: then the merger keeps both orders.
        #[test]
        fn both_orders_are_kept(
            choice in prop::collection::vec((any::<bool>(), any::<bool>()), 0..30),
            a_first in any::<bool>(),
        ) {
            let of = |side: fn(&(bool, bool)) -> bool| -> Vec<usize> {
                choice.iter().enumerate().filter(|(_, which)| side(which)).map(|(at, _)| at).collect()
            };
            let (a, b) = (of(|which| which.0), of(|which| which.1));
            let merged = merge(&a, &b, |_, _| a_first);
            let within = |side: &[usize]| -> Vec<usize> {
                merged.iter().copied().filter(|item| side.contains(item)).collect()
            };
            prop_assert_eq!(within(&a), a.clone());
            prop_assert_eq!(within(&b), b.clone());
            let distinct = choice.iter().filter(|which| which.0 || which.1).count();
            prop_assert_eq!(merged.len(), distinct);
        }
    }
}
