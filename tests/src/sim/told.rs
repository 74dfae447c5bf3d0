//! What devices ask about chats and messages, and whether what they are told is true.
//!
//! An answer is true as of the seq that it names. That may be above what anybody has seen yet, so answers are kept, and
//! checked when every log is known; in the calm they must be complete as well.

use std::collections::{BTreeMap, BTreeSet};

use client::core::{AskFailure, ChatInfo, ChatsPage, MessageStatus, Question};
use schema::errors::ErrorCode;
use schema::ids::{ChatId, MessageId, UserId};
use schema::limits::PAGE_MEMBERS;
use schema::wire::{ChatKind, EntryKind, Role};

use super::device::Asked;
use super::listed::Answers;
use super::model::Model;
use super::plan::pick;
use super::secrets::Suspect;
use super::world::World;

/// Members that a list names of each chat.
const LISTED_MEMBERS: usize = 8;
/// How long answers may take in the calm, simulated ns.
const ANSWERS_NS: u64 = 120_000_000_000;

/// A page of history: whose, of which chat, what it covers, which entries it has, and the latest time that it may have been
/// made at, ms since 1970.
pub type Page = (UserId, ChatId, (u64, u64), Vec<u64>, u64);

/// What was told.
#[derive(Default)]
pub struct Told {
    /// Pages of history.
    pub pages: Vec<Page>,
    /// Chats: to whom, members asked for (above this user, at most so many), what.
    pub(super) chats: Vec<(UserId, (u64, usize), ChatInfo)>,
    /// Who has messages: to whom, what.
    statuses: Vec<(UserId, MessageStatus)>,
    /// In the calm: questions to be asked again, or on, and when, ns.
    again: Vec<(u64, usize, Question)>,
    /// Questions that were refused as if what they are about were not there. An error says not whose it is: it may be of a
    /// question or a mark before. In the calm they are asked again, and it is believed the third time.
    doubted: Vec<(usize, Question)>,
    /// Everything rests: answers are of now.
    pub(super) settled: bool,
    /// Who was told of what was read in secret, or was not.
    pub(super) suspects: Vec<Suspect>,
    /// Of accounts, and lists.
    pub(super) answers: Answers,
    /// Why the last question failed that did.
    failure: Option<AskFailure>,
    /// In the calm: what lists named.
    listed: BTreeMap<UserId, Vec<(u64, ChatId)>>,
}

impl World {
    /// A device asks something.
    pub fn ask_some(&mut self, at: usize) {
        let user = self.devices[at].user;
        let chats: Vec<_> = self.model.chats_of(user).collect();
        let chats: Vec<_> = chats.into_iter().filter(|&chat| self.model.last_seen_by(user, chat) > 0).collect();
        if chats.is_empty() {
            return;
        }
        let chat = pick(&mut self.env.rng, &chats);
        let question = match self.env.rng.below(4) {
            0 => {
                let after_user = UserId::new(self.env.rng.below(4));
                Question::Chat { chat, after_user, limit: pick(&mut self.env.rng, &[0, 1, 3]) }
            }
            1 => Question::Chats { before: None, limit: pick(&mut self.env.rng, &[0, 1, 2, 100]) },
            2 => Question::Account { chat: Some(chat) },
            _ => {
                let seq = self.env.rng.between(1, self.model.last_seen_by(user, chat));
                let place = self.model.place(chat, seq).filter(|_| self.model.sees(user, chat, seq));
                let Some(message) = place.map(|place| place.message) else { return };
                Question::Status { chat, message }
            }
        };
        self.ask(at, question);
        self.operations += 1;
    }

    pub(super) fn ask(&mut self, at: usize, question: Question) {
        match self.tell(at, |core, cx| core.ask(cx, question)) {
            Some(Ok(request)) => {
                let device = &mut self.devices[at];
                let known = self.model.known(ChatId::account(device.user));
                device.app.asked.insert(request, Asked { question, known, blind: device.veiled });
            }
            _ if self.calm && !self.devices[at].revoked => self.ask_again(at, question),
            _ => {}
        }
    }

    /// Not at once: what is overloaded is given time.
    fn ask_again(&mut self, at: usize, question: Question) {
        let due_ns = self.env.later(200_000_000, 1_500_000_000);
        self.told.again.push((due_ns, at, question));
    }

