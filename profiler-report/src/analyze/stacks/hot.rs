//! Stacks for a person: those that differ only within the kernel, or in addresses without a name, are one, with what most
//! of their time has in common in the kernel.
//!
//! In: every stack with its time. Out: the largest of each kind (on the CPU, blocked, idle), and how much they leave
//! out, so that each list adds up to the ledger's time of its kind.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;

use profiler_common::state::{self, Group};

use crate::analyze::ledger::group;
use crate::analyze::stacks::StackTime;
use crate::analyze::stacks::shares::Shares;
use crate::analyze::stacks::waits_in::telling;

/// Rows kept of each list.
const TOP: usize = 10;

/// Stacks of one kind, the largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HotList {
    /// The kind's time in the ledger.
    pub total_ns: u64,
    /// Stacks taken.
    pub samples: u64,
    /// At most 10.
    pub rows: Vec<HotStack>,
    /// Stacks that are not among the rows, largest first.
    pub others_ns: Vec<u64>,
    /// The part of the total that no sample saw.
    pub not_sampled_ns: u64,
}

/// Time with one chain of user functions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotStack {
    pub state: u32,
    /// Name of the process.
    pub comm: String,
    /// Innermost first; a function that calls itself stands once, and a place without a name is shown by its
    /// file.
    pub user: Vec<HotFunction>,
    /// The innermost kernel function that more than three quarters of the time have in common, if it says
    /// anything.
    pub kernel: Option<String>,
    pub ns: u64,
}

/// One function of a chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HotFunction {
    pub name: String,
    /// Inlined into the next one, which calls it.
    pub inlined: bool,
}

/// The lists that a person reads. Time in the run queue is in none: where a thread was when it lost its CPU does not
/// say why it waits for one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hot {
    pub on_cpu: HotList,
    /// Blocked and not idle.
    pub blocked: HotList,
    pub idle: HotList,
}

impl Hot {
    /// `ns_in` is the ledger's time in the states for which its argument holds.
    pub(in crate::analyze) fn of(
        stacks: &[StackTime],
        shares: &Shares,
        ns_in: impl Fn(&dyn Fn(u32) -> bool) -> u64,
    ) -> Self {
        let list = |wanted: &dyn Fn(u32) -> bool| HotList {
            total_ns: ns_in(wanted),
            not_sampled_ns: shares.not_sampled_ns(wanted),
            ..merged(stacks.iter().filter(|stack| wanted(stack.state)))
        };
        let is_idle = |code| group(code) == Group::Idle;
        Self {
            on_cpu: list(&|code| code == state::ON_CPU),
            blocked: list(&|code| state::is_blocked(code) && !is_idle(code)),
            idle: list(&is_idle),
        }
    }
}

/// What stacks of one row have in common: state, process name and user functions.
type Alike<'a> = (u32, &'a str, Vec<HotFunction>);

fn merged<'a>(stacks: impl Iterator<Item = &'a StackTime>) -> HotList {
    let mut samples = 0_u64;
    let mut alike: HashMap<Alike<'_>, Vec<&StackTime>> = HashMap::new();
    for stack in stacks {
        samples = samples.saturating_add(stack.samples);
        alike.entry((stack.state, &stack.comm, functions(stack))).or_default().push(stack);
    }
    let mut rows: Vec<HotStack> = alike.into_iter().map(|((.., user), stacks)| row(user, &stacks)).collect();
    rows.sort_by(|a, b| {
        Reverse(a.ns).cmp(&Reverse(b.ns)).then_with(|| (&a.user, a.state).cmp(&(&b.user, b.state)))
    });
    let others_ns = rows.iter().skip(TOP).map(|row| row.ns).collect();
    rows.truncate(TOP);
    HotList { samples, rows, others_ns, ..HotList::default() }
}

/// Stacks that have their user part in common; at least one.
fn row(user: Vec<HotFunction>, stacks: &[&StackTime]) -> HotStack {
    let first = stacks[0];
    let ns = stacks.iter().fold(0_u64, |sum, stack| sum.saturating_add(stack.ns));
    let common = common_kernel(stacks, ns);
    HotStack {
        state: first.state,
        comm: first.comm.clone(),
        user,
        kernel: telling(common.iter().rev().copied()).map(str::to_owned),
        ns,
    }
}

/// The user functions, innermost first, as [`HotStack::user`] has them.
fn functions(stack: &StackTime) -> Vec<HotFunction> {
    let user = stack.user().iter().zip(&stack.inlined).rev();
    let function = |(label, &inlined): (&String, &bool)| HotFunction {
        name: without_offset(label).into_owned(),
        inlined,
    };
    let mut functions: Vec<_> = user.map(function).collect();
    functions.dedup();
    functions
}

