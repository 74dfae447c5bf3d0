//! Pushes: at once to few, in steps to many.
//!
//! What must stay true: a chat's entries are pushed in their order, to each of those whom they concern once; a turn pushes
//! to a bounded number of members of large groups, those first who keep up with the group, and what finds no room becomes
//! a gap for those it concerns.

use core::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use fabric::tier::{Egress, Push};
use fabric::time::Now;
use schema::envelope::{Address, Body, Class, Envelope, GapScope, Recipients, Trace};
use schema::ids::{ChatKind, UserId};
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
    /// In which order its members get it; made when it begins. Who joins later has a later first entry.
    order: Option<Order>,
    /// So many of them have been looked at.
    done: usize,
}

/// Members of a group, those who are furthest in its log first: who keeps up is there. Each with its place of then.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    members: Arc<[(u32, UserId)]>,
    made_ns: u64,
}

/// How long an order is good enough, ns.
const ORDER_NS: u64 = 10_000_000_000;

impl Order {
    fn of(chat: &Chat, now_ns: u64) -> Self {
        let mut members: Vec<(u32, UserId)> = (0..).zip(&chat.members).map(|(at, member)| (at, member.user)).collect();
        members.sort_by_key(|&(at, _)| Reverse(chat.members[at as usize].delivered));
        Self { members: members.into(), made_ns: now_ns }
    }

    /// Whether it names everybody, and is fresh.
    fn holds(&self, chat: &Chat, now_ns: u64) -> bool {
        self.members.len() == chat.members.len() && now_ns.saturating_sub(self.made_ns) < ORDER_NS
    }
}

/// Where a member is now who was at `at`: seats are kept, and others come between.
fn place_of(chat: &Chat, (at, user): (u32, UserId)) -> Option<usize> {
    let there = chat.members.get(at as usize).is_some_and(|member| member.user == user);
    if there { Some(at as usize) } else { chat.member(user) }
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
            let account = chat.kind == ChatKind::Account;
            let push = Push { sender, chat: chat.id, seq, account, frame, trace };
            return push_to(&push, chat.concerned(seq, 0).map(|(_, member)| member), egress);
        }
        if self.fanout.jobs.len() >= self.config.fanout_jobs {
            self.metrics.fanout_overflows.inc();
            return gap_for(chat, seq, egress);
        }
        let (frame, trace) = (frame.clone(), trace.copied().map(Box::new));
        self.fanout.jobs.push_back(Job { chat: index, seq, frame, sender, trace, order: None, done: 0 });
    }

    /// A step of what waits.
    pub(crate) fn fan_out(&mut self, now: Now, egress: &mut dyn Egress) {
        let mut left = self.config.fanout_step;
        while left > 0
            && let Some(job) = self.fanout.jobs.front_mut()
        {
            let order = match job.order.take() {
                Some(order) => order,
                None => self.memory.chats.get_mut(job.chat).fanout_order(now.mono_ns),
            };
            let chat = self.memory.chats.get(job.chat);
            let end = order.members.len().min(job.done + left);
            let places = order.members[job.done..end].iter().filter_map(|&member| place_of(chat, member));
            let step = places.filter(|&at| chat.is_concerned(at, job.seq)).map(|at| &chat.members[at]);
            let (sender, seq, frame, trace) = (job.sender, job.seq, &job.frame, job.trace.as_deref());
            push_to(&Push { sender, chat: chat.id, seq, account: false, frame, trace }, step, egress);
            left -= end - job.done;
            if end < order.members.len() {
                (job.done, job.order) = (end, Some(order));
            } else {
                self.fanout.jobs.pop_front();
            }
        }
        self.metrics.fanout_jobs.set(self.fanout.jobs.len() as i64);
    }
}

impl Chat {
    /// In which order members of a large group get an entry whose push begins now.
    fn fanout_order(&mut self, now_ns: u64) -> Order {
        let kept = self.group.as_ref().and_then(|group| group.order_of_pushes.clone());
        if let Some(order) = kept.filter(|order| order.holds(self, now_ns)) {
            return order;
        }
        let order = Order::of(self, now_ns);
        if let Some(group) = &mut self.group {
            group.order_of_pushes = Some(order.clone());
        }
        order
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
