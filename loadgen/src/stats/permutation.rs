//! The permutation test: of all ways to deal the values into two samples, how many differ by as much? It assumes nothing of
//! how the values are spread, and shows what so few runs can prove at all: 3 against 3 never go below p = 0.1.

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;

/// Up to so many ways all are tried.
const ALL: u64 = 200_000;
/// So many are drawn otherwise.
const DRAWN: u32 = 20_000;
/// Sums this close (relative) are the same.
const SAME: f64 = 1e-9;

/// How likely so large a difference of the means is by chance, both sides. NaN when a side is empty.
pub fn p(a: &[f64], b: &[f64], seed: u64) -> f64 {
    if a.is_empty() || b.is_empty() {
        return f64::NAN;
    }
    let all: Vec<f64> = a.iter().chain(b).copied().collect();
    let total: f64 = all.iter().sum();
    let expected = total * a.len() as f64 / all.len() as f64;
    let slack = SAME * all.iter().map(|v| v.abs()).sum::<f64>();
    let seen = (a.iter().sum::<f64>() - expected).abs() - slack;
    let as_far = |sum: f64| (sum - expected).abs() >= seen;
    if ways(all.len() as u64, a.len() as u64) <= ALL {
        let (mut far, mut ways) = (0_u64, 0_u64);
        each_sum(&all, a.len(), 0.0, &mut |sum| {
            ways += 1;
            far += u64::from(as_far(sum));
        });
        far as f64 / ways as f64
    } else {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut deck = all;
        let far = (0..DRAWN)
            .filter(|_| {
                let (hand, _) = deck.partial_shuffle(&mut random, a.len());
                as_far(hand.iter().sum())
            })
            .count();
        // The deal that was seen is one of them.
        (far as f64 + 1.0) / (f64::from(DRAWN) + 1.0)
    }
}

/// n over k, bounded by `u64`.
fn ways(n: u64, k: u64) -> u64 {
    (0..k.min(n - k)).fold(1_u64, |ways, i| ways.saturating_mul(n - i) / (i + 1))
}

/// Calls `with` with the sum of every choice of `count` of the values.
fn each_sum(values: &[f64], count: usize, sum: f64, with: &mut impl FnMut(f64)) {
    if count == 0 {
        return with(sum);
    }
    for first in 0..=values.len() - count {
        each_sum(&values[first + 1..], count - 1, sum + values[first], with);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_against_three_never_prove_more_than_a_tenth() {
        assert_eq!(p(&[1.0, 2.0, 3.0], &[10.0, 11.0, 12.0], 1), 0.1);
        assert_eq!(p(&[1.0, 2.0, 3.0, 4.0], &[10.0, 11.0, 12.0, 13.0], 1), 2.0 / 70.0);
    }

    #[test]
    fn the_same_values_prove_nothing() {
        assert_eq!(p(&[5.0, 5.0], &[5.0, 5.0], 1), 1.0);
        assert_eq!(p(&[1.0, 4.0], &[2.0, 3.0], 1), 1.0);
    }

    #[test]
    fn a_drawn_test_agrees_with_the_exact_one() {
        let exact = p(&[1.0, 2.0, 3.0, 7.0, 2.5, 4.0], &[3.0, 5.0, 6.0, 8.0, 4.5, 3.5], 1);
        let many = |values: &[f64]| values.repeat(3);
        assert!(ways(36, 18) > ALL);
        let drawn = p(&many(&[1.0, 2.0, 3.0, 7.0, 2.5, 4.0]), &many(&[3.0, 5.0, 6.0, 8.0, 4.5, 3.5]), 1);
        assert!(drawn < exact, "three times the runs prove more: {drawn} against {exact}");
        assert_eq!(drawn, p(&many(&[1.0, 2.0, 3.0, 7.0, 2.5, 4.0]), &many(&[3.0, 5.0, 6.0, 8.0, 4.5, 3.5]), 1));
    }

    #[test]
    fn ways_are_counted() {
        assert_eq!((ways(6, 3), ways(20, 10), ways(5, 0)), (20, 184_756, 1));
    }
}
