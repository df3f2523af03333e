//! A mirror as Ubuntu's is, of packages that a Debian was made of: a suite with two components, signed by a key that this machine does not
//! know, and served over HTTP. Ubuntu's own packages cannot be had where the tests run; what is special about them is imitated:
//! no package `usr-is-merged` but a mention of it, a kernel in two packages with packed modules and an image that is root's,
//! and a metapackage that wants firmware besides.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::rig::{text, write};

/// What nodes do not need of a kernel, and what would take long to pack.
const LEFT_OUT: [&str; 5] = [
    "sound",
    "drivers/gpu",
    "drivers/media",
    "drivers/staging",
    "drivers/net/wireless",
];

pub(crate) struct Mirror {
    pub(crate) url: String,
    pub(crate) keyring: PathBuf,
    _server: Server,
}

/// What serves it, until the end of the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // An error of either means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Mirror {
    /// Makes it below `at`, which is an empty directory, of the packages in a directory. Of some there may be several versions: those
    /// that `manifest` has are taken.
    pub(crate) fn of(packages: &Path, manifest: &Value, at: &Path) -> Self {
        let release = manifest["kernel_version"].as_str().expect("text");
        let installed = manifest["packages"].as_array().expect("an array");
        // In the name of a file the `:` of an epoch is %3a.
        let file = |package: &str| {
            let found = installed.iter().find(|it| it["name"] == package);
            let version = found.expect(package)["version"].as_str().expect("text");
            format!("{package}_{}_", version.replace(':', "%3a"))
        };
        let image = format!("linux-image-{release}");
        let (base, kernel_file) = (file("base-files"), file(&image));
        let served = at.join("served");
        let top = served.join("ubuntu");
        let main = top.join("pool/main");
        let universe = top.join("pool/universe");
        for directory in [&main, &universe] {
            fs::create_dir_all(directory).expect("a directory");
        }
        let mut kernel = None;
        for entry in fs::read_dir(packages).expect("it is there") {
            let entry = entry.expect("it can be listed");
            let name = entry.file_name().into_string().expect("text");
            let package = name.split('_').next().expect("a name");
            match package {
                // No package at all, and the one that there is none of.
                "SHA256SUMS" | "usr-is-merged" => {}
                _ if name.starts_with(&base) => base_files(&entry.path(), &main, at),
                "base-files" => {}
                "bc" => copy(&entry.path(), &universe.join(name)),
                _ if name.starts_with(&kernel_file) => kernel = Some(entry.path()),
                _ if package.starts_with("linux-image-") => {}
                _ => copy(&entry.path(), &main.join(name)),
            }
        }
        kernel_packages(&kernel.expect("the kernel is kept"), release, &main, at);
        index(&top);
        let keyring = sign(&top.join("dists/noble"), at);
        let (server, port) = serve(&served);
        Self {
            url: format!("http://127.0.0.1:{port}/ubuntu"),
            keyring,
            _server: server,
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).expect("a file");
}

/// Runs a command that must succeed, and gives what it printed.
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("it is there");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {told}");
    String::from_utf8(output.stdout).expect("text")
}

/// Packs a directory that has a `DEBIAN/control`.
fn pack(directory: &Path, to: &Path) {
    let mut command = Command::new("dpkg-deb");
    run(command
        .args(["-Znone", "--root-owner-group", "--build"])
        .args([directory, to]));
}

/// Here it says that /usr is merged, as it does in noble.
fn base_files(from: &Path, pool: &Path, at: &Path) {
    let directory = at.join("base-files");
    run(Command::new("dpkg-deb")
        .arg("--raw-extract")
        .args([from, &directory]));
    let control = directory.join("DEBIAN/control");
    let old = fs::read_to_string(&control).expect("it has one");
    let mut new = String::new();
    for line in old.lines() {
        match line.split_once(": ") {
            Some(("Version", version)) => writeln!(new, "Version: {version}ubuntu1"),
            Some(("Provides", names)) => writeln!(new, "Provides: {names}, usr-is-merged (= 38)"),
            _ => writeln!(new, "{line}"),
        }
        .expect("memory suffices");
    }
    assert!(new.contains("usr-is-merged"), "{old}");
    fs::write(control, new).expect("ours");
    pack(&directory, &pool.join("base-files.deb"));
    fs::remove_dir_all(directory).expect("ours");
}

