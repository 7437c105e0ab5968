//! A flag for each instrument that can be switched off, from the list of instruments.

use std::collections::BTreeSet;

use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches, ValueEnum, builder::EnumValueParser};

use crate::instruments::{About, Flag, Instruments};
use profiler_report::recording::InstrumentId;

/// On, or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// Those that are on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Switches(pub BTreeSet<InstrumentId>);

fn flags() -> impl Iterator<Item = (&'static About, &'static Flag)> {
    Instruments::abouts().into_iter().filter_map(|about| Some((about, about.flag.as_ref()?)))
}

impl Args for Switches {
    fn augment_args(command: Command) -> Command {
        flags().fold(command, |command, (about, flag)| {
            let arg = Arg::new(about.id.name())
                .long(flag.long)
                .help(flag.help)
                .value_name("SWITCH")
                .value_parser(EnumValueParser::<Switch>::new())
                .default_value("on");
            command.arg(flag.alias.into_iter().fold(arg, Arg::alias))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Switches {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let is_on = |about: &About| matches.get_one(about.id.name()) == Some(&Switch::On);
        Ok(Self(flags().map(|(about, _)| about).filter(|about| is_on(about)).map(|about| about.id).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
