//! `DOWNSTREAM_WAIT`: threads wait for another server's answer.

use profiler_common::state;

use crate::analyze::claim::{Claim, claim, percent, seconds};
use crate::analyze::verdict::finding::{Finding, gain};
use crate::analyze::verdict::{Agreement, Facts, Outcome, Rule, VerdictId};

const SHARE: f64 = 0.3;

pub struct DownstreamWait;

impl Rule for DownstreamWait {
    fn check(&self, facts: &Facts<'_>) -> Outcome {
        let share = facts.share(facts.work.net_ns);
        if share < SHARE {
            return Outcome::Clear;
        }
        let mut evidence = vec![];
        let peers: Vec<Claim> = facts
            .peers
            .iter()
            .take(3)
            .map(|(peer, ns)| claim!("{}:{} ({})", peer.address, peer.port, seconds(*ns)))
            .collect();
        if !peers.is_empty() {
            evidence.push(claim!("waits for {}", Claim::list(", ", &peers)));
        }
        let (recv, connect) =
            (facts.ledger.account.state(state::NET_RECV), facts.ledger.account.state(state::NET_CONNECT));
        if recv.count > 0 {
            evidence.push(claim!(
                "{} waits for answers, {} each",
                recv.count,
                crate::analyze::claim::duration(recv.ns as f64 / recv.count as f64)
            ));
        }
        if connect.ns > 0 {
            evidence.push(claim!("{} connecting", seconds(connect.ns)));
        }
        let known: u64 = facts.peers.iter().fold(0, |sum, (_, ns)| sum.saturating_add(*ns));
        let of_peers = known as f64 / facts.work.net_ns.max(1) as f64;
        // The waits are ended by packets, or by the peer itself if it is on this machine.
        let agreement = [
            Agreement::by(Some(of_peers), 0.5, 0.0),
            Some(if facts.recording.machine.listening_ports.is_empty() && facts.peers.is_empty() {
                Agreement::Silent
            } else {
                Agreement::Agrees
            }),
        ];
        let counter_evidence = if facts.share(facts.work.on_cpu_ns) > 0.4 {
            vec![claim!("{} of the working time is on the CPU", percent(facts.share(facts.work.on_cpu_ns)))]
        } else {
            vec![]
        };
        Outcome::Found(Finding {
            id: VerdictId::DownstreamWait,
            share,
            sentence: claim!("threads wait {} of their working time for other servers", percent(share)),
            evidence,
            counter_evidence,
            next_steps: vec![
                claim!("record that server at the same time"),
                claim!("or make fewer requests to it, or batch them"),
            ],
            max_gain: gain(share),
            agreement: agreement.into_iter().flatten().collect(),
            is_plain: true,
            ..Finding::default()
        })
    }
}