/// The label of a frame; of a place in brackets the part before its address.
fn without_offset(label: &str) -> Cow<'_, str> {
    let place = label.strip_prefix('[').filter(|place| place.ends_with(']'));
    match place.and_then(|place| place.rsplit_once("0x")) {
        Some((file, _)) => Cow::Owned(format!("[{}]", file.trim_end_matches(['+', ' ']))),
        None => Cow::Borrowed(label),
    }
}

/// The kernel functions, outermost first, that more than three quarters of the time go through.
fn common_kernel<'a>(stacks: &[&'a StackTime], ns: u64) -> Vec<&'a str> {
    let mut common = Vec::new();
    let mut left = stacks.to_vec();
    loop {
        let depth = common.len();
        let mut next: HashMap<&str, u64> = HashMap::new();
        for stack in &left {
            if let Some(function) = stack.kernel().get(depth) {
                let sum = next.entry(function).or_default();
                *sum = sum.saturating_add(stack.ns);
            }
        }
        let Some((function, _)) = next.into_iter().find(|&(_, part)| part > ns / 4 * 3) else {
            return common;
        };
        common.push(function);
        left.retain(|stack| stack.kernel().get(depth).is_some_and(|name| name == function));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::Report;
    use crate::testing::example;

    fn stack(user: &[&str], kernel: &[&str], ns: u64) -> StackTime {
        StackTime {
            state: state::ON_CPU,
            comm: "db".to_owned(),
            frames: user.iter().chain(kernel).map(|&name| name.to_owned()).collect(),
            places: vec![],
            inlined: vec![false; user.len() + kernel.len()],
            kernel_frames: kernel.len(),
            largest: 0,
            ns,
            samples: 1,
        }
    }

    #[track_caller]
    fn check(stacks: &[StackTime], expected: &[(&str, Option<&str>, u64)]) {
        let list = merged(stacks.iter());
        let seen: Vec<_> =
            list.rows.iter().map(|row| (row.user[0].name.as_str(), row.kernel.as_deref(), row.ns)).collect();
        assert_eq!(seen, expected);
    }

    const WRITE: [&str; 3] = ["do_syscall_64", "ksys_write", "tcp_sendmsg"];

    #[test]
    fn stacks_that_differ_only_in_the_kernel_are_one() {
        let stacks = [
            stack(&["main", "write"], &[&WRITE[..], &["kfree"]].concat(), 40),
            stack(&["main", "write"], &[&WRITE[..], &["memcpy"]].concat(), 30),
            stack(&["main", "read"], &[], 50),
        ];
        check(&stacks, &[("write", Some("tcp_sendmsg"), 70), ("read", None, 50)]);
    }

    #[test]
    fn addresses_without_a_name_are_told_by_their_file() {
        let stacks = [
            stack(&["main", "[db+0x10]"], &[], 40),
            stack(&["main", "[db+0x20]", "[db+0x10]"], &[], 30),
            stack(&["[unknown 0x7f00]"], &[], 10),
            stack(&["[cut]", "f"], &[], 5),
        ];
        check(&stacks, &[("[db]", None, 70), ("[unknown]", None, 10), ("f", None, 5)]);
    }

    #[test]
    fn half_of_the_time_has_nothing_in_common_with_the_other_half() {
        let stacks = [stack(&["write"], &WRITE, 40), stack(&["write"], &["do_syscall_64", "ksys_read"], 40)];
        check(&stacks, &[("write", None, 80)]);
    }

    #[test]
    fn what_is_not_among_the_rows_is_told() {
        let stacks: Vec<_> = (1..=12).map(|ns| stack(&[&format!("f{ns}")], &[], ns)).collect();
        let list = merged(stacks.iter());
        assert_eq!((list.rows.len(), list.others_ns, list.samples), (10, vec![2, 1], 12));
    }

    #[test]
    fn the_lists_have_the_ledgers_totals() {
        let recording = example();
        let hot = Report::new(&recording).hot;
        let totals = |list: &HotList| (list.total_ns / 1_000_000, list.not_sampled_ns / 1_000_000);
        // Thread 900 was never sampled on the CPU, 813 neither in disk_write nor in futex_wait.
        assert_eq!(totals(&hot.on_cpu), (7_500, 2_500));
        assert_eq!(totals(&hot.blocked), (7_500, 1_000));
        assert_eq!(totals(&hot.idle), (8_900, 7_000));
    }
}
