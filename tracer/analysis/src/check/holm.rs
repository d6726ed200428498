//! Many tests at once: the sequentially rejective procedure of Holm (1979), with weights.

/// A test's probability, and how much of the allowed error it is given: its weight over the sum of weights.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weighted {
    pub(super) p: f64,
    pub(super) weight: f64,
}

/// The probabilities, corrected: if those up to alpha are believed, one or more of them are wrong at most
/// with probability alpha, however the tests depend on each other.
pub(super) fn holm(tests: &[Weighted]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..tests.len()).collect();
    let scaled = |at: &usize| tests[*at].p / tests[*at].weight;
    order.sort_by(|a, b| scaled(a).total_cmp(&scaled(b)).then(a.cmp(b)));
    let mut corrected = vec![1.0; tests.len()];
    let mut highest: f64 = 0.0;
    for (step, at) in order.iter().enumerate() {
        let left: f64 = order[step..].iter().map(|at| tests[*at].weight).sum();
        highest = highest.max((scaled(at) * left).min(1.0));
        corrected[*at] = highest;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn weighted(tests: &[(f64, f64)]) -> Vec<Weighted> {
        let weighted = tests.iter().map(|(p, weight)| Weighted {
            p: *p,
            weight: *weight,
        });
        weighted.collect()
    }

    #[test]
    fn textbook_values() {
        // R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
        let tests = weighted(&[(0.01, 1.0), (0.04, 1.0), (0.03, 1.0), (0.005, 1.0)]);
        let expected = [0.03, 0.06, 0.06, 0.02];
        for (own, expected) in holm(&tests).iter().zip(expected) {
            assert!((own - expected).abs() < 1e-12);
        }
        let own = holm(&weighted(&[(0.02, 0.5), (0.02, 0.25), (0.9, 0.25)]));
        assert!((own[0] - 0.04).abs() < 1e-12 && (own[1] - 0.04).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn a_correction_only_raises(tests in prop::collection::vec((0.0..=1.0, 0.01..1.0), 0..40)) {
            let tests = weighted(&tests);
            for (own, test) in holm(&tests).iter().zip(&tests) {
                prop_assert!(*own >= test.p - 1e-12 && *own <= 1.0);
            }
        }
    }
}
