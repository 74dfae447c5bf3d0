//! Pushes: at once to few, in steps to many.
//!
//! What must stay true: a chat's entries are pushed in their order, to those whom they concern; a turn pushes to a bounded
//! number of members of large groups, and what finds no room becomes a gap for those it concerns.

use std::collections::VecDeque;

use bytes::Bytes;
use fabric::tier::{Egress, Push};
use schema::envelope::{Address, Body, Class, Envelope, GapScope, Recipients, Trace};
use schema::ids::UserId;
use smallvec::SmallVec;

use super::chats::{Chat, Member};
use super::commit::add_recipient;
use crate::partition::Partition;

/// An entry of a large group on its way to its members.
#[derive(Debug)]
struct Job {
    chat: u32,
    seq: u64,
    frame: Bytes,
    sender: Address,
    trace: Option<Box<Trace>>,
    /// Members up to this one have it.
    done: Option<UserId>,
}

/// Entries that wait to be pushed in steps, in the order of their commits.
#[derive(Debug, Default)]
pub(crate) struct Fanout {
    jobs: VecDeque<Job>,
}

impl Fanout {
    /// Whether something waits for the next turn.
    pub(crate) fn is_due(&self) -> bool {
        !self.jobs.is_empty()
    }
}

/// Pushes to members, with one envelope a router.
fn push_to<'m>(push: &Push<'_>, members: impl Iterator<Item = &'m Member>, egress: &mut dyn Egress) {
    // In one process all members have the same router, and a push is the hot path: the first list is in place.
    let (mut first, mut others) = (Recipients::new(), Vec::<Recipients>::new());
    for member in members {
        if first.is_empty() || egress.same_router(first[0].user, member.user) {
            add_recipient(&mut first, member);
        } else if let Some(group) = others.iter_mut().find(|group| egress.same_router(group[0].user, member.user)) {
            add_recipient(group, member);
        } else {
            let mut group = Recipients::new();
            add_recipient(&mut group, member);
            others.push(group);
        }
    }
    if !first.is_empty() {
        egress.push(push, first);
    }
    for recipients in others {
        egress.push(push, recipients);
    }
}

impl Partition {
    /// Pushes a committed entry: to a large group later, in steps.
    pub(super) fn push(
        &mut self,
        index: u32,
        (seq, frame): (u64, &Bytes),
        (sender, trace): (Address, Option<&Trace>),
        egress: &mut dyn Egress,
    ) {
        let chat = self.memory.chats.get(index);
        if chat.members.len() < self.config.fanout_members {
            let push = Push { sender, chat: chat.id, seq, frame, trace };
            return push_to(&push, chat.concerned(seq, 0).map(|(_, member)| member), egress);
        }
        if self.fanout.jobs.len() >= self.config.fanout_jobs {
            self.metrics.fanout_overflows.inc();
            return gap_for(chat, seq, egress);
        }
        let (frame, trace) = (frame.clone(), trace.copied().map(Box::new));
        self.fanout.jobs.push_back(Job { chat: index, seq, frame, sender, trace, done: None });
    }

    /// A step of what waits.
    pub(crate) fn fan_out(&mut self, egress: &mut dyn Egress) {
        let mut left = self.config.fanout_step;
        while left > 0
            && let Some(job) = self.fanout.jobs.front_mut()
        {
            let chat = self.memory.chats.get(job.chat);
            // By user, not by place: members may have come since.
            let from = job.done.map_or(0, |done| chat.members.partition_point(|member| member.user <= done));
            let mut last = None;
            let step = chat.concerned(job.seq, from).map(|(_, member)| member).take(left).inspect(|member| {
                last = Some(member.user);
                left -= 1;
            });
            let (frame, trace) = (&job.frame, job.trace.as_deref());
            push_to(&Push { sender: job.sender, chat: chat.id, seq: job.seq, frame, trace }, step, egress);
            match last {
                Some(user) if left == 0 => job.done = Some(user),
                _ => drop(self.fanout.jobs.pop_front()),
            }
        }
        self.metrics.fanout_jobs.set(self.fanout.jobs.len() as i64);
    }
}

/// Tells the members that something was not pushed: they read it.
fn gap_for(chat: &Chat, seq: u64, egress: &mut dyn Egress) {
    let mut routers: SmallVec<[Vec<UserId>; 1]> = SmallVec::new();
    for user in chat.concerned(seq, 0).map(|(_, member)| member.user) {
        match routers.iter_mut().find(|group| egress.same_router(group[0], user)) {
            Some(group) => group.push(user),
            None => routers.push(vec![user]),
        }
    }
    for users in routers {
        let to = users[0];
        egress.to_router(to, Envelope::new(Class::Control, Body::Gap(GapScope::Users(users))));
    }
}
