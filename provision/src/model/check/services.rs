//! DHCP, exports, time, logs, ssh, the boot endpoint, power.

use std::collections::HashMap;
use std::time::Duration;

use super::{only, required};
use crate::model::cluster::Dhcp;
use crate::model::decode::{At, Field};
use crate::model::problem::{Lines, Reporter, Span};
use crate::model::raw::{
    DhcpMode, LogTarget, RawDhcp, RawExport, RawFile, RawLog, RawPower, RawServe, RawSsh, RawTime,
    defaults,
};
use crate::model::{
    AbsPath, Export, ExportName, ExportServer, Log, Power, Serve, Ssh, Time, Timespan,
};

/// The shortest lease that dnsmasq gives.
const MIN_LEASE: Duration = Duration::from_secs(120);

/// The longest time that a BMC or a connection is waited for.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// Directories without which a node is none.
const OWN: [&str; 14] = [
    "/", "/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin",
    "/sys", "/usr", "/var",
];

/// Directories that are not regex-provision's alone.
const SYSTEM: [&str; 24] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/var",
    "/var/lib",
    "/var/log",
    "/var/tmp",
    "/usr/local",
];

/// A default that is written as a text.
fn default<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("defaults are valid; a test reads each")
}

/// The range is held against the other addresses when all are known ([`super::taken::range`]).
pub(super) fn dhcp(raw: Option<&RawDhcp>, report: &mut Reporter) -> Option<Dhcp> {
    let empty = RawDhcp::default();
    let raw = raw.unwrap_or(&empty);
    let mode = raw.mode()?;
    if mode != DhcpMode::Full {
        let keys = [
            ("range", raw.range.span()),
            ("lease", raw.lease.span()),
            ("ipv6-advertisement", raw.ipv6_advertisement.span()),
        ];
        only(
            "dhcp",
            &format!("mode = \"{mode}\""),
            &keys,
            &["mode"],
            report,
        );
        return Some(match mode {
            DhcpMode::Proxy => Dhcp::Proxy,
            _ => Dhcp::External,
        });
    }
    let lease = raw.lease.unwrap_or(defaults::LEASE);
    if let Some(at) = raw.lease.at()
        && lease.0 < MIN_LEASE
    {
        report.error(
            at.span.clone(),
            format!("dhcp: a lease of {lease} is too short"),
            "dnsmasq gives no less than two minutes, write 2m or more",
        );
    }
    Some(Dhcp::Full {
        range: raw.range.given().copied(),
        lease: lease.0,
        ipv6_advertisement: raw.ipv6_advertisement.unwrap_or(false),
    })
}

impl RawDhcp {
    /// Who answers; none where that was reported.
    pub(super) fn mode(&self) -> Option<DhcpMode> {
        match &self.mode {
            Field::Absent => Some(DhcpMode::Full),
            Field::Invalid(_) | Field::Lost => None,
            Field::Given(at) => Some(at.value),
        }
    }
}

pub(super) fn export(
    name: &At<ExportName>,
    raw: &At<RawExport>,
    report: &mut Reporter,
) -> Option<Export> {
    let section = format!("export {}", name.value);
    let raw = &raw.value;
    let path = required(&raw.path, &section, "path", &name.span, report);
    let server = raw
        .server
        .given()
        .map(|raw| raw.0.clone())
        .unwrap_or_default();
    if let (ExportServer::External(host), Some(span)) = (&server, raw.squash.span()) {
        report.error(
            span,
            format!("{section}: `squash` means nothing for an export of {host}"),
            "set it on that server, and remove it here",
        );
    }
    let mount = match &raw.mount {
        Field::Absent => path.clone(),
        other => other.given().cloned(),
    };
    if let Some(mount) = mount.as_ref().filter(|mount| OWN.contains(&mount.as_str())) {
        let span = raw.mount.span().or_else(|| raw.path.span());
        report.error(
            span.unwrap_or_else(|| name.span.clone()),
            format!("{section}: it would be mounted over the node's own {mount}"),
            "give another `mount`, such as /data",
        );
    }
    Some(Export {
        name: name.value.clone(),
        path: path?,
        mount: mount?,
        version: raw.version.unwrap_or_default(),
        options: raw.options.values(),
        server,
        read_only: raw.read_only.unwrap_or(true),
        squash: raw.squash.unwrap_or_default(),
    })
}

/// What the master exports itself: each directory once, and none with what must not be read.
pub(super) fn own_exports(raw: &RawFile, serve: &Serve, lines: &Lines, report: &mut Reporter) {
    let mut seen: HashMap<(bool, &AbsPath), (&ExportName, Span)> = HashMap::new();
    let exports = raw.export.given().map_or(&[][..], |named| &named.0);
    for (name, export) in exports {
        let Some(path) = export.value.path.at() else {
            continue;
        };
        let is_kernel = match &export.value.server {
            Field::Absent => true,
            Field::Given(at) => match at.value.0 {
                ExportServer::Kernel => true,
                ExportServer::Ganesha => false,
                ExportServer::External(_) => continue,
            },
            Field::Invalid(_) | Field::Lost => continue,
        };
        let section = format!("export {}", name.value);
        let first = seen.get(&(is_kernel, &path.value));
        if let Some((first, at)) = first {
            report.error_with(
                path.span.clone(),
                format!(
                    "{section}: {} is also the path of the export {first} in line {}",
                    path.value,
                    lines.line(at.start)
                ),
                "a server exports a directory once: leave one of them out",
                (at.clone(), "the first one"),
            );
        } else {
            seen.insert((is_kernel, &path.value), (&name.value, path.span.clone()));
        }
        let (data, own) = (path.value.as_path(), serve.directory.as_path());
        // That of the system was reported.
        let is_own = !SYSTEM.contains(&serve.directory.as_str());
        if is_own && (data.starts_with(own) || own.starts_with(data)) {
            let how = match () {
                () if data == own => "is",
                () if data.starts_with(own) => "lies in",
                () => "holds",
            };
            report.error(
                path.span.clone(),
                format!(
                    "{section}: {data} {how} the directory of regex-provision, {own}, where host keys are",
                    data = data.display(),
                    own = own.display()
                ),
                "export another directory, or name another `serve.directory`",
            );
        }
    }
}

