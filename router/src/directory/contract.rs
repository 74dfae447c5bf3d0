//! What every directory must do; run over each implementation.

use proptest::prelude::*;
use schema::envelope::Address;
use schema::ids::{DeviceId, UserId};

use super::{Directory, Outcome, Registration};

/// Runs the whole suite over directories that `make` makes empty.
pub(crate) fn run<D: Directory>(make: impl Fn() -> D) {
    a_device_has_one_session_and_the_highest_epoch_wins(&mut make());
    only_the_exact_registration_can_be_removed(&mut make());
    devices_of_a_user_are_apart(&mut make());
    what_a_lost_gateway_had_goes_and_what_it_registers_later_stays(&mut make());
    any_history_matches_a_model(&make);
}

fn user(id: u64) -> UserId {
    UserId::new(id).expect("tests use ids above 0")
}

fn registration(device: u32, shard: u16, connection: u32, epoch: u64) -> Registration {
    let address = Address { incarnation: 9, shard, connection, generation: 1 };
    Registration { device: DeviceId(device), address, epoch }
}

fn sessions<D: Directory>(directory: &D, user: UserId) -> Vec<Registration> {
    let mut sessions = Vec::new();
    directory.each_session(user, |session| sessions.push(*session));
    sessions
}

fn a_device_has_one_session_and_the_highest_epoch_wins<D: Directory>(directory: &mut D) {
    let (old, new) = (registration(1, 0, 5, 10), registration(1, 3, 8, 11));
    assert_eq!(directory.register(user(7), old), Outcome::Added);
    assert_eq!(directory.register(user(7), old), Outcome::Unchanged);
    assert_eq!(directory.register(user(7), new), Outcome::Replaced(old));
    assert_eq!(directory.register(user(7), old), Outcome::Stale(new));
    assert_eq!(sessions(directory, user(7)), [new]);
    assert_eq!(directory.session_count(), 1);
}

fn only_the_exact_registration_can_be_removed<D: Directory>(directory: &mut D) {
    let held = registration(1, 0, 5, 10);
    directory.register(user(7), held);
    assert!(!directory.unregister(user(8), held));
    assert!(!directory.unregister(user(7), Registration { epoch: 9, ..held }));
    assert!(!directory.unregister(user(7), registration(1, 1, 5, 10)));
    assert!(directory.unregister(user(7), held));
    assert!(!directory.unregister(user(7), held));
    assert!(sessions(directory, user(7)).is_empty());
    assert_eq!(directory.session_count(), 0);
}

fn devices_of_a_user_are_apart<D: Directory>(directory: &mut D) {
    for device in 0..5 {
        assert_eq!(directory.register(user(7), registration(device, 0, device, 1)), Outcome::Added);
    }
    assert!(directory.unregister(user(7), registration(2, 0, 2, 1)));
    let mut left: Vec<u32> = sessions(directory, user(7)).iter().map(|held| held.device.0).collect();
    left.sort_unstable();
    assert_eq!(left, [0, 1, 3, 4]);
}

fn what_a_lost_gateway_had_goes_and_what_it_registers_later_stays<D: Directory>(directory: &mut D) {
    const USERS: u64 = 500;
    let at = |incarnation, device| {
        let held = registration(device, 0, 5, 10);
        Registration { address: Address { incarnation, ..held.address }, ..held }
    };
    for id in 1..=USERS {
        directory.register(user(id), at(9, 1));
        directory.register(user(id), at(8, 2));
    }
    assert!(!directory.sweep(), "nothing is lost");
    directory.lose(9);
    directory.lose(7);
    while directory.sweep() {}
    assert_eq!(directory.session_count(), USERS as usize);
    (1..=USERS).for_each(|id| assert_eq!(sessions(directory, user(id)), [at(8, 2)]));
    // One that comes back in the midst of it.
    (1..=USERS).for_each(|id| assert_eq!(directory.register(user(id), at(9, 1)), Outcome::Added));
    directory.lose(9);
    directory.sweep();
    assert_eq!(directory.register(user(1), at(9, 1)), Outcome::Added, "as if it had never been there");
    while directory.sweep() {}
    assert_eq!(directory.session_count(), USERS as usize + 1);
    assert_eq!(sessions(directory, user(1)).len(), 2);
}

fn any_history_matches_a_model<D: Directory>(make: &impl Fn() -> D) {
    let step = (any::<bool>(), 1u64..4, 0u32..3, 0u64..6, 0u32..3);
    proptest!(|(steps in prop::collection::vec(step, 0..200))| {
        let mut directory = make();
        let mut model = std::collections::BTreeMap::<(u64, u32), Registration>::new();
        for (register, id, device, epoch, connection) in steps {
            let asked = registration(device, 0, connection, epoch);
            let held = model.get(&(id, device)).copied();
            if register {
                let expected = match held {
                    None => Outcome::Added,
                    Some(held) if held == asked => Outcome::Unchanged,
                    Some(held) if held.epoch >= epoch => Outcome::Stale(held),
                    Some(held) => Outcome::Replaced(held),
                };
                prop_assert_eq!(directory.register(user(id), asked), expected);
                if matches!(expected, Outcome::Added | Outcome::Replaced(_)) {
                    model.insert((id, device), asked);
                }
            } else {
                prop_assert_eq!(directory.unregister(user(id), asked), held == Some(asked));
                if held == Some(asked) {
                    model.remove(&(id, device));
                }
            }
            prop_assert_eq!(directory.session_count(), model.len());
        }
    });
}
