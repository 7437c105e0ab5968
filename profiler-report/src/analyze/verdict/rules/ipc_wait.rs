//! `IPC_WAIT`: threads wait for another thread or process on this machine, by pipe, Unix socket, eventfd or message queue.

use profiler_common::state::Group;

use crate::analyze::claim::{Claim, claim, percent, seconds};
use crate::analyze::ledger::group;
use crate::analyze::verdict::facts::BUSY;
use crate::analyze::verdict::finding::{Finding, gain};
use crate::analyze::verdict::{Agreement, Facts, Outcome, Rule, VerdictId};

const SHARE: f64 = 0.2;

pub struct IpcWait;

impl Rule for IpcWait {
    fn check(&self, facts: &Facts<'_>) -> Outcome {
        // Where CPUs are free, the time from a wake-up to the CPU is what each turn takes, not a wait for others to make room.
        let is_free = facts.machine_busy().is_some_and(|busy| busy < BUSY);
        let wakes_ns = if is_free { facts.work.ipc_wake_ns } else { 0 };
        let share = facts.share(facts.work.ipc_ns.saturating_add(wakes_ns));
        if share < SHARE || facts.work.ipc_ns == 0 {
            return Outcome::Clear;
        }
        let is_ipc = |code: u32| group(code) == Group::Ipc;
        let mut partners: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
        for edge in facts.edges(is_ipc) {
            let sum = partners.entry(facts.ender_name(&edge.ender)).or_default();
            *sum = sum.saturating_add(edge.waited_ns);
        }
        let mut partners: Vec<(String, u64)> = partners.into_iter().collect();
        partners.sort_by_key(|(_, ns)| std::cmp::Reverse(*ns));
        let known: u64 = partners.iter().fold(0, |sum, (_, ns)| sum.saturating_add(*ns));
        let mut evidence = vec![];
        if wakes_ns > 0 {
            evidence.push(claim!("{} of the working time passed between wake-up and running, although CPUs were free: each turn costs a wake-up", percent(facts.share(wakes_ns))));
        }
        if !partners.is_empty() {
            let names: Vec<Claim> =
                partners.iter().take(3).map(|(name, ns)| claim!("{} ({})", name, seconds(*ns))).collect();
            evidence.push(claim!("woken by {}", Claim::list(", ", &names)));
        }
        if let Some(chain) = facts.wakers.chains.iter().find(|chain| chain.in_circle) {
            let names: Vec<Claim> =
                chain.steps.iter().map(|edge| claim!("{}", facts.thread_name(edge.waiter))).collect();
            evidence.push(claim!("they take turns: {}", Claim::list(", ", &names)));
        }
        let agreement = [
            Agreement::by(Some(known as f64 / facts.work.ipc_ns.max(1) as f64), 0.3, 0.0),
            partners.first().map(|(_, ns)| {
                if *ns as f64 >= 0.3 * known as f64 { Agreement::Agrees } else { Agreement::Silent }
            }),
        ];
        let partner = partners.first().map_or("the partner", |(name, _)| name.as_str());
        Outcome::Found(Finding {
            id: VerdictId::IpcWait,
            share,
            sentence: claim!(
                "threads wait {} of their working time for each other or for another process",
                percent(share)
            ),
            evidence,
            counter_evidence: vec![],
            next_steps: vec![claim!("see what {} does meanwhile; batch more work per turn", partner)],
            max_gain: gain(share),
            agreement: agreement.into_iter().flatten().collect(),
            is_plain: true,
            ..Finding::default()
        })
    }
}
