//! Rosters against what their log says.

use proptest::prelude::*;

use super::*;

fn user(id: u64) -> UserId {
    UserId::new(id).expect("not 0")
}

fn change(kind: EntryKind, by: u64, users: &[u64]) -> Change {
    Change { kind, by: user(by), users: ascending(users.iter().copied()), role: Role::admin, name: Vec::new() }
}

fn created(users: &[u64]) -> GroupState {
    let mut group = GroupState::default();
    let change = group.judge(change(EntryKind::created, 1, users), 10).expect("allowed");
    assert!(group.apply(1, &change));
    group
}

fn role_of(group: &GroupState, id: u64) -> Option<Role> {
    group.seat(user(id)).filter(|seat| seat.is_present()).map(|seat| seat.role)
}

#[test]
fn its_creator_is_a_member_and_its_admin() {
    let group = created(&[3, 2, 2]);
    assert_eq!(group.members().map(|seat| seat.user.get()).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((role_of(&group, 1), role_of(&group, 2)), (Some(Role::admin), Some(Role::member)));
    assert_eq!(group.judge(change(EntryKind::created, 1, &[2]), 10), Err(ErrorCode::NoChange));
    let many: Vec<u64> = (2..12).collect();
    assert_eq!(
        GroupState::default().judge(change(EntryKind::created, 1, &many), 10),
        Err(ErrorCode::TooManyMembers),
        "with the creator they are eleven"
    );
}

#[test]
fn only_admins_change_it_and_only_members_leave() {
    let group = created(&[2, 3]);
    for kind in [EntryKind::added, EntryKind::removed, EntryKind::role, EntryKind::renamed] {
        assert_eq!(group.judge(change(kind, 2, &[3]), 10), Err(ErrorCode::NotAnAdmin));
        assert_eq!(group.judge(change(kind, 9, &[3]), 10), Err(ErrorCode::NotAMember));
    }
    assert!(group.judge(change(EntryKind::left, 2, &[]), 10).is_ok());
    assert_eq!(group.judge(change(EntryKind::left, 9, &[]), 10), Err(ErrorCode::NotAMember));
    assert_eq!(group.judge(change(EntryKind::removed, 1, &[1]), 10), Err(ErrorCode::InvalidField));
    assert_eq!(group.judge(change(EntryKind::removed, 1, &[2, 9]), 10), Err(ErrorCode::UnknownMember));
    assert_eq!(group.judge(change(EntryKind::role, 1, &[9]), 10), Err(ErrorCode::UnknownMember));
    assert_eq!(group.judge(change(EntryKind(99), 1, &[2]), 10), Err(ErrorCode::Unsupported));
}

#[test]
fn a_judged_change_names_only_whom_it_changes() {
    let group = created(&[2, 3]);
    let added = group.judge(change(EntryKind::added, 1, &[2, 4]), 10).expect("allowed");
    assert_eq!(added.users, [user(4)]);
    assert_eq!(group.judge(change(EntryKind::added, 1, &[2]), 10), Err(ErrorCode::NoChange));
    assert_eq!(group.judge(change(EntryKind::added, 1, &[2, 4]), 3), Err(ErrorCode::TooManyMembers));
    assert_eq!(group.judge(change(EntryKind::role, 1, &[1]), 10), Err(ErrorCode::NoChange));
    assert_eq!(group.judge(change(EntryKind::renamed, 1, &[]), 10), Err(ErrorCode::NoChange), "it has no name yet");
}

#[test]
fn who_comes_back_has_two_spans() {
    let mut group = created(&[2, 3]);
    assert!(!group.apply(5, &change(EntryKind::removed, 1, &[2])));
    assert!(!group.is_present(user(2)));
    assert!(!group.apply(9, &change(EntryKind::added, 1, &[2])), "the seat is kept");
    let seat = group.seat(user(2)).expect("a seat");
    let seen: Vec<u64> = (1..12).filter(|&seq| seat.covers(seq)).collect();
    assert_eq!(seen, [1, 2, 3, 4, 5, 9, 10, 11], "the entry that ended it is seen too");
}

#[test]
fn the_longest_member_follows_the_last_admin() {
    let mut group = created(&[3]);
    group.apply(2, &change(EntryKind::added, 1, &[2]));
    group.apply(3, &change(EntryKind::left, 1, &[]));
    assert_eq!((role_of(&group, 3), role_of(&group, 2)), (Some(Role::admin), Some(Role::member)));
    group.apply(4, &change(EntryKind::left, 3, &[]));
    assert_eq!(role_of(&group, 2), Some(Role::admin));
    group.apply(5, &change(EntryKind::left, 2, &[]));
    assert_eq!(group.members().count(), 0);
}

#[test]
fn what_is_ordered_counts_at_once_and_can_be_forgotten() {
    let mut group = Group::default();
    let first = group.current().judge(change(EntryKind::created, 1, &[2]), 10).expect("allowed");
    group.order(1, first);
    group.order(2, change(EntryKind::left, 2, &[]));
    assert!(group.current().is_present(user(1)) && !group.current().is_present(user(2)));
    assert!(group.state.seats.is_empty(), "nothing is durable");
    assert!(group.settle(1));
    assert!(group.state.is_present(user(2)));
    group.forget();
    assert!(group.current().is_present(user(2)), "that it left was never durable");
}

proptest! {
    /// Whatever is asked for: a roster keeps its order, an admin, and spans that rise.
    #[test]
    fn a_roster_keeps_its_rules(
        wishes in prop::collection::vec((0u8..6, 1u64..6, prop::collection::vec(1u64..8, 0..4), 0u8..2), 1..60),
    ) {
        let kinds = [
            EntryKind::added, EntryKind::removed, EntryKind::left, EntryKind::role, EntryKind::renamed, EntryKind::created,
        ];
        let mut group = created(&[2, 3]);
        let mut seq = 1;
        for (kind, by, users, role) in wishes {
            let wish = Change { role: Role(role), ..change(kinds[usize::from(kind)], by, &users) };
            let Ok(judged) = group.judge(wish, 6) else { continue };
            seq += 1;
            let before = group.clone();
            group.apply(seq, &judged);
            prop_assert!(before != group || judged.kind == EntryKind::role, "a judged change changes something");
            prop_assert!(group.seats.is_sorted_by(|a, b| a.user < b.user));
            prop_assert!(group.members().count() <= 6);
            let admins = group.members().filter(|seat| seat.role == Role::admin).count();
            prop_assert!(admins > 0 || group.members().count() == 0);
            for seat in &group.seats {
                prop_assert!(seat.spans.iter().all(|span| span.0 <= span.1));
                prop_assert!(seat.spans.is_sorted_by(|a, b| a.1 < b.0));
            }
        }
    }
}
