//! What a verdict says, as values: words of ours, names that the target brought, and numbers with their units. `report` makes
//! sentences of them.
//!
//! A rule writes `claim!` as it would write `format!`, and each argument stays what it is.

use std::net::IpAddr;

use super::VerdictId;

/// Something that is said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claim {
    pub parts: Vec<Part>,
}

/// One piece of a claim, in its order.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Our own.
    Words(&'static str),
    /// Text that comes from the recording, hostile: a name, a path, functions.
    Name(String),
    Value(Value),
}

/// A number and its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A part of something, from 0 to 1.
    Ratio(f64),
    Ns(f64),
    Bytes(u64),
    Count(u64),
    /// Of no unit, shown with so many decimals.
    Number(f64, usize),
}

/// What may stand in a claim.
pub trait Piece {
    /// Adds itself.
    fn add_to(&self, parts: &mut Vec<Part>);
}

impl<T: Piece + ?Sized> Piece for &T {
    fn add_to(&self, parts: &mut Vec<Part>) {
        (**self).add_to(parts);
    }
}

impl Piece for Value {
    fn add_to(&self, parts: &mut Vec<Part>) {
        parts.push(Part::Value(*self));
    }
}

impl Piece for Claim {
    fn add_to(&self, parts: &mut Vec<Part>) {
        parts.extend_from_slice(&self.parts);
    }
}

impl Piece for VerdictId {
    fn add_to(&self, parts: &mut Vec<Part>) {
        parts.push(Part::Words(self.as_str()));
    }
}

/// Names, and numbers that have no unit: ids, ports, CPUs.
macro_rules! names {
    ($($name:ty),*) => {$(
        impl Piece for $name {
            fn add_to(&self, parts: &mut Vec<Part>) {
                parts.push(Part::Name(self.to_string()));
            }
        }
    )*};
}
names!(str, String, u16, u32, u64, usize, f64, IpAddr);

impl Claim {
    /// Adds the next words of a pattern, up to its next `{}`; returns what follows that.
    #[must_use]
    pub fn words(&mut self, pattern: &'static str) -> &'static str {
        let (words, rest) = pattern.split_once("{}").unwrap_or((pattern, ""));
        if !words.is_empty() {
            self.parts.push(Part::Words(words));
        }
        rest
    }

    /// Claims one after the other, with these words between two.
    pub fn list<'a>(between: &'static str, claims: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut parts = vec![];
        for (index, claim) in claims.into_iter().enumerate() {
            if index > 0 {
                parts.push(Part::Words(between));
            }
            parts.extend_from_slice(&claim.parts);
        }
        Self { parts }
    }

    /// Nothing is said.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Its numbers.
    pub fn values(&self) -> impl Iterator<Item = Value> {
        self.parts.iter().filter_map(|part| match part {
            Part::Value(value) => Some(*value),
            Part::Words(_) | Part::Name(_) => None,
        })
    }
}

/// How many places a pattern has, when a claim is compiled.
///
/// # Panics
/// Something else is in braces: the claim does not compile.
pub const fn places(pattern: &str) -> usize {
    let bytes = pattern.as_bytes();
    let (mut at, mut places) = (0, 0);
    while at < bytes.len() {
        if bytes[at] == b'{' {
            at += 1;
            assert!(
                at < bytes.len() && bytes[at] == b'}',
                "only an empty pair of braces has a meaning in a claim"
            );
            places += 1;
        }
        at += 1;
    }
    places
}

/// A `Claim` of a pattern, in which each `{}` stands for the next argument.
macro_rules! claim {
    ($pattern:literal $(, $argument:expr)* $(,)?) => {{
        const _: () = assert!(
            $crate::analyze::claim::places($pattern) == <[&str]>::len(&[$(stringify!($argument)),*]),
            "as many arguments as places"
        );
        let mut claim = $crate::analyze::claim::Claim::default();
        let rest = claim.words($pattern);
        $(
            $crate::analyze::claim::Piece::add_to(&$argument, &mut claim.parts);
            let rest = claim.words(rest);
        )*
        let _ = rest;
        claim
    }};
}
pub(crate) use claim;

/// A part of something.
pub fn percent(ratio: f64) -> Value {
    Value::Ratio(ratio)
}

/// A time, in nanoseconds.
pub fn duration(ns: f64) -> Value {
    Value::Ns(ns)
}

/// A time of a recording.
pub fn seconds(ns: u64) -> Value {
    Value::Ns(ns as f64)
}

/// Memory.
pub fn bytes(bytes: u64) -> Value {
    Value::Bytes(bytes)
}

/// A number of things.
pub fn count(number: u64) -> Value {
    Value::Count(number)
}

/// A number without a unit, with so many decimals.
pub fn decimal(number: f64, decimals: usize) -> Value {
    Value::Number(number, decimals)
}

/// `1 204 waits`, `1 wait`: adds an s but for one.
pub fn plural(number: u64, thing: &'static str) -> Claim {
    let mut parts = vec![Part::Value(Value::Count(number)), Part::Words(" "), Part::Words(thing)];
    if number != 1 {
        parts.push(Part::Words("s"));
    }
    Claim { parts }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_stay_what_they_are() {
        let claim = claim!("{} waits {} for {}", "a\u{1b}", percent(0.25), plural(2, "lock"));
        let expected = [
            Part::Name("a\u{1b}".to_owned()),
            Part::Words(" waits "),
            Part::Value(Value::Ratio(0.25)),
            Part::Words(" for "),
            Part::Value(Value::Count(2)),
            Part::Words(" "),
            Part::Words("lock"),
            Part::Words("s"),
        ];
        assert_eq!(claim.parts, expected);
        assert_eq!(claim.values().collect::<Vec<_>>(), [Value::Ratio(0.25), Value::Count(2)]);
    }
}
