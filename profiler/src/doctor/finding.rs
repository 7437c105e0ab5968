//! One check and its verdict.

use super::Outcome;

/// What one check has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Stable: `--json` is read by programs.
    pub name: &'static str,
    pub kind: Kind,
    pub need: Need,
    /// What there is, in a few words.
    pub found: String,
    pub verdict: Verdict,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something that the machine has, or a setting of it.
    Requirement,
    /// Something that the profiler attaches: it was tried.
    Probe,
}

/// How much depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Without it nothing is recorded.
    Required,
    /// Without it something is missing in the recording.
    Optional,
    /// Recordings do not use it; it changes nothing.
    Unused,
}

/// Whether it works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Works,
    /// Recordings go without `lost`.
    Degraded {
        lost: String,
        mend: Vec<String>,
    },
    /// Not to be had.
    Impossible {
        why: String,
        mend: Vec<String>,
    },
}

impl Verdict {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Degraded { .. } => "degraded",
            Self::Impossible { .. } => "impossible",
        }
    }

    /// Lines to type, or what to change; none where nothing fixes it.
    pub fn mend(&self) -> &[String] {
        match self {
            Self::Works => &[],
            Self::Degraded { mend, .. } | Self::Impossible { mend, .. } => mend,
        }
    }
}

impl Finding {
    /// A requirement without which nothing is recorded, and which is there.
    pub fn required(name: &'static str, found: impl Into<String>) -> Self {
        let (kind, need) = (Kind::Requirement, Need::Required);
        Self { name, kind, need, found: found.into(), verdict: Verdict::Works }
    }

    pub fn optional(name: &'static str, found: impl Into<String>) -> Self {
        Self { need: Need::Optional, ..Self::required(name, found) }
    }

    pub fn unused(name: &'static str, found: impl Into<String>) -> Self {
        Self { need: Need::Unused, ..Self::required(name, found) }
    }

    /// The same as a probe.
    #[must_use]
    pub fn probe(self) -> Self {
        Self { kind: Kind::Probe, ..self }
    }

    #[must_use]
    pub fn degraded(self, lost: impl Into<String>, mend: &[&str]) -> Self {
        Self { verdict: Verdict::Degraded { lost: lost.into(), mend: owned(mend) }, ..self }
    }

    #[must_use]
    pub fn impossible(self, why: impl Into<String>, mend: &[&str]) -> Self {
        Self { verdict: Verdict::Impossible { why: why.into(), mend: owned(mend) }, ..self }
    }

    /// The finding in one line, without its name and verdict.
    pub fn sentence(&self) -> String {
        let reason = match &self.verdict {
            Verdict::Works => return self.found.clone(),
            Verdict::Degraded { lost, .. } => format!("lost: {lost}"),
            Verdict::Impossible { why, .. } => why.clone(),
        };
        if self.found.is_empty() { reason } else { format!("{}; {reason}", self.found) }
    }
}

fn owned(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|&line| line.to_owned()).collect()
}

/// The worst of the findings. What is not used counts for nothing, and what is optional stops nothing.
pub fn worst(findings: &[Finding]) -> Outcome {
    let each = findings.iter().map(|finding| match (finding.need, &finding.verdict) {
        (Need::Unused, _) | (_, Verdict::Works) => Outcome::Works,
        (Need::Required, Verdict::Impossible { .. }) => Outcome::CannotRun,
        _ => Outcome::Degraded,
    });
    each.max().unwrap_or(Outcome::Works)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(findings: &[Finding], expected: Outcome, code: u8) {
        assert_eq!((worst(findings), worst(findings).exit_code()), (expected, code));
    }

    #[test]
    fn the_exit_code_is_that_of_the_worst() {
        let works = || Finding::required("a", "");
        check(&[works()], Outcome::Works, 0);
        check(&[works(), works().degraded("x", &[])], Outcome::Degraded, 1);
        check(&[works().impossible("x", &[]), works().degraded("x", &[])], Outcome::CannotRun, 2);
    }

    #[test]
    fn an_optional_probe_that_is_impossible_stops_nothing() {
        check(&[Finding::optional("a", "").impossible("x", &[])], Outcome::Degraded, 1);
    }

    #[test]
    fn what_is_not_used_counts_for_nothing() {
        check(&[Finding::unused("a", "").impossible("x", &[])], Outcome::Works, 0);
    }
}
