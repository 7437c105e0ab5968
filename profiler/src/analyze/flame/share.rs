//! Shares of a whole number that add up to it.

/// Shares a total out by weight. The shares add up to the total exactly, and each is less than 1 from its exact value,
/// as it is the difference of two neighbouring rounded running sums. `None` if no weight is a positive number.
pub fn share_out(total: u64, weights: &[f64]) -> Option<Vec<u64>> {
    let usable = |weight: f64| if weight.is_finite() && weight > 0.0 { weight } else { 0.0 };
    let sum: f64 = weights.iter().copied().map(usable).sum();
    if sum <= 0.0 || !sum.is_finite() {
        return None;
    }
    let last = weights.iter().rposition(|&weight| usable(weight) > 0.0)?;
    let mut running = 0.0;
    let mut given = 0;
    let share = |(index, &weight): (usize, &f64)| {
        running += usable(weight);
        // From the last one on all is given out, however the sums were rounded.
        let up_to_here = if index >= last { total } else { (total as f64 * (running / sum)) as u64 };
        let up_to_here = up_to_here.clamp(given, total);
        let share = up_to_here - given;
        given = up_to_here;
        share
    };
    Some(weights.iter().enumerate().map(share).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(total: u64, weights: &[f64], expected: Option<&[u64]>) {
        assert_eq!(share_out(total, weights).as_deref(), expected);
    }

    #[test]
    fn weights_share_in_proportion() {
        check(100, &[1.0, 3.0], Some(&[25, 75]));
    }

    #[test]
    fn what_does_not_divide_is_still_given_out() {
        check(10, &[1.0, 1.0, 1.0], Some(&[3, 3, 4]));
    }

    #[test]
    fn no_weights_share_nothing() {
        check(10, &[], None);
    }

    #[test]
    fn weights_that_are_no_positive_numbers_get_nothing() {
        check(10, &[f64::NAN, 1.0, -5.0, f64::INFINITY, 0.0], Some(&[0, 10, 0, 0, 0]));
    }

    #[test]
    fn only_unusable_weights_share_nothing() {
        check(10, &[f64::NAN, -1.0], None);
    }

    #[test]
    fn weights_beyond_all_numbers_share_nothing() {
        check(10, &[f64::MAX, f64::MAX], None);
    }

    #[test]
    fn a_total_beyond_the_precision_of_floats_is_given_out_exactly() {
        check(u64::MAX, &[1.0], Some(&[u64::MAX]));
    }

    proptest! {
        #[test]
        fn shares_add_up_and_are_close(
            total in 0u64..1 << 50,
            weights in proptest::collection::vec(0.01f64..1e6, 1..40),
        ) {
            let shares = share_out(total, &weights).expect("positive weights");
            prop_assert_eq!(shares.iter().sum::<u64>(), total);
            let sum: f64 = weights.iter().sum();
            for (share, weight) in shares.iter().zip(&weights) {
                // Besides the rounding to whole numbers, the error of the floats at 2^50.
                prop_assert!((*share as f64 - total as f64 * weight / sum).abs() < 3.0);
            }
        }
    }
}
