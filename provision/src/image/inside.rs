//! Work inside an image's root: commands in namespaces of their own, and archives unpacked.
//!
//! A command gets its own mounts, processes, host name and IPC. All of that is the kernel's, belongs
//! to the first process in it, and is gone when that one dies; that one dies when we do. So
//! nothing stays mounted and nobody goes on running, even if we are killed: there is nothing to
//! clean up, and whoever removes the directory later removes only the image's own files.
//!
//! The mounts are made by this same program, started again in the namespaces with hidden
//! arguments ([`Action`]). An archive is unpacked by one that has made the root its own root
//! directory first: whatever links it holds, they cannot lead out.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chroot, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use rustix::mount::{MountFlags, mount, mount_bind, mount_remount};

use super::root::Root;
use super::run::{MOUNT, UNSHARE, dying_with_us, output, quietly};
use super::tree::{self, Filter};
use super::unpack;

/// The word behind `regex-provision` that begins the hidden arguments.
pub const COMMAND: &str = "inside";

/// Devices that a command may use: none that leads to the master's disks.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// What a program started again by this one does. Not for people.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Makes the mounts and runs a command in the root; in new namespaces already.
    Run {
        /// The root.
        root: PathBuf,
        /// The command.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Mounts a packed root and copies what is in it; in new namespaces already.
    Copy {
        /// The packed root.
        packed: PathBuf,
        /// Its file system.
        kind: String,
        /// An empty directory.
        mount: PathBuf,
        /// Where the copy goes.
        to: PathBuf,
    },
    /// Unpacks the archive on standard input into the root.
    Unpack {
        /// The root.
        root: PathBuf,
        /// Entries named `.wh.*` remove what is there, as in an OCI layer.
        #[arg(long)]
        layer: bool,
    },
}

/// Does it.
pub fn act(action: Action) -> anyhow::Result<()> {
    match action {
        Action::Run { root, command } => run(&root, &command),
        Action::Copy {
            packed,
            kind,
            mount,
            to,
        } => {
            let mut command = MOUNT.command()?;
            command
                .args(["-t", &kind, "-o", "ro,loop,nosuid,nodev,noexec"])
                .args([&packed, &mount]);
            quietly(&mut command, "mount")
                .context("a kernel with erofs and loop devices is needed")?;
            let everything = Filter::new::<&str>(&[])?;
            tree::copy(&mount, &to, Path::new("/"), &everything).map(drop)
        }
        Action::Unpack { root, layer } => {
            // Users are looked up before, if at all: from here on there are only the image's.
            chroot(&root)
                .and_then(|()| std::env::set_current_dir("/"))
                .with_context(|| format!("cannot enter {}", root.display()))?;
            let stdin = io::stdin().lock();
            let told = unpack::unpack(stdin, layer)?;
            serde_json::to_writer(io::stdout().lock(), &told).context("cannot report")
        }
    }
}

/// A command in the root, not started yet: its output goes where ours goes.
pub(super) fn command(root: &Root, arguments: &[OsString]) -> anyhow::Result<Command> {
    let mut command = namespaces()?;
    command
        .arg(this_program()?)
        .args([COMMAND, "run"])
        .arg(root.path())
        .arg("--")
        .args(arguments);
    Ok(command)
}

/// Runs a command in the root. What it prints is told only if it fails.
pub(super) fn quiet<S: AsRef<str>>(
    root: &Root,
    arguments: &[S],
    variables: &[(&str, &str)],
) -> anyhow::Result<()> {
    let words: Vec<OsString> = arguments.iter().map(|word| word.as_ref().into()).collect();
    let mut command = command(root, &words)?;
    command.envs(variables.iter().copied());
    let typed: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
    quietly(&mut command, &format!("{:?} in the image", typed.join(" ")))
}

/// Copies what is in a packed root to a directory that is not there yet, by the kernel: with all that belongs to the files. The
/// mount, and the loop device below it, are gone with the process that made them.
pub(super) fn copy_mounted(
    packed: &Path,
    kind: &str,
    mount: &Path,
    to: &Path,
) -> anyhow::Result<()> {
    let mut command = namespaces()?;
    command
        .arg(this_program()?)
        .args([COMMAND, "copy"])
        .arg(packed)
        .arg(kind)
        .args([mount, to]);
    quietly(&mut command, "unpacking the image")
}

/// Unpacks a plain tar archive into the root, and gives back what was left out.
pub(super) fn unpack(
    root: &Root,
    mut archive: impl io::Read + Send,
    layer: bool,
) -> anyhow::Result<unpack::Told> {
    let mut command = dying_with_us()?;
    command.arg(this_program()?).args([COMMAND, "unpack"]);
    if layer {
        command.arg("--layer");
    }
    command.arg(root.path());
    let (reader, mut writer) = io::pipe().context("cannot make a pipe")?;
    std::thread::scope(|scope| {
        let fed = scope.spawn(move || match io::copy(&mut archive, &mut writer) {
            // It has ended before the archive has: its own message says why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result.map(drop).and_then(|()| writer.flush()),
        });
        let printed = output_of(&mut command, reader);
        let fed = fed.join().unwrap_or(Ok(()));
        // A damaged archive is the cause, that its end is missing the consequence.
        fed.context("cannot read the archive")?;
        serde_json::from_slice(&printed?).context("the unpacked archive was not accounted for")
    })
}

