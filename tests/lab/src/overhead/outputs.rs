//! What the loads print about their own speed. Pure: text in, numbers out.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// What a workload says of one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Work a second.
    pub rate: f64,
    /// Time within which 99 % of the requests were answered, in milliseconds, where there are requests.
    pub p99_ms: Option<f64>,
}

/// A rate without requests.
pub fn rate(rate: f64) -> Measured {
    Measured { rate, p99_ms: None }
}

/// `perf bench sched …`: `Total time: 0.544 [sec]`.
pub fn perf_bench_seconds(text: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix("Total time:"));
    number(line.context("`perf bench` tells no total time")?.trim().trim_end_matches("[sec]"))
}

/// `perf bench futex hash`: `Averaged 984576 operations/sec (+- 3.90%), total secs = 1`.
pub fn perf_bench_average(text: &str) -> Result<Measured> {
    let after = text.lines().find_map(|line| line.trim().strip_prefix("Averaged "));
    let word = after.and_then(|after| after.split(' ').next()).context("`perf bench` tells no average")?;
    Ok(rate(number(word)?))
}

/// A workload of the tests that ends with `{"rate": …}`.
pub fn own_rate(text: &str) -> Result<Measured> {
    let truth = profiler_tests::running::last_json_line(text)?;
    Ok(rate(truth["rate"].as_f64().context("the workload does not tell its rate")?))
}

/// `compute`, once for each process: lines of JSON with `seconds`. The sum of their rates.
pub fn compute(text: &str) -> Result<Measured> {
    let lines = text.lines().filter(|line| line.starts_with('{'));
    let seconds = |line: &str| {
        let truth: Value = serde_json::from_str(line)?;
        truth["seconds"].as_f64().context("`compute` does not tell its time")
    };
    let all: Vec<f64> = lines.map(seconds).collect::<Result<_>>()?;
    ensure!(!all.is_empty(), "no `compute` told its time");
    Ok(rate(all.iter().map(|seconds| 1.0 / seconds).sum()))
}

/// `fio --output-format=json` of one group of readers: `jobs[0].read`.
pub fn fio(text: &str) -> Result<Measured> {
    let output: Value = serde_json::from_str(text).context("fio did not print JSON")?;
    let read = &output["jobs"][0]["read"];
    let p99_ns = read["clat_ns"]["percentile"]["99.000000"].as_f64().context("fio tells no p99")?;
    let rate = read["iops"].as_f64().context("fio tells no rate")?;
    Ok(Measured { rate, p99_ms: Some(p99_ns / 1e6) })
}

/// `redis-benchmark --csv` with one test: a line of names and one of values, all in quotes.
pub fn redis_benchmark(text: &str) -> Result<Measured> {
    let mut lines = text.lines().filter(|line| line.starts_with('"'));
    let fields = |line: Option<&str>| -> Vec<String> {
        line.unwrap_or_default().split(',').map(|field| field.trim_matches('"').to_owned()).collect()
    };
    let (names, values) = (fields(lines.next()), fields(lines.next()));
    let field = |wanted: &str| {
        let place = names.iter().position(|name| name == wanted);
        let value = place.and_then(|place| values.get(place));
        number(value.with_context(|| format!("redis-benchmark tells no `{wanted}`"))?)
    };
    Ok(Measured { rate: field("rps")?, p99_ms: Some(field("p99_latency_ms")?) })
}

/// `pgbench`: `tps = 3210.123456 (without initial connection time)`.
pub fn pgbench_rate(text: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix("tps = "));
    let line = line.context("pgbench tells no rate")?;
    number(line.split(' ').next().unwrap_or_default())
}

/// The log of `pgbench --log`: a line a transaction, its third field the microseconds that it took.
pub fn pgbench_p99_ms(log: &str) -> Result<f64> {
    let time = |line: &str| number(line.split(' ').nth(2).unwrap_or_default());
    let mut all: Vec<f64> = log.lines().map(time).collect::<Result<_>>()?;
    ensure!(!all.is_empty(), "pgbench logged no transaction");
    all.sort_by(f64::total_cmp);
    Ok(all[nearest_rank(all.len(), 99)] / 1e3)
}

/// Index of the smallest value that is no less than `percent` of all.
fn nearest_rank(values: usize, percent: usize) -> usize {
    (values * percent).div_ceil(100).max(1) - 1
}

/// `wrk --latency`: a line `Requests/sec:  50842.36` and, in the distribution, `     99%    3.83ms`.
pub fn wrk(text: &str) -> Result<Measured> {
    let after = |key: &str| text.lines().find_map(|line| line.trim().strip_prefix(key)).map(str::trim);
    let rate = number(after("Requests/sec:").context("wrk tells no rate")?)?;
    let p99 = after("99%").context("wrk tells no p99")?;
    Ok(Measured { rate, p99_ms: Some(wrk_time_ms(p99)?) })
}

