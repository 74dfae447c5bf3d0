//! A failing world made smaller: fewer operations, parts left out, fewer users, as long as it fails in the same way.

use super::case::{Case, Part};
use super::{Outcome, run_case};

/// Worlds that are tried, at most.
pub const TRIES: u32 = 30;
/// Of these, to find how few operations are enough.
const BISECTIONS: u32 = 7;

/// The least that was found to fail.
pub struct Shrunk {
    /// What to run.
    pub case: Case,
    /// How it goes.
    pub outcome: Outcome,
    /// Worlds tried.
    pub tries: u32,
}

struct Shrinker {
    least: Case,
    outcome: Outcome,
    keep: usize,
    tries: u32,
}

/// What a failure is about: its text up to the first colon.
fn kind(outcome: &Outcome) -> Option<&str> {
    outcome.failure.as_ref().map(|failure| failure.what.split(':').next().unwrap_or_default())
}

/// Makes a case that failed smaller, in at most [`TRIES`] runs. `keep`: events shown of the last failure.
pub fn shrink(failed: &Case, outcome: Outcome, keep: usize) -> Shrunk {
    let most = failed.operations.unwrap_or(outcome.operations).min(outcome.operations);
    let mut shrinker = Shrinker { least: failed.clone(), outcome, keep, tries: 0 };
    let most = shrinker.fewer_operations(most);
    shrinker.fewer_parts();
    shrinker.fewer_users();
    shrinker.fewer_operations(most);
    let Shrinker { least, outcome, tries, .. } = shrinker;
    Shrunk { case: least, outcome, tries }
}

impl Shrinker {
    /// Runs a smaller case: if it fails in the same way, it is the least so far.
    fn fails(&mut self, change: impl FnOnce(&mut Case)) -> bool {
        if self.tries >= TRIES {
            return false;
        }
        self.tries += 1;
        let mut case = self.least.clone();
        change(&mut case);
        let outcome = run_case(&case, self.keep);
        let same = kind(&outcome).is_some() && kind(&outcome) == kind(&self.outcome);
        if same {
            (self.least, self.outcome) = (case, outcome);
        }
        same
    }

    /// Bisects the operations below `most`, which fail. Returns how many fail now.
    fn fewer_operations(&mut self, most: u64) -> u64 {
        let (mut passes, mut fails) = (0, most);
        for _ in 0..BISECTIONS {
            let middle = (passes + fails) / 2;
            if middle == passes {
                break;
            }
            if self.fails(|case| case.operations = Some(middle)) {
                fails = middle;
            } else {
                passes = middle;
            }
        }
        fails
    }

    /// All parts at once, else one after the other.
    fn fewer_parts(&mut self) {
        let left = |case: &Case| Part::ALL.iter().copied().filter(|&part| !case.is_without(part)).collect::<Vec<_>>();
        let parts = left(&self.least);
        if self.fails(|case| case.without.extend(&parts)) {
            return;
        }
        for part in parts {
            self.fails(|case| case.without.push(part));
        }
    }

    fn fewer_users(&mut self) {
        for users in [2, 3, 5] {
            if self.least.users.is_none_or(|most| users < most) && self.fails(|case| case.users = Some(users)) {
                return;
            }
        }
    }
}