    pub(super) fn asked(&mut self, at: usize, request: u64) -> Asked {
        let asked = self.devices[at].app.asked.remove(&request);
        self.env.note("answer", [at as u64, request, 0]);
        self.env.counts.add("client_answers", 1);
        asked.expect("invariant answers: nobody asked")
    }

    /// A request came to nothing.
    pub fn ask_failed(&mut self, at: usize, request: u64, failure: AskFailure) {
        let app = &mut self.devices[at].app;
        app.histories.remove(&request);
        let question = app.asked.remove(&request).map(|asked| asked.question);
        self.env.counts.add("client_asks_failed", 1);
        self.told.failure = Some(failure);
        let code = if let AskFailure::Refused(refusal) = failure { refusal.known() } else { None };
        // Only what the user may see is asked for.
        let lost = [ErrorCode::UnknownChat, ErrorCode::UnknownMessage, ErrorCode::NotAMember];
        let gone = match question {
            Some(Question::Status { chat, message }) => self.has_gone(chat, message),
            // A late answer to a question that was given up is taken for that of the next.
            _ => code == Some(ErrorCode::UnknownMessage),
        };
        let lost = code.is_some_and(|code| lost.contains(&code)) && !gone;
        if let Some(question) = question.filter(|_| lost) {
            self.told.doubted.push((at, question));
            let times = self.told.doubted.iter().filter(|doubted| **doubted == (at, question)).count();
            assert!(times < 3, "invariant durable: {question:?} is refused: {failure}");
            self.ask_again(at, question);
        } else if let Some(question) = question.filter(|_| self.calm && !gone) {
            self.ask_again(at, question);
        }
    }

    /// An answer came.
    pub fn told_chat(&mut self, at: usize, info: ChatInfo) {
        let user = self.devices[at].user;
        let asked = self.asked(at, info.request);
        let Question::Chat { chat, after_user, limit } = asked.question else {
            panic!("invariant answers: {info:?} is no answer to what was asked")
        };
        assert!(info.chat == chat, "invariant answers: {chat} was asked for, and {} told", info.chat);
        let limit = if limit == 0 { PAGE_MEMBERS } else { limit };
        self.latest(user, &info);
        self.check_answer_told(at, asked, chat, &info.members);
        self.told.chats.push((user, (after_user.map_or(0, UserId::get), limit as usize), info));
    }

    /// In the calm an answer is of now.
    fn latest(&self, user: UserId, info: &ChatInfo) {
        if self.told.settled {
            let last = self.model.last_seen_by(user, info.chat);
            let head = info.head_seq;
            assert!(head == last, "invariant answers: {user} may see {} up to {last}, and is told {head}", info.chat);
        }
    }

    /// An answer came.
    pub fn told_chats(&mut self, at: usize, page: ChatsPage) {
        let user = self.devices[at].user;
        let asked = self.asked(at, page.request);
        let Question::Chats { before, limit } = asked.question else {
            panic!("invariant answers: {page:?} is no answer to what was asked")
        };
        assert!(limit == 0 || page.chats.len() <= limit as usize, "invariant answers: more chats than asked for");
        let places: Vec<_> = page.chats.iter().map(|info| (info.last_ms, info.chat)).collect();
        let newest_first = before.into_iter().chain(places.iter().copied()).is_sorted_by(|one, other| one > other);
        // While entries come, a chat may become newer than the place it was given.
        assert!(
            newest_first || !self.told.settled,
            "invariant answers: chats not newest first: {before:?}, {places:?}"
        );
        self.listed(user, asked, &page.chats);
        for info in page.chats {
            self.latest(user, &info);
            if let Some(last) = &info.last_entry {
                let known = if self.told.settled { self.model.known(info.chat) } else { 0 };
                self.model.see(last, known);
            }
            self.told.chats.push((user, (0, LISTED_MEMBERS), info));
        }
        if self.told.settled {
            let last = places.last().copied();
            self.told.listed.entry(user).or_default().extend(places);
            if page.has_more {
                self.told.again.push((0, at, Question::Chats { before: last, limit }));
            }
        }
    }

