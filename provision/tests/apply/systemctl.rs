//! A script that stands for `systemctl`, so that services can be made to fail, and real processes for some of them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::{env, io};

use regexctl_provision::apply::{
    self, Action, ApplyError, Disk, Expected, Outcome, ServiceError, Services, State, Systemd,
};
use regexctl_provision::render::Service;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::fake::{DIRECTORY, Fake};

/// Answers as systemd does, and keeps what it is told in files: `up.UNIT`, `enabled.UNIT`. A unit fails to start as long
/// as there is a file `bad.UNIT`, and once with `once.UNIT`, hangs while there is `slow.UNIT`, is not there with `gone.UNIT`;
/// `pid.UNIT` holds its main process. Where there is a script `run.UNIT`, that is run for it.
const SCRIPT: &str = r#"#!/bin/sh
cd "${0%/*}" || exit 9
for unit in "$@"; do :; done
case $1 in
show)
    load=loaded active=inactive enabled=disabled pid=0
    [ -e "up.$unit" ] && active=active
    [ -e "failed.$unit" ] && active=failed
    [ -e "enabled.$unit" ] && enabled=enabled
    [ -e "gone.$unit" ] && load=not-found active=inactive enabled=
    [ -e "pid.$unit" ] && read -r pid <"pid.$unit"
    echo "LoadState=$load"
    echo "ActiveState=$active"
    echo "SubState=running"
    echo "Result=exit-code"
    echo "UnitFileState=$enabled"
    echo "MainPID=$pid"
    echo "ControlGroup="
    exit 0 ;;
status)
    echo "$unit: the port is taken"
    exit 3 ;;
esac
echo "$*" >>calls
if [ -e "gone.$unit" ]; then
    echo "Unit $unit not found."
    exit 5
fi
end() {
    rm -f "up.$unit" "failed.$unit"
    [ -e "run.$unit" ] && [ -e "pid.$unit" ] || return
    read -r pid <"pid.$unit"
    kill "$pid"
    # Nobody may wait for it, and then it stays as a zombie.
    while state=$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null) && [ "${state#Z}" = "$state" ]; do
        sleep 0.01
    done
    rm "pid.$unit"
}
begin() {
    if [ -e "bad.$unit" ] || rm "once.$unit" 2>/dev/null; then
        : >"failed.$unit"
        return
    fi
    : >"up.$unit"
    [ -e "run.$unit" ] || return
    sh "./run.$unit" </dev/null >>"log.$unit" 2>&1 &
    echo $! >"pid.$unit"
}
case $1 in
enable) : >"enabled.$unit" ;;
disable) rm -f "enabled.$unit" ;;
stop) end ;;
restart) end; begin ;;
reload-or-restart)
    if [ -e "run.$unit" ] && [ -e "pid.$unit" ]; then
        read -r pid <"pid.$unit"
        kill -HUP "$pid"
    else
        end; begin
    fi ;;
esac
if [ "$1" = restart ] && [ -e "slow.$unit" ]; then
    : >waits
    exec sleep 600
fi
exit 0
"#;

/// Where `run.UNIT` finds the address of our master in what is in force: 10.77.X.Y is 127.0.X.Y here.
const ADDRESS: &str = r#"
master=$(sed -n 's/^master = "10\.77\.\(.*\)"$/127.0.\1/p' "$STORE/current/cluster.toml")
port=$(sed -n 's/^http-port = //p' "$STORE/current/cluster.toml")
"#;

pub(crate) const SERVE: &str = "regex-provision-serve.service";
pub(crate) const MASTER: &str = "regex-master.service";
pub(crate) const GANESHA: &str = "regex-provision-ganesha.service";
pub(crate) const KERNEL: &str = "nfs-server.service";

pub(crate) struct Script {
    /// Removed at the end; none for one that another process has made.
    _directory: Option<TempDir>,
    path: PathBuf,
}

