//! Containers, by their name or id: the directory of a container's cgroup has its id, and the engines keep names in files.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{NameError, cgroups::directories, only};
use crate::record::cgroup::mount_of_version_2;

/// Digits of an id, in hexadecimal.
const ID_DIGITS: usize = 64;
/// Fewer digits than this are a name.
const LEAST_DIGITS: usize = 6;
/// Of a file of an engine no more is read.
const MOST_BYTES: u64 = 1 << 20;

/// The cgroup of a container, by its name or by the beginning of its id.
///
/// # Errors
/// None that runs is called so, or several are.
pub fn container(name: &str) -> Result<PathBuf, NameError> {
    let Some(mount) = mount_of_version_2() else { return Err(NameError::NoContainer(name.to_owned())) };
    let ids = ids_of(Path::new("/"), name);
    let is_digits = name.len() >= LEAST_DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let fits = |id: &str| ids.iter().any(|known| known == id) || is_digits && id.starts_with(name);
    only(name, directories(&mount, |directory| id_in(directory).is_some_and(fits)), NameError::NoContainer)
}

/// The id in the name of a cgroup: `docker-ID.scope`, `cri-containerd-ID.scope`, `libpod-ID.scope`, or `ID` alone.
fn id_in(directory: &str) -> Option<&str> {
    let stem = directory.strip_suffix(".scope").unwrap_or(directory);
    let id = stem.rsplit_once('-').map_or(stem, |(_, id)| id);
    (id.len() == ID_DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// Ids of the containers of this name that the engines know.
fn ids_of(root: &Path, name: &str) -> Vec<String> {
    [docker(root, name), podman(root, name), kubernetes(root, name)].concat()
}

/// `/var/lib/docker/containers/ID/config.v2.json` has `"Name": "/web"`.
fn docker(root: &Path, name: &str) -> Vec<String> {
    let entries = fs::read_dir(root.join("var/lib/docker/containers")).into_iter().flatten().flatten();
    let fits = |entry: &fs::DirEntry| {
        let config = json(&entry.path().join("config.v2.json"));
        let found = config.as_ref().and_then(|config| config.get("Name")?.as_str());
        found.is_some_and(|found| found.trim_start_matches('/') == name)
    };
    entries.filter(fits).filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// `containers.json` of the storage has `"id"` and `"names"` of each.
fn podman(root: &Path, name: &str) -> Vec<String> {
    let list = json(&root.join("var/lib/containers/storage/overlay-containers/containers.json"));
    let list = list.and_then(|list| list.as_array().cloned()).unwrap_or_default();
    let fits = |container: &Value| {
        let names = container.get("names").and_then(Value::as_array);
        names.is_some_and(|names| names.iter().any(|found| found.as_str() == Some(name)))
    };
    let fitting = list.iter().filter(|container| fits(container));
    fitting.filter_map(|container| Some(container.get("id")?.as_str()?.to_owned())).collect()
}

/// `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log`; the pod's name or the container's.
fn kubernetes(root: &Path, name: &str) -> Vec<String> {
    let entries = fs::read_dir(root.join("var/log/containers")).into_iter().flatten().flatten();
    let id = |entry: fs::DirEntry| {
        let file = entry.file_name().into_string().ok()?;
        let (names, id) = file.strip_suffix(".log")?.rsplit_once('-')?;
        let mut parts = names.splitn(3, '_');
        let (pod, _, container) = (parts.next()?, parts.next()?, parts.next()?);
        (pod == name || container == name).then(|| id.to_owned())
    };
    entries.filter_map(id).collect()
}

fn json(path: &Path) -> Option<Value> {
    let mut text = String::new();
    fs::File::open(path).ok()?.take(MOST_BYTES).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> String {
        digit.to_string().repeat(ID_DIGITS)
    }

    #[test]
    fn an_id_is_found_in_the_name_of_a_cgroup_as_each_engine_makes_it() {
        let id = id('a');
        for name in [
            id.clone(),
            format!("docker-{id}.scope"),
            format!("cri-containerd-{id}.scope"),
            format!("libpod-{id}.scope"),
        ] {
            assert_eq!(id_in(&name), Some(id.as_str()), "{name}");
        }
        assert_eq!([id_in("nginx.service"), id_in("docker-abc.scope"), id_in("")], [None; 3]);
    }

    #[test]
    fn names_are_those_that_the_engines_keep() {
        let root = tempfile::tempdir().expect("a folder");
        let write = |path: String, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        };
        let (a, b, c) = (id('a'), id('b'), id('c'));
        write(format!("var/lib/docker/containers/{a}/config.v2.json"), r#"{"Name":"/web","ID":"x"}"#);
        write(format!("var/lib/docker/containers/{b}/config.v2.json"), "not JSON");
        write(
            "var/lib/containers/storage/overlay-containers/containers.json".into(),
            &format!(r#"[{{"id":"{b}","names":["db"]}},{{"names":["db"]}}]"#),
        );
        write(format!("var/log/containers/shop-7_default_cart-{c}.log"), "");
        let ids = |name: &str| ids_of(root.path(), name);
        assert_eq!([ids("web"), ids("db")], [[a], [b]]);
        assert_eq!([ids("cart"), ids("shop-7")], [[c.clone()], [c]]);
        assert_eq!(ids("nobody"), [] as [String; 0]);
    }
}
