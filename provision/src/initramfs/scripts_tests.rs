//! The scripts, run by the shell and the programs that a node has, against a server that fails in all the ways
//! that servers fail.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::{SCRIPTS, sets};
use crate::store::Digest;

/// What is fetched: long enough that a part of it is not all in one buffer.
fn artifact() -> Vec<u8> {
    (0..3_000_000u32).flat_map(u32::to_le_bytes).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Digest::of(bytes).to_string()
}

/// How the server answers one request for the artifact.
#[derive(Debug, Clone)]
enum Answer {
    /// As it should.
    Right,
    /// Says how much there is, sends this much of it, and closes.
    CutAfter(usize),
    /// Sends this much, and then nothing, with the connection open.
    StallAfter(usize),
    /// The right number of bytes, and one of them wrong.
    Altered,
    /// A shorter file, told as if it were all.
    Truncated(usize),
    /// A longer file.
    Longer,
    /// All of it, whatever part was asked for.
    NoRanges,
    /// Nothing of that name.
    Missing,
}

#[derive(Debug, Default)]
struct Seen {
    /// Where each request wanted to begin.
    offsets: Vec<usize>,
    /// What was posted, as it came.
    reports: Vec<String>,
}

struct Server {
    url: String,
    seen: Arc<Mutex<Seen>>,
}

impl Server {
    /// Gives the answers one after another, and then the right one for ever. `gone` is called behind the
    /// first answer, while nobody listens.
    fn start(answers: &[Answer], gone: Option<Duration>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let server = Server {
            url: format!("http://{address}"),
            seen: Arc::clone(&seen),
        };
        let answers: Arc<Mutex<VecDeque<Answer>>> =
            Arc::new(Mutex::new(answers.iter().cloned().collect()));
        thread::spawn(move || {
            let mut listener = listener;
            let mut gone = gone;
            loop {
                let (stream, _) = listener.accept().unwrap();
                let (seen, answers) = (Arc::clone(&seen), Arc::clone(&answers));
                let job = thread::spawn(move || serve(&stream, &seen, &answers));
                if let Some(pause) = gone
                    && job.join().unwrap() == Was::Artifact
                {
                    drop(listener);
                    thread::sleep(pause);
                    listener = TcpListener::bind(address).unwrap();
                    gone = None;
                }
            }
        });
        server
    }

    fn offsets(&self) -> Vec<usize> {
        self.seen.lock().unwrap().offsets.clone()
    }