impl Script {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let script = Self {
            path: directory.path().to_owned(),
            _directory: Some(directory),
        };
        let path = script.file("systemctl");
        fs::write(&path, SCRIPT).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        for unit in ["chrony.service", KERNEL] {
            script.touch(&format!("up.{unit}"));
            script.touch(&format!("enabled.{unit}"));
        }
        script
    }

    /// One that was made by another process.
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            _directory: None,
            path: path.into(),
        }
    }

    pub(crate) fn path(&self) -> &PathBuf {
        &self.path
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.file(name).exists()
    }

    pub(crate) fn touch(&self, name: &str) {
        fs::write(self.file(name), "").expect("a file");
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.file(name)).expect("it is there");
    }

    /// Which units are up or enabled.
    pub(crate) fn states(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.path).expect("it is ours");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        let is_state = |name: &String| name.starts_with("up.") || name.starts_with("enabled.");
        let mut states: Vec<_> = names.filter(is_state).collect();
        states.sort();
        states
    }

    pub(crate) fn systemd(&self) -> Systemd {
        Systemd::with(self.file("systemctl"))
    }

    /// What was told since the last call.
    pub(crate) fn calls(&self) -> Vec<String> {
        let path = self.file("calls");
        let calls = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        calls.lines().map(str::to_owned).collect()
    }

    pub(crate) fn apply(&self, fake: &Fake, text: &str) -> Result<Outcome, ApplyError> {
        let mut systemd = self.systemd();
        apply::apply(&fake.request(text), &mut Disk::default(), &mut systemd)
    }

    /// The real boot endpoint.
    pub(crate) fn run_serve(&self, fake: &Fake) {
        let program = env!("CARGO_BIN_EXE_regex-provision");
        let run = format!(
            "{ADDRESS}exec {program} serve --directory \"$STORE\" --no-daemons --listen \"$master:$port\"\n"
        );
        self.run(fake, SERVE, &run);
    }

    /// One of another version: it serves what was in force when it was started, or the generation in the file `stale`.
    pub(crate) fn run_old_serve(&self, fake: &Fake) {
        let listens = listens(
            "LISTEN_AT=\"$master:$port\" LISTEN_SAYS=\"regex-provision: cluster lab, generation $number\"",
        );
        let number = "number=$(readlink \"$STORE/current\")\nnumber=${number##*/}\n";
        let run = format!("{ADDRESS}{number}[ -e stale ] && read -r number <stale\n{listens}");
        self.run(fake, SERVE, &run);
    }

    /// One that serves what is in force, but lets the first connections wait, as many as the file `silent` says.
    pub(crate) fn run_busy_serve(&self, fake: &Fake) {
        let listens =
            listens("LISTEN_AT=\"$master:$port\" LISTEN_SERVES=\"$STORE\" LISTEN_SILENT=silent");
        self.run(fake, SERVE, &format!("{ADDRESS}{listens}"));
    }

    /// Something that listens as regex-master does.
    pub(crate) fn run_master(&self, fake: &Fake) {
        let find = "s/.* --listen 10\\.77\\.\\([^ ]*\\) .*/127.0.\\1/p";
        let at = format!("at=$(sed -n '{find}' \"$ROOT/etc/systemd/system/{MASTER}\")\n");
        self.run(fake, MASTER, &(at + &listens("LISTEN_AT=\"$at\"")));
    }

    fn run(&self, fake: &Fake, unit: &str, run: &str) {
        let root = fake.path.display();
        let text = format!("ROOT='{root}'\nSTORE='{root}/{DIRECTORY}'\n{run}");
        fs::write(self.file(&format!("run.{unit}")), text).expect("a file");
    }
}

