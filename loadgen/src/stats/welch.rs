//! Welch's t-test: do two samples of unequal spread have the same mean? (B. L. Welch, Biometrika 34, 1947.)

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::{mean, variance};

/// What the test found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Welch {
    /// The statistic, second sample less first.
    pub t: f64,
    /// Degrees of freedom after Welch and Satterthwaite.
    pub freedom: f64,
    /// How likely so large a difference is when there is none, both sides.
    pub p: f64,
}

/// Tests two samples. `resolution` is the step in which the values are known: no sample's variance is taken to be less than
/// that of a step's rounding (step² / 12), so that runs that happen to agree in every digit do not prove too much.
///
/// `None` with fewer than two values a side, a value that is not finite, or no spread at all.
pub fn welch(a: &[f64], b: &[f64], resolution: f64) -> Option<Welch> {
    if a.len() < 2 || b.len() < 2 || a.iter().chain(b).any(|v| !v.is_finite()) {
        return None;
    }
    let floor = resolution * resolution / 12.0;
    let error = |sample: &[f64]| variance(sample).max(floor) / sample.len() as f64;
    let (ea, eb) = (error(a), error(b));
    if ea + eb <= 0.0 {
        return None;
    }
    let t = (mean(b) - mean(a)) / (ea + eb).sqrt();
    let freedom = (ea + eb).powi(2) / (ea * ea / (a.len() - 1) as f64 + eb * eb / (b.len() - 1) as f64);
    let p = 2.0 * StudentsT::new(0.0, 1.0, freedom).ok()?.cdf(-t.abs());
    Some(Welch { t, freedom, p })
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    /// Published examples of unequal variances, with t, freedom and p as R's `t.test` gives them.
    #[test]
    fn it_gives_the_published_values() {
        let a = [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4];
        let b = [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 20.5, 24.4];
        let found = welch(&a, &b, 0.0).unwrap();
        assert!((found.t - 2.46).abs() < 0.005, "{found:?}");
        assert!((found.freedom - 25.0).abs() < 0.05, "{found:?}");
        assert!((found.p - 0.021).abs() < 0.0005, "{found:?}");
        let a = [17.2, 20.9, 22.6, 18.1, 21.7, 21.4, 23.5, 24.2, 14.7, 21.8];
        let b = [
            21.5, 22.8, 21.0, 23.0, 21.6, 23.6, 22.5, 20.7, 23.4, 21.8, 20.7, 21.7, 21.5, 22.5, 23.6, 21.5, 22.5, 23.5,
            21.5, 21.8,
        ];
        let found = welch(&a, &b, 0.0).unwrap();
        assert!((found.t - 1.57).abs() < 0.005, "{found:?}");
        assert!((found.freedom - 9.9).abs() < 0.05, "{found:?}");
        assert!((found.p - 0.149).abs() < 0.0015, "{found:?}");
    }

    #[test]
    fn runs_that_agree_in_every_digit_do_not_divide_by_nothing() {
        assert_eq!(welch(&[5.0, 5.0, 5.0], &[6.0, 6.0, 6.0], 0.0), None);
        let found = welch(&[5.0, 5.0, 5.0], &[6.0, 6.0, 6.0], 0.01).unwrap();
        assert!(found.p < 0.001 && found.freedom == 4.0, "{found:?}");
        assert_eq!(welch(&[5.0, 5.0, 5.0], &[5.0, 5.0, 5.0], 0.01).unwrap().p, 1.0);
    }

    #[test]
    fn equal_samples_are_told_apart_as_seldom_as_promised() {
        let mut random = SmallRng::seed_from_u64(7);
        let mut sample = || -> Vec<f64> {
            // Sums of twelve uniform draws are as good as normal.
            (0..4).map(|_| (0..12).map(|_| random.random::<f64>()).sum()).collect()
        };
        let alarms = (0..2_000).filter(|_| welch(&sample(), &sample(), 0.0).unwrap().p < 0.05).count();
        assert!((50..=110).contains(&alarms), "{alarms} of 2000 at 5 %");
    }

    #[test]
    fn too_few_or_no_numbers_are_refused() {
        assert_eq!(welch(&[1.0], &[1.0, 2.0], 0.1), None);
        assert_eq!(welch(&[1.0, f64::NAN], &[1.0, 2.0], 0.1), None);
    }
}
