//! The findings for programs: docs/doctor-json.md explains the keys.

use std::io;

use serde::Serialize;

use super::{Diagnosis, Finding, Kind, Need, Verdict};

/// Raised when a key or a name is removed or changes its meaning; a new one does not raise it.
const SCHEMA_VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    profiler_version: &'a str,
    verdict: &'a str,
    exit_code: u8,
    findings: Vec<FindingJson<'a>>,
}

#[derive(Serialize)]
struct FindingJson<'a> {
    name: &'a str,
    kind: &'a str,
    need: &'a str,
    verdict: &'a str,
    found: &'a str,
    lost: Option<&'a str>,
    why: Option<&'a str>,
    mend: &'a [String],
}

/// Writes all of them as one object.
///
/// # Errors
/// Those of the writer.
pub fn render(diagnosis: &Diagnosis, out: &mut dyn io::Write) -> io::Result<()> {
    let outcome = diagnosis.outcome();
    let document = Document {
        schema_version: SCHEMA_VERSION,
        profiler_version: env!("CARGO_PKG_VERSION"),
        verdict: outcome.name(),
        exit_code: outcome.exit_code(),
        findings: diagnosis.findings.iter().map(finding).collect(),
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

fn finding(finding: &Finding) -> FindingJson<'_> {
    let (lost, why) = match &finding.verdict {
        Verdict::Works => (None, None),
        Verdict::Degraded { lost, .. } => (Some(lost.as_str()), None),
        Verdict::Impossible { why, .. } => (None, Some(why.as_str())),
    };
    FindingJson {
        name: finding.name,
        kind: match finding.kind {
            Kind::Requirement => "requirement",
            Kind::Probe => "probe",
        },
        need: match finding.need {
            Need::Required => "required",
            Need::Optional => "optional",
            Need::Unused => "unused",
        },
        verdict: finding.verdict.name(),
        found: &finding.found,
        lost,
        why,
        mend: finding.verdict.mend(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::doctor::facts::healthy;

    fn rendered(diagnosis: &Diagnosis) -> Value {
        let mut out = vec![];
        render(diagnosis, &mut out).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_finding_has_each_key_always() {
        let finding = Finding::optional("kptr_restrict", "2").degraded("names", &["sudo x"]);
        let expected = json!({
            "schema_version": 1,
            "profiler_version": env!("CARGO_PKG_VERSION"),
            "verdict": "degraded",
            "exit_code": 1,
            "findings": [{
                "name": "kptr_restrict", "kind": "requirement", "need": "optional", "verdict": "degraded",
                "found": "2", "lost": "names", "why": null, "mend": ["sudo x"],
            }],
        });
        assert_eq!(rendered(&Diagnosis { findings: vec![finding] }), expected);
    }

    /// Programs look for checks by name.
    #[test]
    fn each_check_has_a_name_of_its_own_and_the_document_has_them_all() {
        let document = rendered(&Diagnosis::of(&healthy()));
        let told = include_str!("../../../docs/doctor-json.md");
        let mut names: Vec<&str> = vec![];
        for finding in document["findings"].as_array().unwrap() {
            let name = finding["name"].as_str().unwrap();
            assert!(!names.contains(&name), "{name} twice");
            assert!(told.contains(&format!("| `{name}` |")), "docs/doctor-json.md has no row of `{name}`");
            names.push(name);
        }
    }
}
