//! `regexctl run`: settles the job, starts it, prints what comes, and maps the outcome to an exit code.

mod deliver;
mod signals;
mod sorted;

use std::env;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Instant;

use regexctl_proto::v1;
use regexctl_worker::plan::Plan;
use regexctl_worker::stream;

use crate::client::{Embedded, Job, Remote};
use crate::config::{Config, MASTER_VARIABLE};
use crate::flags::{RunArgs, Typed};
use crate::{commands, help};
use crate::job::{Environment, Request, STDIN_NAME, Work};
use crate::print::Summary;
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
        Work::TypeList => commands::print(|out| help::type_list(out)).map(|()| Exit::Match),
        Work::Search(request) => search(*request, master.as_deref(), started),
    }
}

fn work(args: RunArgs, config: &Config, master: bool) -> anyhow::Result<Work> {
    let environment = Environment::detect(args.ignore)?;
    let stdin = &mut io::stdin().lock();
    Ok(Work::new(args, config, &environment, master, stdin)?)
}

fn search(request: Request, master: Option<&str>, started: Instant) -> anyhow::Result<Exit> {
    // Whatever cannot run is found here, before anything is submitted.
    let plan = Arc::new(Plan::compile(&request.spec)?);
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
        let result = if request.stdin {
            let mut tally = v1::Tally::default();
            let result = stdin(&request, &plan, &mut delivery, &mut tally);
            end.tally = Some(tally);
            result
        } else {
            Ok(())
        };
        let result = result.and_then(|()| {
            if request.roots.is_empty() {
                return Ok(());
            }
            let job_end = job(&request, plan, master, &mut delivery)?;
            end = added(job_end, end.tally.unwrap_or_default());
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
fn added(mut end: v1::JobEnd, tally: v1::Tally) -> v1::JobEnd {
    end.tally.get_or_insert_default().absorb(&tally);
    end
}

/// Searches standard input in this process.
fn stdin(
    request: &Request,
    plan: &Arc<Plan>,
    delivery: &mut Delivery<'_>,
    tally: &mut v1::Tally,
) -> Result<(), Stop> {
    if request.spec.search.as_ref().is_some_and(|s| s.want() == v1::Want::Files) {
        return Ok(());
    }
    let signals = signals::Signals::new();
    let cancelled = Arc::clone(plan);
    let _guard = signals.on_interrupt(move || cancelled.cancel());
    let mut stopped = None;
    let reader: &mut dyn Read = &mut io::stdin().lock();
    let heard = stream::search(plan, reader, tally, |file| {
        let told = delivery.file(STDIN_NAME, file, &[]).and_then(|()| delivery.flush());
        match told {
            Ok(()) => true,
            Err(stop) => {
                stopped = Some(stop);
                false
            }
        }
    });
    if let Some(stop) = stopped {
        return Err(stop);
    }
    match heard {
        Ok(_) => Ok(()),
        Err(_) if signals.interrupted() => Err(Stop::Interrupted),
        Err(error) => {
            delivery.failed(STDIN_NAME, &error.to_string());
            Ok(())
        }
    }
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
