//! What disks did in an interval, for those who watch them live.

use std::collections::BTreeMap;

use profiler_common::{
    histogram::{BUCKETS, bounds},
    stat::Stat,
};

use super::data::skipped;
use super::request_rows::{Column, device_name, header, rate, row};
use super::{Page, Style, left, right};
use crate::analyze::{CostRatios, DiskRow, Disks, counted, ended_by_budget};
use crate::recording::{BlockIo, RequestShare, Requests, Span};
use crate::report::escape::visible;
use crate::report::numbers::{
    Scale, bar, bytes, count, duration, length, percent, plural, small_percent, utc,
};

/// Processes and cgroups of each interval.
const SHARES: usize = 4;
/// A share of the time in devices below this is not shown.
const SMALL: f64 = 0.005;
/// Columns of the bar of a histogram.
const BAR: usize = 40;

/// How intervals look.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskPage {
    pub style: Style,
    /// With a histogram of each row.
    pub histograms: bool,
}

impl DiskPage {
    /// The text of one interval.
    pub fn text(self, interval: &Span) -> String {
        self.page(interval, false).text
    }

    /// The text of all intervals together, with what they cost.
    pub fn sum(self, all: &Span) -> String {
        let mut page = self.page(all, true);
        costs(all, &mut page);
        skipped(all, &mut page);
        page.text
    }

    fn page(self, interval: &Span, is_sum: bool) -> Page {
        let elapsed_ns = interval.elapsed_ns();
        let mut page = Page::new(self.style, Scale::for_total(elapsed_ns));
        let in_all = if is_sum { "total: " } else { "" };
        page.heading(&format!("{in_all}{} from {}", length(elapsed_ns), utc(interval.meta.started_unix_ns)));
        let disks = Disks::of_devices(&interval.block_io);
        let seconds = elapsed_ns as f64 / 1e9;
        self.requests(&interval.block_io, &disks, (!is_sum).then_some(seconds), &mut page);
        devices(&interval.block_io, &mut page);
        shares("process", &disks.processes, seconds, &mut page);
        shares("cgroup", &disks.cgroups, seconds, &mut page);
        doubts(interval, &disks, &mut page);
        page
    }

    /// A row of each device and operation; with rates where it is of this number of seconds.
    fn requests(self, block_io: &BlockIo, disks: &Disks<'_>, seconds: Option<f64>, page: &mut Page) {
        if disks.rows.is_empty() {
            page.line("  no request completed");
            return;
        }
        page.line(&header(Column::Sequential, seconds, page.missing() == 0));
        for each in &disks.rows {
            page.line(&row((block_io, each), Column::Sequential, seconds, page.missing() == 0));
            if self.histograms {
                histogram(block_io, each, page);
            }
        }
    }
}

/// Time in the device, or until the completion for what never reaches it, by powers of two.
fn histogram(block_io: &BlockIo, row: &DiskRow, page: &mut Page) {
    let is_of_row = |part: &&Requests| part.device as usize == row.device && part.operation == row.operation;
    let mut by_power: BTreeMap<u32, u64> = BTreeMap::new();
    for part in block_io.requests.iter().filter(is_of_row) {
        for &(bucket, requests) in if row.device_ns > 0 { &part.in_device } else { &part.total } {
            let (start, _) = bounds(bucket.min(BUCKETS as u32 - 1));
            // All below a microsecond is one.
            let power = (start / 1000).checked_ilog2().map_or(0, |power| power + 1);
            *by_power.entry(power).or_default() += u64::from(requests);
        }
    }
    let most = by_power.values().copied().max().unwrap_or(0).max(1);
    let (first, last) = (by_power.keys().next().copied(), by_power.keys().next_back().copied());
    let (Some(first), Some(last)) = (first, last) else { return };
    for power in first..=last {
        let requests = by_power.get(&power).copied().unwrap_or(0);
        let end_ns = 1000.0 * 2_f64.powi(power as i32);
        page.line(&format!(
            "    {} {}  {}",
            right(&format!("< {}", duration(end_ns)), 10),
            right(&count(requests), 11),
            bar(requests as f64 / most as f64, BAR)
        ));
    }
}

