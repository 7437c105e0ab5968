//! Against a server of ours on this machine, which behaves as well or as badly as a test wants.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use tempfile::TempDir;

use super::*;
use crate::symbolize::fixture::Fixture;

/// A server, its cache and the build that is asked for.
struct Trial {
    directory: TempDir,
    fixture: Fixture,
    build_id: Vec<u8>,
    settings: Settings,
    /// Requests that came.
    requests: Arc<AtomicU64>,
}

impl Trial {
    /// `answer` gets the path that is asked for and the file that is meant, and writes what it likes.
    fn new(test: &str, answer: impl Fn(&str, &[u8], &mut TcpStream) + Send + 'static) -> Self {
        let fixture = Fixture::build(test, &["-g"]);
        fixture.run("objcopy", &["--only-keep-debug", "fixture.so", "fixture.debug"]);
        let right = fs::read(fixture.0.join("fixture.debug")).expect("read");
        let hex = fixture.build_id();
        let build_id =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("digits"));
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let url = format!("http://{}", listener.local_addr().expect("address"));
        let requests = Arc::new(AtomicU64::new(0));
        let counter = requests.clone();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut line = String::new();
                let mut reader = BufReader::new(stream.try_clone().expect("clone"));
                let _ = reader.read_line(&mut line);
                let mut header = String::new();
                while reader.read_line(&mut header).is_ok_and(|length| length > 2) {
                    header.clear();
                }
                counter.fetch_add(1, Relaxed);
                answer(line.split(' ').nth(1).unwrap_or_default(), &right, &mut stream);
            }
        });
        let directory = TempDir::new().expect("a directory");
        let settings = Settings {
            urls: vec![url],
            cache: Some(directory.path().join("cache")),
            timeout: Duration::from_secs(5),
            file_time: Duration::from_secs(5),
            total_time: Duration::from_secs(5),
            most_bytes: 1 << 20,
        };
        Self { directory, fixture, build_id: build_id.collect(), settings, requests }
    }

    /// Asks for the file, and tells what came of it.
    fn ask(&self) -> (Option<File>, Counts) {
        let servers = Debuginfod::start(self.settings.clone(), false);
        let file = servers.debug_information(&self.build_id);
        (file, servers.counts())
    }

    fn cached(&self) -> PathBuf {
        self.directory.path().join("cache").join(self.fixture.build_id()).join("debuginfo")
    }

    /// Nothing was got and nothing kept, for the reason that is counted.
    #[track_caller]
    fn check_refused(&self, expected: Counts) {
        let (file, counts) = self.ask();
        assert!(file.is_none());
        assert_eq!(counts, Counts { asked: 1, ..expected });
        let kept = fs::metadata(self.cached()).map_or(0, |metadata| metadata.len());
        assert_eq!(kept, 0, "bytes kept");
    }
}

fn send(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n");
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

#[test]
fn a_file_is_got_once_and_then_taken_from_the_cache() {
    let trial = Trial::new("success", |path, right, stream| {
        assert!(path.starts_with("/buildid/") && path.ends_with("/debuginfo"), "{path}");
        send(stream, "200 OK", "", right);
    });
    let (file, counts) = trial.ask();
    assert!(file.is_some());
    assert_eq!(counts, Counts { asked: 1, found: 1, ..Counts::default() });
    let right = fs::read(trial.fixture.0.join("fixture.debug")).expect("read");
    assert_eq!(fs::read(trial.cached()).expect("in the cache"), right);
    let (file, counts) = trial.ask();
    assert!(file.is_some());
    assert_eq!(counts, Counts { cached: 1, ..Counts::default() });
    assert_eq!(trial.requests.load(Relaxed), 1);
}

#[test]
fn what_the_server_does_not_know_is_not_asked_for_again() {
    let trial = Trial::new("unknown", |_, _, stream| send(stream, "404 Not Found", "", b"no"));
    trial.check_refused(Counts { unknown: 1, ..Counts::default() });
    assert_eq!(trial.ask().1, Counts { unknown: 1, ..Counts::default() });
    assert_eq!(trial.requests.load(Relaxed), 1);
}

#[test]
fn a_server_that_does_not_answer_costs_no_more_than_the_time_for_all() {
    let mut trial = Trial::new("silent", |_, _, stream| {
        thread::sleep(Duration::from_secs(4));
        send(stream, "200 OK", "", b"");
    });
    trial.settings.total_time = Duration::from_millis(300);
    let start = Instant::now();
    trial.check_refused(Counts { late: 1, ..Counts::default() });
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn a_server_that_never_ends_costs_no_more_than_the_time_for_all() {
    let mut trial = Trial::new("endless", |_, _, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    trial.settings.total_time = Duration::from_millis(300);
    let start = Instant::now();
    trial.check_refused(Counts { late: 1, ..Counts::default() });
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn what_is_no_elf_file_is_refused() {
    let trial = Trial::new("garbage", |_, _, stream| send(stream, "200 OK", "", &[0x7f; 4000]));
    trial.check_refused(Counts { failed: 1, ..Counts::default() });
}

#[test]
fn the_file_of_another_build_is_refused() {
    let other = Fixture::build("other-build", &["-g", "-Wl,--build-id=0x0102030405060708"]);
    let body = fs::read(other.library()).expect("read");
    let trial = Trial::new("another", move |_, _, stream| send(stream, "200 OK", "", &body));
    trial.check_refused(Counts { failed: 1, ..Counts::default() });
}

#[test]
fn a_file_beyond_the_bound_is_refused() {
    let trial = Trial::new("oversize", |_, _, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        while stream.write_all(&[0; 4096]).is_ok() {}
    });
    trial.check_refused(Counts { failed: 1, ..Counts::default() });
}

#[test]
fn a_redirect_to_a_file_is_not_followed() {
    let trial = Trial::new("redirect", |_, _, stream| {
        send(stream, "302 Found", "Location: file:///etc/hostname\r\n", b"");
    });
    trial.check_refused(Counts { failed: 1, ..Counts::default() });
}

#[test]
fn a_redirect_to_http_is_followed() {
    let trial = Trial::new("moved", |path, right, stream| match path {
        "/elsewhere" => send(stream, "200 OK", "", right),
        _ => send(stream, "302 Found", "Location: /elsewhere\r\n", b""),
    });
    assert!(trial.ask().0.is_some());
}

#[test]
fn the_second_server_is_asked_when_the_first_is_not_there() {
    let mut trial = Trial::new("second", |_, right, stream| send(stream, "200 OK", "", right));
    trial.settings.urls.insert(0, "http://127.0.0.1:1".to_owned());
    assert!(trial.ask().0.is_some());
}

#[test]
fn nothing_is_written_into_another_users_cache() {
    let trial = Trial::new("foreign", |_, right, stream| send(stream, "200 OK", "", right));
    let cache = trial.directory.path().join("cache");
    fs::create_dir(&cache).expect("create");
    if chown(&cache, Some(12_345), None).is_err() {
        eprintln!("skipped: only root can give a directory away");
        return;
    }
    assert!(trial.ask().0.is_some());
    assert_eq!(fs::read_dir(&cache).expect("read").count(), 0);
}
