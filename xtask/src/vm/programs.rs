//! What runs in the guests: the live tests' own programs, the workloads and `profiler`, as `cargo xtask test` builds them.
//!
//! Out: the programs, and for each live test whether it runs there. A test that cannot has its reason here.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::command::{self, answer, repository, target_directory};
use crate::test::build_tests;

/// A test of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    pub program: String,
    pub name: String,
}

/// A test that does not run in the guests, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotRun {
    pub test: Test,
    pub why: &'static str,
}

/// The built programs.
pub struct Programs {
    /// Where cargo builds.
    pub target: PathBuf,
    /// Test programs, by name.
    pub tests: Vec<(String, PathBuf)>,
    pub run: Vec<Test>,
    pub not_run: Vec<NotRun>,
}

/// How many of the tests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Extent {
    /// All that a guest can run
    Whole,
    /// Without those that hold on one kernel as on another
    Short,
    /// A few that go through everything which the kernels do differently
    Essential,
}

/// Test programs of which no test runs in a guest.
const OTHER_PROGRAMS: &[(&str, &str)] =
    &[("servers", "needs database and web servers, and perf"), ("live_files", NO_COMPILER)];

const NO_COMPILER: &str = "compiles a program: the guest has no compiler";

const SLOW_UNWINDING: &str = "an emulated CPU takes minutes to unwind what is in the ring";

const SLOW_FORKS: &str = "an emulated CPU forks too slowly for it";

const NO_LOOP: &str = "the guest has no loop devices";

/// Tests that do not run in a guest: `PROGRAM::TEST`.
const NOT_RUN: &[(&str, &str)] = &[
    ("live_block_io::requests_are_as_many_as_the_kernel_counts", NO_LOOP),
    ("live_block_io::a_hundred_thousand_requests_under_way_are_all_counted", NO_LOOP),
    ("live_stacks::a_command_of_50_ms_has_whole_stacks", NO_COMPILER),
    ("live_stacks::short_lived_children_have_whole_stacks", NO_COMPILER),
    ("live_stacks::a_library_that_replaces_another_in_memory_has_its_own_names", NO_COMPILER),
    ("live_stacks::a_program_that_is_replaced_on_disk_keeps_its_names", NO_COMPILER),
    ("live_stacks::a_command_in_a_mount_namespace_of_its_own_has_whole_stacks", NO_COMPILER),
    ("live_names::the_report_has_files_and_lines_and_marks_what_is_inlined", NO_COMPILER),
    ("live_names::a_function_without_a_name_is_told_by_its_offset_in_the_file", NO_COMPILER),
    ("live_names::a_program_of_half_a_gigabyte_is_named_in_bounded_memory", NO_COMPILER),
    ("live_names::functions_of_node_have_their_names_after_it_has_ended", "needs node"),
    ("live_names::functions_of_node_in_a_mount_namespace_that_is_gone_have_their_names", "needs node"),
    ("live_names::functions_of_python_have_their_names", "needs Python"),
    (
        "live_privileges::a_command_is_neither_privileged_nor_confined",
        "the guest's `cat` is busybox, which drops set-user-ID privileges",
    ),
    ("live_targets::fork_storm_is_accounted_for", SLOW_FORKS),
    ("live_targets::children_are_recorded_when_asked_for", SLOW_FORKS),
    ("live_losses::births_and_ends_that_are_not_told_are_told_to_be_missing", SLOW_FORKS),
    (
        "live_targets::ten_thousand_threads_have_an_account_each",
        "listing them takes an emulated CPU 1 % of the recording",
    ),
    (
        "live_losses::threads_without_an_account_are_told",
        "an emulated CPU does not start 8,192 threads within the test's 4 s",
    ),
    (
        "live_stacks::deep_recursion_becomes_whole_by_itself",
        "an emulated CPU asks for the deeper samples a tick later than the test allows",
    ),
    ("live_losses::a_full_ring_is_told", SLOW_UNWINDING),
    ("live_losses::a_tiny_ring_is_told", SLOW_UNWINDING),
];

/// Tests of what happens outside of the kernel: `PROGRAM::TEST`, or a whole program.
const KERNEL_INDEPENDENT: &[&str] = &[
    "workloads",
    "live_failures::damaged_captures_are_refused",
    "live_failures::full_disk_leaves_no_partial_file_and_loses_nothing",
    "live_failures::a_recording_that_can_be_saved_nowhere_is_printed",
    "live_failures::interrupted_recording_writes_its_result",
    "live_failures::missing_directory_is_told_before_anything_is_recorded",
    "live_failures::missing_privilege_is_named_with_its_remedy",
    "live_failures::no_such_process_is_an_error_that_names_it",
    "live_failures::report_into_a_closed_directory_fails",
    "live_failures::wrong_usage_has_its_own_code",
    "live_doctor::json_has_the_same_verdicts_as_the_text",
    "live_faults::a_recording_that_is_killed_is_saved_up_to_some_seconds_before",
    "live_outputs::hostile_names_are_data_in_every_output",
    "live_privileges::results_under_sudo_belong_to_the_user",
    "live_privileges::root_writes_into_anybodys_directory",
    "live_outputs::capture_gives_the_same_answer_as_the_live_run",
    "live_targets::exit_code_is_the_commands",
    "live_targets::processes_are_found_by_name",
    "live_targets::under_sudo_the_command_is_the_invoking_users",
];

