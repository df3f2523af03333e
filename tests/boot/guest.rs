//! Machines: QEMU without hardware virtualisation, plugged into the bridge, with nothing in them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::rig::{self, Daemon, run, text};

/// What firmware a machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Firmware {
    /// A PC BIOS; its network card has an iPXE.
    Bios,
    /// UEFI (OVMF), which boots from the network by itself.
    Uefi,
    /// The same, and it starts only what is signed with the keys that machines are sold with.
    SecureUefi,
}

/// A machine as it stands in the rack.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) name: &'static str,
    /// Which tap it is plugged into, and the last byte of its addresses.
    pub(crate) number: usize,
    pub(crate) firmware: Firmware,
    /// In MiB.
    pub(crate) memory: u32,
    /// What QEMU calls its network card.
    pub(crate) card: &'static str,
    /// The machine of this directory has its serial log there.
    pub(crate) directory: PathBuf,
}

impl Machine {
    /// Its Ethernet address.
    pub(crate) fn mac(&self) -> String {
        format!("52:54:00:77:00:{:02x}", 10 + self.number)
    }

    /// The address that it is given.
    pub(crate) fn address(&self) -> String {
        format!("10.77.0.{}", 10 + self.number)
    }

    /// What it says on its serial line.
    pub(crate) fn log(&self) -> PathBuf {
        self.directory.join(format!("{}.serial", self.name))
    }

    /// Switches it on. Unless `more` says otherwise, it boots from the network.
    pub(crate) fn start(&self, more: &[&str]) -> Daemon {
        Daemon::start(&mut self.command(more), self.log())
    }

    /// The command that is this machine, switched on.
    fn command(&self, more: &[&str]) -> Command {
        let mut command = rig::command("qemu-system-x86_64");
        // KVM where somebody knows that it works: rigs are for machines where it does not.
        let accel = std::env::var("REGEXCTL_BOOT_ACCEL");
        let accel = accel.unwrap_or_else(|_| "tcg,thread=multi".to_owned());
        let card = format!("{},netdev=n0,mac={}", self.card, self.mac());
        let tap = rig::tap(self.number);
        command
            .args([
                "-nodefaults",
                "-nographic",
                "-serial",
                "stdio",
                "-monitor",
                "none",
            ])
            .args(["-accel", &accel, "-cpu", "max", "-smp", "1"])
            .args(["-m", &self.memory.to_string()])
            // Early boot waits for entropy otherwise.
            .args(["-object", "rng-random,id=r0,filename=/dev/urandom"])
            .args(["-device", "virtio-rng-pci,rng=r0"])
            .args([
                "-netdev",
                &format!("tap,id=n0,ifname={tap},script=no,downscript=no"),
            ]);
        match self.firmware {
            Firmware::Bios => {
                command.args(["-machine", "pc", "-device", &card]);
            }
            Firmware::Uefi | Firmware::SecureUefi => {
                let is_secure = self.firmware == Firmware::SecureUefi;
                let (code, variables) = if is_secure {
                    ("CODE_4M.secboot", "VARS_4M.ms")
                } else {
                    ("CODE_4M", "VARS_4M")
                };
                let settings = self.directory.join(format!("{}.vars", self.name));
                fs::copy(format!("/usr/share/OVMF/OVMF_{variables}.fd"), &settings)
                    .expect("OVMF is installed (package ovmf)");
                let settings = text(&settings);
                let code = format!("/usr/share/OVMF/OVMF_{code}.fd");
                if is_secure {
                    // Only in this mode may the firmware write its variables.
                    command.args(["-machine", "q35,smm=on"]);
                    command.args(["-global", "driver=cfi.pflash01,property=secure,value=on"]);
                } else {
                    command.args(["-machine", "q35"]);
                }
                command
                    .args(["-device", &format!("{card},romfile=,bootindex=1")])
                    .args([
                        "-drive",
                        &format!("if=pflash,format=raw,readonly=on,file={code}"),
                    ])
                    .args(["-drive", &format!("if=pflash,format=raw,file={settings}")]);
            }
        }
        // UEFI is told by the card's place in the order. With a kernel given, the order is that one's business.
        if self.firmware == Firmware::Bios && !more.contains(&"-kernel") {
            command.args(["-boot", "n"]);
        }
        command.args(more);
        command
    }
}

