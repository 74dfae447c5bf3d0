//! Behaviours: what is refused, that they follow from seed and place alone, and that they keep what they say.

use super::*;

const SECOND: u64 = 1_000_000_000;

fn scenario(users: u32, seed: u64, behaviours: &str) -> String {
    format!(
        "behaviour = [{behaviours}]\n[load]\nusers = {users}\nmode = \"open\"\nrate = 100.0\nramp_s = 1.0\nsteady_s = 20.0\nseed = {seed}\n"
    )
}

fn made(users: u32, seed: u64, behaviours: &str) -> Behaviours {
    Behaviours::new(&Scenario::parse(&scenario(users, seed, behaviours)).unwrap()).unwrap()
}

/// Everything that happens to a user.
fn acts(behaviours: &Behaviours, index: usize, place: u32) -> Vec<(u64, Act)> {
    let mut from = 0;
    std::iter::from_fn(|| {
        let (at, act) = behaviours.get(index).next(place, from)?;
        from = at + 1;
        Some((at, act))
    })
    .collect()
}

fn all(behaviours: &Behaviours, users: u32) -> Vec<Vec<(u64, Act)>> {
    (0..behaviours.len())
        .flat_map(|index| (0..users).map(move |place| (index, place)))
        .map(|(index, place)| acts(behaviours, index, place))
        .collect()
}

const EVERY_KIND: &str = "{ kind = \"reconnect-storm\", at_s = 2.0, share = 0.5, over_s = 1.0 }, \
     { kind = \"offline-drain\", at_s = 4.0, for_s = 3.0, over_s = 1.0 }, \
     { kind = \"slow-readers\", at_s = 9.0, for_s = 3.0, share = 0.3, over_s = 1.0 }, \
     { kind = \"churn\", drops_per_second = 40.0 }, \
     { kind = \"login-ramp\", from_per_second = 50.0, to_per_second = 150.0 }, \
     { kind = \"restart\", at_s = 5.0 }";

#[test]
fn the_same_seed_gives_the_same_acts_and_another_gives_others() {
    let (one, again, other) = (made(200, 7, EVERY_KIND), made(200, 7, EVERY_KIND), made(200, 8, EVERY_KIND));
    assert_eq!(all(&one, 200), all(&again, 200));
    for index in 0..5 {
        let of = |behaviours: &Behaviours| (0..200).map(|place| acts(behaviours, index, place)).collect::<Vec<_>>();
        assert_ne!(of(&one), of(&other), "behaviour {index}");
    }
}

#[test]
fn a_storm_of_the_first_users_leaves_all_others_alone() {
    let storm = made(100, 1, "{ kind = \"reconnect-storm\", at_s = 2.0, users = 30 }");
    for place in 0..100 {
        let expected = if place < 30 { vec![(2 * SECOND, Act::Cut)] } else { Vec::new() };
        assert_eq!(acts(&storm, 0, place), expected, "user {place}");
    }
}

#[test]
fn shares_moments_and_windows_are_as_asked() {
    let behaviours = made(2_000, 1, EVERY_KIND);
    let of = |index| (0..2_000).flat_map(|place| acts(&behaviours, index, place)).collect::<Vec<_>>();
    let storm = of(0);
    assert!((900..1_100).contains(&storm.len()), "{} of 2,000", storm.len());
    assert!(storm.iter().all(|(at, act)| (2 * SECOND..=3 * SECOND).contains(at) && *act == Act::Cut));
    let drain = of(1);
    assert!((900..1_100).contains(&drain.len()));
    let in_time = |act: &Act| matches!(act, Act::Leave(until) if (7 * SECOND..=8 * SECOND).contains(until));
    assert!(drain.iter().all(|(at, act)| *at == 4 * SECOND && in_time(act)));
    let slow = of(2);
    assert!((500..700).contains(&slow.len()), "{} of 2,000", slow.len());
    assert!(slow.iter().all(|(at, act)| *act == Act::Stall(at + 3 * SECOND)));
    for (index, (_, behaviour)) in behaviours.iter().enumerate() {
        let window = behaviour.window();
        assert!(of(index).iter().all(|(at, _)| window.contains(at)), "{}", behaviour.describe());
    }
}

#[test]
fn churn_cuts_at_its_rate_and_everybody_in_turn() {
    let behaviours = made(100, 3, "{ kind = \"churn\", drops_per_second = 50.0, at_s = 1.0, for_s = 8.0 }");
    let each: Vec<usize> = (0..100).map(|place| acts(&behaviours, 0, place).len()).collect();
    assert_eq!(each, [4; 100], "a period is 2 s");
    let behaviours = made(100, 3, "{ kind = \"churn\", drops_per_second = 1.0 }");
    let sum: usize = (0..100).map(|place| acts(&behaviours, 0, place).len()).sum();
    assert!((10..=32).contains(&sum), "{sum} cuts in 21 s");
}

