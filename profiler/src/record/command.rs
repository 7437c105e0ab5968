//! Starts a command for a recording: it exists, but has run nothing of its own, when the recording begins.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    process::{Child, ExitStatus},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::confine::{self, identity};

/// Why a command cannot be run; the exit codes are those of a shell.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("cannot run `{command}`: command not found")]
    NotFound { command: String },
    #[error("cannot run `{command}`")]
    NotExecutable {
        command: String,
        #[source]
        source: io::Error,
    },
}

impl CommandError {
    /// 127 or 126.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::NotFound { .. } => 127,
            Self::NotExecutable { .. } => 126,
        }
    }
}

/// A started command.
pub struct Command {
    id: u32,
    name: String,
    /// Closing it lets the command go on.
    gate: Option<File>,
    starter: Option<JoinHandle<io::Result<Child>>>,
    /// Why it could not be asked to end: then nobody waits for it.
    not_asked: Option<io::Error>,
}

/// How often the end of the command is looked for: `waitpid` without a signal handler of our own, so that the handler of
/// the runtime stays the only one.
const POLL: Duration = Duration::from_millis(5);
/// How long an exec is waited for.
const MOMENT: Duration = Duration::from_millis(500);

impl Command {
    /// Forks the command's process, which waits before it runs the command.
    ///
    /// `std` returns from `spawn` only after the exec, so a thread of its own calls it and waits with it.
    pub fn spawn_paused(words: &[OsString]) -> anyhow::Result<Self> {
        let name = words[0].to_string_lossy().into_owned();
        let (told_id, tell_id) = pipe()?;
        let (opened, gate) = pipe()?;
        let mut command = std::process::Command::new(&words[0]);
        command.args(&words[1..]);
        let user = InvokingUser::from_sudo();
        let parent_gate = gate.as_raw_fd();
        let mut report = File::from(tell_id.try_clone()?);
        let mut wait = File::from(opened);
        // SAFETY: between fork and exec it only closes, reads and writes descriptors and changes ids: all
        // async-signal-safe, nothing allocated.
        unsafe {
            command.pre_exec(move || {
                // The child's copy of the writing end would keep the gate shut for ever.
                libc::close(parent_gate);
                report.write_all(&std::process::id().to_ne_bytes())?;
                let mut nothing = [0; 1];
                while wait.read(&mut nothing)? > 0 {}
                confine::inherit_no_capabilities()?;
                user.as_ref().map_or(Ok(()), InvokingUser::become_it)
            });
        }
        let starter = std::thread::spawn(move || command.spawn());
        drop(tell_id);
        let mut id = [0; 4];
        let id = match File::from(told_id).read_exact(&mut id) {
            Ok(()) => u32::from_ne_bytes(id),
            // The fork itself failed: the starter says why.
            Err(_) => 0,
        };
        Ok(Self { id, name, gate: Some(File::from(gate)), starter: Some(starter), not_asked: None })
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Lets the command run.
    pub fn release(mut self) -> Self {
        self.gate = None;
        self
    }

    /// Waits until it has been executed: from then on, no thread of ours has a part in it. Not for longer than a moment,
    /// as a file system may take its time.
    pub fn wait_for_exec(&self) {
        let until = Instant::now() + MOMENT;
        while self.starter.as_ref().is_some_and(|starter| !starter.is_finished()) && Instant::now() < until {
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Waits for its end. Returns the exit code as a shell reports it.
    pub async fn wait(&mut self) -> Result<i32, CommandError> {
        loop {
            if self.starter.as_ref().is_some_and(JoinHandle::is_finished) {
                self.join_starter()?;
            }
            if self.starter.is_none()
                && let Some(code) = self.reap()
            {
                return Ok(code);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn join_starter(&mut self) -> Result<(), CommandError> {
        let Some(starter) = self.starter.take() else { return Ok(()) };
        let result =
            starter.join().unwrap_or_else(|_| Err(io::Error::other("the thread that starts it panicked")));
        result.map(drop).map_err(|source| {
            let command = self.name.clone();
            if source.kind() == io::ErrorKind::NotFound {
                CommandError::NotFound { command }
            } else {
                CommandError::NotExecutable { command, source }
            }
        })
    }

    fn reap(&self) -> Option<i32> {
        let mut status = 0;
        // SAFETY: writes one integer to a valid place; the process is our child.
        let reaped = unsafe { libc::waitpid(self.id as i32, &raw mut status, libc::WNOHANG) };
        if reaped == 0 {
            return None;
        }
        let status = ExitStatus::from_raw(status);
        Some(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
    }

    /// Asks it to end.
    pub fn terminate(&mut self) {
        // No process was made, and process 0 is the whole group of this one.
        if self.id == 0 {
            return;
        }
        // SAFETY: takes numbers; the process is our child and was not waited for.
        if unsafe { libc::kill(self.id as i32, libc::SIGTERM) } != 0 {
            self.not_asked = Some(io::Error::last_os_error());
        }
    }

    /// Waits for its end after the recording.
    ///
    /// # Errors
    /// It could not be run, or it was to end and could not be asked to.
    pub fn wait_to_end(mut self) -> anyhow::Result<i32> {
        if let Some(error) = self.not_asked.take() {
            let (name, id) = (&self.name, self.id);
            return Err(anyhow::Error::new(error)
                .context(format!("cannot end `{name}`, which is still running (try: kill {id})")));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        Ok(runtime.block_on(self.wait())?)
    }
}

/// The user who called sudo: the command is not to run as root because the profiler does.
struct InvokingUser {
    uid: libc::uid_t,
    gid: libc::gid_t,
    groups: Vec<libc::gid_t>,
}

impl InvokingUser {
    fn from_sudo() -> Option<Self> {
        // SAFETY: takes nothing, returns a number.
        if unsafe { libc::geteuid() } != 0 {
            return None;
        }
        let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
        let (uid, gid) = (number("SUDO_UID")?, number("SUDO_GID")?);
        let groups = identity::groups(std::env::var("SUDO_USER").ok().as_deref(), gid);
        Some(Self { uid, gid, groups })
    }

    /// Groups first: the user may not change them.
    fn become_it(&self) -> io::Result<()> {
        // SAFETY: the pointer is valid for as many groups as are named; the others take numbers.
        let done = unsafe {
            libc::setgroups(self.groups.len(), self.groups.as_ptr()) == 0
                && libc::setgid(self.gid) == 0
                && libc::setuid(self.uid) == 0
        };
        if done { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// (reading end, writing end), closed by an exec.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: writes two descriptors to a valid place.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both are new, and nobody else owns them.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}
