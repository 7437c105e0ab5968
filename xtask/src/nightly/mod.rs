//! `cargo xtask nightly`: what takes too long for every change, as steps with names.
//!
//! In: the same programs as `cargo xtask test`. Out: its summary, and the tables that two of the steps write into docs.

mod busy;
mod hour;

use std::process::ExitCode;

use anyhow::Result;

use crate::test::{self, Outcome, Step, all_fuzzers, live_tests, step};
use crate::{fuzz, object, vm};

/// Of all targets together.
const FUZZ_SECONDS: u32 = 1800;

#[derive(clap::Args)]
pub struct Args {
    /// Which steps, by name: object, kernels, long, busy, lint, fuzz, hour; without it all
    steps: Vec<String>,
    /// Minutes that the step `hour` records for; the document is written for an hour and more alone
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(2..))]
    minutes: u16,
    /// Rounds of the step `busy`, of some nine minutes each
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

pub fn nightly(args: &Args) -> Result<ExitCode> {
    test::run(&steps(args.minutes, args.rounds), &args.steps)
}

fn steps(minutes: u16, rounds: u32) -> Vec<Step> {
    vec![
        step("object", "the prebuilt kernel programs are those of their sources", |_| {
            object::object(&object::Args { check: true }).map(|()| Outcome::PASSED)
        }),
        step("kernels", "the live tests on the whole row of kernels, in QEMU", |_| vm::whole_row()),
        step("long", "live tests that take minutes", |durations| live_tests(&["--ignored"], durations)),
        step("busy", "the live tests beside a spinning thread on each CPU", move |durations| {
            busy::busy(rounds, durations)
        }),
        step("lint", "no lint complains about the fuzzers of the recorder", |_| all_fuzzers()),
        step("fuzz", "the fuzzer finds nothing in half an hour", |_| {
            fuzz::fuzz(&fuzz::Args::all(FUZZ_SECONDS)).map(|()| Outcome::PASSED)
        }),
        step("hour", "the profiler's memory does not grow in an hour", move |_| hour::hour(minutes)),
    ]
}