fn output_of(command: &mut Command, stdin: io::PipeReader) -> anyhow::Result<Vec<u8>> {
    output(command, "unpacking the archive", Stdio::from(stdin))
}

/// A command to which a program is added that runs with new mounts, processes, host name and IPC.
pub(super) fn namespaces() -> anyhow::Result<Command> {
    let mut command = dying_with_us()?;
    command.arg(UNSHARE.path()?).args([
        "--mount",
        "--propagation",
        "private",
        "--pid",
        "--ipc",
        "--uts",
        "--fork",
        "--kill-child=KILL",
        "--",
    ]);
    Ok(command)
}

fn this_program() -> anyhow::Result<PathBuf> {
    std::env::current_exe().context("cannot find this program's own file")
}

/// In the new namespaces: makes the mounts, enters, and becomes the command.
fn run(root: &Path, command: &[OsString]) -> anyhow::Result<()> {
    let root = Root::new(root);
    mounts(&root).context("cannot make the mounts of the image; a container must be privileged")?;
    rustix::system::sethostname(b"image").context("cannot set the host name")?;
    chroot(root.path())
        .and_then(|()| std::env::set_current_dir("/"))
        .with_context(|| format!("cannot enter {}", root.path().display()))?;
    let (program, arguments) = command.split_first().context("a command is demanded")?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {} in the image", program.to_string_lossy()))
}

fn mounts(root: &Root) -> anyhow::Result<()> {
    let quiet = MountFlags::NOSUID | MountFlags::NODEV;
    let still = quiet | MountFlags::NOEXEC;
    let fresh = |path: &str, kind: &str, flags, options: &str| -> anyhow::Result<PathBuf> {
        let place = root.directory(path)?;
        let options = std::ffi::CString::new(options)?;
        mount(kind, &place, kind, flags, Some(options.as_c_str()))
            .with_context(|| format!("cannot mount {kind} at {}", place.display()))?;
        Ok(place)
    };
    fresh("/proc", "proc", still, "")?;
    fresh("/sys", "sysfs", still | MountFlags::RDONLY, "")?;
    let devices = fresh(
        "/dev",
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NOEXEC,
        "mode=755,size=1m",
    )?;
    for name in DEVICES {
        let place = devices.join(name);
        fs::File::create(&place)?;
        mount_bind(Path::new("/dev").join(name), &place)
            .with_context(|| format!("cannot bind /dev/{name}"))?;
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(target, devices.join(name))?;
    }
    for (name, kind, flags, options) in [
        (
            "pts",
            "devpts",
            MountFlags::NOSUID | MountFlags::NOEXEC,
            "newinstance,ptmxmode=0666,mode=620,gid=5",
        ),
        ("shm", "tmpfs", still, "mode=1777"),
    ] {
        let place = devices.join(name);
        fs::create_dir(&place)?;
        let options = std::ffi::CString::new(options)?;
        mount(kind, &place, kind, flags, Some(options.as_c_str()))
            .with_context(|| format!("cannot mount {kind} at {}", place.display()))?;
    }
    // What runs in the image must not leave anything there.
    fresh("/run", "tmpfs", quiet, "mode=755")?;
    fresh("/tmp", "tmpfs", quiet, "mode=1777")?;
    names_are_looked_up_as_here(root)
}

/// Makes sure that a root has the directories over which others are mounted, here and on a node.
pub(super) fn make_mount_points(root: &Root) -> anyhow::Result<()> {
    for (path, mode) in [
        ("dev", 0o755),
        ("proc", 0o555),
        ("run", 0o755),
        ("sys", 0o555),
        ("tmp", 0o1777),
    ] {
        if !root.exists(path) {
            let place = root.directory(path)?;
            fs::set_permissions(&place, fs::Permissions::from_mode(mode))
                .with_context(|| format!("cannot set the mode of {}", place.display()))?;
        }
    }
    Ok(())
}

/// Lets the image's programs look names up as the master does, if it has the file for that.
fn names_are_looked_up_as_here(root: &Root) -> anyhow::Result<()> {
    let ours = Path::new("/etc/resolv.conf");
    let place = root.resolve(ours)?;
    let is_file = |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    // Where the image has none, it gets none: nothing is left behind in it.
    if !is_file(ours) || !is_file(&place) {
        return Ok(());
    }
    mount_bind(ours, &place).with_context(|| format!("cannot bind {}", place.display()))?;
    mount_remount(&place, MountFlags::BIND | MountFlags::RDONLY, "")
        .with_context(|| format!("cannot protect {}", place.display()))
}

/// Says that only root can do something, before anything is done.
pub(super) fn needs_root(what: &str) -> anyhow::Result<()> {
    let uid = fs::metadata("/proc/self").map_or(0, |metadata| metadata.uid());
    if uid != 0 {
        anyhow::bail!("{what} needs root, for owners of files and for mounts; run it with sudo");
    }
    Ok(())
}