fn wrk_time_ms(time: &str) -> Result<f64> {
    // The longest first: `us` and `ms` end in `s` too.
    let units = [("us", 1e-3), ("ms", 1.0), ("s", 1e3), ("m", 60e3)];
    let (digits, unit) = units
        .iter()
        .find_map(|(unit, ms)| Some((time.strip_suffix(unit)?, ms)))
        .with_context(|| format!("wrk's time `{time}` has no unit"))?;
    Ok(number(digits)? * unit)
}

/// A script that prints nanoseconds since 1970 before and after its work.
pub fn seconds_between(text: &str) -> Result<f64> {
    let moments: Vec<f64> = text.lines().map(number).collect::<Result<_>>()?;
    let [before, after] = moments[..] else { anyhow::bail!("not two moments: `{text}`") };
    Ok((after - before) / 1e9)
}

fn number(text: &str) -> Result<f64> {
    text.trim().parse().with_context(|| format!("not a number: `{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found}, expected {expected}");
    }

    #[track_caller]
    fn check_measured(found: Result<Measured>, rate: f64, p99_ms: f64) {
        let found = found.unwrap();
        check(found.rate, rate);
        check(found.p99_ms.unwrap(), p99_ms);
    }

    #[test]
    fn perf_bench_tells_its_total_time() {
        let text = "# Running 'sched/pipe' benchmark:\n# Executed 100000 pipe operations between two processes\n\n\
                    \x20    Total time: 0.544 [sec]\n\n       5.444700 usecs/op\n         183664 ops/sec\n";
        check(perf_bench_seconds(text).unwrap(), 0.544);
        let text = "# Running 'sched/messaging' benchmark:\n# 20 sender and receiver processes per group\n\
                    # 5 groups == 200 processes run\n\n     Total time: 0.421 [sec]\n";
        check(perf_bench_seconds(text).unwrap(), 0.421);
    }

    #[test]
    fn perf_bench_tells_its_average() {
        let text = "[thread  1] futexes: 0x1 [ 1 ops/sec ]\n\nAveraged 984576 operations/sec (+- 3.90%), total secs = 1\n";
        assert_eq!(perf_bench_average(text).unwrap(), rate(984_576.0));
    }

    #[test]
    fn rates_of_several_processes_add_up() {
        let text = "ready 12\nready 13\n{\"seconds\": 2.0}\n{\"seconds\": 4.0}\n";
        assert_eq!(compute(text).unwrap(), rate(0.75));
    }

    #[test]
    fn no_process_is_no_rate() {
        assert!(compute("ready 12\n").is_err());
    }

    #[test]
    fn fio_tells_of_its_group_of_readers() {
        check_measured(fio(include_str!("fixtures/fio.json")), 33_001.499_25, 0.096_768);
    }

    #[test]
    fn redis_benchmark_names_its_fields() {
        let text = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\
                    \"p99_latency_ms\",\"max_latency_ms\"\n\
                    \"GET\",\"91491.30\",\"0.095\",\"0.024\",\"0.095\",\"0.119\",\"0.199\",\"3.015\"\n";
        check_measured(redis_benchmark(text), 91491.30, 0.199);
    }

    #[test]
    fn pgbench_tells_its_rate() {
        let text = include_str!("fixtures/pgbench.txt");
        check(pgbench_rate(text).unwrap(), 3_338.281_158);
    }

    #[test]
    fn p99_of_pgbench_is_the_nearest_rank() {
        // 200 transactions of 1, 2, … 200 µs, in another order: the 198th is the first that 99 % do not exceed.
        let log: Vec<_> = (1..=200).rev().map(|us| format!("0 {us} {us} 0 1795593719 394000\n")).collect();
        check(pgbench_p99_ms(&log.concat()).unwrap(), 0.198);
    }

    #[test]
    fn wrk_tells_rate_and_distribution() {
        check_measured(wrk(include_str!("fixtures/wrk.txt")), 50842.36, 3.83);
    }

    #[test]
    fn times_of_wrk_have_units() {
        for (time, ms) in [("232.00us", 0.232), ("3.83ms", 3.83), ("1.20s", 1200.0), ("2.00m", 120_000.0)] {
            check(wrk_time_ms(time).unwrap(), ms);
        }
    }

    #[test]
    fn two_moments_are_a_time() {
        check(seconds_between("1795593719000000000\n1795593720500000000\n").unwrap(), 1.5);
        assert!(seconds_between("1795593719000000000\n").is_err());
    }
}
