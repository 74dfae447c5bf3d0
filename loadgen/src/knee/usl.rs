//! The universal scalability law, X(N) = λN / (1 + σ(N − 1) + κN(N − 1)): λ is the throughput of one, σ what waits in line,
//! κ what it costs to agree. (N. J. Gunther, "A General Theory of Computational Scalability Based on Rational Functions",
//! arXiv:0808.1431; "Guerrilla Capacity Planning", Springer 2007.)
//!
//! N/X is linear in 1/λ, σ/λ and κ/λ, so the fit is one weighted least-squares solution and needs no starting point: what is
//! least is the sum of squared *relative* errors of X, because noise of throughput grows with it. No coefficient may be
//! negative; where the data ask for that (batching makes more load cheaper) the bound 0 is what is reported.

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

use crate::stats::bootstrap::{DRAWS, Interval};

/// Fewer points do not fit three coefficients with anything left to judge by.
pub const POINTS_MIN: usize = 4;
/// Confidence of the intervals.
const LEVEL: f64 = 0.95;
const SEED: u64 = 0x5eed;

/// Concurrency and throughput.
pub type Point = (f64, f64);

/// The three coefficients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Law {
    /// Throughput of a concurrency of one, a second.
    pub lambda: f64,
    /// Contention.
    pub sigma: f64,
    /// Coherency.
    pub kappa: f64,
}

/// A fit with its certainty.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fit {
    /// The law.
    pub law: Law,
    /// 95 % interval of λ, by bootstrap of the residuals.
    pub lambda: Option<Interval>,
    /// The same of σ.
    pub sigma: Option<Interval>,
    /// The same of κ.
    pub kappa: Option<Interval>,
    /// Concurrency of the highest throughput; absent when κ is 0: it rises for ever.
    pub peak_concurrency: Option<f64>,
    /// The highest throughput the law knows; its limit λ/σ when κ is 0, absent when σ is 0 too.
    pub peak_throughput: Option<f64>,
    /// 95 % interval of that.
    pub peak: Option<Interval>,
    /// Share of the throughput's variance that the law explains.
    pub r_squared: f64,
    /// Largest relative error of a point.
    pub worst_error: f64,
    /// What was fitted.
    pub points: Vec<Point>,
}

impl Law {
    /// Throughput at a concurrency.
    pub fn throughput(&self, n: f64) -> f64 {
        self.lambda * n / (1.0 + self.sigma * (n - 1.0) + self.kappa * n * (n - 1.0))
    }

    /// Concurrency of the highest throughput.
    pub fn peak_concurrency(&self) -> Option<f64> {
        (self.kappa > 0.0).then(|| ((1.0 - self.sigma).max(0.0) / self.kappa).sqrt().max(1.0))
    }

    /// The highest throughput.
    pub fn peak_throughput(&self) -> Option<f64> {
        match self.peak_concurrency() {
            Some(n) => Some(self.throughput(n)),
            None => (self.sigma > 0.0).then(|| self.lambda / self.sigma),
        }
    }
}

/// Fits the law to points of at least [`POINTS_MIN`] different concurrencies; `None` with fewer, or without throughput.
pub fn fit(points: &[Point]) -> Option<Fit> {
    let mut different: Vec<f64> = points.iter().map(|p| p.0).collect();
    different.sort_by(f64::total_cmp);
    different.dedup();
    if different.len() < POINTS_MIN
        || points.iter().any(|(n, x)| !(*n > 0.0 && *x > 0.0 && n.is_finite() && x.is_finite()))
    {
        return None;
    }
    let law = solve(points)?;
    let (lambda, sigma, kappa, peak) = intervals(points, &law);
    let mean = points.iter().map(|p| p.1).sum::<f64>() / points.len() as f64;
    let total: f64 = points.iter().map(|(_, x)| (x - mean).powi(2)).sum();
    let left: f64 = points.iter().map(|(n, x)| (x - law.throughput(*n)).powi(2)).sum();
    let error = |(n, x): &Point| (law.throughput(*n) / x - 1.0).abs();
    Some(Fit {
        law,
        lambda,
        sigma,
        kappa,
        peak_concurrency: law.peak_concurrency(),
        peak_throughput: law.peak_throughput(),
        peak,
        r_squared: if total > 0.0 { 1.0 - left / total } else { 1.0 },
        worst_error: points.iter().map(error).fold(0.0, f64::max),
        points: points.to_vec(),
    })
}

