//! A kernel of Debian's, ready to boot: its image, and the modules that the guest needs.
//!
//! In: a series, such as `6.1`. Out: a folder in the cache with `vmlinuz`, modules in the order in which they are loaded,
//! and the checksums of both, which are verified at each use.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::packages::{Packages, unpack};
use crate::command::answer;

/// Series that Debian has, oldest first. Others are not to be had: of 4.19, 5.4, 5.15 and 6.6 there is no package.
pub const ROW: &[&str] = &["5.10", "6.1", "6.12", "6.18", "7.2", "7.3"];

/// Modules of the disks that the guest has; what they need comes with them.
const MODULES: &[&str] =
    &["null_blk", "scsi_debug", "sd_mod", "virtio_blk", "dm-delay", "virtio_pci", "nvme", "ext4"];

/// An unpacked kernel.
pub struct Kernel {
    /// Its full name, such as `6.1.0-56-cloud-amd64`.
    pub release: String,
    pub folder: PathBuf,
}

impl Kernel {
    /// The newest of a series.
    pub fn newest(packages: &Packages, cache: &Path, series: &str) -> Result<Self> {
        let names = packages.names("linux-");
        let image = newest_image(&names, series).with_context(|| {
            let stale =
                packages.stale.as_ref().map(|why| format!(" (the lists are old: {why})")).unwrap_or_default();
            format!("the mirror has no package `linux-image-{series}…-cloud-amd64`{stale}")
        })?;
        let release = image.trim_start_matches("linux-image-").to_owned();
        let parts = ["binary", "modules"].map(|part| format!("linux-{part}-{release}"));
        let parts = parts.into_iter().filter(|part| names.contains(part));
        let files: Vec<_> = [image.to_owned()]
            .into_iter()
            .chain(parts)
            .map(|name| packages.file(&name))
            .collect::<Result<_>>()?;
        // The package with the image tells two builds of one release apart.
        let id = &files.last().context("a kernel has a package")?.1.sha256[..12];
        let folder = cache.join("kernels").join(format!("{release}-{id}"));
        let kernel = Self { release, folder };
        if !kernel.is_intact() {
            kernel.unpack(&files.iter().map(|(path, _)| path.as_path()).collect::<Vec<_>>())?;
        }
        Ok(kernel)
    }

    pub fn image(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// Files of its modules, in the order in which they are loaded.
    pub fn modules(&self) -> Result<Vec<PathBuf>> {
        let mut files: Vec<_> = fs::read_dir(self.folder.join("modules"))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        files.sort();
        Ok(files)
    }

    fn is_intact(&self) -> bool {
        let mut check = Command::new("sha256sum");
        check.args(["--check", "--strict", "--quiet", "SHA256SUMS"]).current_dir(&self.folder);
        self.folder.join("SHA256SUMS").is_file() && answer(&mut check).is_some()
    }

    fn unpack(&self, debs: &[&Path]) -> Result<()> {
        eprintln!("xtask: unpacking Linux {}", self.release);
        let parent = self.folder.parent().context("a folder of the cache")?;
        fs::create_dir_all(parent)?;
        let scratch = TempDir::new_in(parent)?;
        let (files, ready) = (scratch.path().join("files"), scratch.path().join("ready"));
        fs::create_dir_all(ready.join("modules"))?;
        for deb in debs {
            unpack(deb, &files)?;
        }
        let release = &self.release;
        let images = [format!("boot/vmlinuz-{release}"), format!("usr/lib/modules/{release}/vmlinuz")];
        let image = images.iter().map(|place| files.join(place)).find(|path| path.is_file());
        fs::copy(image.context("the packages have no image of the kernel")?, ready.join("vmlinuz"))?;
        let trees = ["lib/modules", "usr/lib/modules"].map(|place| files.join(place).join(release));
        for tree in trees.iter().filter(|tree| tree.is_dir()) {
            copy_modules(tree, &ready.join("modules"))?;
        }
        let sums = "sha256sum vmlinuz $(find modules -type f) > SHA256SUMS";
        ensure!(
            Command::new("sh").args(["-c", sums]).current_dir(&ready).status()?.success(),
            "`{sums}` failed"
        );
        let _ = fs::remove_dir_all(&self.folder);
        fs::rename(&ready, &self.folder).with_context(|| format!("cannot make {}", self.folder.display()))
    }
}

/// The name with the highest numbers: `linux-image-5.10.0-46-cloud-amd64` among those of 5.10.
fn newest_image<'a>(names: &'a [String], series: &str) -> Option<&'a str> {
    let (begin, end) = (format!("linux-image-{series}."), "-cloud-amd64");
    let of_series = names.iter().filter(|name| name.starts_with(&begin) && name.ends_with(end));
    of_series.max_by_key(|name| numbers(name)).map(String::as_str)
}

fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// Copies the modules that are wanted and those that they need, uncompressed, under names that sort in loading order.
fn copy_modules(tree: &Path, to: &Path) -> Result<()> {
    let mut files = BTreeMap::new();
    find_modules(tree, &mut files)?;
    let mut order = Vec::new();
    for name in MODULES {
        add_with_needed(&plain(name), &files, &mut order)?;
    }
    for (number, (name, content)) in order.iter().enumerate() {
        fs::write(to.join(format!("{number:02}-{name}.ko")), content)?;
    }
    Ok(())
}

/// File names and module names differ in what joins their words.
fn plain(name: &str) -> String {
    name.replace('-', "_")
}

fn find_modules(folder: &Path, found: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            find_modules(&path, found)?;
        } else if let Some((name, _)) = path.file_name().and_then(|name| name.to_str()?.split_once(".ko")) {
            found.insert(plain(name), path);
        }
    }
    Ok(())
}

/// A module that has no file is part of the image, or this kernel lacks it: the guest sees which.
fn add_with_needed(
    name: &str,
    files: &BTreeMap<String, PathBuf>,
    order: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    let Some(path) = files.get(name).filter(|_| order.iter().all(|(known, _)| known != name)) else {
        return Ok(());
    };
    let content = uncompressed(path)?;
    for needed in depends(&content) {
        add_with_needed(&plain(&needed), files, order)?;
    }
    order.push((name.to_owned(), content));
    Ok(())
}

fn uncompressed(path: &Path) -> Result<Vec<u8>> {
    let program = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return fs::read(path).with_context(|| format!("cannot read {}", path.display())),
    };
    let output = Command::new(program).arg("-dc").arg(path).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    ensure!(output.status.success(), "{program} cannot read {}", path.display());
    Ok(output.stdout)
}

/// What a module needs, by the string `depends=A,B` in its section `.modinfo`.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = module[at + KEY.len()..].split(|&byte| byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_a_series_is_found_by_its_numbers() {
        let names = [
            "linux-image-6.1-cloud-amd64",
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-0.deb11.52-cloud-amd64",
            "linux-image-6.1.0-56-amd64",
            "linux-image-6.12.117+deb12-cloud-amd64",
            "linux-image-6.12.117+deb13-cloud-amd64",
        ];
        let names = names.map(str::to_owned);
        assert_eq!(newest_image(&names, "6.1"), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(newest_image(&names, "6.12"), Some("linux-image-6.12.117+deb13-cloud-amd64"));
        assert_eq!(newest_image(&names, "5.15"), None);
    }

    #[test]
    fn what_a_module_needs_is_read_from_its_strings() {
        let module = b"\x7fELF\0license=GPL\0depends=scsi_mod,crc-t10dif\0name=sd_mod\0";
        assert_eq!(depends(module), ["scsi_mod", "crc-t10dif"]);
        assert_eq!(depends(b"license=GPL\0depends=\0name=x\0"), Vec::<String>::new());
    }
}
