//! What every image gets from us: the worker's unit, the units that report stages, and settings that a diskless node needs.
//!
//! Whatever the image's own declaration says is done after this and wins.

use super::root::Root;
use crate::model::{Image, UnitName};

/// Where the worker is, below a directory of its own: it is packed behind the rest ([`super::layer`]).
pub(super) const WORKER: &str = "opt/regexctl/bin/regex-worker";

/// The link by which everybody calls it.
const WORKER_LINK: &str = "usr/bin/regex-worker";

/// Units that are of no use on a node, or hold its boot up.
const MASKED: [&str; 15] = [
    "apt-daily.service",
    "apt-daily.timer",
    "apt-daily-upgrade.service",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "man-db.timer",
    "motd-news.timer",
    "NetworkManager-wait-online.service",
    "systemd-networkd-wait-online.service",
    "systemd-pstore.service",
    "systemd-hwdb-update.service",
    "logrotate.timer",
];

/// What configures interfaces; not the one that the node booted from.
const NETWORKERS: [&str; 5] = [
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "networking.service",
    "NetworkManager.service",
    "dhcpcd.service",
];

/// Text files: path, content, mode.
const FILES: [(&str, &str, u32); 5] = [
    (
        "usr/lib/regexctl/stage",
        include_str!("files/stage.sh"),
        0o755,
    ),
    (
        "usr/lib/systemd/system/regexctl-stage-system.service",
        include_str!("files/stage-system.service"),
        0o644,
    ),
    (
        "usr/lib/systemd/journald.conf.d/50-regexctl.conf",
        include_str!("files/journald.conf"),
        0o644,
    ),
    (
        "etc/ssh/sshd_config.d/50-regexctl.conf",
        include_str!("files/sshd.conf"),
        0o644,
    ),
    (
        "etc/fstab",
        "# The root is laid together by the initramfs.\n",
        0o644,
    ),
];

/// Those of the worker.
const WORKER_FILES: [(&str, &str, u32); 3] = [
    (
        "usr/lib/systemd/system/regex-worker.service",
        include_str!("files/regex-worker.service"),
        0o644,
    ),
    (
        "usr/lib/systemd/system/regexctl-stage-worker.service",
        include_str!("files/stage-worker.service"),
        0o644,
    ),
    (
        "usr/lib/systemd/system/regexctl-stage-worker-kept-back.service",
        include_str!("files/stage-worker-kept-back.service"),
        0o644,
    ),
];

/// All texts of this room, for the digest of inputs.
pub(super) fn texts() -> impl Iterator<Item = (&'static str, &'static str)> {
    let files = FILES.iter().chain(&WORKER_FILES);
    files
        .map(|(path, text, _)| (*path, *text))
        .chain([("network", include_str!("files/network-is-up.conf"))])
        .chain(MASKED.map(|unit| ("masked", unit)))
}

/// Puts it into the root.
pub(super) fn equip(root: &Root, image: &Image) -> anyhow::Result<()> {
    let files = FILES.iter().filter(|(path, _, _)| {
        // Where there is no sshd, nobody reads what it is told.
        !path.starts_with("etc/ssh/") || root.exists("etc/ssh")
    });
    let worker_files = WORKER_FILES.iter().filter(|_| image.worker);
    for (path, text, mode) in files.chain(worker_files) {
        root.write(path, text, *mode)?;
    }
    switch_on(root, "multi-user.target", "regexctl-stage-system.service")?;
    if image.worker {
        switch_on(root, "multi-user.target", "regex-worker.service")?;
        switch_on(
            root,
            "regex-worker.service",
            "regexctl-stage-worker.service",
        )?;
        root.link(WORKER_LINK, format!("/{WORKER}"))?;
    }
    for unit in NETWORKERS {
        let file = format!("usr/lib/systemd/system/{unit}.d/50-regexctl.conf");
        root.write(file, include_str!("files/network-is-up.conf"), 0o644)?;
    }
    let is_wanted = |unit: &str| {
        let enable: &[UnitName] = &image.services.enable;
        enable.iter().any(|wanted| wanted.as_str() == unit)
    };
    for unit in MASKED.into_iter().filter(|unit| !is_wanted(unit)) {
        mask(root, unit)?;
    }
    Ok(())
}

