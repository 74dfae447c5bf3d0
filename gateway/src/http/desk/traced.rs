//! Which sends are traced, and under whose span.

use fabric::time::Now;
use fabric::trace::{Step, trace_id};
use schema::envelope::{Stages, Trace};

use super::Desk;
use crate::http::TraceParent;

impl<W> Desk<W> {
    /// The trace of a send that comes now, if it is traced: as its caller says, else one of so many.
    pub(super) fn trace(&mut self, now: Now, caller: Option<TraceParent>) -> Option<Trace> {
        let every = self.config.traces.as_ref()?.every;
        let id = match caller {
            Some(caller) => caller.sampled.then_some(caller.trace)?,
            None => {
                self.untraced += 1;
                if !self.untraced.is_multiple_of(every.into()) {
                    return None;
                }
                trace_id(self.config.incarnation ^ u64::from(self.config.shard).rotate_left(48), self.untraced)
            }
        };
        Some(Trace { id, stages: Stages { accepted: now.mono_ns, ..Stages::default() } })
    }

    /// A traced send is answered now.
    pub(super) fn traced(&self, now: Now, trace: &Trace, caller: u64) {
        if let Some(traces) = &self.config.traces {
            traces.spans.record_under(now, trace, Step::Send, trace.stages.accepted, caller);
        }
    }
}