/// What the kernel itself counted of those that were used.
fn devices(block_io: &BlockIo, page: &mut Page) {
    for device in &block_io.devices {
        let Some(counters) = device.counters.filter(|_| !device.name.is_empty()) else { continue };
        let busy = counters.busy_ns as f64 / counters.elapsed_ns.max(1) as f64;
        let depth = if device.depth.is_empty() {
            String::new()
        } else {
            let mean = device.depth.iter().sum::<f32>() / device.depth.len() as f32;
            format!(" with {mean:.1} requests in flight")
        };
        let stacked = if device.stacked { "; it passes its requests to other disks" } else { "" };
        // Requests that began before it count from their beginning.
        page.note(&format!(
            "{} was busy {} of the time{depth}{stacked}.",
            visible(&device.name, 20),
            percent(busy.min(1.0))
        ));
    }
}

/// Who has most of the time in devices.
fn shares(kind: &str, shares: &[&RequestShare], seconds: f64, page: &mut Page) {
    let mut by_id: BTreeMap<u64, (RequestShare, u64)> = BTreeMap::new();
    let mut all = 0_u64;
    // The name is that of most of its requests: a program's first ones read the program itself, under the name of its shell.
    let mut shares = shares.to_vec();
    shares.sort_by_key(|share| std::cmp::Reverse(share.count));
    for share in shares {
        all = all.saturating_add(share.device_ns);
        let (sum, device_ns) = by_id
            .entry(share.id)
            .or_insert_with(|| (RequestShare { count: 0, bytes: 0, ..share.clone() }, 0));
        sum.count = sum.count.saturating_add(share.count);
        sum.bytes = sum.bytes.saturating_add(share.bytes);
        *device_ns = device_ns.saturating_add(share.device_ns);
    }
    let ratio = |device_ns: u64| device_ns as f64 / all.max(1) as f64;
    let mut largest: Vec<_> = by_id.into_values().filter(|(_, ns)| ratio(*ns) >= SMALL).collect();
    largest.sort_by_key(|(share, device_ns)| (std::cmp::Reverse(*device_ns), share.id));
    // One group that has everything says nothing.
    if largest.is_empty() || kind == "cgroup" && largest.len() == 1 {
        return;
    }
    page.line(&format!(
        "  {} {} {} {}",
        right("device time", 11),
        right("requests/s", 10),
        right("bytes/s", 10),
        kind
    ));
    for (share, device_ns) in largest.iter().take(SHARES) {
        let name = match (share.name.is_empty(), kind) {
            (false, "process") => format!("{} (pid {})", visible(&share.name, 20), share.id),
            (false, _) => visible(&share.name, 50),
            (true, _) => format!("{kind} {} (gone)", share.id),
        };
        page.line(&format!(
            "  {} {} {} {}",
            right(&percent(ratio(*device_ns)), 11),
            right(&rate(share.count, seconds), 10),
            right(&bytes((share.bytes as f64 / seconds.max(1e-9)) as u64), 10),
            name
        ));
    }
    if largest.len() > SHARES {
        page.line(&format!("  {} {} more", left("", 33), count((largest.len() - SHARES) as u64)));
    }
}

/// What speaks against the numbers.
fn doubts(interval: &Span, disks: &Disks<'_>, page: &mut Page) {
    for row in disks.rows.iter().filter(|row| row.errors > 0) {
        let device = visible(device_name(&interval.block_io, row.device as u32), 20);
        page.warning(&format!("  {} on {device} failed.", plural(row.errors, "request")));
    }
    let lost =
        |stats: &[Stat]| stats.iter().map(|&stat| counted(interval, stat)).fold(0, u64::saturating_add);
    let missing = lost(&[Stat::RequestsFull, Stat::RequestTotalsFull]);
    if missing > 0 {
        page.warning(&format!(
            "  {} not followed (table full): not in the rows above.",
            plural(missing, "request")
        ));
    }
    let unshared = lost(&[Stat::RequestSharesFull]);
    if unshared > 0 {
        page.warning(&format!(
            "  {} not attributed to a process or cgroup (table full).",
            plural(unshared, "request")
        ));
    }
    for sentence in &disks.disagreements {
        page.note(&format!("Cross-check: {}.", visible(sentence, 120)));
    }
}

