//! Two counts of rare things (errors): are they of the same rate? The exact conditional test: given the total, the second
//! count is binomial (J. Przyborowski, H. Wilenski, Biometrika 31, 1940).

use statrs::distribution::{Binomial, DiscreteCDF as _};

/// How likely so uneven a split is when both rates are the same, both sides. `share_b`: the second side's part of all runs.
/// What comes in bursts looks more certain than it is.
pub fn p(a: u64, b: u64, share_b: f64) -> f64 {
    let Some(all) = a.checked_add(b).filter(|all| *all > 0) else { return 1.0 };
    let Ok(split) = Binomial::new(share_b, all) else { return 1.0 };
    let at_most = split.cdf(b);
    let at_least = if b == 0 { 1.0 } else { split.sf(b - 1) };
    (2.0 * at_most.min(at_least)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_splits() {
        assert_eq!(p(0, 0, 0.5), 1.0);
        assert!((p(0, 15, 0.5) - 2.0 * 0.5_f64.powi(15)).abs() < 1e-12);
        assert!((p(15, 0, 0.5) - 2.0 * 0.5_f64.powi(15)).abs() < 1e-12);
        assert!(p(0, 1, 0.5) > 0.999_999);
        // 3 against 9 of 12 tosses: 2 × 299 / 4096.
        assert!((p(3, 9, 0.5) - 598.0 / 4096.0).abs() < 1e-12);
        assert_eq!(p(7, 7, 0.5), 1.0);
    }

    #[test]
    fn uneven_numbers_of_runs_count() {
        assert!(p(3, 9, 0.75) > 0.9);
    }
}
