//! Where connections go: one server, or several that serve the same users.
//!
//! Users are spread evenly: the user at place n begins at the target n mod k. One whose connect failed or whose connection
//! was lost takes the next one, as a device with a list of addresses does.

use std::net::SocketAddr;

use crate::fail::Failure;
use crate::probe;
use crate::secure::Secure;

/// One listener.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it is.
    pub address: SocketAddr,
    /// What the address is called in a `Host` header.
    pub host: String,
    /// How connections to it are secured; `None`: not at all.
    pub secure: Option<Secure>,
}

/// All of a run, one at least.
#[derive(Clone, Debug)]
pub struct Targets(Vec<Target>);

impl Targets {
    /// By addresses and names; `secure` makes what secures the connections to one of that name.
    ///
    /// # Errors
    /// [`Failure::Unreachable`] when there is none; what `secure` says.
    pub fn new(
        places: Vec<(SocketAddr, String)>,
        secure: impl Fn(&str) -> Result<Option<Secure>, Failure>,
    ) -> Result<Self, Failure> {
        if places.is_empty() {
            return Err(Failure::Unreachable { target: "a target".to_owned(), reason: "none is named".to_owned() });
        }
        let target = |(address, host): (SocketAddr, String)| Ok(Target { address, secure: secure(&host)?, host });
        Ok(Self(places.into_iter().map(target).collect::<Result<_, Failure>>()?))
    }

    /// By their names, HOST:PORT.
    ///
    /// # Errors
    /// As [`Self::new`], or when a name leads nowhere.
    pub fn named(names: &[String], secure: impl Fn(&str) -> Result<Option<Secure>, Failure>) -> Result<Self, Failure> {
        let places = names.iter().map(|host| Ok((probe::resolve(host)?, host.clone())));
        Self::new(places.collect::<Result<_, Failure>>()?, secure)
    }

    /// The first.
    pub fn first(&self) -> &Target {
        &self.0[0]
    }

    /// Where the user at `place` connects after `moves` failures.
    pub fn of(&self, place: u32, moves: u32) -> &Target {
        let nth = u64::from(place) + u64::from(moves);
        &self.0[(nth % self.0.len() as u64) as usize]
    }

    /// The one at a place in the list; the first beyond its end.
    pub fn at(&self, place: usize) -> &Target {
        self.0.get(place).unwrap_or_else(|| self.first())
    }

    /// In their order.
    pub fn iter(&self) -> impl Iterator<Item = &Target> {
        self.0.iter()
    }

    /// Whether all are on this host's loopback addresses.
    pub fn are_loopback(&self) -> bool {
        self.0.iter().all(|target| target.address.ip().is_loopback())
    }
}

impl std::fmt::Display for Targets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, target) in self.0.iter().enumerate() {
            write!(f, "{}{}", if place > 0 { ", " } else { "" }, target.address)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Targets {
        let names = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"].map(str::to_owned);
        Targets::named(&names, |_| Ok(None)).unwrap()
    }

    #[test]
    fn users_are_spread_evenly_and_go_round() {
        let targets = three();
        let port = |place, moves| targets.of(place, moves).address.port();
        assert_eq!([port(0, 0), port(1, 0), port(2, 0), port(3, 0)], [1, 2, 3, 1]);
        assert_eq!([port(1, 1), port(1, 2), port(1, 3)], [3, 1, 2]);
        assert_eq!(port(u32::MAX, u32::MAX), 1, "{} + {} is divisible by 3", u32::MAX, u32::MAX);
        assert!(targets.are_loopback());
        assert_eq!(targets.to_string(), "127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:3");
    }

    #[test]
    fn a_name_that_is_none_is_refused_by_name() {
        let text = Targets::named(&["127.0.0.1:1".to_owned(), "nowhere".to_owned()], |_| Ok(None));
        assert!(text.unwrap_err().to_string().contains("nowhere"));
        assert!(Targets::named(&[], |_| Ok(None)).is_err());
    }
}