fn costs(all: &Span, page: &mut Page) {
    let ratios = CostRatios::of(all);
    let share = |ratio: Option<f64>| ratio.map_or("not measured".to_owned(), small_percent);
    let of_machine = ratios.machine.map_or("", |_| " of the machine");
    page.note(&format!(
        "Cost: {}{of_machine} (of one CPU: own {}, kernel programs {}); {} resident, {} in the kernel.",
        share(ratios.machine),
        share(ratios.own_cpu),
        share(ratios.programs_cpu),
        bytes(all.cost.rss_bytes),
        bytes(all.cost.kernel_bytes)
    ));
    if ended_by_budget(all) {
        page.warning(&format!(
            "  Ended: it cost more than {} of the machine. Raise the limit with `--max-overhead`.",
            small_percent(all.budget.ratio)
        ));
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::{block_io::operation, histogram::bucket};

    use super::*;
    use crate::recording::{Detail, DetailStep};
    use crate::testing::example;

    fn interval() -> Span {
        let mut span = example();
        span.meta.started_unix_ns = 0;
        span.skipped.clear();
        span
    }

    #[track_caller]
    fn check(text: &str, words: &str) {
        let spaced = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(spaced.contains(words), "`{words}` is not in:\n{text}");
    }

    #[test]
    fn an_interval_has_its_rows_its_devices_and_who_used_them() {
        let text = DiskPage::default().text(&interval());
        check(&text, "10.0 s from 1970-01-01");
        check(&text, "sda write 15 8 KiB");
        check(&text, "device time requests/s bytes/s process");
    }

    #[test]
    fn a_process_has_the_name_of_most_of_its_requests() {
        let mut renamed = interval();
        let shares = &mut renamed.block_io.shares;
        let first = RequestShare { name: "sh".to_owned(), count: 1, ..shares[0].clone() };
        let later = RequestShare { name: "dd".to_owned(), count: 9, ..shares[0].clone() };
        let pid = first.id;
        *shares = vec![first, later];
        check(&DiskPage::default().text(&renamed), &format!("dd (pid {pid})"));
    }

    #[test]
    fn a_quiet_interval_says_so() {
        let quiet = Span { block_io: BlockIo { followed: true, ..BlockIo::default() }, ..interval() };
        check(&DiskPage::default().text(&quiet), "no request completed");
    }

    #[test]
    fn a_histogram_has_powers_of_two_without_gaps() {
        let mut slow_and_fast = interval();
        let device_row = Requests {
            operation: operation::READ,
            count: 3,
            device_ns: 1,
            in_device: vec![(bucket(3_000), 1), (bucket(30_000), 2)],
            ..Requests::default()
        };
        slow_and_fast.block_io.requests = vec![device_row];
        let text = DiskPage { histograms: true, ..DiskPage::default() }.text(&slow_and_fast);
        for (below, requests) in [("4.0 µs", 1), ("8.0 µs", 0), ("16 µs", 0), ("32 µs", 2)] {
            check(&text, &format!("< {below} {requests}"));
        }
    }

    #[test]
    fn losses_and_failures_stand_below_the_numbers() {
        let mut lossy = interval();
        let lost = [("requests_full", 2), ("request_totals_full", 1), ("request_shares_full", 1)];
        lossy.quality.kernel_counts = lost.map(|(name, count)| (name.to_owned(), count)).to_vec();
        lossy.block_io.requests[0].errors = 2;
        let text = DiskPage::default().text(&lossy);
        check(&text, "2 requests on sda failed");
        check(&text, "3 requests not followed");
        check(&text, "1 request not attributed to a process");
    }

    #[test]
    fn the_sum_has_its_cost_and_why_it_ended() {
        let mut all = interval();
        all.budget.steps = vec![DetailStep { at_ns: 1, detail: Detail::Detached, cost_ratio: 0.02 }];
        all.cost.measured_ns = 0;
        let text = DiskPage::default().sum(&all);
        check(&text, "total: 10.0 s");
        check(&text, "Cost: not measured (of one CPU: own 0.40 %, kernel programs not measured)");
        check(&text, "Ended: it cost more than 1.00 % of the machine");
    }
}
