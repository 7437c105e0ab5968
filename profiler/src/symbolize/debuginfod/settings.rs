//! What the environment says about debuginfod, with the names that elfutils' clients know.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// elfutils waits 90 s for a server to begin; a report that is waited for should not.
const TIMEOUT: Duration = Duration::from_secs(10);
/// For one file.
const FILE_TIME: Duration = Duration::from_secs(60);
/// For all files together.
const TOTAL_TIME: Duration = Duration::from_secs(60);
/// Larger files are not for a report: the debug information of a browser has some gigabytes.
const MOST_BYTES: u64 = 2 << 30;
/// Most servers that are asked.
const SERVERS: usize = 8;

/// Where to ask, and for how long.
#[derive(Clone, Debug)]
pub struct Settings {
    pub urls: Vec<String>,
    /// None if nobody has a home: then nothing is kept.
    pub cache: Option<PathBuf>,
    /// Until a server begins to answer.
    pub timeout: Duration,
    pub file_time: Duration,
    pub total_time: Duration,
    pub most_bytes: u64,
}

impl Settings {
    /// None if `DEBUGINFOD_URLS` names no server.
    pub fn from_environment() -> Option<Self> {
        Self::of(|name| env::var_os(name))
    }

    fn of(variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let text = |name| variable(name).and_then(|value| value.into_string().ok());
        let number = |name| text(name)?.trim().parse::<u64>().ok().filter(|&number| number > 0);
        let urls: Vec<String> = text("DEBUGINFOD_URLS")?
            .split_whitespace()
            .filter(|url| url.starts_with("http://") || url.starts_with("https://"))
            .map(str::to_owned)
            .take(SERVERS)
            .collect();
        if urls.is_empty() {
            return None;
        }
        let path = |name, below: &str| {
            let base = variable(name).filter(|value| !value.is_empty())?;
            Some(PathBuf::from(base).join(below)).filter(|path| path.is_absolute())
        };
        Some(Self {
            urls,
            cache: path("DEBUGINFOD_CACHE_PATH", "")
                .or_else(|| path("XDG_CACHE_HOME", "debuginfod_client"))
                .or_else(|| path("HOME", ".cache/debuginfod_client")),
            timeout: number("DEBUGINFOD_TIMEOUT").map_or(TIMEOUT, Duration::from_secs),
            file_time: number("DEBUGINFOD_MAXTIME").map_or(FILE_TIME, Duration::from_secs),
            total_time: TOTAL_TIME,
            most_bytes: number("DEBUGINFOD_MAXSIZE").unwrap_or(MOST_BYTES),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Option<Settings> {
        Settings::of(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn without_servers_nobody_is_asked() {
        for urls in ["", "  ", "file:///etc", "ftp://x"] {
            assert!(of(&[("DEBUGINFOD_URLS", urls)]).is_none(), "{urls}");
        }
        assert!(of(&[]).is_none());
    }

    #[test]
    fn servers_are_parted_by_spaces() {
        let settings = of(&[("DEBUGINFOD_URLS", " https://a/  http://b:8002 ")]).expect("servers");
        assert_eq!(settings.urls, ["https://a/", "http://b:8002"]);
    }

    #[track_caller]
    fn check_cache(variables: &[(&str, &str)], expected: Option<&str>) {
        let all = [&[("DEBUGINFOD_URLS", "http://a")], variables].concat();
        assert_eq!(of(&all).expect("servers").cache, expected.map(PathBuf::from));
    }

    #[test]
    fn the_cache_is_where_elfutils_has_it() {
        let home = ("HOME", "/home/u");
        check_cache(&[home], Some("/home/u/.cache/debuginfod_client"));
        check_cache(&[home, ("XDG_CACHE_HOME", "/x")], Some("/x/debuginfod_client"));
        check_cache(&[home, ("XDG_CACHE_HOME", "/x"), ("DEBUGINFOD_CACHE_PATH", "/c")], Some("/c"));
        check_cache(&[("XDG_CACHE_HOME", "")], None);
    }

    #[test]
    fn a_timeout_that_is_no_number_is_the_default() {
        let settings = of(&[
            ("DEBUGINFOD_URLS", "http://a"),
            ("DEBUGINFOD_TIMEOUT", "soon"),
            ("DEBUGINFOD_MAXTIME", "3"),
        ]);
        let settings = settings.expect("servers");
        assert_eq!((settings.timeout, settings.file_time), (TIMEOUT, Duration::from_secs(3)));
    }
}