fn kernel_packages(from: &Path, release: &str, pool: &Path, at: &Path) {
    let modules = at.join("modules");
    run(Command::new("dpkg-deb")
        .arg("--extract")
        .args([from, &modules]));
    fs::remove_dir_all(modules.join("usr")).expect("it has documentation");
    let kernel = modules.join("lib/modules").join(release).join("kernel");
    for directory in LEFT_OUT {
        fs::remove_dir_all(kernel.join(directory)).expect(directory);
    }
    let packed = Command::new("find")
        .arg(&kernel)
        .args([
            "-name", "*.ko", "-exec", "zstd", "-q", "-1", "--rm", "{}", "+",
        ])
        .status();
    assert!(packed.expect("find is there").success());
    let image = at.join("image");
    let name = format!("boot/vmlinuz-{release}");
    fs::create_dir_all(image.join("boot")).expect("a directory");
    fs::rename(modules.join(&name), image.join(&name)).expect("it has one");
    fs::set_permissions(image.join(&name), Permissions::from_mode(0o600)).expect("ours");
    let firmware = at.join("firmware");
    write(&firmware.join("lib/firmware/large.bin"), "much");
    let (image_name, modules_name) = (
        format!("linux-image-{release}"),
        format!("linux-modules-{release}"),
    );
    for (directory, name, depends) in [
        (&modules, &*modules_name, ""),
        (&image, &image_name, &*modules_name),
        (&firmware, "linux-firmware", ""),
        (
            &at.join("meta"),
            "linux-image-generic",
            &format!("{image_name}, linux-firmware"),
        ),
    ] {
        let control = format!(
            "Package: {name}\nVersion: 6.1-1ubuntu1\nArchitecture: amd64\nMaintainer: nobody\n{}Description: for a test\n",
            if depends.is_empty() {
                String::new()
            } else {
                format!("Depends: {depends}\n")
            }
        );
        write(&directory.join("DEBIAN/control"), &control);
        pack(directory, &pool.join(format!("{name}.deb")));
        fs::remove_dir_all(directory).expect("ours");
    }
}

/// Writes the lists of packages, and what tells their digests.
fn index(top: &Path) {
    let mut release = String::from(
        "Origin: Ubuntu\nLabel: Ubuntu\nSuite: noble\nCodename: noble\nVersion: 24.04\nArchitectures: amd64\n\
         Components: main universe\n",
    );
    let now = run(Command::new("date").args(["--utc", "--rfc-email"]));
    writeln!(release, "Date: {now}SHA256:").expect("memory suffices");
    for component in ["main", "universe"] {
        let packages = run(Command::new("dpkg-scanpackages")
            .args(["--multiversion", "--hash", "sha256"])
            .arg(format!("pool/{component}"))
            .current_dir(top));
        let list = format!("{component}/binary-amd64/Packages");
        let path = top.join("dists/noble").join(&list);
        write(&path, &packages);
        let sum = run(Command::new("sha256sum").arg(&path));
        let (sum, _) = sum.split_once(' ').expect("a sum");
        writeln!(release, " {sum} {} {list}", packages.len()).expect("memory suffices");
    }
    write(&top.join("dists/noble/Release"), &release);
}

/// Signs the suite with a new key, and gives a keyring that knows it.
fn sign(suite: &Path, at: &Path) -> PathBuf {
    let home = at.join("gnupg");
    fs::create_dir(&home).expect("a directory");
    fs::set_permissions(&home, Permissions::from_mode(0o700)).expect("ours");
    let gpg = |arguments: &[&str]| {
        run(Command::new("gpg")
            .args(["--batch", "--quiet", "--pinentry-mode=loopback"])
            .args(["--passphrase", ""])
            .args(arguments)
            .env("GNUPGHOME", &home))
    };
    gpg(&["--quick-generate-key", "mirror@localhost", "rsa3072"]);
    let (keyring, signed) = (at.join("keyring.gpg"), suite.join("InRelease"));
    gpg(&["--output", text(&keyring), "--export"]);
    let plain = suite.join("Release");
    gpg(&["--output", text(&signed), "--clearsign", text(&plain)]);
    run(Command::new("gpgconf")
        .args(["--kill", "all"])
        .env("GNUPGHOME", &home));
    fs::set_permissions(&keyring, Permissions::from_mode(0o644)).expect("ours");
    keyring
}

/// Serves a directory on loopback, at a port that was free.
fn serve(directory: &Path) -> (Server, u16) {
    let server = Command::new("python3")
        .args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "0"])
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("python3 is there");
    let mut server = Server(server);
    let mut line = String::new();
    let told = server.0.stdout.take().expect("it is piped");
    BufReader::new(told)
        .read_line(&mut line)
        .expect("it says where it is");
    let port = line.split_whitespace().skip_while(|word| *word != "port");
    let port = port.skip(1).find_map(|word| word.parse().ok());
    (
        server,
        port.unwrap_or_else(|| panic!("no port in {line:?}")),
    )
}
