use super::*;

/// Programs that run, of those below.
const RUNNING: &[&str] = &["redis-server", "nginx", "python3"];

fn of(line: &str) -> Result<Understood, Hint> {
    let words = line.split_whitespace().map(OsString::from).collect();
    understand(words, |name| RUNNING.contains(&name))
}

/// The words that clap gets; it understands them.
#[track_caller]
fn check(line: &str, expected: &str) {
    use clap::Parser as _;
    let understood = of(line).expect(line);
    let words: Vec<&str> = understood.words.iter().filter_map(|word| word.to_str()).collect();
    assert_eq!(words.join(" "), expected, "{line}");
    let parsed = Args::try_parse_from(["profiler"].into_iter().chain(words));
    assert!(parsed.is_ok(), "{line}: {}", parsed.expect_err("an error"));
}

/// What is said instead: by us, or where clap refuses the words.
#[track_caller]
fn check_said(line: &str, expected: &str) {
    use clap::Parser as _;
    let said = match of(line) {
        Err(hint) => hint.to_string(),
        Ok(understood) => {
            let program = OsString::from("profiler");
            let error =
                Args::try_parse_from(std::iter::once(program).chain(understood.words)).expect_err(line);
            shown(&error)
        }
    };
    assert!(said.contains(expected), "{line}: {said}");
    assert!(!said.contains("tip:") && !said.contains("Usage:"), "{line}: {said}");
}

#[test]
fn a_target_alone_is_recorded() {
    check("-p 812", "record -p 812");
    check("812", "record -p 812");
    check("812,813 -d 5", "record -p 812,813 -d 5");
    check("-a -d 5", "record -a -d 5");
    check("record 812", "record -p 812");
    check("record 812 -d 5 -o x.svg", "record -p 812 -d 5 -o x.svg");
    check("record -d 5 812", "record -d 5 -p 812");
    check("docker:web -d 5", "record -p docker:web -d 5");
    check("record unit:nginx.service", "record -p unit:nginx.service");
    check("x.prof", "report x.prof");
}

#[test]
fn a_name_that_runs_is_recorded_and_another_word_is_started() {
    check("record redis-server", "record -p redis-server");
    check("redis-server -d 5", "record -p redis-server -d 5");
    check("record nginx -d 5", "record -p nginx -d 5");
    check("record sleep 5", "record -- sleep 5");
    check("record ./cmd a", "record -- ./cmd a");
    check("record -o x.svg ./cmd -a", "record -o x.svg -- ./cmd -a");
    check("record -qd 5 ls -a", "record -qd 5 -- ls -a");
    check("record python3 -c pass", "record -- python3 -c pass");
    check("record -F 49 --stack-bytes=16k -- ls", "record -F 49 --stack-bytes=16k -- ls");
    let notice = of("record redis-server").ok().and_then(|understood| understood.notice);
    assert!(notice.is_some_and(|notice| notice.contains("record -- redis-server")));
}

#[test]
fn options_of_perf_and_py_spy_mean_the_same_here() {
    for options in [
        "-g",
        "--call-graph dwarf",
        "--call-graph=fp",
        "--rate 49",
        "-r 49",
        "--freq 49",
        "--format svg -o x",
        "--json",
        "--svg x.svg",
        "--idle",
        "--native",
        "--nonblocking",
        "--subprocesses",
        "-s",
        "--cpu",
        "--offcpu",
        "--view off-cpu",
        "--view oncpu",
        "--time 5",
        "--seconds 5",
        "-f folded",
    ] {
        check(&format!("record -p 1 {options}"), &format!("record -p 1 {options}"));
    }
    check("record --name redis-server", "record --name redis-server");
    check("record -t 12 -d 5", "record -t 12 -d 5");
    check("record --tid 12,13", "record --tid 12,13");
    check("record --unit nginx", "record --unit nginx");
    check("record --container web", "record --container web");
    check("record --call-graph dwarf ./cmd", "record --call-graph dwarf -- ./cmd");
    for line in ["report", "report -", "report a.prof b.prof", "report -i a.prof", "report --stdio a.prof"] {
        check(line, line);
    }
    check("completions bash", "completions bash");
}

#[test]
fn commands_of_other_tools_are_answered_with_ours() {
    check_said("top", "profiler record -a -d 5");
    check_said("top -p 812", "profiler record -p 812 -d 5");
    check_said("dump -p 812", "profiler record -p 812 -d 1");
    check_said("dump 812", "profiler record -p 812 -d 1");
    check_said("stat -p 812", "profiler record -p 812 -d 10");
    check_said("flamegraph -p 812", "profiler record -p 812 -d 10 -o flame.svg");
    check_said("offcpu", "--view offcpu");
    check_said("biolatency", "profiler io");
    check_said("diff a.prof b.prof", "profiler report FILE");
    check_said("list", "profiler doctor");
    check_said("./cmd a", "profiler record -- ./cmd a");
}

#[test]
fn what_means_nothing_here_is_answered_in_one_line() {
    check_said("record -p 1 -e cycles", "perf record -e");
    check_said("record -p 1 --gil", "interpreter lock");
    check_said("record -p 1 --no-idle", "--view cpu");
    check_said("record -p 1 -C 0", "-p PID");
    check_said("record -p 1 -u root", "pgrep");
    check_said("record -p 1 sleep 1", "-d TIME");
    check_said("record -a -- sleep 1", "cannot be used with");
    check_said("record", "-p PID");
    check_said("record -p 1 --ouput x.svg", "--output");
    check_said("record -p 1 --wibble", "profiler record --help");
    check_said("docter", "doctor");
    check_said("wibble", "profiler --help");
    check_said("record -p 1 --view sideways", "sideways");
}

#[test]
fn help_is_help() {
    assert_eq!(of("version").map(|understood| understood.words), Ok(vec![OsString::from("--version")]));
    for line in ["--help", "-h", "help", "record --help", "record -h", "help record"] {
        assert_eq!(of(line).map(|understood| understood.notice), Ok(None), "{line}");
    }
}
