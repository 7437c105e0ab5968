//! Which results go where.

use std::{
    ffi::OsString,
    io::{IsTerminal as _, Write},
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Result;

use super::args::Outputs;
use crate::{
    confine::identity::Owner,
    messages,
    output::{self, Destination},
    record::{Save, Target},
};
use profiler_report::{
    analyze::{
        Report,
        flame::{Flame, View},
    },
    capture,
    recording::Recording,
    report::{Format, Json, Render as _, Style, Text, folded, svg},
};

/// One result.
struct Output {
    format: Format,
    destination: Destination,
}

/// All results of one run.
pub struct Plan {
    outputs: Vec<Output>,
    view: View,
    owner: Option<Owner>,
    /// The name of the capture that is saved elsewhere if an output fails. None where there is a capture already.
    spare_name: Option<String>,
}

impl Plan {
    /// For a recording: what is named, or else the text on stdout and a capture whose name has target and
    /// time.
    pub fn for_recording(args: &Outputs, target: &Target) -> Result<Self> {
        let mut plan = Self::for_report(args)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let name = default_name(target, now);
        if args.output.is_empty() && args.svg.is_empty() && args.format.is_none() && !args.json {
            let destination = Destination::File(name.clone().into());
            plan.outputs.push(Output { format: Format::Capture, destination });
        }
        plan.spare_name = Some(name);
        Ok(plan)
    }

    /// For a capture: the text on stdout unless files are named.
    pub fn for_report(args: &Outputs) -> Result<Self> {
        let format = |name: &OsString| match args.format {
            Some(format) => Ok(format.into()),
            None if args.json && name == "-" => Ok(Format::Json),
            None => Format::of(name),
        };
        let mut named = args.output.clone();
        if args.json && !named.iter().any(|name| name == "-") || named.is_empty() && args.svg.is_empty() {
            named.push("-".into());
        }
        let output =
            |name: &OsString| Ok(Output { format: format(name)?, destination: Destination::parse(name) });
        let mut outputs = named.iter().map(output).collect::<Result<Vec<_>>>()?;
        let svg = |name: &OsString| Output { format: Format::Svg, destination: Destination::parse(name) };
        outputs.extend(args.svg.iter().map(svg));
        Ok(Self { outputs, view: args.view(), owner: Owner::from_environment(), spare_name: None })
    }

    /// Saves a recording that is under way, so that it is not lost when this process is killed.
    /// [`Plan::write`] removes it.
    pub fn checkpoint(&self) -> Option<Save> {
        let destination = Destination::File(self.checkpoint_path()?);
        let owner = self.owner;
        Some(Save::new(move |recording| {
            let saved = output::write(&destination, owner, |out| capture::save(recording, out));
            saved.map(drop).map_err(std::io::Error::other)
        }))
    }

    /// Beside the first file that is to be written, a capture first; without files in the directory for temporary ones.
    fn checkpoint_path(&self) -> Option<PathBuf> {
        let name = self.spare_name.as_ref()?;
        let files = || {
            self.outputs.iter().filter_map(|output| match &output.destination {
                Destination::File(path) if path.is_file() || !path.exists() => Some((output.format, path)),
                _ => None,
            })
        };
        let capture = files().find(|(format, _)| *format == Format::Capture);
        let path = match (capture, files().next()) {
            (Some((_, capture)), _) => capture.clone(),
            (None, Some((_, file))) => file.with_file_name(name),
            (None, None) => std::env::temp_dir().join(name),
        };
        let mut partial = path.into_os_string();
        partial.push(".partial");
        Some(partial.into())
    }

    fn remove_checkpoint(&self) {
        if let Some(path) = self.checkpoint_path() {
            // Most recordings are shorter than the time to the first one.
            let _ = std::fs::remove_file(path);
        }
    }

    /// Refuses what can be seen now to fail later.
    pub fn check(&self) -> Result<()> {
        Ok(self.outputs.iter().try_for_each(|output| output::check(&output.destination))?)
    }

    /// Whether the report is on stdout.
    pub fn has_text(&self) -> bool {
        let mut outputs = self.outputs.iter();
        outputs.any(|output| output.format == Format::Text && output.destination == Destination::Stdout)
    }

    /// Names of the files.
    pub fn files(&self) -> Vec<String> {
        let name = |output: &Output| match &output.destination {
            Destination::File(path) => Some(path.display().to_string()),
            Destination::Stdout => None,
        };
        self.outputs.iter().filter_map(name).collect()
    }

    /// Where they go.
    pub fn directories(&self) -> Vec<PathBuf> {
        self.outputs.iter().filter_map(|output| output.destination.directory()).collect()
    }

    /// Writes all of them. One that fails does not keep the others from being written, nor is the recording lost by it.
    pub fn write(&self, recording: &Recording, report: &Report) -> Result<()> {
        let mut first_error = None;
        let mut has_capture = false;
        for output in &self.outputs {
            match output::write(&output.destination, self.owner, |out| {
                self.render(output, (recording, report), out)
            }) {
                Ok(written) => {
                    has_capture |= output.format == Format::Capture;
                    if let Some(error) = written.owner_error {
                        eprintln!("{}", messages::shown(&messages::owner_not_changed(&self.files(), &error)));
                    }
                }
                Err(error) => {
                    if let Some(earlier) = first_error.replace(error) {
                        let earlier = anyhow::Error::new(earlier);
                        eprintln!("{}", messages::shown(&format!("profiler: {earlier:#}")));
                    }
                }
            }
        }
        let is_saved = match (&first_error, &self.spare_name) {
            (Some(_), Some(name)) if !has_capture => self.save_elsewhere(name, recording, report),
            _ => true,
        };
        if is_saved {
            self.remove_checkpoint();
        }
        first_error.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Saves the capture in the directory for temporary files. If it cannot be there either, what a person can read goes to
    /// standard output, where it does not go anyway. Tells whether the capture is saved.
    fn save_elsewhere(&self, name: &str, recording: &Recording, report: &Report) -> bool {
        let path = std::env::temp_dir().join(name);
        let capture = Destination::File(path.clone());
        let saved = output::write(&capture, self.owner, |out| capture::save(recording, out));
        let Err(error) = saved else {
            eprintln!("{}", messages::shown(&messages::saved_elsewhere(&path)));
            return true;
        };
        eprintln!("{}", messages::shown(&messages::not_saved(&anyhow::Error::new(error))));
        if self.outputs.iter().all(|output| output.destination != Destination::Stdout) {
            // The last resort: where it fails, all is said.
            let text = Text::default();
            let _ = output::write(&Destination::Stdout, None, |out| text.render(report, out));
        }
        false
    }

    fn render(
        &self,
        output: &Output,
        (recording, report): (&Recording, &Report),
        out: &mut dyn Write,
    ) -> std::io::Result<()> {
        match output.format {
            Format::Text => {
                let is_stdout = output.destination == Destination::Stdout;
                Text { style: if is_stdout { stdout_style() } else { Style::default() } }.render(report, out)
            }
            Format::Json => Json.render(report, out),
            Format::Folded => folded::render(&Flame::new(report.recording, self.view), out),
            Format::Svg => svg::render(&Flame::new(report.recording, self.view), &header(report), out),
            Format::Capture => capture::save(recording, out),
        }
    }
}

/// On a terminal that has colours and whose user has not turned them off (<https://no-color.org>: by any value but nothing).
fn stdout_has_colour() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    std::io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb
}

/// As the terminal wants it; what goes elsewhere has the full width.
pub(super) fn stdout_style() -> Style {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
    let columns = size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0);
    Style { colour: stdout_has_colour(), columns: columns.unwrap_or(Style::default().columns) }
}

fn header(report: &Report) -> svg::Header {
    svg::Header {
        target: report.recording.meta.target.clone(),
        lost_ratio: report.trust.lost_ratio,
        stacks_by_frame_pointers_ratio: report.trust.ends.by_frame_pointers_ratio(),
        stacks_complete_ratio: report.trust.ends.ratios().map(|[complete, ..]| complete),
    }
}

/// `profiler-pid-812-1790000000.prof`: distinguished by the second.
fn default_name(target: &Target, unix_seconds: u64) -> String {
    let what = target.to_string();
    let safe: String = what
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() { character } else { '-' })
        .take(40)
        .collect();
    format!("profiler-{}-{unix_seconds}.prof", safe.trim_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_name_tells_target_and_time_and_holds_no_slash() {
        assert_eq!(default_name(&Target::Processes(vec![812]), 5), "profiler-pid-812-5.prof");
        assert_eq!(default_name(&Target::Cgroup("/a/b".into()), 5), "profiler-cgroup--a-b-5.prof");
    }
}