    fn reports(&self) -> String {
        self.seen.lock().unwrap().reports.join("\n")
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Was {
    Report,
    Artifact,
}

fn serve(stream: &TcpStream, seen: &Mutex<Seen>, answers: &Mutex<VecDeque<Answer>>) -> Was {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut first, mut offset, mut length) = (String::new(), 0, 0);
    reader.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.strip_prefix("range: bytes=") {
            offset = range.trim_end_matches('-').parse().unwrap();
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
    }
    if first.starts_with("POST") {
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let text = String::from_utf8(body).unwrap();
        seen.lock().unwrap().reports.push(text);
        let _ = (&*stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        return Was::Report;
    }
    seen.lock().unwrap().offsets.push(offset);
    let answer = answers.lock().unwrap().pop_front().unwrap_or(Answer::Right);
    send(stream, offset, &answer);
    Was::Artifact
}

/// Sends the artifact as `answer` says. A client that is gone is no fault.
fn send(mut stream: &TcpStream, offset: usize, answer: &Answer) {
    let mut bytes = artifact();
    let (mut limit, mut offset) = (usize::MAX, offset);
    match *answer {
        Answer::Right => {}
        Answer::CutAfter(sent) | Answer::StallAfter(sent) => limit = sent,
        Answer::Altered => bytes[1_234_567] ^= 1,
        Answer::Truncated(size) => bytes.truncate(size),
        Answer::Longer => bytes.extend([0; 100]),
        Answer::NoRanges => offset = 0,
        Answer::Missing => {
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            return;
        }
    }
    if offset > 0 && offset >= bytes.len() {
        let _ =
            stream.write_all(b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n");
        return;
    }
    let (code, part) = if offset > 0 {
        ("206 Partial Content", &bytes[offset..])
    } else {
        ("200 OK", &bytes[..])
    };
    let head = format!(
        "HTTP/1.1 {code}\r\nContent-Length: {}\r\nContent-Range: bytes {offset}-{}/{}\r\nConnection: close\r\n\r\n",
        part.len(),
        bytes.len() - 1,
        bytes.len(),
    );
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&part[..part.len().min(limit)]);
    if matches!(answer, Answer::StallAfter(_)) {
        // Until the other side closes.
        let _ = stream.read(&mut [0]);
    }
}

/// What a node has: the scripts, and of programs only what is linked for them.
struct Node {
    dir: tempfile::TempDir,
}

impl Node {
    fn new() -> Node {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        fs::create_dir_all(&bin).unwrap();
        for applet in sets::APPLETS {
            symlink("/bin/busybox", bin.join(applet)).unwrap();
        }
        for (name, _, text) in SCRIPTS {
            fs::write(dir.path().join(name.rsplit('/').next().unwrap()), text).unwrap();
        }
        Node { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs shell text behind the scripts.
    fn run(&self, text: &str, environment: &[(&str, &str)]) -> Output {
        let sources = "for part in say net fetch root wait; do . \"$RP/$part.sh\"; done\n";
        Command::new("/bin/busybox")
            .args(["sh", "-c", &format!("{sources}{text}")])
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("RP", self.dir.path())
            .env("RUN", self.path("run"))
            .env("RP_MAC", "52-54-00-00-00-01")
            .env("RP_BOOT", "b1")
            .env("FAIL_PAUSE", "0")
            .env("FIRST_PAUSE", "0")
            .envs(environment.iter().copied())
            .output()
            .unwrap()
    }

    /// Fetches the artifact, and tells whether the right bytes came.
    fn fetch(&self, server: &Server, environment: &[(&str, &str)]) -> (Output, bool) {
        let bytes = artifact();
        let text = format!(
            "RP_SERVER={}\nfetch image $RP_SERVER/artifact/x $RP/got {} {}\necho BROUGHT",
            server.url,
            sha256(&bytes),
            bytes.len()
        );
        let output = self.run(&text, environment);
        let brought = String::from_utf8_lossy(&output.stdout).ends_with("BROUGHT\n");
        if brought {
            assert!(fs::read(self.path("got")).unwrap() == bytes, "bytes differ");
        }
        (output, brought)
    }
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn a_fetch_that_is_cut_off_goes_on_where_it_was() {
    let node = Node::new();
    let server = Server::start(
        &[Answer::CutAfter(5_000_000), Answer::CutAfter(3_000_000)],
        None,
    );
    let (output, brought) = node.fetch(&server, &[]);
    assert!(brought, "{}", text(&output));
    assert_eq!(server.offsets(), [0, 5_000_000, 8_000_000]);
    let reports = server.reports();
    assert!(
        reports.contains("boot=b1&stage=image&ok=1&percent=41&message=cut+off+at+5000000+bytes"),
        "{reports}"
    );
}

#[test]
fn a_server_that_is_gone_for_a_while_is_waited_for() {
    let node = Node::new();
    let server = Server::start(&[Answer::CutAfter(5_000_000)], Some(Duration::from_secs(2)));
    let (output, brought) = node.fetch(&server, &[("FIRST_PAUSE", "1"), ("LONGEST_PAUSE", "1")]);
    assert!(brought, "{}", text(&output));
    assert_eq!(server.offsets(), [0, 5_000_000]);
    assert!(text(&output).contains("cannot fetch"), "{}", text(&output));
}

/// Nodes that failed together do not come back together.
#[test]
fn pauses_grow_and_are_not_the_same() {
    let node = Node::new();
    let script = "sleep() { echo \"slept $1\"; }\n\
        for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do pause 8; done\n\
        echo \"grown $(longer 1 30) $(longer 8 30) $(longer 16 30) $(longer 30 30)\"";
    let said = text(&node.run(script, &[]));
    // Milliseconds, of which three figures stand behind the point.
    let pauses: Vec<u32> = said
        .lines()
        .filter_map(|line| line.strip_prefix("slept "))
        .map(|seconds| seconds.replace('.', "").parse().unwrap())
        .collect();
    assert_eq!(pauses.len(), 20, "{said}");
    assert!(
        pauses.iter().all(|pause| (4000..=8000).contains(pause)),
        "{said}"
    );
    assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{said}");
    assert!(said.ends_with("grown 2 16 30 30\n"), "{said}");
}

#[test]
fn a_server_that_never_comes_back_is_given_up() {
    let node = Node::new();
    let server = Server {
        url: "http://127.0.0.1:9".to_owned(),
        seen: Arc::default(),
    };
    let (output, brought) = node.fetch(&server, &[("IDLE_TRIES", "3")]);
    assert!(!brought);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("in 3 tries: wget: can't connect"),
        "{}",
        text(&output)
    );
}

#[test]
fn altered_bytes_are_refused_with_their_digest_and_fetched_again() {
    let node = Node::new();
    let server = Server::start(&[Answer::Altered], None);
    let (output, brought) = node.fetch(&server, &[]);
    assert!(brought, "{}", text(&output));
    assert_eq!(server.offsets(), [0, 0]);
    let mut altered = artifact();
    altered[1_234_567] ^= 1;
    let refused = format!(
        "stage=image&ok=0&percent=0&message=refused:+{}/artifact/x+has+SHA-256+{}",
        server.url,
        sha256(&altered)
    );
    assert!(server.reports().contains(&refused), "{}", server.reports());
}

#[test]
fn bytes_that_stay_wrong_are_never_used() {
    for answer in [
        Answer::Altered,
        Answer::Truncated(4_000_000),
        Answer::Longer,
    ] {
        let node = Node::new();
        let server = Server::start(&vec![answer.clone(); 3], None);
        let (output, brought) = node.fetch(&server, &[("WRONG_TRIES", "3")]);
        assert!(!brought, "{answer:?}");
        assert_eq!(output.status.code(), Some(1), "{answer:?}");
        assert!(!node.path("got").exists(), "{answer:?}");
        assert_eq!(server.offsets(), [0, 0, 0], "{answer:?}");
        let reports = server.reports();
        assert!(reports.contains("refused+3+times"), "{answer:?}: {reports}");
        assert!(
            text(&output).contains("FAILED: refused 3 times"),
            "{answer:?}: {}",
            text(&output)
        );
    }
}

#[test]
fn a_file_that_ends_early_behind_a_cut_is_refused_too() {
    let node = Node::new();
    let server = Server::start(
        &[Answer::CutAfter(5_000_000), Answer::Truncated(5_000_000)],
        None,
    );
    let (output, brought) = node.fetch(&server, &[]);
    assert!(brought, "{}", text(&output));
    assert_eq!(server.offsets(), [0, 5_000_000, 0]);
    assert!(server.reports().contains("refused"), "{}", server.reports());
}

#[test]
fn a_transfer_that_stands_still_is_ended_and_taken_up() {
    let node = Node::new();
    let server = Server::start(&[Answer::StallAfter(5_000_000)], None);
    let (output, brought) = node.fetch(&server, &[("STALL_LIMIT", "2")]);
    assert!(brought, "{}", text(&output));
    assert_eq!(server.offsets(), [0, 5_000_000]);
}

#[test]
fn a_server_without_ranges_sends_all_again() {
    let node = Node::new();
    let server = Server::start(&[Answer::CutAfter(5_000_000), Answer::NoRanges], None);
    let (output, brought) = node.fetch(&server, &[]);
    assert!(brought, "{}", text(&output));
}

#[test]
fn what_is_missing_is_told_with_the_servers_words() {
    let node = Node::new();
    let server = Server::start(&[Answer::Missing, Answer::Missing], None);
    let (output, brought) = node.fetch(&server, &[]);
    assert!(brought, "{}", text(&output));
    let reports = server.reports();
    assert!(
        reports.contains("wget:+server+returned+error:+HTTP/1.1+404+Not+Found"),
        "{reports}"
    );
}

#[test]
fn a_message_survives_its_way_as_a_form() {
    let node = Node::new();
    let server = Server::start(&[], None);
    let script = format!("RP_SERVER={}\nreport image 0 7 \"$MESSAGE\"", server.url);
    let output = node.run(&script, &[("MESSAGE", "50% of a+b&c=d \u{fc}\n\tend")]);
    assert!(output.status.success());
    assert_eq!(
        server.reports(),
        "boot=b1&stage=image&ok=0&percent=7&message=50%25+of+a%2Bb%26c=d+\u{fc}++end"
    );
}

#[test]
fn a_failure_is_told_and_ends_the_shell() {
    let node = Node::new();
    let server = Server::start(&[], None);
    let script = format!(
        "RP_SERVER={}\nSTAGE=root\nfail 'no root'\necho STILL HERE",
        server.url
    );
    let output = node.run(&script, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!text(&output).contains("STILL HERE"));
    assert_eq!(
        server.reports(),
        "boot=b1&stage=root&ok=0&percent=0&message=no+root"
    );
}

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn an_inventory_is_json_whatever_the_makers_wrote() {
    let node = Node::new();
    let sys = node.path("sys");
    put(
        &sys.join("class/dmi/id/sys_vendor"),
        "Quote \" & Back\\slash\t\n",
    );
    put(&sys.join("class/dmi/id/product_serial"), "  S1  \n");
    put(&sys.join("block/sda/size"), "2048\n");
    put(&sys.join("block/sda/device/model"), "SSD 1   \n");
    put(&sys.join("block/sr0/device/model"), "DVD\n");
    put(&sys.join("block/sr0/removable"), "1\n");
    put(&sys.join("block/loop0/size"), "8\n");
    put(&sys.join("class/net/eth0/address"), "52:54:00:00:00:01\n");
    put(&sys.join("class/net/eth0/carrier"), "1\n");
    put(&sys.join("class/net/eth0/speed"), "-1\n");
    fs::create_dir_all(sys.join("class/net/eth0/device")).unwrap();
    symlink(
        "../../../bus/e1000e",
        sys.join("class/net/eth0/device/driver"),
    )
    .unwrap();
    put(&sys.join("class/net/lo/address"), "00:00:00:00:00:00\n");
    let output = node.run("inventory", &[("SYS", sys.to_str().unwrap())]);
    let mut value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(value["memory_kib"].take().as_u64().unwrap() > 0);
    assert!(value["cores"].take().as_u64().unwrap() > 0);
    insta::assert_snapshot!(
        value.to_string(),
        @r#"{"cores":null,"disks":[{"bytes":1048576,"model":"SSD 1","name":"sda"}],"memory_kib":null,"nics":[{"carrier":true,"driver":"e1000e","mac":"52:54:00:00:00:01","name":"eth0","speed_mbps":null}],"product":"","serial":"S1","vendor":"Quote \" & Back\\slash"}"#
    );
}

#[test]
fn an_export_is_an_address_and_a_path() {
    let node = Node::new();
    for (export, good) in [
        ("10.0.0.1:/srv/tree", true),
        ("10.0.0.1:srv", false),
        ("server:/srv", false),
        (":/srv", false),
        ("1.2.3:/srv", false),
        ("1.2.3.4.5:/srv", false),
        ("1..2.3:/srv", false),
    ] {
        let output = node.run(&format!("is_export {export}"), &[]);
        assert_eq!(output.status.success(), good, "{export}");
    }
}

/// The kernel starts `init` although it has not unpacked all of the initramfs, and only says so.
#[test]
fn an_initramfs_that_the_kernel_could_not_unpack_boots_nothing() {
    let (_, _, init) = SCRIPTS[0];
    let (_, main) = init.split_once("\nRP_NFSOPTS=").expect("it sets defaults");
    let stubs = "read_command_line() { RP_ROOT=ramdisk; RP_MANIFEST=0123abcd; }\n\
         start_network() { INTERFACE=lo; }\ncheck_command_line() { :; }\n\
         finish_root() { :; }\nhand_over() { echo HANDED OVER; }\n";
    let messages = |last: &str| {
        format!(
            "dmesg() {{ echo '[    0.000000] Linux version 6.1'; echo '[    0.912345] {last}'; }}\n"
        )
    };
    for (said, words) in [
        (
            "Initramfs unpacking failed: ZSTD-compressed data is corrupt",
            "the+initramfs+is+damaged:+Initramfs+unpacking+failed:+ZSTD-compressed+data+is+corrupt;+build+the+image+again+(0123abcd)",
        ),
        (
            "rootfs image is not initramfs (junk within compressed archive); looks like an initrd",
            "the+initramfs+is+damaged:+rootfs+image+is+not+initramfs+(junk",
        ),
        (
            "Initramfs unpacking failed: write error",
            "the+memory+is+too+small+for+the+initramfs",
        ),
        ("Run /init as init process", ""),
    ] {
        let node = Node::new();
        let server = Server::start(&[], None);
        let script = format!(
            "{stubs}{}RP_SERVER={}\nRP_NFSOPTS={main}",
            messages(said),
            server.url
        );
        let output = node.run(&script, &[]);
        let (told, reports) = (text(&output), server.reports());
        let is_damaged = !words.is_empty();
        assert_eq!(told.contains("HANDED OVER"), !is_damaged, "{said}: {told}");
        assert_eq!(output.status.success(), !is_damaged, "{said}: {told}");
        let failed = format!("stage=kernel&ok=0&percent=0&message={words}");
        assert_eq!(reports.contains(&failed), is_damaged, "{said}: {reports}");
    }
    // What fails before the network is there is told with its cause.
    let node = Node::new();
    let output = node.run("DAMAGE='the initramfs is damaged'\nfail 'no driver'", &[]);
    let told = text(&output);
    assert!(
        told.contains("the initramfs is damaged; therefore: no driver"),
        "{told}"
    );
}
