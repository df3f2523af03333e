//! What the kernel tells of the server, and what it allows the clients.

use std::fs;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, setrlimit};

/// Ticks of a second in `/proc/PID/stat`: part of the kernel's interface, and 100 on every architecture that nodes have.
const TICKS: f64 = 100.0;

/// The most memory that it has had, in MiB.
pub(crate) fn peak_mib(process: Pid) -> f64 {
    let status = read(process, "status");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
    let kib: f64 = line
        .and_then(|text| text.trim().parse().ok())
        .expect("the kernel tells the peak");
    kib / 1024.0
}

/// The processor time that it has had, its own and the kernel's for it.
pub(crate) fn cpu_seconds(process: Pid) -> f64 {
    let stat = read(process, "stat");
    // The name, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
    let times = fields.split_whitespace().skip(11).take(2);
    let ticks: f64 = times
        .map(|field| field.parse::<f64>().expect("a number"))
        .sum();
    ticks / TICKS
}

fn read(process: Pid, what: &str) -> String {
    fs::read_to_string(format!("/proc/{}/{what}", process.as_raw_nonzero())).expect("it runs")
}

/// As many files for this process as it may have.
pub(crate) fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("a limit may be raised to its maximum");
}