#[test]
fn logins_come_at_a_rising_rate_each_user_once() {
    let behaviours = made(1_000, 3, "{ kind = \"login-ramp\", from_per_second = 50.0, to_per_second = 150.0 }");
    let mut logins: Vec<u64> = Vec::new();
    for place in 0..1_000 {
        let [(at, Act::Login)] = acts(&behaviours, 0, place)[..] else { panic!("user {place}") };
        logins.push(at);
    }
    logins.sort_unstable();
    let within = |second: u64| logins.iter().filter(|at| **at / SECOND == second).count();
    assert_eq!((logins.len(), within(0), within(9)), (1_000, 55, 145));
}

#[test]
fn a_message_is_apart_when_one_is_cut_between_its_times() {
    let behaviours = made(10, 3, "{ kind = \"reconnect-storm\", at_s = 5.0 }");
    for (from, to, upset) in [(4_000, 6_000, true), (4_000, 4_000, false), (5_000, 5_000, true), (6_000, 9_000, false)]
    {
        assert_eq!(behaviours.upset(3, from * 1_000_000, to * 1_000_000), upset, "from {from} ms to {to} ms");
    }
    assert!(behaviours.upset(3, 5_400_000_000, 9 * SECOND), "the cut may have come after it was sent");
    let restart = made(10, 3, "{ kind = \"restart\", at_s = 5.0, down_s = 2.0 }");
    assert!(restart.upset(3, 7 * SECOND, 7 * SECOND) && !restart.upset(3, 9 * SECOND, 10 * SECOND));
}

#[test]
fn a_restart_tolerates_what_is_named_and_only_in_its_window() {
    let text = "{ kind = \"restart\", at_s = 5.0, within_s = 3.0, tolerate = [\"disconnected\", \"connect\"] }";
    let behaviours = made(10, 3, text);
    assert!(behaviours.restart_at(4 * SECOND).is_none() && behaviours.restart_at(8 * SECOND).is_none());
    let (index, restart) = behaviours.restart_at(6 * SECOND).unwrap();
    assert_eq!((index, restart.signal), (0, restart::Signal::Term));
    assert!(restart.tolerates("disconnected: lost") && restart.tolerates("connect: connection refused"));
    assert!(!restart.tolerates("refused: internal") && !restart.tolerates("postponed: overloaded"));
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    for (behaviours, expected) in [
        ("{ at_s = 1.0 }", "behaviour[0]: kind is missing: one of \"churn\""),
        ("{ kind = \"flood\" }", "behaviour[0]: kind = \"flood\": expected one of \"churn\", \"day\", \"login-ramp\""),
        ("{ kind = 3 }", "kind = 3: expected one of"),
        ("{ kind = \"churn\", drops_per_second = 1.0, rate = 2.0 }", "churn: unknown field `rate`, expected one of"),
        ("{ kind = \"churn\" }", "churn: missing field `drops_per_second`"),
        ("{ kind = \"churn\", drops_per_second = 0.0 }", "churn: drops_per_second = 0: expected 0.001 to 100000"),
        ("{ kind = \"reconnect-storm\", at_s = 1.0, share = 1.5 }", "reconnect-storm: share = 1.5: expected 0 to 1"),
        ("{ kind = \"reconnect-storm\", at_s = nan }", "reconnect-storm: at_s = NaN"),
        ("{ kind = \"offline-drain\", at_s = 15.0, for_s = 7.0 }", "offline-drain: it ends 22 s after"),
        ("{ kind = \"slow-readers\", at_s = 1.0, for_s = 26.0 }", "slow-readers: for_s = 26: expected 0.1 to 25"),
        (
            "{ kind = \"login-ramp\", from_per_second = 0.1, to_per_second = 0.1 }",
            "login-ramp: the last of 10 logins ends 100 s",
        ),
        (
            "{ kind = \"restart\", at_s = 1.0, signal = \"hup\" }",
            "restart: unknown variant `hup`, expected `term` or `kill`",
        ),
        ("{ kind = \"restart\", at_s = 1.0, tolerate = [\"lost\"] }", "tolerate has \"lost\": expected some of"),
        ("{ kind = \"restart\", at_s = 1.0 }, { kind = \"restart\", at_s = 5.0 }", "restarts must be in order"),
    ] {
        let message = Scenario::parse(&scenario(10, 1, behaviours)).expect_err(behaviours);
        assert!(message.contains(expected), "{message} should contain {expected}");
    }
    let logins = "{ kind = \"login-ramp\", from_per_second = 9.0, to_per_second = 9.0 }";
    let message = Scenario::parse(&scenario(10, 1, &format!("{logins}, {logins}"))).unwrap_err();
    assert!(message.contains("one login-ramp only"), "{message}");
    let connect = "behaviour = [{ kind = \"churn\", drops_per_second = 1.0 }]\n[load]\nusers = 2\nmode = \"connect\"\nsteady_s = 1.0\n";
    assert!(Scenario::parse(connect).unwrap_err().contains("not for load.mode = \"connect\""));
}

#[test]
fn drops_per_second_is_a_churn() {
    let text = "[load]\nusers = 20\nmode = \"idle\"\nsteady_s = 1.0\ndrops_per_second = 2.0\n";
    let behaviours = Behaviours::new(&Scenario::parse(text).unwrap()).unwrap();
    assert_eq!(behaviours.iter().map(|(kind, _)| kind).collect::<Vec<_>>(), ["churn"]);
}
