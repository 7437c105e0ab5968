//! The tables of processes and threads, and the accounts that go into them.

use std::collections::HashMap;

use profiler_common::{
    ledger::{ThreadRecord, flags},
    state,
};

use super::{Ending, World, text};
use profiler_report::recording::{Process, ProcessId, Thread, ThreadId};

/// Rows of threads, and of processes, that are kept: some 900 bytes and 300 bytes each, 24 MB. Threads that end beyond
/// that are added up in one row.
const MOST_ROWS: usize = 20_000;

/// All processes and threads so far.
#[derive(Default)]
pub struct Threads {
    processes: Vec<Process>,
    process_by_tgid: HashMap<u32, ProcessId>,
    threads: Vec<Thread>,
    /// By tid of the initial PID namespace: the thread that has it now.
    live: HashMap<u32, ThreadId>,
    /// By tgid: what lives of each process.
    lives: HashMap<u32, Life>,
    /// What does not fit into the tables.
    rest: Option<Rest>,
}

/// What lives of one process, as far as its threads were seen.
#[derive(Default)]
struct Life {
    threads: u32,
    leader_has_ended: bool,
}

/// The row for all threads that are too many for rows of their own.
struct Rest {
    thread: ThreadId,
    process: ProcessId,
    threads: u64,
}

impl Threads {
    /// The row of a process; read when it is seen for the first time.
    pub fn process(&mut self, tgid: u32, world: &mut dyn World) -> ProcessId {
        if let Some(&id) = self.process_by_tgid.get(&tgid) {
            return id;
        }
        if self.processes.len() >= MOST_ROWS {
            return self.rest().process;
        }
        let id = self.processes.len() as ProcessId;
        let comm = world.thread_comm(tgid, tgid).unwrap_or_default();
        self.processes.push(Process { tgid, comm, command_line: world.command_line(tgid), io: None });
        self.process_by_tgid.insert(tgid, id);
        id
    }

    /// The rows of the thread that has this tid now, and of its process. None if it has none and the table is full.
    pub fn sampled(&mut self, tid: u32, tgid: u32, world: &mut dyn World) -> Option<(ThreadId, ProcessId)> {
        let is_known = self.live.contains_key(&tid);
        (is_known || self.threads.len() < MOST_ROWS).then(|| self.live(tid, tgid, world))
    }

    /// The row of the thread that has this tid now, if it has one.
    pub fn known(&self, tid: u32) -> Option<ThreadId> {
        self.live.get(&tid).copied()
    }

    /// Ids of the first processes that were seen.
    pub fn first_processes(&self) -> Vec<u32> {
        const FIRST: usize = 64;
        self.processes.iter().take(FIRST).map(|process| process.tgid).collect()
    }

    fn live(&mut self, tid: u32, tgid: u32, world: &mut dyn World) -> (ThreadId, ProcessId) {
        let process = self.process(tgid, world);
        let next = self.threads.len() as ThreadId;
        let id = *self.live.entry(tid).or_insert(next);
        if id == next {
            self.threads.push(Thread { process, tid, ..Thread::default() });
            self.lives.entry(tgid).or_default().threads += 1;
        }
        (id, self.threads[id as usize].process)
    }

    /// A process has a new name and a new command line.
    pub fn exec(&mut self, tgid: u32, comm: String, world: &mut dyn World) {
        let id = self.process(tgid, world) as usize;
        self.lives.entry(tgid).or_default().leader_has_ended = false;
        self.processes[id].comm = comm;
        let command_line = world.command_line(tgid);
        if !command_line.is_empty() {
            self.processes[id].command_line = command_line;
        }
    }

    fn rest(&mut self) -> &mut Rest {
        let (threads, processes) = (&mut self.threads, &mut self.processes);
        self.rest.get_or_insert_with(|| {
            let (thread, process) = (threads.len() as ThreadId, processes.len() as ProcessId);
            processes.push(Process { comm: "[more processes]".to_owned(), ..Process::default() });
            // Born inside: its time is a sum, and does not begin with the recording.
            let (state_ns, state_count) = (vec![0; state::ALL.len()], vec![0; state::ALL.len()]);
            threads.push(Thread {
                process,
                born_inside: true,
                ended_inside: true,
                state_ns,
                state_count,
                ..Thread::default()
            });
            Rest { thread, process, threads: 0 }
        })
    }

