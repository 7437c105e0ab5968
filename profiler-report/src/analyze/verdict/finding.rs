//! A cause that a rule has found, and how sure that is.

use super::VerdictId;
use super::facts::Facts;
use crate::analyze::claim::Claim;

/// A cause.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finding {
    pub id: VerdictId,
    /// Of the working threads' active time.
    pub share: f64,
    pub sentence: Claim,
    pub evidence: Vec<Claim>,
    pub counter_evidence: Vec<Claim>,
    pub next_steps: Vec<Claim>,
    pub max_gain: Option<f64>,
    /// What other sources say of it.
    pub agreement: Vec<Agreement>,
    /// Samples that the claim rests on, if it rests on samples.
    pub samples: Option<u64>,
    /// Findings that it explains, which do not stand beside it.
    pub explains: &'static [VerdictId],
    /// Names what everybody sees, and not what lies behind it: two such are a mixture.
    pub is_plain: bool,
    /// Comes before others of its share: it names a cause, or cannot be anything else.
    pub precedence: f64,
}

/// What another source says of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    Agrees,
    /// It could have agreed, and says nothing.
    Silent,
    Contradicts,
}

impl Agreement {
    /// By a number of the source: at or above the first it agrees, below the second it contradicts. None if there is no such source.
    pub fn by(value: Option<f64>, agrees: f64, contradicts: f64) -> Option<Self> {
        value.map(|value| {
            if value >= agrees {
                Self::Agrees
            } else if value < contradicts {
                Self::Contradicts
            } else {
                Self::Silent
            }
        })
    }
}

/// How sure a verdict is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    Low,
    Medium,
    High,
}

impl Confidence {
    pub fn of(score: f64) -> Self {
        if score >= 0.8 {
            Self::High
        } else if score >= 0.6 {
            Self::Medium
        } else {
            Self::Low
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

impl Finding {
    /// Decides which of several stands first: what others contradict weighs less.
    pub(super) fn weight(&self) -> f64 {
        (self.share + self.precedence) * (0.5 + 0.5 * agreement(&self.agreement))
    }
}

/// Just below what counts as high.
pub const BELOW_HIGH: f64 = 0.79;
/// A finding that cannot be anything else, whatever else takes more time.
const DEFINITE: f64 = 0.5;
/// So much more of the working time makes another finding the larger one.
const LARGER: f64 = 0.05;

/// The most that can be said of the first one: where another takes more of the time, it is not sure that
/// fixing this one helps.
pub fn most(first: &Finding, others: &[Finding]) -> f64 {
    let is_larger = |other: &Finding| other.share > first.share + LARGER;
    if first.precedence < DEFINITE && others.iter().any(is_larger) { BELOW_HIGH } else { 1.0 }
}

/// Where no other source says anything.
const UNCORROBORATED: f64 = 0.75;

/// `min(coverage, sampling) × agreement`, from 0 to 1.
pub fn score(facts: &Facts<'_>, finding: &Finding) -> f64 {
    let sampling = finding.samples.map_or(1.0, |samples| sampling(finding.share, samples));
    coverage(facts).min(sampling) * agreement(&finding.agreement)
}

/// How much of the time is accounted for with a reason, and was not lost.
pub fn coverage(facts: &Facts<'_>) -> f64 {
    (facts.ledger.classified_ratio() * (1.0 - facts.trust.lost_ratio)).clamp(0.0, 1.0)
}

/// One minus the relative half-width of the 95 % interval of a share that this number of samples gives.
fn sampling(share: f64, samples: u64) -> f64 {
    if samples == 0 || share <= 0.0 {
        return 0.0;
    }
    let share = share.min(1.0);
    let half_width = 1.96 * (share * (1.0 - share) / samples as f64).sqrt();
    (1.0 - half_width / share).clamp(0.0, 1.0)
}

fn agreement(sources: &[Agreement]) -> f64 {
    if sources.is_empty() {
        return UNCORROBORATED;
    }
    let sum: f64 = sources
        .iter()
        .map(|source| match source {
            Agreement::Agrees => 1.0,
            Agreement::Silent => 0.5,
            Agreement::Contradicts => 0.0,
        })
        .sum();
    sum / sources.len() as f64
}

/// So many times as fast if this share of the time were gone.
pub fn gain(share: f64) -> Option<f64> {
    let share = share.clamp(0.0, 0.99);
    (share > 0.0).then(|| 1.0 / (1.0 - share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_samples_make_a_share_uncertain() {
        assert!(sampling(0.5, 10) < 0.4);
        assert!(sampling(0.5, 1000) > 0.93);
        assert!((sampling(1.0, 10) - 1.0).abs() < 1e-9);
        assert!(sampling(0.3, 0) <= 0.0);
    }

    #[test]
    fn a_contradiction_weighs_as_much_as_an_agreement() {
        use Agreement::{Agrees, Contradicts, Silent};
        assert!((agreement(&[Agrees, Agrees]) - 1.0).abs() < 1e-9);
        assert!((agreement(&[Agrees, Contradicts]) - 0.5).abs() < 1e-9);
        assert!((agreement(&[Agrees, Silent]) - 0.75).abs() < 1e-9);
        assert!((agreement(&[]) - 0.75).abs() < 1e-9);
    }

    #[test]
    fn the_gain_is_amdahls_and_bounded() {
        assert_eq!(gain(0.5), Some(2.0));
        assert_eq!(gain(0.0), None);
        assert!(gain(1.0).is_some_and(|gain| gain < 101.0));
    }

    #[test]
    fn a_source_that_is_not_there_is_no_source() {
        assert_eq!(Agreement::by(None, 0.1, 0.01), None);
        assert_eq!(Agreement::by(Some(0.2), 0.1, 0.01), Some(Agreement::Agrees));
        assert_eq!(Agreement::by(Some(0.05), 0.1, 0.01), Some(Agreement::Silent));
        assert_eq!(Agreement::by(Some(0.0), 0.1, 0.01), Some(Agreement::Contradicts));
    }
}
