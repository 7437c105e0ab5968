//! One boot: a kernel with the disk and a plan, watched until it is done, dies or takes too long.
//!
//! Out: what the guest told on its second serial port. A guest that dies of the emulation is booted once more.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::emulator::Emulator;
use super::initramfs::Initramfs;
use super::kernel::Kernel;
use super::results::Results;

/// How often the ports are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

const COMMAND_LINE: &str = "console=ttyS0 quiet loglevel=4 panic=-1";

/// Words on the console by which a kernel says that it, or the machine below it, is broken.
const BROKEN: &[&str] = &["Kernel panic", "Oops", "soft lockup", "BUG: unable to handle"];

/// What all guests have in common.
pub struct Machine<'a> {
    pub emulator: &'a Emulator,
    pub disk: &'a Path,
    /// Where each guest leaves its console and its results.
    pub work: &'a Path,
    pub limit: Duration,
    pub kvm: bool,
}

/// How a boot ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The plan was gone through.
    Done,
    /// The kernel said so, or the guest was gone before its plan was.
    Broken(String),
    TimedOut,
}

/// What came of a kernel.
pub struct Boot {
    pub results: Results,
    pub end: End,
    pub took: Duration,
    /// What ended the first try, if this is the second.
    pub first_try: Option<String>,
}

impl Machine<'_> {
    /// Goes through a plan on a kernel. A guest that breaks is given a second try, which is told.
    pub fn run(&self, kernel: &Kernel, plan: &str) -> Result<Boot> {
        let boot = self.boot(kernel, plan)?;
        let End::Broken(why) = &boot.end else { return Ok(boot) };
        eprintln!("xtask: Linux {}: {why}: trying once more", kernel.release);
        Ok(Boot { first_try: Some(why.clone()), ..self.boot(kernel, plan)? })
    }

    /// What the last run on a kernel has told.
    pub fn last(&self, kernel: &Kernel) -> Result<Boot> {
        let port = self.work.join(&kernel.release).join("results");
        let told = fs::read(&port).with_context(|| format!("{} has told nothing before", kernel.release))?;
        let results = Results::parse(&String::from_utf8_lossy(&told));
        ensure!(results.is_done, "the last run on {} was not done", kernel.release);
        Ok(Boot { results, end: End::Done, took: Duration::ZERO, first_try: None })
    }

    fn boot(&self, kernel: &Kernel, plan: &str) -> Result<Boot> {
        let folder = self.work.join(&kernel.release);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let (console, port) = (folder.join("console"), folder.join("results"));
        let initramfs = folder.join("initramfs");
        fs::write(&initramfs, archive(kernel, plan)?)?;
        let mut command = self.command(kernel, &initramfs, [&console, &port]);
        let started = Instant::now();
        let mut guest = Guest(command.spawn().context("cannot run QEMU")?);
        let end = watch(&mut guest.0, &console, self.limit)?;
        drop(guest);
        let results = Results::parse(&String::from_utf8_lossy(&fs::read(&port).unwrap_or_default()));
        let end = match end {
            End::Done if !results.is_done => End::Broken(last_words(&console)),
            end => end,
        };
        Ok(Boot { results, end, took: started.elapsed(), first_try: None })
    }

    /// TCG, said explicitly: where /dev/kvm opens, it need not be able to run these kernels.
    ///
    /// The guest's clock counts instructions, each 4 ns long (`shift=2`): so its two CPUs run as evenly on a busy machine as on
    /// an idle one, and several guests may run at once. By the machine's own clock, a CPU that is not given to QEMU for 10 ms
    /// stands still for 10 ms, which the tests that measure time do not bear.
    fn command(&self, kernel: &Kernel, initramfs: &Path, ports: [&PathBuf; 2]) -> Command {
        let mut qemu = self.emulator.command();
        qemu.args([
            "-nodefaults",
            "-no-reboot",
            "-display",
            "none",
            "-monitor",
            "none",
            "-m",
            "2048",
            "-smp",
            "2",
        ]);
        qemu.args(if self.kvm {
            vec!["-accel", "kvm", "-cpu", "host"]
        } else {
            vec!["-accel", "tcg,thread=single", "-icount", "shift=2,sleep=on", "-cpu", "max"]
        });
        qemu.arg("-kernel").arg(kernel.image()).arg("-initrd").arg(initramfs).args(["-append", COMMAND_LINE]);
        for port in ports {
            qemu.arg("-serial").arg(format!("file:{}", port.display()));
        }
        // Writes go to a file that has no name: each guest finds the disk as it was made.
        let disk = format!("file={},format=raw,if=none,id=root,snapshot=on", self.disk.display());
        qemu.args(["-drive", &disk, "-device", "nvme,drive=root,serial=root"]);
        // Disks of known delay: each read takes 10 ms, or there are 50 reads a second.
        let empty = "driver=null-co,read-zeroes=on,size=1G,if=none";
        qemu.args([
            "-drive",
            &format!("{empty},id=slow,latency-ns=10000000"),
            "-device",
            "nvme,drive=slow,serial=slow",
        ]);
        qemu.args(["-drive", &format!("{empty},id=throttled,throttling.iops-total=50")]);
        qemu.args(["-device", "virtio-blk-pci,drive=throttled,serial=throttled"]);
        qemu.args([
            "-drive",
            &format!("{empty},id=fast"),
            "-device",
            "virtio-blk-pci,drive=fast,serial=fast",
        ]);
        qemu.stdin(Stdio::null());
        // SAFETY: between fork and exec only a system call is made. It sees to it that a guest does not outlive this program,
        // however that ends.
        unsafe {
            qemu.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            })
        };
        qemu
    }
}

