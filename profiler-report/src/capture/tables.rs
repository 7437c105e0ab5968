//! The sections of a capture: a recording's tables and windows as columns.

use serde::{Deserialize, Serialize};

use super::columns::{Lists, Uneven, columns};
use crate::recording::{
    BlockIoRows, Broken, Cost, Frame, LockRows, Machine, Method, Name, Quality, Sample, Stack, StackEnd,
    ThreadTimes, TimeInState, WaitTimes, Window,
};

columns!(SampleColumns of Sample {
    thread: u32, state: u32, stack: u32, lock: Option<u32>, weight: f64, count: u32,
});
columns!(TimesColumns of ThreadTimes { thread: u32, elapsed_ns: u64, preemptions: u32 });
columns!(StateColumns of TimeInState { state: u32, ns: u64, count: u32 });
columns!(NameColumns of Name { function: String, inlined: bool, file: String, line: u32 });

/// Names of frames.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Names {
    of_frame: Lists,
    names: NameColumns,
}

impl Names {
    pub fn of(names: &[Vec<Name>]) -> Self {
        let mut of_frame = Lists::default();
        for names in names {
            of_frame.push(names.len());
        }
        Self { of_frame, names: NameColumns::of(names.iter().flatten()) }
    }

    pub fn into_rows(self) -> Result<Vec<Vec<Name>>, Uneven> {
        self.of_frame.split(self.names.into_rows()?)
    }
}

/// Frames: what kind of address each is, of which module or process, and the address or offset.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Frames {
    kind: Vec<u8>,
    of: Vec<u32>,
    address: Vec<u64>,
}

const KERNEL: u8 = 0;
const USER: u8 = 1;
const UNMAPPED: u8 = 2;

impl Frames {
    pub fn of(frames: &[Frame]) -> Self {
        let mut columns = Self::default();
        for frame in frames {
            let (kind, of, address) = match *frame {
                Frame::Kernel { address } => (KERNEL, 0, address),
                Frame::User { module, file_offset } => (USER, module, file_offset),
                Frame::Unmapped { process, address } => (UNMAPPED, process, address),
            };
            columns.kind.push(kind);
            columns.of.push(of);
            columns.address.push(address);
        }
        columns
    }

    pub fn into_rows(self) -> Result<Vec<Frame>, Uneven> {
        if self.kind.len() != self.of.len() || self.kind.len() != self.address.len() {
            return Err(Uneven);
        }
        let frame = |((kind, of), address)| match kind {
            KERNEL => Ok(Frame::Kernel { address }),
            USER => Ok(Frame::User { module: of, file_offset: address }),
            UNMAPPED => Ok(Frame::Unmapped { process: of, address }),
            _ => Err(Uneven),
        };
        self.kind.into_iter().zip(self.of).zip(self.address).map(frame).collect()
    }
}

/// Stacks: their frames, how they ended and how they were unwound.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Stacks {
    kernel: Lists,
    kernel_frames: Vec<u32>,
    user: Lists,
    user_frames: Vec<u32>,
    end: Vec<u8>,
    method: Vec<u8>,
}

/// Codes of how a stack ended. One that a later version adds reads as broken for an unknown reason.
const ENDS: &[StackEnd] = &[
    StackEnd::Complete,
    StackEnd::Cut,
    StackEnd::NoUserStack,
    StackEnd::Broken(Broken::StackUnreadable),
    StackEnd::Broken(Broken::NoModule),
    StackEnd::Broken(Broken::NoUnwindInfo),
    StackEnd::Broken(Broken::TooDeep),
    StackEnd::Broken(Broken::ProcessGone),
    StackEnd::Broken(Broken::OtherStack),
];
const METHODS: &[Method] = &[Method::Tables, Method::FramePointers, Method::None];

fn code<T: PartialEq>(codes: &[T], value: &T) -> u8 {
    codes.iter().position(|known| known == value).map_or(u8::MAX, |code| code as u8)
}

