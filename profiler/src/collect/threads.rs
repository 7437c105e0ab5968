//! The tables of processes and threads, and the accounts that go into them.

use std::collections::HashMap;

use profiler_common::ledger::{ThreadRecord, flags};

use super::{Ending, World, text};
use profiler_report::recording::{Process, ProcessId, Thread, ThreadId, ThreadTimes, TimeInState};

/// Rows of threads, and of processes, that are kept: some 200 bytes and 300 bytes each, 10 MB. Threads that end beyond
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

/// What became of a thread that has ended.
pub struct Ended {
    pub booked: Booked,
    /// Its process has ended with it: its leader, which may not be the last thread, and all others that were seen.
    pub process_is_over: bool,
}

/// Where the times of a thread that has ended go.
pub enum Booked {
    Row(ThreadId),
    /// These, to the row of the rest.
    Rest(ThreadTimes),
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
            threads.push(Thread { process, born_inside: true, ended_inside: true, ..Thread::default() });
            Rest { thread, process, threads: 0 }
        })
    }

    /// Adds a thread that has ended to the row of the rest, whose length is the sum of the threads' lives. Its times, for the
    /// books.
    fn add_to_rest(&mut self, record: &ThreadRecord) -> ThreadTimes {
        let rest = self.rest();
        rest.threads += 1;
        let (id, count) = (rest.thread, rest.threads);
        let elapsed_ns = record.ended_ns.saturating_sub(record.opened_ns);
        let row = &mut self.threads[id as usize];
        row.comm = format!("[{count} more threads]");
        row.to_ns = row.to_ns.saturating_add(elapsed_ns);
        let states = (0_u32..).zip(record.state_ns.iter().zip(&record.state_count));
        let states = states.filter(|(_, (ns, _))| **ns > 0);
        ThreadTimes {
            thread: id,
            elapsed_ns,
            preemptions: record.preemptions,
            states: states.map(|(state, (&ns, &count))| TimeInState { state, ns, count }).collect(),
        }
    }

    /// The row of a thread whose account is to be booked. None if it has none, and the table is full: it ends, or the recording
    /// does, before it has one.
    pub fn booked(&mut self, record: &ThreadRecord, from_ns: u64, world: &mut dyn World) -> Option<ThreadId> {
        let (id, _) = self.sampled(record.tid, record.ns_tgid, world)?;
        self.fill(id, record, from_ns);
        Some(id)
    }

    /// The account of a thread that has ended.
    pub fn ended(&mut self, record: &ThreadRecord, from_ns: u64, world: &mut dyn World) -> Ended {
        if self.threads.len() >= MOST_ROWS && !self.live.contains_key(&record.tid) {
            return Ended { booked: Booked::Rest(self.add_to_rest(record)), process_is_over: false };
        }
        let (id, _) = self.live(record.tid, record.ns_tgid, world);
        self.fill(id, record, from_ns);
        let thread = &mut self.threads[id as usize];
        thread.comm = text(&record.comm);
        thread.to_ns = record.ended_ns;
        thread.ended_inside = true;
        self.live.remove(&record.tid);
        let life = self.lives.entry(record.ns_tgid).or_default();
        life.threads = life.threads.saturating_sub(1);
        life.leader_has_ended |= record.ns_tid == record.ns_tgid;
        let process_is_over = life.leader_has_ended && life.threads == 0;
        if process_is_over {
            self.lives.remove(&record.ns_tgid);
        }
        Ended { booked: Booked::Row(id), process_is_over }
    }

    /// The row of a thread that lives at the end.
    pub fn open_at_end(
        &mut self,
        record: &ThreadRecord,
        (from_ns, ending): (u64, &Ending),
        world: &mut dyn World,
    ) -> ThreadId {
        let comm = world.thread_comm(record.ns_tgid, record.ns_tid);
        let (id, _) = self.live(record.tid, record.ns_tgid, world);
        self.fill(id, record, from_ns);
        let thread = &mut self.threads[id as usize];
        thread.comm = comm.unwrap_or_else(|| text(&record.comm));
        thread.to_ns = ending.ended_at_ns;
        thread.kernel_counters = ending.kernel_counters.get(&record.ns_tid).copied();
        id
    }

    fn fill(&mut self, id: ThreadId, record: &ThreadRecord, from_ns: u64) {
        let thread = &mut self.threads[id as usize];
        thread.tid = record.ns_tid;
        thread.from_ns = from_ns;
        thread.born_inside = record.flags & flags::BORN_INSIDE != 0;
        thread.kernel_thread = record.flags & flags::KERNEL_THREAD != 0;
    }

    /// The tables of a recording.
    pub fn into_tables(mut self, ending: &Ending) -> (Vec<Process>, Vec<Thread>) {
        for thread in &mut self.threads {
            // A sample without an account: the account was lost, and with it from when to when the thread lived.
            thread.to_ns = thread.to_ns.max(thread.from_ns);
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