/// Residuals are drawn anew onto the fitted curve and fitted again.
fn intervals(points: &[Point], law: &Law) -> (Option<Interval>, Option<Interval>, Option<Interval>, Option<Interval>) {
    let residuals: Vec<f64> = points.iter().map(|(n, x)| x / law.throughput(*n)).collect();
    // Three coefficients make the residuals smaller than the noise was.
    let wider = (points.len() as f64 / (points.len() as f64 - 3.0)).sqrt();
    let mut random = SmallRng::seed_from_u64(SEED);
    let mut laws = Vec::with_capacity(DRAWS);
    for _ in 0..DRAWS {
        let mut drawn = |n: f64| {
            let residual = residuals[random.random_range(0..residuals.len())];
            (n, law.throughput(n) * residual.powf(wider))
        };
        let again: Vec<Point> = points.iter().map(|(n, _)| drawn(*n)).collect();
        laws.extend(solve(&again));
    }
    let interval = |of: &dyn Fn(&Law) -> Option<f64>| Interval::of(laws.iter().filter_map(of).collect(), LEVEL);
    (
        interval(&|law| Some(law.lambda)),
        interval(&|law| Some(law.sigma)),
        interval(&|law| Some(law.kappa)),
        interval(&Law::peak_throughput),
    )
}

/// The law of least relative error without negative coefficients: the best of the solutions with some of σ and κ held at 0.
fn solve(points: &[Point]) -> Option<Law> {
    const FREE: [&[usize]; 4] = [&[0, 1, 2], &[0, 1], &[0, 2], &[0]];
    let candidates = FREE.iter().filter_map(|free| {
        let found = least_squares(points, free)?;
        let allowed = found[0] > 0.0 && found[1] >= 0.0 && found[2] >= 0.0;
        allowed.then(|| (squares(points, &found), found))
    });
    let (_, [a, b, c]) = candidates.min_by(|x, y| x.0.total_cmp(&y.0))?;
    Some(Law { lambda: 1.0 / a, sigma: b / a, kappa: c / a })
}

/// 1, N − 1 and N(N − 1), relative to N/X.
fn terms((n, x): Point) -> [f64; 3] {
    [x / n, (n - 1.0) * x / n, (n - 1.0) * x]
}

fn squares(points: &[Point], found: &[f64; 3]) -> f64 {
    let error = |point: &Point| 1.0 - terms(*point).iter().zip(found).map(|(t, v)| t * v).sum::<f64>();
    points.iter().map(|p| error(p).powi(2)).sum()
}