/// A running emulator, which does not outlive this.
struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn watch(guest: &mut Child, console: &Path, limit: Duration) -> Result<End> {
    let started = Instant::now();
    loop {
        if let Some(why) = broken(&String::from_utf8_lossy(&fs::read(console).unwrap_or_default())) {
            return Ok(End::Broken(why));
        }
        if guest.try_wait()?.is_some() {
            return Ok(End::Done);
        }
        if started.elapsed() > limit {
            return Ok(End::TimedOut);
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// The line by which a kernel says that it is broken.
fn broken(console: &str) -> Option<String> {
    let line = console.lines().find(|line| BROKEN.iter().any(|words| line.contains(words)));
    line.map(|line| line.trim().to_owned())
}

fn last_words(console: &Path) -> String {
    let text = String::from_utf8_lossy(&fs::read(console).unwrap_or_default()).into_owned();
    let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing");
    format!("the guest ended before its plan; the last words on its console: {last}")
}

fn archive(kernel: &Kernel, plan: &str) -> Result<Vec<u8>> {
    let mut archive = Initramfs::default();
    archive.directory("bin");
    archive.file("bin/busybox", &fs::read("/bin/busybox").context("cannot read busybox")?);
    archive.file("init", include_bytes!("init.sh"));
    archive.file("plan.sh", plan.as_bytes());
    archive.directory("modules");
    for module in kernel.modules()? {
        let name = module.file_name().and_then(|name| name.to_str()).context("a module has a plain name")?;
        archive.file(&format!("modules/{name}"), &fs::read(&module)?);
    }
    Ok(archive.finish())
}

#[cfg(test)]
mod tests {
    use super::broken;

    #[test]
    fn a_broken_kernel_is_known_by_its_words() {
        let console =
            "[    1.0] nvme: ready\r\n[  9.1] watchdog: BUG: soft lockup - CPU#1 stuck for 22s!\r\n";
        assert_eq!(
            broken(console).as_deref(),
            Some("[  9.1] watchdog: BUG: soft lockup - CPU#1 stuck for 22s!")
        );
        assert_eq!(broken("[    1.0] nvme: ready\n"), None);
    }
}
