//! `regexctl run`: settles the job, starts it, prints what comes, and maps the outcome to an exit code.

mod deliver;
mod signals;
mod sorted;

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use regexctl_proto::v1;
use regexctl_worker::plan::Plan;
use regexctl_worker::stream;

use crate::client::{Embedded, Job, Remote};
use crate::config::{Config, MASTER_VARIABLE};
use crate::flags::{RunArgs, Typed};
use crate::job::{Environment, Request, STDIN_NAME, Work};
use crate::print::Summary;
use crate::{commands, help};
use deliver::{Delivery, Stop};

/// How the program ends. The codes are those of the manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// There was a match.
    Match,
    /// There was none.
    NoMatch,
    /// The job could not run, or not to its end.
    Failed,
    /// It ran, and some files could not be read.
    Unread,
    /// SIGINT or SIGTERM cancelled it.
    Interrupted,
}

impl Exit {
    /// What the process returns.
    pub fn code(self) -> u8 {
        match self {
            Self::Match => 0,
            Self::NoMatch => 1,
            Self::Failed => 2,
            Self::Unread => 3,
            // As a shell tells of a process that SIGINT ended.
            Self::Interrupted => 130,
        }
    }
}

/// Runs the job that was typed.
pub fn run(typed: Typed) -> anyhow::Result<Exit> {
    let started = Instant::now();
    let config = if typed.no_config() {
        Config::default()
    } else {
        Config::load(|name| env::var_os(name))?
    };
    let args = match typed.resolve(&config) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    let master = config.master(&args.master, env::var_os(MASTER_VARIABLE))?;
    match work(args, &config, master.is_some())? {
        Work::TypeList => commands::print(help::type_list).map(|()| Exit::Match),
        Work::Search(request) => search(*request, master.as_deref(), started),
    }
}

fn work(args: RunArgs, config: &Config, master: bool) -> anyhow::Result<Work> {
    let environment = Environment::detect(args.ignore)?;
    let stdin = &mut io::stdin().lock();
    Ok(Work::new(args, config, &environment, master, stdin)?)
}

fn search(mut request: Request, master: Option<&str>, started: Instant) -> anyhow::Result<Exit> {
    // Whatever cannot run is found here, before anything is submitted.
    let plan = Arc::new(Plan::compile(&request.spec)?);
    // In spite of -U, where the pattern cannot match a line terminator, lines are lines.
    request.print.multi_line = plan.spans_lines();
    let pipes = match master {
        None => named_pipes(&mut request),
        Some(_) => Vec::new(),
    };
    let mut delivery = Delivery::new(&request);
    for missing in &request.missing {
        delivery.failed(&missing.path, &missing.error.to_string());
    }
    let nowhere = request.roots.is_empty() && !request.stdin;
    if nowhere && !request.missing.is_empty() {
        return Ok(Exit::Failed);
    }
    let mut end = v1::JobEnd {
        tally: Some(v1::Tally::default()),
        ..v1::JobEnd::default()
    };
    if request.can_match || request.print.stats {
        let mut tally = v1::Tally::default();
        let result = streams(&request, &plan, &pipes, &mut delivery, &mut tally).and_then(|()| {
            end.tally = Some(tally);
            if request.paths.is_empty() && !request.walk.contains(&true) {
                return Ok(());
            }
            end = added(job(&request, plan, master, &mut delivery)?, &tally);
            Ok(())
        });
        if let Err(stop) = result {
            return stop.exit(&delivery);
        }
    }
    let summary = Summary::new(&end, started.elapsed());
    delivery.finish(&end, &summary)
}

/// The end of the job, with what was counted beside it.
fn added(mut end: v1::JobEnd, tally: &v1::Tally) -> v1::JobEnd {
    end.tally.get_or_insert_default().absorb(tally);
    end
}

/// Takes the PATHs that are pipes, such as those of `<(command)`, out of the job: they are streams of this process.
fn named_pipes(request: &mut Request) -> Vec<(Vec<u8>, PathBuf)> {
    let mut pipes = Vec::new();
    let roots = request.spec.roots.iter().zip(&request.roots);
    for ((root, display), walk) in roots.zip(&mut request.walk) {
        let path = Path::new(OsStr::from_bytes(&root.path));
        if *walk && std::fs::metadata(path).is_ok_and(|m| m.file_type().is_fifo()) {
            *walk = false;
            let mut name = Vec::new();
            display.path(b"", &mut name);
            pipes.push((name, path.to_owned()));
        }
    }
    pipes
}

/// Searches what only this process can read: standard input and named pipes.
fn streams(
    request: &Request,
    plan: &Arc<Plan>,
    pipes: &[(Vec<u8>, PathBuf)],
    delivery: &mut Delivery<'_>,
    tally: &mut v1::Tally,
) -> Result<(), Stop> {
    if plan.want == v1::Want::Files {
        return Ok(());
    }
    if request.stdin {
        stream(STDIN_NAME, &mut io::stdin().lock(), plan, delivery, tally)?;
    }
    for (name, path) in pipes {
        match File::open(path) {
            Ok(mut file) => stream(name, &mut file, plan, delivery, tally)?,
            Err(error) => delivery.failed(name, &error.to_string()),
        }
    }
    Ok(())
}

/// Searches one stream to its end, and delivers as it goes.
fn stream(
    name: &[u8],
    reader: &mut dyn Read,
    plan: &Arc<Plan>,
    delivery: &mut Delivery<'_>,
    tally: &mut v1::Tally,
) -> Result<(), Stop> {
    let signals = signals::Signals::new();
    // A read may wait for ever, so nothing but the end of the process is sure to end it.
    let _guard = signals.on_interrupt(|| std::process::exit(i32::from(Exit::Interrupted.code())));
    let mut stopped = None;
    let heard = stream::search(plan, reader, tally, |file| {
        let told = delivery
            .file(name, file, &[])
            .and_then(|()| delivery.flush());
        stopped = told.err();
        stopped.is_none()
    });
    if let Some(stop) = stopped {
        return Err(stop);
    }
    if let Err(error) = heard {
        delivery.failed(name, &error.to_string());
    }
    Ok(())
}

/// Runs the job and delivers its events up to the end.
fn job(
    request: &Request,
    plan: Arc<Plan>,
    master: Option<&str>,
    delivery: &mut Delivery<'_>,
) -> Result<v1::JobEnd, Stop> {
    let signals = signals::Signals::new();
    let mut job: Box<dyn Job> = match master {
        Some(url) => Box::new(Remote::submit(url, request).map_err(anyhow::Error::from)?),
        None => Box::new(Embedded::start(request, plan)?),
    };
    let canceller = job.canceller();
    let on_interrupt = canceller.clone();
    let _guard = signals.on_interrupt(move || on_interrupt.cancel());
    let result = delivery.events(&mut *job, &signals);
    if result.is_err() {
        // Nobody reads any more. A remote job is told so, and then waited for until it has ended.
        canceller.cancel();
        while let Ok(Some(event)) = job.next() {
            if matches!(event, v1::results_reply::Event::Finished(_)) {
                break;
            }
        }
    }
    result
}