impl Stacks {
    pub fn of(stacks: &[Stack]) -> Self {
        let mut columns = Self::default();
        for stack in stacks {
            columns.kernel.push(stack.kernel.len());
            columns.kernel_frames.extend(&stack.kernel);
            columns.user.push(stack.user.len());
            columns.user_frames.extend(&stack.user);
            columns.end.push(code(ENDS, &stack.end));
            columns.method.push(code(METHODS, &stack.method));
        }
        columns
    }

    pub fn into_rows(self) -> Result<Vec<Stack>, Uneven> {
        let rows = self.kernel.len();
        if [self.user.len(), self.end.len(), self.method.len()].iter().any(|&len| len != rows) {
            return Err(Uneven);
        }
        let kernel = self.kernel.split(self.kernel_frames)?;
        let user = self.user.split(self.user_frames)?;
        let mut stacks = Vec::with_capacity(rows);
        for (((kernel, user), end), method) in kernel.into_iter().zip(user).zip(self.end).zip(self.method) {
            let end = *ENDS.get(end as usize).ok_or(Uneven)?;
            let method = *METHODS.get(method as usize).ok_or(Uneven)?;
            stacks.push(Stack { kernel, user, end, method });
        }
        Ok(stacks)
    }
}

/// What each window has beside its largest tables.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Bounds {
    from_ns: u64,
    to_ns: u64,
    wait_times: Vec<WaitTimes>,
    block_io: BlockIoRows,
    locks: LockRows,
    machine: Machine,
    quality: Quality,
    cost: Cost,
}

/// All windows: the rows of their ledgers and samples one behind the other.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WindowTables {
    windows: Vec<Bounds>,
    ledger: Lists,
    times: TimesColumns,
    states_of_times: Lists,
    states: StateColumns,
    samples: Lists,
    sample: SampleColumns,
}

impl WindowTables {
    pub fn of(windows: &[Window]) -> Self {
        let mut tables = Self::default();
        for window in windows {
            tables.ledger.push(window.ledger.len());
            window.ledger.iter().for_each(|times| tables.states_of_times.push(times.states.len()));
            tables.samples.push(window.samples.len());
            tables.windows.push(Bounds {
                from_ns: window.from_ns,
                to_ns: window.to_ns,
                wait_times: window.wait_times.clone(),
                block_io: window.block_io.clone(),
                locks: window.locks.clone(),
                machine: window.machine.clone(),
                quality: window.quality.clone(),
                cost: window.cost.clone(),
            });
        }
        let times = || windows.iter().flat_map(|window| &window.ledger);
        tables.times = TimesColumns::of(times());
        tables.states = StateColumns::of(times().flat_map(|times| &times.states));
        tables.sample = SampleColumns::of(windows.iter().flat_map(|window| &window.samples));
        tables
    }

    pub fn into_rows(self) -> Result<Vec<Window>, Uneven> {
        if self.ledger.len() != self.windows.len() || self.samples.len() != self.windows.len() {
            return Err(Uneven);
        }
        let states = self.states_of_times.split(self.states.into_rows()?)?;
        let mut times = self.times.into_rows()?;
        if times.len() != states.len() {
            return Err(Uneven);
        }
        times.iter_mut().zip(states).for_each(|(times, states)| times.states = states);
        let ledgers = self.ledger.split(times)?;
        let samples = self.samples.split(self.sample.into_rows()?)?;
        let window = |((bounds, ledger), samples): ((Bounds, Vec<ThreadTimes>), Vec<Sample>)| Window {
            from_ns: bounds.from_ns,
            to_ns: bounds.to_ns,
            ledger,
            samples,
            wait_times: bounds.wait_times,
            block_io: bounds.block_io,
            locks: bounds.locks,
            machine: bounds.machine,
            quality: bounds.quality,
            cost: bounds.cost,
        };
        Ok(self.windows.into_iter().zip(ledgers).zip(samples).map(window).collect())
    }
}