/// Makes a unit impossible to start.
pub(super) fn mask(root: &Root, unit: &str) -> anyhow::Result<()> {
    root.link(format!("etc/systemd/system/{unit}"), "/dev/null")
}

fn switch_on(root: &Root, target: &str, unit: &str) -> anyhow::Result<()> {
    root.link(
        format!("usr/lib/systemd/system/{target}.wants/{unit}"),
        format!("../{unit}"),
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
    use std::path::Path;
    use std::process::{Command, Output};
    use std::thread;

    use rustix::net::{AddressFamily, SocketType};

    /// The script with the file of its boot elsewhere, as the worker's end calls it.
    fn report_to(server: SocketAddr, directory: &Path) -> Output {
        let (script, boot) = (directory.join("stage"), directory.join("boot.env"));
        let settings = format!("RP_SERVER=http://{server}\nRP_MAC=52:54:00:00:00:01\nRP_BOOT=1\n");
        fs::write(&boot, settings).expect("it is ours");
        let text = include_str!("files/stage.sh")
            .replace("/run/regex-provision/boot.env", &boot.display().to_string())
            .replace("LIMIT=5", "LIMIT=1");
        fs::write(&script, text).expect("it is ours");
        Command::new("timeout")
            .args(["60", "bash"])
            .arg(script)
            .arg("worker-ended")
            .env("LC_ALL", "C.UTF-8")
            .env("SERVICE_RESULT", "exit-code")
            .env("EXIT_CODE", "exited with é")
            .output()
            .expect("timeout is there")
    }

    #[test]
    fn what_a_node_reports_arrives() {
        let directory = tempfile::tempdir().expect("a directory");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("it has one");
        let heard = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the script comes");
            let mut text = String::new();
            let mut byte = [0];
            while !text.ends_with("\r\n\r\n") {
                stream.read_exact(&mut byte).expect("a head");
                text.push(char::from(byte[0]));
            }
            let length = text.split("Content-Length: ").nth(1).expect("a length");
            let length: usize = (length.lines().next().expect("a line").parse()).expect("digits");
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("a body");
            stream
                .write_all(b"HTTP/1.1 204 No Content\r\n")
                .expect("it waits for this");
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).expect("it ends");
            assert_eq!(rest, b"", "the length is that of the body");
            String::from_utf8(body).expect("text")
        });
        let output = report_to(address, directory.path());
        assert!(output.status.success(), "{output:?}");
        let body = heard.join().expect("it was heard");
        assert!(
            body.starts_with("boot=1&stage=worker&ok=0&percent=0&message=exited+with+é+"),
            "{body}"
        );
    }

    /// The worker is started again only when its report is through.
    #[test]
    fn a_report_to_a_server_that_does_not_answer_ends() {
        let directory = tempfile::tempdir().expect("a directory");
        // A queue of one, which is full: whoever comes now is not answered at all.
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None);
        let socket = socket.expect("a socket");
        rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a port");
        rustix::net::listen(&socket, 0).expect("it is bound");
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().expect("it has one");
        let _first = TcpStream::connect(address).expect("it has room for one");
        let output = report_to(address, directory.path());
        assert!(output.status.success(), "{output:?}");
    }

    #[test]
    fn the_scripts_are_clean() {
        let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/image/files");
        let scripts = fs::read_dir(&files).expect("it is there");
        let scripts = scripts.map(|entry| entry.expect("listed").path());
        let scripts = scripts.filter(|path| path.extension().is_some_and(|end| end == "sh"));
        let output = Command::new("shellcheck")
            .args(scripts)
            .output()
            .expect("shellcheck is installed");
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{told}");
    }
}
