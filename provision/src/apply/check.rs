//! The daemons' own checkers: each file is shown to the one who will read it, before it is put into place.
//!
//! A file is shown in a scratch directory, where nothing refers to it, with as much around it as its
//! checker needs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::program::{Group, Ran, find, run, run_until};
use crate::render::{Checker, File};

/// How long a checker may take.
const CHECK_TIME: Duration = Duration::from_secs(30);

/// What a checker says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is right.
    Accepted,
    /// It is not, and this is why.
    Refused(String),
    /// Nobody knows, and this is why.
    Unknown(String),
}

/// The package of Debian that a checker belongs to.
fn program_of(checker: Checker) -> (&'static str, &'static str) {
    match checker {
        Checker::Dnsmasq | Checker::DnsmasqHosts => ("dnsmasq", "dnsmasq-base"),
        Checker::Dhcpd | Checker::DhcpdSubnet => ("dhcpd", "isc-dhcp-server"),
        Checker::KeaClasses | Checker::KeaReservations => ("kea-dhcp4", "kea-dhcp4-server"),
        Checker::Chrony => ("chronyd", "chrony"),
        Checker::Ganesha => ("ganesha.nfsd", "nfs-ganesha"),
        Checker::Systemd => ("systemd-analyze", "systemd"),
        Checker::Rsyslog => ("rsyslogd", "rsyslog"),
        Checker::Logrotate => ("logrotate", "logrotate"),
    }
}

/// Asks a file's checker, if it has one. `scratch` is an empty directory of its own.
pub fn check(file: &File, scratch: &Path) -> io::Result<Verdict> {
    let Some(checker) = file.checker else {
        return Ok(Verdict::Accepted);
    };
    let (name, package) = program_of(checker);
    let Some(program) = find(name) else {
        let reason = format!("{name} is not on this machine (package {package})");
        return Ok(Verdict::Unknown(reason));
    };
    let text = String::from_utf8_lossy(&file.bytes);
    let check = Check {
        program,
        scratch,
        text: &text,
    };
    let ran = match checker {
        Checker::Dnsmasq => check.with_file(&["--test", "-C"], &text)?,
        Checker::DnsmasqHosts => {
            let lines = text.lines().map(|line| format!("dhcp-host={line}\n"));
            check.with_file(&["--test", "-C"], &lines.collect::<String>())?
        }
        Checker::Dhcpd => check.dhcpd("subnet 0.0.0.0 netmask 0.0.0.0 {}\ninclude \"FILE\";\n")?,
        Checker::DhcpdSubnet => check.dhcpd(
            "option regexctl-arch code 93 = unsigned integer 16;\n\
             option regexctl-ipxe code 175 = string;\n\
             subnet 0.0.0.0 netmask 0.0.0.0 { include \"FILE\"; }\n",
        )?,
        Checker::KeaClasses => check.kea(
            r#""client-classes": [ <?include "FILE"?> ], "subnet4": []"#,
        )?,
        Checker::KeaReservations => check.kea(
            r#""subnet4": [{ "id": 1, "subnet": "0.0.0.0/0", "reservations": <?include "FILE"?> }]"#,
        )?,
        Checker::Chrony => check.chrony()?,
        Checker::Ganesha => return check.ganesha(),
        Checker::Systemd => check.systemd(&file.name)?,
        Checker::Rsyslog => check.with_file(&["-N1", "-f"], &text)?,
        Checker::Logrotate => check.with_file(&["--debug"], &text)?,
    };
    Ok(verdict(checker, &ran, scratch))
}

fn verdict(checker: Checker, ran: &Ran, scratch: &Path) -> Verdict {
    // logrotate tells mistakes and ends with 0 nevertheless.
    let has_complained = checker == Checker::Logrotate && ran.output.contains("error:");
    if ran.succeeded() && !has_complained {
        return Verdict::Accepted;
    }
    // A confined daemon (AppArmor) may read its own directories only.
    let is_confined = ran.output.lines().any(|line| {
        let scratch = scratch.to_string_lossy();
        line.contains("Permission denied") && line.contains(&*scratch)
    });
    if is_confined {
        return Verdict::Unknown(format!("its checker may not read the copy: {ran}"));
    }
    Verdict::Refused(ran.to_string())
}

struct Check<'a> {
    program: PathBuf,
    scratch: &'a Path,
    text: &'a str,
}