pub(super) fn time(raw: Option<&RawTime>) -> Time {
    let empty = RawTime::default();
    let raw = raw.unwrap_or(&empty);
    Time {
        enabled: raw.enabled.unwrap_or(true),
        servers: raw.servers.values(),
        timezone: raw.timezone.unwrap_or(default(defaults::TIMEZONE)),
    }
}

pub(super) fn log(raw: Option<&At<RawLog>>, report: &mut Reporter) -> Option<Log> {
    let empty = At {
        value: RawLog::default(),
        span: 0..0,
    };
    let At { value: raw, span } = raw.unwrap_or(&empty);
    let target = match &raw.target {
        Field::Absent => LogTarget::Node,
        Field::Invalid(_) | Field::Lost => return None,
        Field::Given(at) => at.value,
    };
    let allowed: &[&str] = match target {
        LogTarget::Node => &["target"],
        LogTarget::Master => &["target", "port", "directory", "keep-days"],
        LogTarget::Remote => &["target", "host", "port", "protocol"],
    };
    let keys = [
        ("host", raw.host.span()),
        ("port", raw.port.span()),
        ("protocol", raw.protocol.span()),
        ("directory", raw.directory.span()),
        ("keep-days", raw.keep_days.span()),
    ];
    only(
        "log",
        &format!("target = \"{target}\""),
        &keys,
        allowed,
        report,
    );
    let port = raw
        .port
        .given()
        .map_or(defaults::LOG_PORT, |port| port.u16());
    match target {
        LogTarget::Node => Some(Log::Node),
        LogTarget::Master => Some(Log::Master {
            port,
            directory: raw.directory.unwrap_or(default(defaults::LOG_DIRECTORY)),
            keep_days: raw
                .keep_days
                .given()
                .map_or(defaults::LOG_KEEP_DAYS, |days| days.0),
        }),
        LogTarget::Remote => Some(Log::Remote {
            host: required(&raw.host, "log", "host", span, report)?,
            port,
            protocol: raw.protocol.unwrap_or_default(),
        }),
    }
}

pub(super) fn ssh(raw: Option<&RawSsh>, report: &mut Reporter) -> Ssh {
    let empty = RawSsh::default();
    let raw = raw.unwrap_or(&empty);
    let connect_timeout = raw.connect_timeout.unwrap_or(defaults::SSH_CONNECT_TIMEOUT);
    wait("ssh", connect_timeout, raw.connect_timeout.span(), report);
    Ssh {
        authorized_keys: raw.authorized_keys.values(),
        host_keys: raw.host_keys.unwrap_or_default(),
        user: raw.user.unwrap_or(default(defaults::SSH_USER)),
        port: raw
            .port
            .given()
            .map_or(defaults::SSH_PORT, |port| port.u16()),
        parallel: raw
            .parallel
            .given()
            .map_or(defaults::SSH_PARALLEL, |n| n.u16()),
        connect_timeout: connect_timeout.0,
    }
}

/// A time that is waited has a bound on both sides.
fn wait(section: &str, time: Timespan, span: Option<Span>, report: &mut Reporter) {
    if let Some(span) = span
        && !(Duration::from_millis(100)..=MAX_WAIT).contains(&time.0)
    {
        let what = format!("{section}: {time} is out of bounds");
        report.error(span, what, "write a time from 100ms to 10m");
    }
}

pub(super) fn serve(raw: Option<&RawServe>, report: &mut Reporter) -> Serve {
    let empty = RawServe::default();
    let raw = raw.unwrap_or(&empty);
    if let Some(at) = raw.directory.at()
        && SYSTEM.contains(&at.value.as_str())
    {
        report.error(
            at.span.clone(),
            format!("serve: {} is a directory of the system", at.value),
            "name one that holds nothing else, such as /srv/provision or /var/lib/regex-provision",
        );
    }
    let max_connections = raw.max_connections.given();
    Serve {
        directory: raw.directory.unwrap_or(default(defaults::SERVE_DIRECTORY)),
        unknown: raw.unknown.unwrap_or_default(),
        max_connections: max_connections.map_or(defaults::MAX_CONNECTIONS, |n| n.0),
        max_unknown: raw
            .max_unknown
            .given()
            .map_or(defaults::MAX_UNKNOWN, |n| n.0),
    }
}

pub(super) fn power(raw: Option<&RawPower>, report: &mut Reporter) -> Power {
    let empty = RawPower::default();
    let raw = raw.unwrap_or(&empty);
    let timeout = raw.timeout.unwrap_or(defaults::POWER_TIMEOUT);
    wait("power", timeout, raw.timeout.span(), report);
    let stagger = raw.stagger.unwrap_or(defaults::POWER_STAGGER);
    if let Some(span) = raw.stagger.span()
        && stagger.0 > MAX_WAIT
    {
        let what = format!("power: {stagger} is out of bounds");
        report.error(span, what, "write a time of at most 10m");
    }
    Power {
        parallel: raw
            .parallel
            .given()
            .map_or(defaults::POWER_PARALLEL, |n| n.u16()),
        stagger: stagger.0,
        timeout: timeout.0,
        confirm: raw.confirm.given().map_or(defaults::POWER_CONFIRM, |n| n.0),
    }
}