    /// An answer came.
    pub fn told_status(&mut self, at: usize, status: MessageStatus) {
        let user = self.devices[at].user;
        let asked = self.asked(at, status.request);
        let Question::Status { chat, message } = asked.question else {
            panic!("invariant answers: {status:?} is no answer to what was asked")
        };
        assert!((status.chat, status.message) == (chat, message), "invariant answers: another message was asked for");
        self.check_answer_told(at, asked, chat, &status.members);
        self.told.statuses.push((user, status));
    }

    /// In the calm everybody asks for their groups and for the list of their chats.
    pub fn ask_all(&mut self) {
        // What was asked before is of before.
        self.wait_for_answers();
        self.told.listed.clear();
        self.told.settled = true;
        let mut users = BTreeSet::new();
        for at in 0..self.devices.len() {
            let user = self.devices[at].user;
            if !self.devices[at].is_live() || !users.insert(user) {
                continue;
            }
            let groups = self.model.groups.iter().filter(|(_, group)| group.last_seen_by(user) > 0);
            let groups: Vec<ChatId> = groups.map(|(&chat, _)| chat).collect();
            for chat in groups {
                self.ask(at, Question::Chat { chat, after_user: None, limit: 0 });
            }
            let chats = self.model.chats_of(user).filter(|&chat| self.model.last_seen_by(user, chat) > 0);
            let chats: Vec<ChatId> = chats.collect();
            chats.into_iter().for_each(|chat| self.look_back_from(at, chat, 0, 1_000));
            let chat = self.some_hidden(user);
            self.ask(at, Question::Account { chat });
            self.ask(at, Question::Chats { before: None, limit: 3 });
        }
        self.wait_for_answers();
        self.told.settled = false;
        for user in users {
            let chats = self.model.chats_of(user).filter(|&chat| self.model.last_seen_by(user, chat) > 0);
            let listed = self.told.listed.remove(&user).unwrap_or_default();
            let listed: BTreeSet<ChatId> = listed.into_iter().map(|(_, chat)| chat).collect();
            let missing: Vec<ChatId> = chats.filter(|chat| !listed.contains(chat)).collect();
            assert!(missing.is_empty(), "invariant answers: {user}'s list of chats lacks {missing:?}");
        }
    }

    /// Whether a member is said to have a message, or it has disappeared.
    pub fn has_it(&mut self, at: usize, (chat, message): (ChatId, MessageId), member: UserId) -> bool {
        self.ask(at, Question::Status { chat, message });
        self.wait_for_answers();
        if self.has_gone(chat, message) {
            return true;
        }
        let status = self.told.statuses.iter().rev().find(|(_, status)| status.message == message);
        let members = status.map_or(&[][..], |(_, status)| &status.members);
        members.iter().any(|told| told.user == member && told.delivered_seq >= status.map_or(u64::MAX, |(_, s)| s.seq))
    }

    pub(super) fn wait_for_answers(&mut self) {
        let until_ns = self.env.ns() + ANSWERS_NS;
        while !self.told.again.is_empty() || self.devices.iter().any(|device| !device.app.asked.is_empty()) {
            let open = || self.devices.iter().flat_map(|device| device.app.asked.values()).collect::<Vec<_>>();
            assert!(
                self.env.ns() < until_ns,
                "invariant liveness: no answer to {:?}; {} questions failed, the last: {:?}",
                open(),
                self.env.counts.get("client_asks_failed"),
                self.told.failure
            );
            let now_ns = self.env.ns();
            let due = |&mut (due_ns, ..): &mut (u64, usize, Question)| due_ns <= now_ns;
            let due: Vec<_> = self.told.again.extract_if(.., due).collect();
            for (_, at, question) in due {
                self.ask(at, question);
            }
            self.step();
        }
    }

    /// Every log is known: what was told is compared.
    pub fn check_told(&self) {
        for (user, asked, info) in &self.told.chats {
            check_chat(&self.model, *user, *asked, info);
        }
        for (user, status) in &self.told.statuses {
            check_status(&self.model, *user, status);
        }
        for (user, chat, (first, last), seqs, made_ms) in &self.told.pages {
            let visible = (*first..=*last).filter(|&seq| self.model.sees(*user, *chat, seq));
            let gone = |seq: u64| seqs.binary_search(&seq).is_err() && self.model.may_be_gone(*chat, seq, *made_ms);
            assert!(
                visible.filter(|&seq| !gone(seq)).eq(seqs.iter().copied()),
                "invariant spans: a page of {chat} for {user} covers {first}..={last} with {seqs:?}"
            );
        }
    }
}

