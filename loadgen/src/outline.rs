//! What a scenario will do, in words and numbers, before any of it is done.

use core::fmt::Write as _;

use crate::behave::{Act, Behaviours};
use crate::pace::Profile;
use crate::plan::ns;
use crate::scenario::{Load, Mode, Protocol, Scenario};

/// Messages a load sends in all and in its steady phase; `None`: as many as are answered.
pub fn expected_messages(load: &Load) -> Option<(f64, f64)> {
    let (ramp, steady, cool_down) = (load.ramp_s, load.steady_s, load.cool_down_s);
    let (all, before) = match (load.mode, &load.think) {
        (Mode::Open, _) => {
            let profile = Profile::of(load, 1.0);
            let until = |seconds| profile.sends(ns(seconds));
            (until(ramp + steady + cool_down), (until(ramp), until(ramp + steady)))
        }
        (Mode::Closed, Some(think)) => {
            let slots = f64::from(load.users) * f64::from(load.in_flight.unwrap_or(0));
            let rate = slots / (think.mean_ms() / 1e3).max(1e-6);
            // Windows open over the ramp.
            let until = |seconds: f64| rate * (seconds - ramp / 2.0);
            (until(ramp + steady + cool_down), (until(ramp), until(ramp + steady)))
        }
        _ => return None,
    };
    let most = load.messages.map_or(f64::INFINITY, |messages| messages as f64);
    Some((all.min(most), before.1.min(most) - before.0.min(most)))
}

/// The plan, some lines for people. `workers`: worker threads there will be.
///
/// # Errors
/// A behaviour that cannot be.
pub fn outline(scenario: &Scenario, workers: u16) -> Result<String, String> {
    let (load, behaviours) = (&scenario.load, Behaviours::new(scenario)?);
    let mut text = format!("{}: {}\n", scenario.name, scenario.description);
    let mut line = |name: &str, what: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<12}{what}");
    };
    let protocol = match load.protocol {
        Protocol::Native => "native".to_owned(),
        Protocol::WebSocket => format!("WebSocket ({:?})", load.encoding.unwrap_or_default()),
    };
    let last = load.first_user + u64::from(load.users) - 1;
    line("users", format!("{}, ids {} to {last}, {protocol}, token {:?}", load.users, load.first_user, load.token));
    line("connecting", connecting(load, &behaviours));
    line("phases", phases(load));
    line("load", how(load));
    if let Some((all, steady)) = expected_messages(load) {
        line("messages", format!("about {all:.0}, {steady:.0} of them in the steady phase"));
    }
    if load.sends() {
        line("sizes", load.sizes().to_string());
        let pairs = format!("{:?}", load.pairs).to_lowercase();
        let receipts = if load.audits_receipts() { "audited" } else { "not audited" };
        line("pairs", format!("{pairs}, {} receivers each; marks {}, receipts {receipts}", load.peers, on(load.acks)));
    }
    for of in &load.groups {
        let writers = if of.writers == 0 { "all".to_owned() } else { of.writers.to_string() };
        let share = of.share * 100.0;
        line(
            "groups",
            format!("{} of {}, {writers} of each write; {share:.1} % of all messages", of.count, of.members),
        );
    }
    if !load.groups.is_empty() {
        let each = load.groups.iter().map(|of| of.share * f64::from(of.members - 1)).sum::<f64>();
        line("deliveries", format!("about {:.1} a message", each + load.direct_share()));
    }
    line(
        "workers",
        format!("{workers}, about {} users each; seed {}", load.users.div_ceil(u32::from(workers)), load.seed),
    );
    for (kind, behaviour) in behaviours.iter() {
        let window = behaviour.window();
        let (from, to) = (window.start as f64 / 1e9, window.end as f64 / 1e9);
        line("behaviour", format!("{from:.1} s to {to:.1} s: {kind}: {}", behaviour.describe()));
    }
    for (index, (kind, behaviour)) in behaviours.iter().enumerate() {
        let users = (0..load.users).filter(|place| behaviour.next(*place, 0).is_some()).count();
        let logins = matches!(behaviour.next(0, 0), Some((_, Act::Login)));
        let who = if logins { "log in" } else { "are concerned" };
        if users > 0 {
            line("concerned", format!("behaviour[{index}] {kind}: {users} users {who}"));
        }
    }
    Ok(text)
}