/// Ends the processes that were run.
impl Drop for Script {
    fn drop(&mut self) {
        for unit in [SERVE, MASTER] {
            let pid = fs::read_to_string(self.file(&format!("pid.{unit}"))).unwrap_or_default();
            let pid = pid.trim().parse().ok().and_then(Pid::from_raw);
            if let Some(pid) = pid.filter(|_| self.has(&format!("run.{unit}"))) {
                // It may have ended by itself.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// The end of a script that becomes [`the_process_that_listens`], with these variables; it does not mind SIGHUP.
fn listens(variables: &str) -> String {
    let program = env::current_exe().expect("we are running");
    let test = "systemctl::the_process_that_listens";
    format!(
        "exec env --ignore-signal=HUP {variables} '{}' --exact {test}\n",
        program.display()
    )
}

/// Not a test by itself: stands for a service that listens.
#[test]
fn the_process_that_listens() {
    let Ok(at) = env::var("LISTEN_AT") else {
        return;
    };
    let says = || match env::var("LISTEN_SERVES") {
        Ok(store) => {
            let current = fs::read_link(format!("{store}/current")).expect("something is in force");
            let number = current.file_name().unwrap_or_default().display();
            format!("regex-provision: cluster lab, generation {number}")
        }
        Err(_) => env::var("LISTEN_SAYS").unwrap_or_default(),
    };
    let silent = env::var("LISTEN_SILENT").unwrap_or_default();
    let mut waiting = Vec::new();
    let listener = std::net::TcpListener::bind(at).expect("it is free");
    for stream in listener.incoming() {
        let few = fs::read_to_string(&silent).unwrap_or_default();
        if let Some(few) = few.trim().parse::<u32>().ok().filter(|few| *few > 0) {
            waiting.push(stream);
            fs::write(&silent, (few - 1).to_string()).expect("it is ours");
            continue;
        }
        // Whoever only connects has gone.
        let _ = stream.and_then(|stream| answer(stream, &says()));
    }
}

/// Answers one request over HTTP.
pub(crate) fn answer(mut stream: TcpStream, says: &str) -> io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            read => request.extend_from_slice(&buffer[..read]),
        }
    }
    let length = says.len() + 1;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{says}\n"
    )
}

/// systemd, whose services answer elsewhere than where their cluster says.
pub(crate) struct Elsewhere<F> {
    pub(crate) systemd: Systemd,
    /// Where, if anywhere.
    pub(crate) place: F,
}

/// 10.77.X.Y is 127.0.X.Y: no machine need have the addresses of the tests.
pub(crate) fn on_loopback(_: Service, at: SocketAddr) -> Option<SocketAddr> {
    let IpAddr::V4(ip) = at.ip() else {
        return None;
    };
    let [_, _, x, y] = ip.octets();
    Some((Ipv4Addr::new(127, 0, x, y), at.port()).into())
}

impl<F: Fn(Service, SocketAddr) -> Option<SocketAddr>> Elsewhere<F> {
    fn moved(&self, mut expected: Expected) -> Expected {
        let answers = expected.answers.into_iter();
        let moved = answers.filter_map(|(service, at)| Some((service, (self.place)(service, at)?)));
        expected.answers = moved.collect();
        expected
    }
}

impl<F: Fn(Service, SocketAddr) -> Option<SocketAddr>> Services for Elsewhere<F> {
    fn down(&mut self, of: &BTreeSet<Service>) -> Result<BTreeSet<Service>, ServiceError> {
        self.systemd.down(of)
    }

    fn state(&mut self, service: Service) -> Result<State, ServiceError> {
        self.systemd.state(service)
    }

    fn reload_units(&mut self) -> Result<(), ServiceError> {
        self.systemd.reload_units()
    }

    fn expect(&mut self, in_force: Option<Expected>, wanted: Expected) {
        let in_force = in_force.map(|expected| self.moved(expected));
        let wanted = self.moved(wanted);
        self.systemd.expect(in_force, wanted);
    }

    fn go_back(&mut self) {
        self.systemd.go_back();
    }

    fn enable(&mut self, service: Service, is_enabled: bool) -> Result<(), ServiceError> {
        self.systemd.enable(service, is_enabled)
    }

    fn act(&mut self, service: Service, action: Action) -> Result<(), ServiceError> {
        self.systemd.act(service, action)
    }

    fn put_back(
        &mut self,
        service: Service,
        action: Action,
        before: State,
    ) -> Result<(), ServiceError> {
        self.systemd.put_back(service, action, before)
    }
}
