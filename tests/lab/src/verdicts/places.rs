//! Where the cases run: control groups of one's own, in whichever version this machine has, and settings of the machine that are put back.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A control group; gone when it is dropped.
pub struct Group {
    paths: Vec<PathBuf>,
}

impl Group {
    /// One whose members may use so many thousandths of a CPU.
    pub fn with_cpu_limit(name: &str, thousandths: u32) -> Result<Self> {
        let quota = thousandths * 100;
        if let Some(group) = version_1("cpu", name) {
            let group = Self { paths: vec![group?] };
            group.set("cpu.cfs_period_us", "100000")?;
            group.set("cpu.cfs_quota_us", &quota.to_string())?;
            return Ok(group);
        }
        let group = version_2("cpu", name)?;
        group.set("cpu.max", &format!("{quota} 100000"))?;
        Ok(group)
    }

    /// One whose members may have so many bytes.
    pub fn with_memory_limit(name: &str, bytes: u64) -> Result<Self> {
        if let Some(group) = version_1("memory", name) {
            let group = Self { paths: vec![group?] };
            group.set("memory.limit_in_bytes", &bytes.to_string())?;
            return Ok(group);
        }
        let group = version_2("memory", name)?;
        group.set("memory.max", &bytes.to_string())?;
        Ok(group)
    }

    /// Moves a process into it.
    pub fn add(&self, pid: u32) -> Result<()> {
        self.set("cgroup.procs", &pid.to_string())
    }

    fn set(&self, file: &str, value: &str) -> Result<()> {
        let path = self.paths[0].join(file);
        fs::write(&path, value).with_context(|| format!("cannot write {value} to {}", path.display()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for path in &self.paths {
            // Its members may still be ending.
            for _ in 0..50 {
                if fs::remove_dir(path).is_ok() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
    }
}

/// None where that controller is not one of version 1.
fn version_1(controller: &str, name: &str) -> Option<Result<PathBuf>> {
    let mount = Path::new("/sys/fs/cgroup").join(controller);
    let file = if controller == "cpu" { "cpu.cfs_quota_us" } else { "memory.limit_in_bytes" };
    // The root of the memory controller has no limit of its own in newer kernels, but the file.
    if !mount.join("cgroup.procs").is_file() || mount.join("cgroup.controllers").is_file() {
        return None;
    }
    let path = mount.join(name);
    Some(fs::create_dir_all(&path).context("cannot make a control group").and_then(|()| {
        if path.join(file).exists() { Ok(path) } else { bail!("the control group has no {file}") }
    }))
}

fn version_2(controller: &str, name: &str) -> Result<Group> {
    let mount = Path::new("/sys/fs/cgroup");
    fs::write(mount.join("cgroup.subtree_control"), format!("+{controller}"))
        .with_context(|| format!("no control group has the controller `{controller}`"))?;
    let path = mount.join(name);
    fs::create_dir_all(&path)?;
    Ok(Group { paths: vec![path] })
}

/// How much may be dirty; as before when it is dropped.
pub struct DirtyLimit(Vec<(&'static str, String)>);

impl DirtyLimit {
    pub fn set(bytes: u64) -> Result<Self> {
        let files = ["/proc/sys/vm/dirty_ratio", "/proc/sys/vm/dirty_background_ratio"];
        let before =
            files.into_iter().map(|file| Ok((file, fs::read_to_string(file)?))).collect::<Result<_>>()?;
        fs::write("/proc/sys/vm/dirty_background_bytes", (bytes / 2).to_string())?;
        fs::write("/proc/sys/vm/dirty_bytes", bytes.to_string())?;
        Ok(Self(before))
    }
}

impl Drop for DirtyLimit {
    fn drop(&mut self) {
        for (file, value) in &self.0 {
            let _ = fs::write(file, value.trim());
        }
    }
}

/// What is in the page cache belongs to whoever read it first: of those pages the group would not be charged.
pub struct Forget;

impl Forget {
    pub fn of_page_cache() -> Self {
        let _ = fs::write("/proc/sys/vm/drop_caches", "1");
        Self
    }
}