    /// Adds an account to the row of the rest: its length is then the sum of the threads' lives.
    fn add_to_rest(&mut self, record: &ThreadRecord) {
        let rest = self.rest();
        rest.threads += 1;
        let (id, count) = (rest.thread as usize, rest.threads);
        let thread = &mut self.threads[id];
        thread.comm = format!("[{count} more threads]");
        thread.to_ns += record.ended_ns.saturating_sub(record.opened_ns);
        thread.preemptions = thread.preemptions.saturating_add(record.preemptions);
        for (sum, ns) in thread.state_ns.iter_mut().zip(record.state_ns) {
            *sum += ns;
        }
        for (sum, count) in thread.state_count.iter_mut().zip(record.state_count) {
            *sum = sum.saturating_add(count);
        }
    }

    /// The account of a thread that has ended. Tells whether its process has ended with it: its leader, which may not be
    /// the last thread, and all others that were seen.
    pub fn ended(&mut self, record: &ThreadRecord, world: &mut dyn World) -> bool {
        if self.threads.len() >= MOST_ROWS && !self.live.contains_key(&record.tid) {
            self.add_to_rest(record);
            return false;
        }
        let thread = self.row(record, world);
        thread.comm = text(&record.comm);
        thread.to_ns = record.ended_ns;
        thread.ended_inside = true;
        self.live.remove(&record.tid);
        let life = self.lives.entry(record.ns_tgid).or_default();
        life.threads = life.threads.saturating_sub(1);
        life.leader_has_ended |= record.ns_tid == record.ns_tgid;
        let is_over = life.leader_has_ended && life.threads == 0;
        if is_over {
            self.lives.remove(&record.ns_tgid);
        }
        is_over
    }

    /// The account of a thread that lives at the end: its present state counts up to there.
    pub fn open_at_end(&mut self, record: &ThreadRecord, ending: &Ending, world: &mut dyn World) {
        let comm = world.thread_comm(record.ns_tgid, record.ns_tid);
        let thread = self.row(record, world);
        thread.comm = comm.unwrap_or_else(|| text(&record.comm));
        thread.to_ns = ending.ended_at_ns;
        thread.kernel_counters = ending.kernel_counters.get(&record.ns_tid).copied();
        let slot = record.state as usize;
        if slot < state::ALL.len() {
            let open_ns = ending.ended_at_ns.saturating_sub(record.since_ns);
            thread.state_ns[slot] = thread.state_ns[slot].saturating_add(open_ns);
            thread.state_count[slot] = thread.state_count[slot].saturating_add(1);
        }
    }

    fn row(&mut self, record: &ThreadRecord, world: &mut dyn World) -> &mut Thread {
        let (id, _) = self.live(record.tid, record.ns_tgid, world);
        let thread = &mut self.threads[id as usize];
        thread.tid = record.ns_tid;
        thread.from_ns = record.opened_ns;
        thread.born_inside = record.flags & flags::BORN_INSIDE != 0;
        thread.kernel_thread = record.flags & flags::KERNEL_THREAD != 0;
        thread.state_ns = record.state_ns[..state::ALL.len()].to_vec();
        thread.state_count = record.state_count[..state::ALL.len()].to_vec();
        thread.preemptions = record.preemptions;
        thread
    }

    /// The tables of a recording. A thread that was there from the start has to account for the time since then, though
    /// its account was opened a little later.
    pub fn into_tables(mut self, ending: &Ending) -> (Vec<Process>, Vec<Thread>) {
        for thread in &mut self.threads {
            if !thread.born_inside && thread.from_ns <= ending.seeded_at_ns {
                thread.from_ns = ending.started_at_ns;
            }
            // A sample without an account: the account was lost, and with it from when to when the thread lived.
            if thread.state_ns.is_empty() {
                thread.to_ns = thread.from_ns;
                thread.state_ns = vec![0; state::ALL.len()];
                thread.state_count = vec![0; state::ALL.len()];
            }
            let process = &mut self.processes[thread.process as usize];
            if thread.tid == process.tgid || process.comm.is_empty() {
                process.comm.clone_from(&thread.comm);
            }
        }
        for process in &mut self.processes {
            process.io = ending.process_io.get(&process.tgid).copied();
        }
        (self.processes, self.threads)
    }
}
