//! Stacks of programs whose call chains are known: how much of them is seen, and what is said of the rest.

use std::process::Command;

use profiler_tests::compile::compile;
use profiler_tests::harness::Live;
use profiler_tests::report::{Report, check_near};
use profiler_tests::running::{Finished, Workload};
use serde_json::Value;

/// Functions named `descend` of the deepest stack on the CPU.
fn deepest(report: &Report) -> usize {
    let stacks = report.0["stacks"]["on_cpu"].as_array().expect("stacks on the CPU");
    let descents = |stack: &Value| {
        let frames = stack["frames"].as_array().into_iter().flatten();
        frames.filter(|frame| frame.as_str().is_some_and(|name| name.ends_with("descend"))).count()
    };
    stacks.iter().map(descents).max().expect("a stack on the CPU")
}

/// A recursion 1,000 deep does not fit into 16 KiB: its inner frames are there, under a mark.
#[test]
fn deep_recursion_is_cut_and_says_so() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("deep_stack", &["1000"]);
    let report = live.record(&["-p", &workload.pid().to_string(), "-d", "2", "--stack-bytes", "16k"]);
    let stacks = &report.0["stacks"];
    assert!(report.has_stack("on_cpu", &["[cut]", "descend", "descend", "bottom_spin"]), "{stacks:#}");
    assert!(report.has_stack("off_cpu", &["[cut]", "descend", "descend", "bottom_sleep"]), "{stacks:#}");
    let frames = deepest(&report);
    assert!((100..1000).contains(&frames), "{frames} frames");
}

/// Of a thread whose stack was cut, more is taken: then the recursion is whole, because a frame of `descend` takes at most
/// 48 bytes. Two samples on the CPU show that more is needed, and a third may be on its way; off the CPU none is.
#[test]
fn deep_recursion_becomes_whole_by_itself() {
    let Some(live) = Live::start() else { return };
    let workload = live.workload("deep_stack", &["1000"]);
    let report = live.record(&["-p", &workload.pid().to_string(), "-d", "4"]);
    let quality = &report.0["quality"];
    let samples =
        report.number("/quality/counts/oncpu_samples") + report.number("/quality/counts/offcpu_samples");
    assert!(report.number("/quality/stacks_cut_ratio") * samples < 3.5, "{quality:#}");
    assert!(report.number("/quality/stacks_broken_ratio") < 1e-9, "{quality:#}");
    // `descend` is called for the depths 1000, 999, …, 0.
    assert_eq!(deepest(&report), 1001);
}

/// `void NAME(double seconds)`, which uses so much CPU time, however busy the machine is.
fn spinning(name: &str) -> String {
    format!(
        "#include <time.h>
         static double now(void) {{ struct timespec t; clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); return t.tv_sec + t.tv_nsec * 1e-9; }}
         __attribute__((noinline)) void {name}(double seconds) {{ double end = now() + seconds; while (now() < end) {{}} }}\n"
    )
}

/// A program that lives 50 ms is over before anybody could read its mappings at leisure.
#[test]
fn a_command_of_50_ms_has_whole_stacks() {
    let Some(live) = Live::start() else { return };
    let source = spinning("brief") + "int main(void) { brief(0.05); return 0; }";
    let program = compile(live.scratch.path(), "brief", &source, &[]);
    let report = live.record(&["--", program.to_str().expect("plain")]);
    assert!(report.has_stack("on_cpu", &["_start", "main", "brief"]), "{:#}", report.0["stacks"]);
    assert_all_whole(&report);
}

/// 40 processes of 20 ms that a shell starts one after the other, and 40 that only fork: each of them that was sampled
/// has its functions.
#[test]
fn short_lived_children_have_whole_stacks() {
    let Some(live) = Live::start() else { return };
    let exec = compile(
        live.scratch.path(),
        "execed",
        &(spinning("in_exec") + "int main(void) { in_exec(0.02); return 0; }"),
        &[],
    );
    let source = spinning("in_child")
        + "#include <sys/wait.h>
           #include <unistd.h>
           #include <stdlib.h>
           int main(int n, char **arguments) {
               for (int i = 0; i < 80; i++) {
                   pid_t child = fork();
                   if (child == 0) {
                       if (i % 2) execl(arguments[1], arguments[1], (char *)0);
                       in_child(0.02);
                       _exit(0);
                   }
                   waitpid(child, 0, 0);
               }
               return 0;
           }";
    let program = compile(live.scratch.path(), "forking", &source, &[]);
    let paths = [&program, &exec].map(|path| path.to_str().expect("plain"));
    record_folded(&live, &paths);
    let folded = std::fs::read_to_string(live.path("out.folded")).expect("folded stacks");
    assert!(!folded.contains("[unknown"), "an address in no mapping: {folded}");
    // Of what was sampled of a process, the function has 20 of some 22 ms; with 80 samples at least, three standard
    // deviations of that share are 10 %.
    for (process, function) in [("execed ", "in_exec"), ("forking ", "in_child")] {
        let sampled = |line: &&str| line.starts_with(process) && !line.contains("[not sampled]");
        let all: f64 = folded
            .lines()
            .filter(sampled)
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum();
        let share = seconds_in(&live, function) / (all / 1e6);
        assert!(share > 0.8, "{function}: {share} of what was sampled: {folded}");
    }
}