/// Least squares of `terms · found = 1` with only some coefficients free, by Gram and Schmidt on columns scaled
/// to length one (N spans decades; unscaled normal equations would lose the small coefficients).
fn least_squares(points: &[Point], free: &[usize]) -> Option<[f64; 3]> {
    let rows: Vec<[f64; 3]> = points.iter().map(|p| terms(*p)).collect();
    let length = |column: usize| rows.iter().map(|r| r[column].powi(2)).sum::<f64>().sqrt();
    let scale: Vec<f64> = free.iter().map(|c| length(*c)).collect();
    if scale.iter().any(|s| *s <= 0.0) {
        return None;
    }
    // Modified Gram-Schmidt: q holds orthonormal columns, r the upper triangle.
    let size = free.len();
    let mut q: Vec<Vec<f64>> = free.iter().zip(&scale).map(|(c, s)| rows.iter().map(|r| r[*c] / s).collect()).collect();
    let mut r = [[0.0_f64; 3]; 3];
    let mut target: Vec<f64> = vec![1.0; rows.len()];
    let mut along = [0.0_f64; 3];
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    for i in 0..size {
        r[i][i] = dot(&q[i], &q[i]).sqrt();
        if r[i][i] < 1e-10 {
            return None;
        }
        let column: Vec<f64> = q[i].iter().map(|v| v / r[i][i]).collect();
        for j in i + 1..size {
            r[i][j] = dot(&column, &q[j]);
            q[j].iter_mut().zip(&column).for_each(|(v, c)| *v -= r[i][j] * c);
        }
        along[i] = dot(&column, &target);
        target.iter_mut().zip(&column).for_each(|(v, c)| *v -= along[i] * c);
    }
    let mut found = [0.0; 3];
    let mut solved = [0.0; 3];
    for i in (0..size).rev() {
        let known: f64 = (i + 1..size).map(|j| r[i][j] * solved[j]).sum();
        solved[i] = (along[i] - known) / r[i][i];
        found[free[i]] = solved[i] / scale[i];
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NS: [f64; 7] = [1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0];

    fn points(law: Law) -> Vec<Point> {
        NS.iter().map(|n| (*n, law.throughput(*n))).collect()
    }

    fn near(a: f64, b: f64, share: f64) -> bool {
        (a - b).abs() <= share * b.abs().max(1e-12)
    }

    #[test]
    fn it_recovers_what_made_the_points() {
        for law in [
            Law { lambda: 2_000.0, sigma: 0.02, kappa: 1e-6 },
            Law { lambda: 995.6, sigma: 0.026_71, kappa: 0.000_769 },
            Law { lambda: 10.0, sigma: 0.3, kappa: 1e-4 },
        ] {
            let found = fit(&points(law)).unwrap();
            assert!(near(found.law.lambda, law.lambda, 1e-6), "{found:?}");
            assert!(near(found.law.sigma, law.sigma, 1e-6), "{found:?}");
            assert!(near(found.law.kappa, law.kappa, 1e-6), "{found:?}");
            assert!(found.r_squared > 0.999_999);
        }
    }

    #[test]
    fn the_peak_is_where_the_law_says() {
        let law = Law { lambda: 100.0, sigma: 0.02, kappa: 0.0005 };
        assert!(near(law.peak_concurrency().unwrap(), (0.98_f64 / 0.0005).sqrt(), 1e-12));
        let peak = law.peak_throughput().unwrap();
        assert!((1..500).all(|n| law.throughput(f64::from(n)) <= peak * (1.0 + 1e-12)));
        let straight = Law { kappa: 0.0, ..law };
        assert_eq!((straight.peak_concurrency(), straight.peak_throughput()), (None, Some(5_000.0)));
    }

    #[test]
    fn noise_leaves_the_truth_within_the_intervals() {
        let law = Law { lambda: 2_000.0, sigma: 0.02, kappa: 1e-6 };
        let mut random = SmallRng::seed_from_u64(3);
        let noisy: Vec<Point> =
            points(law).into_iter().map(|(n, x)| (n, x * (1.0 + 0.03 * (random.random::<f64>() - 0.5)))).collect();
        let found = fit(&noisy).unwrap();
        let holds =
            |interval: Option<Interval>, value: f64| interval.is_some_and(|i| i.low <= value && value <= i.high);
        assert!(
            holds(found.lambda, law.lambda) && holds(found.sigma, law.sigma) && holds(found.kappa, law.kappa),
            "{found:?}"
        );
        assert!(found.lambda.unwrap().high / found.lambda.unwrap().low > 1.001);
    }

    #[test]
    fn what_scales_better_than_linear_has_no_negative_coefficient() {
        let found = fit(&[(1.0, 10.0), (2.0, 30.0), (4.0, 80.0), (8.0, 170.0)]).unwrap();
        assert!(found.law.sigma >= 0.0 && found.law.kappa >= 0.0, "{found:?}");
        assert!(found.worst_error > 0.1, "and the misfit is said");
    }

    #[test]
    fn too_few_points_fit_nothing() {
        let law = Law { lambda: 10.0, sigma: 0.1, kappa: 0.01 };
        assert!(fit(&points(law)[..3]).is_none());
        assert!(fit(&[(1.0, 1.0); 9]).is_none());
        assert!(fit(&[(1.0, 1.0), (2.0, 2.0), (3.0, 3.0), (4.0, 0.0)]).is_none());
    }
}
