//! Which machines do the work.

use clap::ValueHint;

use crate::flags::args::Master;
use crate::flags::flag::Flag;
use crate::flags::value;

pub(super) const FLAGS: &[Flag] = &[
    Flag::value("master", "URL", |args, value| {
        args.master = match value {
            Some(url) => Master::Url(value::master_url(url)?),
            None => Master::Embedded,
        };
        Ok(())
    })
    .undo("no-master")
    .hint(ValueHint::Url)
    .help("Run on the cluster of the master at URL")
    .more(
        "As http://HOST:PORT. Without it the variable REGEXCTL_MASTER is looked at, then \
         `master` in the configuration file; when none is set, or with --no-master, the \
         search runs on this machine, in this process.",
    ),
    Flag::list("map", "FROM=TO", |args, value| {
        if let Some(value) = value {
            args.maps.push(value::mapping(value)?);
        }
        Ok(())
    })
    .help("Paths below FROM here are below TO on the nodes")
    .more(
        "For directories that are mounted in different places; may be given several times, \
         and the longest FROM that fits counts. Results are printed as they are named \
         here:\n\n    regexctl run --map /home=/export/home TODO /home/me",
    ),
    Flag::value("threads", "NUM", |args, value| {
        args.threads = value
            .map(value::threads)
            .transpose()?
            .filter(|&threads| threads != 0);
        Ok(())
    })
    .short('j')
    .help("Search with NUM threads; the default, and 0, is one for each core")
    .more("At most 1024. On a cluster the workers decide, and the flag does nothing."),
    Flag::switch("no-config", |args, _| args.no_config = true)
        .help("Do not read the configuration file")
        .more(
            "It is the file that the variable REGEXCTL_CONFIG names, or \
             regexctl/config.toml below $XDG_CONFIG_HOME or ~/.config. It may set:\n\n    \
             master = \"http://10.0.0.1:7411\"\n    \
             map = [\"/home=/export/home\"]\n    \
             flags = [\"--ignore\", \"--no-hidden\"]",
        ),
];
