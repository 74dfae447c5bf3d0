//! Groups among the users of a load.

use schema::limits::GROUP_MEMBERS_MAX;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Load;
use super::check::within;

/// Kinds of groups, at most.
const KINDS_MAX: usize = 16;
/// Memberships of all groups, at most: each is audited on its own.
const MEMBERSHIPS_MAX: u64 = 5_000_000;
/// Streams between two users, at most: the rest of a message's number says that it is a group's.
const STREAMS_MAX: u64 = 1 << 30;

/// Groups of one size (`[[load.groups]]`). Their members are users beside each other, so that a group is on one worker thread
/// where its size allows; the first member makes it.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Groups {
    /// Of each.
    pub members: u32,
    /// How many groups.
    #[serde(default = "one")]
    pub count: u32,
    /// Which part of all messages goes to them, 0 to 1.
    #[serde(default = "whole")]
    pub share: f64,
    /// Members of each who write, evenly chosen; 0 = all.
    #[serde(default)]
    pub writers: u32,
    /// The first member of the first group, counted from 0; the next group begins where one ends, after the last user with
    /// the first.
    #[serde(default)]
    pub from: u32,
}

fn one() -> u32 {
    1
}
fn whole() -> f64 {
    1.0
}

impl Groups {
    /// Members who write, of all groups; a user in two counts twice.
    pub const fn all_writers(&self) -> u32 {
        self.count * self.writers_each()
    }

    /// Members of one who write.
    pub const fn writers_each(&self) -> u32 {
        if self.writers == 0 { self.members } else { self.writers }
    }

    /// Whether the `member`th of a group writes.
    pub const fn writes(&self, member: u32) -> bool {
        let (members, writers) = (self.members as u64, self.writers_each() as u64);
        (member as u64 + 1) * writers / members > member as u64 * writers / members
    }
}

pub(super) fn check_groups(load: &Load) -> Result<(), String> {
    let all = &load.groups;
    within("the number of load.groups", all.len(), 0, KINDS_MAX)?;
    for (at, groups) in all.iter().enumerate() {
        let key = |name: &str| format!("load.groups[{at}].{name}");
        within(&key("members"), groups.members, 2, GROUP_MEMBERS_MAX)?;
        if groups.members > load.users {
            return Err(format!("{} = {}: there are {} users", key("members"), groups.members, load.users));
        }
        within(&key("count"), groups.count, 1, 100_000)?;
        within(&key("share"), groups.share, 0.0, 1.0)?;
        within(&key("writers"), groups.writers, 0, groups.members)?;
        within(&key("from"), groups.from, 0, load.users - 1)?;
    }
    if all.is_empty() {
        return Ok(());
    }
    within("the sum of load.groups.share", all.iter().map(|groups| groups.share).sum::<f64>(), 0.0, 1.0 + 1e-9)?;
    let memberships = all.iter().map(|groups| u64::from(groups.members) * u64::from(groups.count)).sum();
    within("the number of memberships in load.groups", memberships, 2, MEMBERSHIPS_MAX)?;
    within("load.users × load.peers beside groups", u64::from(load.users) * u64::from(load.peers), 0, STREAMS_MAX)?;
    if load.messages.is_some() {
        return Err("load.messages is for loads without load.groups: say load.rate and load.steady_s".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Scenario;
    use super::*;

    const OPEN: &str = "[load]\nusers = 100\nmode = \"open\"\nrate = 10.0\nsteady_s = 1.0\n";

    #[test]
    fn writers_are_as_many_as_asked_and_spread() {
        for writers in [0, 1, 3, 99, 100] {
            let groups = Groups { members: 100, count: 2, share: 1.0, writers, from: 0 };
            let who: Vec<u32> = (0..100).filter(|member| groups.writes(*member)).collect();
            assert_eq!(who.len() as u32, groups.writers_each());
            assert_eq!(groups.all_writers(), 2 * groups.writers_each());
            if writers == 3 {
                assert_eq!(who, [33, 66, 99]);
            }
        }
    }

    #[test]
    fn groups_that_cannot_be_are_refused_by_their_place() {
        for (keys, expected) in [
            ("[[load.groups]]\nmembers = 101", "load.groups[0].members = 101: there are 100 users"),
            ("[[load.groups]]\nmembers = 1", "load.groups[0].members = 1: expected 2"),
            ("[[load.groups]]\nmembers = 9\nwriters = 10", "load.groups[0].writers = 10: expected 0 to 9"),
            ("[[load.groups]]\nmembers = 9\nfrom = 100", "load.groups[0].from = 100: expected 0 to 99"),
            (
                "[[load.groups]]\nmembers = 9\n[[load.groups]]\nmembers = 9\nshare = 0.1",
                "the sum of load.groups.share = 1.1",
            ),
            ("messages = 5\n[[load.groups]]\nmembers = 9", "load.messages is for loads without load.groups"),
            ("[[load.groups]]\nmembers = 9\nsize = 1", "unknown field `size`"),
        ] {
            let message = Scenario::parse(&format!("{OPEN}{keys}\n")).unwrap_err();
            assert!(message.contains(expected), "{message} should contain {expected}");
        }
        let closed = OPEN.replace("mode = \"open\"\nrate = 10.0", "mode = \"closed\"\nin_flight = 1");
        let message = Scenario::parse(&format!("{closed}[[load.groups]]\nmembers = 9\n")).unwrap_err();
        assert!(message.contains("load.groups is for load.mode = \"open\" only"), "{message}");
        let ramp = "[[behaviour]]\nkind = \"login-ramp\"\nfrom_per_second = 100.0\nto_per_second = 100.0\n";
        let message = Scenario::parse(&format!("{OPEN}[[load.groups]]\nmembers = 9\n{ramp}")).unwrap_err();
        assert!(message.contains("a login-ramp brings them later"), "{message}");
    }

    #[test]
    fn what_is_not_written_to_groups_is_direct() {
        let text = format!("{OPEN}[[load.groups]]\nmembers = 10\nshare = 0.25\nwriters = 1\n");
        let load = Scenario::parse(&text).unwrap().load;
        assert!((load.direct_share() - 0.75).abs() < 1e-9);
        // One user writes a quarter of all, and its part of the direct ones.
        assert!((load.rate_per_user() - 10.0 * (0.25 + 0.75 / 100.0)).abs() < 1e-9, "{}", load.rate_per_user());
    }
}