/// A machine with a BMC: an IPMI simulator that starts and stops it.
#[derive(Debug)]
pub(crate) struct Bmc {
    machine: Machine,
    simulator: Daemon,
}

/// Name and password of the simulated BMC.
pub(crate) const BMC_USER: &str = "admin";
pub(crate) const BMC_PASSWORD: &str = "rig-password";

impl Bmc {
    /// Plugs in the BMC. The machine stays off until it is told otherwise.
    pub(crate) fn start(machine: Machine) -> Bmc {
        let directory = machine.directory.join(format!("{}.bmc", machine.name));
        fs::create_dir_all(directory.join("state")).expect("the directory is ours");
        let console = 9000 + machine.number;
        let serial = format!("socket,id=ipmi0,host=127.0.0.1,port={console},reconnect=2");
        let more = [
            "-chardev",
            &serial,
            "-device",
            "ipmi-bmc-extern,id=bmc0,chardev=ipmi0",
            "-device",
            "isa-ipmi-kcs,bmc=bmc0,irq=5",
        ];
        let qemu = machine.command(&more);
        let words: Vec<String> = std::iter::once(qemu.get_program())
            .chain(qemu.get_args())
            .map(|word| format!("'{}'", word.to_str().expect("the words of a rig are text")))
            .collect();
        let script = directory.join("power-on");
        let log = text(&machine.log());
        fs::write(
            &script,
            format!(
                "#!/bin/sh\nexec {} </dev/null >>'{log}' 2>&1\n",
                words.join(" ")
            ),
        )
        .expect("the directory is ours");
        run("chmod", &["+x", &text(&script)]);
        let lan = directory.join("lan.conf");
        fs::write(
            &lan,
            format!(
                "name \"{name}\"\nset_working_mc 0x20\n  startlan 1\n    addr {address} {port}\n    priv_limit admin\n    \
                 allowed_auths_callback none md2 md5 straight\n    allowed_auths_user none md2 md5 straight\n    \
                 allowed_auths_operator none md2 md5 straight\n    allowed_auths_admin none md2 md5 straight\n    \
                 guid a123456789abcdefa123456789abcdef\n  endlan\n  \
                 serial 15 127.0.0.1 {console} codec VM\n  startcmd \"{script}\"\n  startnow false\n  poweroff_wait 1\n  kill_wait 1\n  \
                 user 1 true \"\" \"test\" user 10 none md2 md5 straight\n  \
                 user 2 true \"{BMC_USER}\" \"{BMC_PASSWORD}\" admin 10 none md2 md5 straight\n",
                name = machine.name,
                address = rig::MASTER,
                port = port(machine.number),
                script = text(&script),
            ),
        )
        .expect("the directory is ours");
        let emulator = directory.join("ipmi.emu");
        fs::write(&emulator, "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nsel_enable 0x20 1000 0x0a\nmc_enable 0x20\n")
            .expect("the directory is ours");
        let mut command = rig::command("ipmi_sim");
        command
            .args(["-c", &text(&lan), "-f", &text(&emulator)])
            .args(["-s", &text(&directory.join("state")), "-n"]);
        let log = machine.directory.join(format!("{}.bmc.log", machine.name));
        let simulator = Daemon::start(&mut command, log);
        Bmc { machine, simulator }
    }

    /// Whether the simulator is there. (The machine need not be on.)
    pub(crate) fn runs(&mut self) -> bool {
        self.simulator.runs()
    }

    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }
}

/// Where the BMC of a machine listens.
pub(crate) fn port(number: usize) -> u16 {
    6230 + u16::try_from(number).expect("there are few machines")
}