/// The tests of every change: waits for a CPU and for a lock against the kernel's counters, stacks on and off the CPU, an exec
/// by any thread, what can be done without root, block devices, each instrument by the doctor, and that nothing stays. An
/// emulated CPU takes a minute for each of them, so what the probes of plan.sh see as well (`-a`, control groups) is not among
/// them.
const ESSENTIAL: &[&str] = &[
    "live_block_io::direct_reads_wait_for_their_own_requests",
    "live_cpu::more_threads_than_cpus_wait_for_a_cpu_as_the_kernel_says",
    "live_cpu::stacks_show_the_functions_that_run_and_wait",
    "live_doctor::each_check_is_told_and_a_machine_that_records_can",
    "live_failures::killed_profiler_leaves_nothing_attached",
    "live_privileges::a_user_with_five_capabilities_records_another_users_process",
    "live_targets::exec_by_any_thread_keeps_the_books_closed",
    "live_waits::contended_mutex_is_a_lock_for_as_long_as_the_waiter_says",
];

impl Programs {
    /// Builds everything, as the live tests do.
    pub fn build(only: &[String], extent: Extent) -> Result<Self> {
        let mut build = build_tests();
        build.arg("--message-format=json");
        eprintln!("$ {}", command::shown(&build));
        let output = build.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
        ensure!(output.status.success(), "the tests do not build");
        let tests = test_programs(&String::from_utf8_lossy(&output.stdout));
        let target = target_directory(&repository().join("Cargo.toml"))?;
        let mut programs = Self { target, tests, run: Vec::new(), not_run: Vec::new() };
        for (program, path) in &programs.tests {
            let list = answer(Command::new(path).args(["--list", "--format=terse"]));
            let list = list.with_context(|| format!("{} does not list its tests", path.display()))?;
            let is_wanted = |test: &Test| only.is_empty() || only.iter().any(|word| test.name.contains(word));
            for test in names(program, &list).filter(is_wanted) {
                let is_left_out = match extent {
                    Extent::Whole => false,
                    Extent::Short => is_one_of(KERNEL_INDEPENDENT, &test),
                    Extent::Essential => !is_one_of(ESSENTIAL, &test),
                };
                match reason(&test) {
                    None if is_left_out => {}
                    None => programs.run.push(test),
                    Some(why) => programs.not_run.push(NotRun { test, why }),
                }
            }
        }
        // A test that was renamed would else be left out in silence.
        let is_there = |name: &&&str| programs.run.iter().any(|test| is_it(name, test));
        let gone = ESSENTIAL.iter().find(|name| !is_there(name));
        if let (Extent::Essential, true, Some(gone)) = (extent, only.is_empty(), gone) {
            bail!("there is no test `{gone}`, which is to run on every kernel");
        }
        programs.tests.retain(|(name, _)| programs.run.iter().any(|test| test.program == *name));
        Ok(programs)
    }
}

/// Why a test does not run in the guests, if it does not.
fn reason(test: &Test) -> Option<&'static str> {
    let whole = OTHER_PROGRAMS.iter().find(|(program, _)| *program == test.program);
    whole.or_else(|| NOT_RUN.iter().find(|(name, _)| is_it(name, test))).map(|(_, why)| *why)
}

fn is_one_of(names: &[&str], test: &Test) -> bool {
    names.iter().any(|name| is_it(name, test))
}

/// `PROGRAM::TEST`, or `PROGRAM` for all of its tests.
fn is_it(name: &str, test: &Test) -> bool {
    name.split_once("::").map_or(name == test.program, |name| name == (&test.program, &test.name))
}

/// Takes cargo's messages, one JSON object a line. Test programs of the crate `tests` alone; their kind is `test`.
fn test_programs(messages: &str) -> Vec<(String, PathBuf)> {
    let artifact = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_test = message["target"]["kind"].as_array()?.iter().any(|kind| kind == "test")
            && message["package_id"].as_str()?.rsplit('#').next()?.starts_with("profiler-tests@");
        let program = message["executable"].as_str().filter(|_| is_test)?;
        Some((message["target"]["name"].as_str()?.to_owned(), program.into()))
    };
    messages.lines().filter_map(artifact).collect()
}

/// Takes `NAME: test`, one a line.
fn names<'a>(program: &'a str, list: &'a str) -> impl Iterator<Item = Test> + 'a {
    let names = list.lines().filter_map(|line| line.strip_suffix(": test"));
    names.map(|name| Test { program: program.into(), name: name.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_tests_are_found_in_cargos_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"package_id\":\"path+file:///r/tests#profiler-tests@0.1.0\",\"target\":{\"kind\":[\"lib\"],\"name\":\"x\"},\"executable\":\"/t/x-1\"}\n\
            {\"reason\":\"compiler-artifact\",\"package_id\":\"path+file:///r/profiler#0.1.0\",\"target\":{\"kind\":[\"test\"],\"name\":\"single_step\"},\"executable\":\"/t/s-1\"}\n\
            {\"reason\":\"compiler-artifact\",\"package_id\":\"path+file:///r/tests#profiler-tests@0.1.0\",\"target\":{\"kind\":[\"test\"],\"name\":\"live_cpu\"},\"executable\":\"/t/live_cpu-1\"}\n\
            {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(test_programs(messages), [("live_cpu".to_owned(), "/t/live_cpu-1".into())]);
    }

    #[test]
    fn tests_that_do_not_run_have_a_reason() {
        let test = |program: &str, name: &str| Test { program: program.into(), name: name.into() };
        assert_eq!(reason(&test("live_names", "functions_of_python_have_their_names")), Some("needs Python"));
        assert!(reason(&test("servers", "any")).is_some());
        assert!(is_one_of(KERNEL_INDEPENDENT, &test("workloads", "any")));
        assert!(!is_one_of(KERNEL_INDEPENDENT, &test("live_failures", "any")));
        assert_eq!(reason(&test("live_cpu", "command_is_recorded_from_its_first_instruction")), None);
    }
}