const fn on(yes: bool) -> &'static str {
    if yes { "on" } else { "off" }
}

fn connecting(load: &Load, behaviours: &Behaviours) -> String {
    if behaviours.delay_logins() {
        return "in the course of the load (login-ramp)".to_owned();
    }
    let rate = match load.connects_per_second {
        0.0 => "as fast as they come".to_owned(),
        rate => format!("{rate} a second"),
    };
    match load.mode {
        Mode::Connect => format!("again and again, {rate}"),
        _ => format!("all before the ramp, {rate}, within {} s", load.connect_timeout_s),
    }
}

fn phases(load: &Load) -> String {
    let whole = load.ramp_s + load.steady_s + load.cool_down_s;
    format!(
        "ramp {} s, steady {} s, cool-down {} s: {whole} s; then a drain of at most {} s",
        load.ramp_s, load.steady_s, load.cool_down_s, load.drain_s
    )
}

fn how(load: &Load) -> String {
    let arrivals = format!("{:?}", load.arrivals).to_lowercase();
    match load.mode {
        Mode::Open if load.steps.is_empty() => format!("open, {} msg/s, {arrivals} arrivals", load.peak_rate()),
        Mode::Open => {
            let short = |figure: f64| (figure * 100.0).round() / 100.0;
            let each = load.steps.iter().map(|step| match step.ramp_s {
                0.0 => format!("{} for {} s", short(step.rate), short(step.for_s)),
                ramp_s => format!("{} for {} s (over {ramp_s} s)", short(step.rate), short(step.for_s)),
            });
            format!("open, {arrivals} arrivals, msg/s: {}", each.collect::<Vec<_>>().join(", "))
        }
        Mode::Closed => {
            let think = load.think.as_ref().map_or_else(|| "no pauses".to_owned(), |think| format!("pauses {think}"));
            format!("closed, {} in flight a user, {think}", load.in_flight.unwrap_or(0))
        }
        Mode::Idle => "silent, pinging".to_owned(),
        Mode::Connect => "connect, authenticate, leave".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_from_rate_ramp_steps_and_limit() {
        let of = |keys: &str| {
            let text = format!("[load]\nusers = 10\n{keys}\n");
            expected_messages(&Scenario::parse(&text).unwrap().load).map(|(all, steady)| (all.round(), steady.round()))
        };
        assert_eq!(of("mode = \"open\"\nrate = 100.0\nramp_s = 2.0\nsteady_s = 10.0"), Some((1_100.0, 1_000.0)));
        assert_eq!(
            of("mode = \"open\"\nrate = 100.0\nramp_s = 2.0\nsteady_s = 10.0\nmessages = 300"),
            Some((300.0, 200.0))
        );
        assert_eq!(of("mode = \"closed\"\nin_flight = 2\nsteady_s = 10.0"), None);
        let think =
            "mode = \"closed\"\nin_flight = 2\nramp_s = 0.0\nsteady_s = 10.0\nthink = { kind = \"fixed\", ms = 500.0 }";
        assert_eq!(of(think), Some((400.0, 400.0)));
    }

    #[test]
    fn an_outline_names_phases_load_and_behaviours() {
        let text = "behaviour = [{ kind = \"reconnect-storm\", at_s = 5.0 }]\n[load]\nusers = 10\nmode = \"open\"\nramp_s = 1.0\n\
            steps = [{ rate = 10.0, for_s = 5.0 }, { rate = 20.0, for_s = 5.0, ramp_s = 1.0 }]\n";
        let text = outline(&Scenario::parse(text).unwrap(), 2).unwrap();
        for expected in [
            "ramp 1 s, steady 11 s, cool-down 0 s: 12 s; then a drain of at most 30 s",
            "10 for 5 s, 20 for 5 s (over 1 s)",
            "about 170, 165 of them in the steady phase",
            "5.0 s to 5.0 s: reconnect-storm: 100 % of the users are cut over 0 s",
            "behaviour[0] reconnect-storm: 10 users are concerned",
        ] {
            assert!(text.contains(expected), "{text} should contain {expected}");
        }
    }
}
