//! Which rates are tried: up by a factor until one is too high (down when the first is), then the geometric middle until
//! both ends are close.

use super::{Bound, Found, Judged, Limits, Rig, Step};

/// Below the first rate the search goes down to this share of it.
const DOWN_TO: f64 = 1.0 / 64.0;

/// Ends the search early.
enum Stop<E> {
    With(Bound),
    Failed(E),
}

struct Search<'a, R: Rig> {
    rig: &'a mut R,
    limits: Limits,
    holds: Option<f64>,
    too_high: Option<f64>,
    steps: Vec<Step>,
}

/// Finds the knee. `limits` has been checked.
///
/// # Errors
/// A step could not be made.
pub fn search<R: Rig>(rig: &mut R, limits: Limits) -> Result<Found, R::Error> {
    let mut search = Search { rig, limits, holds: None, too_high: None, steps: Vec::new() };
    let bound = match search.all() {
        Ok(()) => search.bound(),
        Err(Stop::With(bound)) => bound,
        Err(Stop::Failed(error)) => return Err(error),
    };
    Ok(Found { rate: search.holds, too_high: search.too_high, bound, steps: search.steps })
}

impl<R: Rig> Search<'_, R> {
    fn all(&mut self) -> Result<(), Stop<R::Error>> {
        self.up()?;
        self.down()?;
        while let (Some(holds), Some(too_high)) = (self.holds, self.too_high)
            && too_high / holds > 1.0 + self.limits.resolution
        {
            self.try_rate((holds * too_high).sqrt())?;
        }
        Ok(())
    }

    fn up(&mut self) -> Result<(), Stop<R::Error>> {
        let mut rate = self.limits.from;
        while self.try_rate(rate)? && rate < self.limits.to {
            rate = (rate * self.limits.factor).min(self.limits.to);
        }
        Ok(())
    }

    fn down(&mut self) -> Result<(), Stop<R::Error>> {
        let mut rate = self.limits.from / self.limits.factor;
        while self.holds.is_none() && rate >= self.limits.from * DOWN_TO {
            self.try_rate(rate)?;
            rate /= self.limits.factor;
        }
        Ok(())
    }

    /// Whether a rate holds, in one of as many tries as it may have.
    fn try_rate(&mut self, rate: f64) -> Result<bool, Stop<R::Error>> {
        for _ in 0..self.limits.tries {
            let step = self.rig.open(rate).map_err(Stop::Failed)?;
            let judged = step.judged.clone();
            self.steps.push(step);
            match judged {
                Judged::Holds => {
                    self.holds = Some(rate);
                    return Ok(true);
                }
                Judged::Broken(_) | Judged::Generator(_) => {}
                Judged::Audit(_) => return Err(Stop::With(Bound::Audit)),
                Judged::Interrupted => return Err(Stop::With(Bound::Interrupted)),
            }
        }
        self.too_high = Some(rate);
        Ok(false)
    }

    /// Why the knee is no higher: what the lowest rate above it failed of, in its last try.
    fn bound(&self) -> Bound {
        let Some(too_high) = self.too_high else { return Bound::NotReached };
        let last = self.steps.iter().rev().find(|step| step.asked == super::Asked::Rate(too_high));
        match last.map(|step| &step.judged) {
            Some(Judged::Generator(_)) => Bound::Generator,
            _ if self.holds.is_none() => Bound::BelowAll,
            _ => Bound::Server,
        }
    }
}
