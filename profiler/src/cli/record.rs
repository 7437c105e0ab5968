//! `profiler record`: records, names, writes.

use std::{collections::BTreeMap, time::Instant};

use anyhow::Result;

use super::{args::Record, code, outputs::Plan, target::Wanted};
use crate::{
    confine::{self, Needs},
    doctor::{self, Wish},
    kernel, messages,
    notice::Notice,
    process::{Processes, descriptor_path},
    record::{self, Finished, Options},
    symbolize::{self, Debuginfod, DebuginfodSettings, FileSymbolizer, KernelSymbols, ModuleSource, Sources},
};
use profiler_report::{
    analyze::Report,
    recording::{Lock, Place, ProcessId, Recording},
};

/// Runs it. Returns the exit code.
///
/// # Errors
/// A privilege, the target or the output is missing, or the kernel refuses something.
pub fn run(args: &Record, program_start: Instant) -> Result<u8> {
    let Wanted { target, children } = Wanted::of(args)?;
    let plan = Plan::for_recording(&args.outputs, &target)?;
    // Told before the recording, not after it.
    plan.check()?;
    kernel::check_privileges()?;
    if !args.quiet {
        for finding in doctor::before_recording(Wish::new(&target, args.frequency)) {
            eprintln!("{}", doctor::warning(&finding));
        }
    }
    let debuginfod = DebuginfodSettings::from_environment();
    let kernel_symbols = KernelSymbols::open();
    let options = Options {
        target,
        children,
        duration: args.duration,
        sample_hz: args.frequency,
        stack_bytes: args.stack_bytes,
        budget_ratio: args.max_overhead,
        kernel_bytes: args.kernel_memory,
        on: args.switches.0.clone(),
        checkpoint: plan.checkpoint(),
        needs: Needs { directories: plan.directories(), network: debuginfod.is_some(), command: None },
        kernel_log: args.verbose > 1,
        progress: !args.quiet,
        program_start,
        watch: None,
    };
    let Finished { mut recording, processes, command } = record::record(options)?;
    let recorded = Instant::now();
    let naming = Notice::new(!args.quiet, "profiler: looking up names …");
    name(&mut recording, &processes, kernel_symbols, debuginfod, !args.quiet);
    drop(naming);
    let named = recorded.elapsed();
    drop(processes);
    confine::drop_the_rest();
    let span = recording.whole();
    let report = Report::over_time(&recording, &span);
    plan.write(&recording, &report)?;
    record::restore_signals();
    if args.verbose > 0 {
        eprintln!("{}", messages::timings(&recording, named, recorded.elapsed().saturating_sub(named)));
    }
    if !args.quiet {
        eprintln!("{}", messages::shown(&messages::closing(&report, &plan.files(), plan.has_text())));
    }
    let sampled = report.trust.on_cpu_samples + report.trust.off_cpu_samples > 0;
    let command_code = match command {
        Some(command) => Some(command.wait_to_end()?),
        None => recording.meta.command_exit_code,
    };
    Ok(command_code.map_or(if sampled { 0 } else { code::NOTHING_SAMPLED }, |code| code as u8))
}

/// Gives the locks that lie in a program's own data the names of their variables.
fn name_locks(recording: &mut Recording, processes: &Processes) {
    let mut by_module: BTreeMap<u32, Vec<(usize, u64)>> = BTreeMap::new();
    for (row, lock) in recording.locks.iter().enumerate() {
        if let Place::Module { module, offset } = lock.place {
            by_module.entry(module).or_default().push((row, offset));
        }
    }
    for (module, rows) in by_module {
        let image = processes.images().get(module as usize);
        let Some(mapped) = image.and_then(|image| image.file.as_ref()).filter(|mapped| !mapped.has_changed())
        else {
            continue;
        };
        let offsets: Vec<u64> = rows.iter().map(|&(_, offset)| offset).collect();
        for (&(row, _), name) in rows.iter().zip(symbolize::variables(mapped.file(), &offsets)) {
            recording.locks[row].name = name.unwrap_or_default();
        }
    }
}

/// Gives the locks that are variables of the kernel their names.
fn name_kernel_locks(recording: &mut Recording, kernel: &KernelSymbols) {
    let unnamed = |lock: &&mut Lock| lock.place == Place::Kernel && lock.address != 0 && lock.name.is_empty();
    let mut locks: Vec<&mut Lock> = recording.locks.iter_mut().filter(unnamed).collect();
    let addresses: Vec<u64> = locks.iter().map(|lock| lock.address).collect();
    let Some(list) = kernel.reader().ok().filter(|_| !addresses.is_empty()) else { return };
    // A list that cannot be read is reported with the frames that lack their names.
    let names = symbolize::kernel_variables(list, &addresses).unwrap_or_default();
    for (lock, name) in locks.iter_mut().zip(names) {
        lock.name = name.unwrap_or_default();
    }
}

/// Gives the frames their names, from the files that were mapped.
fn name(
    recording: &mut Recording,
    processes: &Processes,
    kernel: KernelSymbols,
    debuginfod: Option<DebuginfodSettings>,
    progress: bool,
) {
    recording.skipped.extend(kernel.hidden());
    let modules = processes.images().iter().map(|image| match (&image.file, &image.vdso) {
        (Some(mapped), _) => {
            ModuleSource::Mapped { path: descriptor_path(mapped.file()), stamp: mapped.stamp() }
        }
        (None, Some(bytes)) => ModuleSource::Bytes(bytes.clone()),
        (None, None) => ModuleSource::None,
    });
    let tgids: Vec<u32> = recording.processes.iter().map(|process| process.tgid).collect();
    let maps = processes.perf_maps();
    let perf_map = |process: ProcessId| maps.read(tgids[process as usize]);
    name_kernel_locks(recording, &kernel);
    let mut sources = Sources::new(modules.collect(), kernel, Box::new(perf_map));
    sources.debuginfod = debuginfod.map(|found| Debuginfod::start(found, progress));
    name_locks(recording, processes);
    symbolize::symbolize(recording, symbolize::worker_count(), || FileSymbolizer::new(&sources));
    recording.skipped.extend(sources.skips());
    recording.skipped.extend(maps.skip());
    recording.debuginfod = sources.debuginfod.map(|servers| servers.counts()).unwrap_or_default();
}