/// One library after the other is loaded to the same place, which no reading of the mappings after the fact can tell:
/// each sample has the function of the library that was there at its moment.
#[test]
fn a_library_that_replaces_another_in_memory_has_its_own_names() {
    let Some(live) = Live::start() else { return };
    let scratch = live.scratch.path();
    for name in ["first", "second"] {
        compile(scratch, &format!("{name}.so"), &spinning(&format!("spin_in_{name}")), &["-shared", "-fPIC"]);
    }
    let source = "#include <dlfcn.h>
         #include <stdio.h>
         typedef void spin(double);
         static void *load(const char *path, const char *name) {
             void *library = dlopen(path, RTLD_NOW);
             spin *function = (spin *)dlsym(library, name);
             function(0.15);
             dlclose(library);
             return function;
         }
         int main(int n, char **paths) {
             int same = 1;
             for (int i = 0; i < 5; i++)
                 same &= load(paths[1], \"spin_in_first\") == load(paths[2], \"spin_in_second\");
             printf(\"{\\\"same\\\": %d}\\n\", same);
             return 0;
         }";
    let host = compile(scratch, "host", source, &[]);
    let paths = [host, scratch.join("first.so"), scratch.join("second.so")];
    let [host, first, second] = paths.each_ref().map(|path| path.to_str().expect("plain"));
    let finished = record_folded(&live, &[host, first, second]);
    assert!(finished.stdout.contains("{\"same\": 1}"), "the test needs them at one place: {finished:?}");
    let report = live.report();
    assert_all_whole(&report);
    // 5 times 150 ms each, with a sample every 10 ms. With one layout for all, one of them would have everything.
    for function in ["spin_in_first", "spin_in_second"] {
        check_near(function, seconds_in(&live, function), 0.75, 0.15);
    }
}

/// A program whose file is replaced by another while it runs, as an update does.
#[test]
fn a_program_that_is_replaced_on_disk_keeps_its_names() {
    let Some(live) = Live::start() else { return };
    let source = |name: &str| {
        let main = format!("int main(void) {{ puts(\"ready 0\"); fflush(stdout); {name}(600); return 0; }}");
        "#include <stdio.h>\n".to_owned() + &spinning(name) + &main
    };
    let program = compile(live.scratch.path(), "program", &source("old_function"), &[]);
    let workload = Workload::start_command(Command::new(&program)).expect("it starts");
    let update = compile(live.scratch.path(), "update", &source("new_function"), &[]);
    std::fs::rename(update, &program).expect("the update");
    let report = live.record(&["-p", &workload.id().to_string(), "-d", "1"]);
    assert!(report.has_stack("on_cpu", &["_start", "main", "old_function"]), "{:#}", report.0["stacks"]);
    assert_all_whole(&report);
}

/// As in a container: the program's path leads nowhere, or to another file, outside of its mount namespace.
#[test]
fn a_command_in_a_mount_namespace_of_its_own_has_whole_stacks() {
    let Some(live) = Live::start() else { return };
    let source = spinning("contained") + "int main(void) { contained(0.05); return 0; }";
    let program = compile(live.scratch.path(), "contained", &source, &[]);
    let script = format!(
        "mount -t tmpfs none /mnt && cp {} /mnt/contained && for i in 1 2 3 4 5 6 7 8; do /mnt/contained; done",
        program.display()
    );
    // 8 times 50 ms. Of five samples a process, one in twenty-five falls into its start: three standard deviations are 40 ms.
    record_folded(&live, &["unshare", "--mount", "sh", "-c", &script]);
    check_near("seconds in the function", seconds_in(&live, "contained"), 0.4, 0.04);
}

/// Records a command with folded stacks.
#[track_caller]
fn record_folded(live: &Live, command: &[&str]) -> Finished {
    let folded = live.path("out.folded");
    let options = ["-o", folded.to_str().expect("plain"), "--view", "cpu", "--"];
    let finished = live.record_any(&[&options[..], command].concat());
    assert!(finished.status.success(), "profiler failed: {finished:?}");
    finished
}

/// Seconds on the CPU with a function in the stack, of the stacks that begin where a process does.
fn seconds_in(live: &Live, function: &str) -> f64 {
    let folded = std::fs::read_to_string(live.path("out.folded")).expect("folded stacks");
    let microseconds = |line: &str| {
        let (stack, number) = line.rsplit_once(' ')?;
        let frames: Vec<&str> = stack.split(';').collect();
        let holds = frames.contains(&"_start") && frames.contains(&function);
        holds.then(|| number.parse::<f64>().expect("a number"))
    };
    folded.lines().filter_map(microseconds).sum::<f64>() / 1e6
}

/// No stack is cut or broken, except where the kernel has already taken the memory of a process away: in its exit or exec.
#[track_caller]
fn assert_all_whole(report: &Report) {
    let quality = &report.0["quality"];
    let reasons: Vec<_> = quality["stacks_broken"].as_object().expect("reasons").keys().collect();
    assert!(reasons.iter().all(|reason| *reason == "stack_unreadable"), "{quality:#}");
    assert!(report.number("/quality/stacks_cut_ratio") < 1e-9, "{quality:#}");
}