impl Check<'_> {
    /// Shows the program a file, whose path is its last argument.
    fn with_file(&self, arguments: &[&str], text: &str) -> io::Result<Ran> {
        let path = self.scratch.join("file");
        fs::write(&path, text)?;
        let path = path.to_string_lossy();
        let arguments = arguments.iter().copied().chain([&*path]);
        run(&self.program, arguments, CHECK_TIME)
    }

    /// `around` with the path of the fragment for `FILE`.
    fn including(&self, around: &str) -> io::Result<String> {
        let path = self.scratch.join("fragment");
        fs::write(&path, self.text)?;
        Ok(around.replace("FILE", &path.to_string_lossy()))
    }

    fn dhcpd(&self, around: &str) -> io::Result<Ran> {
        let text = self.including(around)?;
        let leases = self.scratch.join("leases");
        fs::write(&leases, "")?;
        let leases = leases.to_string_lossy();
        self.with_file(&["-t", "-q", "-lf", &leases, "-cf"], &text)
    }

    fn kea(&self, around: &str) -> io::Result<Ran> {
        let text = format!(
            r#"{{ "Dhcp4": {{
                "interfaces-config": {{ "interfaces": [] }},
                "lease-database": {{ "type": "memfile", "persist": false }},
                {}
            }} }}"#,
            self.including(around)?
        );
        self.with_file(&["-t"], &text)
    }

    /// chronyd takes directives as arguments, too; so nothing needs to lie where a confined one
    /// may read.
    fn chrony(&self) -> io::Result<Ran> {
        let lines = self.text.lines().filter(|line| !line.starts_with('#'));
        let arguments = ["-p"].into_iter().chain(lines);
        run(&self.program, arguments, CHECK_TIME)
    }

    /// Any unit stands for itself; the others that it names need not be there, nor the
    /// program, for a fake root has none.
    fn systemd(&self, name: &str) -> io::Result<Ran> {
        let name = name.rsplit('/').next().unwrap_or(name);
        let path = self.scratch.join(name);
        let lines = self.text.lines().map(|line| match line.split_once("=/") {
            Some((key, rest)) if key.starts_with("Exec") => {
                let program = format!("/{}", rest.split(' ').next().unwrap_or(rest));
                let is_there = Path::new(&program).is_file();
                let stand_in = if is_there { &program } else { "/bin/true" };
                format!("{}\n", line.replacen(&program, stand_in, 1))
            }
            _ => format!("{line}\n"),
        });
        fs::write(&path, lines.collect::<String>())?;
        let path = path.to_string_lossy();
        let arguments = ["verify", "--man=no", "--recursive-errors=no", &path];
        run(&self.program, arguments, CHECK_TIME)
    }

    /// Ganesha has no checker: it is started where there is no network, and serves nobody.
    fn ganesha(&self) -> io::Result<Verdict> {
        let Some(unshare) = find("unshare") else {
            return Ok(Verdict::Unknown("there is no unshare".into()));
        };
        if !rustix::process::geteuid().is_root() {
            return Ok(Verdict::Unknown("only root can start it".into()));
        }
        let path = self.scratch.join("file");
        fs::write(&path, without_network(self.text, self.scratch))?;
        let (path, pid) = (path.to_string_lossy(), self.scratch.join("pid"));
        let (program, pid) = (self.program.to_string_lossy(), pid.to_string_lossy());
        let arguments = [
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            &program,
            "-F",
            "-L",
            "STDERR",
            "-N",
            "NIV_EVENT",
            "-f",
            &path,
            "-p",
            &pid,
        ];
        let is_up = |said: &str| said.contains("NFS SERVER INITIALIZED");
        let ran = run_until(unshare, arguments, Group::Ours, CHECK_TIME, is_up)?;
        let complaints = ran.output.lines().filter_map(complaint);
        let complaints: Vec<_> = complaints.collect();
        if complaints.is_empty() && is_up(&ran.output) {
            return Ok(Verdict::Accepted);
        }
        if complaints.is_empty() {
            return Ok(Verdict::Refused(ran.to_string()));
        }
        Ok(Verdict::Refused(complaints.join("; ")))
    }
}

/// What Ganesha has against its configuration, if a line of its log tells that.
fn complaint(line: &str) -> Option<&str> {
    let is_one = line.contains(" config_errs_to_log :")
        || line.contains(":FSAL :CRIT :")
        || line.contains(":FATAL :");
    let text = line.rsplit_once(" :").map_or(line, |(_, text)| text);
    is_one.then_some(text)
}

/// The configuration for a start where the master's address does not exist, no rpcbind
/// answers, and the state of the real server is not to be touched.
fn without_network(text: &str, scratch: &Path) -> String {
    let mut out = String::new();
    let mut in_core = false;
    for line in text.lines() {
        let word = line.trim_start();
        in_core = (in_core || word.starts_with("NFS_CORE_PARAM")) && line != "}";
        if word.starts_with("Bind_addr") {
            continue;
        }
        if in_core && word.starts_with("Protocols") {
            out.push_str("  Protocols = 4;\n");
        } else if word.starts_with("RecoveryRoot") {
            let scratch = scratch.display();
            out.extend(["  RecoveryRoot = \"", &scratch.to_string(), "\";\n"]);
        } else {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}