/// A chat as of the head that an answer names.
fn check_chat(model: &Model, user: UserId, (after, limit): (u64, usize), info: &ChatInfo) {
    let (chat, head) = (info.chat, info.head_seq);
    assert!(head > 0 && model.sees(user, chat, head), "invariant spans: {user} is told of seq {head} of {chat}");
    assert!(
        info.read_seq <= model.read_of(chat, user),
        "invariant watermark: {user} has read more of {chat} than marked"
    );
    let unread = |seq: &u64| model.sees(user, chat, *seq) && model.is_message_of_another(chat, *seq, user);
    let (least, most) = ((info.read_seq + 1..=head).filter(unread).count() as u64, head - info.read_seq);
    // What only the store has is not looked at, and counts.
    let counted = (least..=most).contains(&u64::from(info.unread));
    assert!(counted, "invariant answers: {} of {least} to {most} unread in {chat}", info.unread);
    if let Some(last) = &info.last_entry {
        assert!(last.seq() == head, "invariant answers: {last:?} is not the last entry of {chat}, {head}");
    }
    let Some(group) = model.groups.get(&chat) else {
        assert!(info.kind == ChatKind::direct && info.present, "invariant answers: {info:?}");
        return;
    };
    assert!(info.kind == ChatKind::group && info.created_by == Some(group.creator()), "invariant answers: {info:?}");
    let all = group.members(head);
    assert!(
        info.present == all.contains_key(&user),
        "invariant answers: {user} is a member of {chat} at {head}, or not"
    );
    // Who has left is told of the group as it is now.
    if info.present {
        let told: Vec<_> = info.members.iter().map(|member| (member.user, member.role == Role::admin)).collect();
        let page = all.iter().map(|(&user, &admin)| (user, admin)).filter(|(user, _)| user.get() > after).take(limit);
        assert!(
            page.eq(told.iter().copied()) && info.member_count as usize == all.len(),
            "invariant membership: {chat} at {head}: {told:?} of {} are told, of {all:?}",
            info.member_count
        );
        assert!(group.name(head) == &info.name[..], "invariant answers: another name of {chat} at {head}");
        let written_ms = model.place(chat, head).map(|place| place.ms);
        assert!(written_ms.is_none_or(|ms| ms == info.last_ms), "invariant answers: another time of {chat} at {head}");
    }
}

fn check_status(model: &Model, user: UserId, status: &MessageStatus) {
    let (chat, seq) = (status.chat, status.seq);
    let place = model.place(chat, seq).expect("invariant answers: a message's status names a place nobody ever saw");
    assert!(
        place.message == status.message && model.sees(user, chat, seq),
        "invariant spans: {user} asked: {status:?}"
    );
    let mut concerned: BTreeSet<UserId> = match model.groups.get(&chat) {
        Some(group) => group.audience(seq),
        None => model.pairs.get(&chat).map(|&(a, b)| [a, b].into()).unwrap_or_default(),
    };
    concerned.remove(&place.sender);
    let told = status.members.iter().map(|member| member.user);
    assert!(
        told.eq(concerned.iter().copied()) && status.total as usize == concerned.len(),
        "invariant membership: seq {seq} of {chat} concerns {concerned:?}, told is {status:?}"
    );
    let read = status.members.iter().filter(|member| member.read_seq >= seq).count() as u32;
    let had =
        status.members.iter().filter(|member| member.delivered_seq >= seq || member.read_seq >= seq).count() as u32;
    assert!((status.read, status.delivered) == (read, had - read), "invariant answers: {status:?}");
    for member in &status.members {
        let marked = if member.user == user { model.read_of(chat, user) } else { model.tellable_of(chat, member.user) };
        assert!(member.read_seq <= marked, "invariant watermark: {} marked {marked}: {member:?}", member.user);
    }
}

impl Model {
    fn is_message_of_another(&self, chat: ChatId, seq: u64, user: UserId) -> bool {
        let place = self.place(chat, seq);
        place.is_some_and(|place| place.sender != user && self.kind_of(&place.client_msg_id) == EntryKind::message)
    }
}
