//! Latencies of requests beside those that fio measures itself.
//!
//! fio's completion latency (`clat`) with libaio goes from the end of `io_submit` to the moment at which fio has the completion; a request's
//! goes from its arrival, which is inside of `io_submit`, to the completion itself. Either contains some ten microseconds that the other
//! does not have, so they are the same only where the disk takes much longer.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use profiler_tests::running::{Finished, Running};
use serde_json::Value;

use super::Bench;
use super::rounds::Series;
use crate::verdicts::disk;

/// Sizes of reads, by fio's names.
const SIZES: [&str; 3] = ["4k", "64k", "1m"];
const QUANTILES: [(&str, &str); 2] = [("50.000000", "p50_seconds"), ("99.000000", "p99_seconds")];
const TO_END: std::time::Duration = std::time::Duration::from_secs(60);

/// Ours divided by fio's, at p50 and p99 of reads of several sizes, one at a time.
pub fn latency(bench: &Bench) -> Result<String> {
    let mut text = "| reads of | p50 by fio, µs | ours / fio's | p99 by fio, µs | ours / fio's |\n|---|---|---|---|---|\n".to_owned();
    for size in SIZES {
        let mut found: [(Vec<f64>, Vec<f64>); 2] = Default::default();
        for round in 0..bench.rounds {
            let once = compare(bench, size).with_context(|| format!("reads of {size}, round {round}"))?;
            eprintln!("latency: {size}: {once:?}");
            for ((fio, ratio), (fio_ns, our_ns)) in found.iter_mut().zip(once) {
                fio.push(fio_ns / 1e3);
                ratio.push(our_ns / fio_ns);
            }
        }
        let cells = found.map(|(fio, ratio)| {
            let (fio, ratio) = (Series::new(size, fio), Series::new(size, ratio));
            let (least, most) = ratio.spread();
            format!("{:.0} | {:.3} ({least:.3}–{most:.3})", fio.median(), ratio.median())
        });
        let _ = writeln!(text, "| {size} | {} |", cells.join(" | "));
    }
    Ok(text)
}

/// fio's latency and ours, in nanoseconds, at each quantile.
fn compare(bench: &Bench, size: &str) -> Result<[(f64, f64); 2]> {
    let (json, file) = (bench.path("latency.json"), format!("--filename={}/latency", disk(bench)?));
    let block = format!("--bs={size}");
    let reads =
        ["--name=reads", "--size=256m", "--rw=randread", "--direct=1", "--ioengine=libaio", "--thread"];
    let how = ["--time_based", "--runtime=3", "--output-format=json"];
    let fio = [&["fio"], &reads[..], &how, &[file.as_str(), block.as_str()]].concat();
    let recording = bench.profiler(&[&["record", "-q", "-o", &json, "--"], &fio[..]].concat());
    let Finished { status, stdout, stderr } = Running::start(recording)?.finish(TO_END)?;
    ensure!(status.success(), "the recording failed: {stderr}");
    let by_fio: Value = serde_json::from_str(&stdout).context("fio did not print JSON")?;
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&json)?)?;
    let ours = report["block_io"]["requests"]
        .as_array()
        .and_then(|rows| {
            let reads = rows.iter().filter(|row| row["operation"] == "read");
            reads.max_by_key(|row| row["of_target"].as_u64())
        })
        .context("no reads were followed")?;
    let mut pairs = [(0.0, 0.0); 2];
    for (pair, (in_fio, in_ours)) in pairs.iter_mut().zip(QUANTILES) {
        let fio_ns = by_fio["jobs"][0]["read"]["clat_ns"]["percentile"][in_fio].as_f64();
        let our_seconds = ours["total"][in_ours].as_f64();
        *pair = (
            fio_ns.context("fio tells no percentiles")?,
            1e9 * our_seconds.context("the report has no quantiles")?,
        );
    }
    Ok(pairs)
}
