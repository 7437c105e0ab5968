//! `DOWNSTREAM_WAIT`: threads wait for another server's answer.

use profiler_common::state;

use super::finding::{Finding, gain};
use super::{Agreement, Facts, Outcome, Rule, VerdictId};
use crate::analyze::numbers::{percent, seconds};

const SHARE: f64 = 0.3;

pub struct DownstreamWait;

impl Rule for DownstreamWait {
    fn check(&self, facts: &Facts<'_>) -> Outcome {
        let share = facts.share(facts.work.net_ns);
        if share < SHARE {
            return Outcome::Clear;
        }
        let mut evidence = vec![];
        let peers: Vec<String> = facts
            .peers
            .iter()
            .take(3)
            .map(|(peer, ns)| format!("{}:{} ({})", peer.address, peer.port, seconds(*ns)))
            .collect();
        if !peers.is_empty() {
            evidence.push(format!("waits for {}", peers.join(", ")));
        }
        let (recv, connect) =
            (facts.ledger.account.state(state::NET_RECV), facts.ledger.account.state(state::NET_CONNECT));
        if recv.count > 0 {
            evidence.push(format!(
                "{} waits for answers, {} each",
                recv.count,
                crate::analyze::numbers::duration(recv.ns as f64 / recv.count as f64)
            ));
        }
        if connect.ns > 0 {
            evidence.push(format!("{} connecting", seconds(connect.ns)));
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
            vec![format!("{} of the working time is on the CPU", percent(facts.share(facts.work.on_cpu_ns)))]
        } else {
            vec![]
        };
        Outcome::Found(Finding {
            id: VerdictId::DownstreamWait,
            share,
            sentence: format!("threads wait {} of their working time for other servers", percent(share)),
            evidence,
            counter_evidence,
            next_steps: vec![
                "record that server at the same time".to_owned(),
                "or make fewer requests to it, or batch them".to_owned(),
            ],
            max_gain: gain(share),
            agreement: agreement.into_iter().flatten().collect(),
            is_plain: true,
            ..Finding::default()
        })
    }
}
