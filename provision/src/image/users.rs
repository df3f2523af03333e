//! The users of an image: `/etc/passwd` and its companions, read, changed and written.
//!
//! Done here and not by `useradd`, so that any root will do and equal declarations give equal files: no
//! date of today gets into them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use anyhow::{Context, bail};

use super::root::Root;
use crate::model::AbsPath;
use crate::model::image::ImageUser;

/// The login shell of a new user where none is given.
const SHELL: &str = "/bin/bash";

/// Where the numbers of people begin, as Debian has it.
const FIRST_UID: u32 = 1000;

/// Where they end.
const LAST_UID: u32 = 59_999;

/// Where the numbers of groups that are made for users begin.
const FIRST_GROUP: u32 = 1000;

/// The users and groups of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Users {
    passwd: Vec<Vec<String>>,
    group: Vec<Vec<String>>,
    shadow: Vec<Vec<String>>,
    gshadow: Vec<Vec<String>>,
    changed: bool,
    /// Users and their shells, as they were asked for.
    shells: Vec<(String, String)>,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: String,
}

impl Users {
    /// Reads them.
    pub(super) fn read(root: &Root) -> anyhow::Result<Self> {
        let lines = |path: &str| -> anyhow::Result<Vec<Vec<String>>> {
            let text = root.read_text(path)?.unwrap_or_default();
            let fields = |line: &str| line.split(':').map(str::to_owned).collect();
            Ok(text
                .lines()
                .filter(|line| !line.is_empty())
                .map(fields)
                .collect())
        };
        Ok(Self {
            passwd: lines("etc/passwd")?,
            group: lines("etc/group")?,
            shadow: lines("etc/shadow")?,
            gshadow: lines("etc/gshadow")?,
            changed: false,
            shells: Vec::new(),
        })
    }

    /// Writes them, if anything has changed.
    pub(super) fn write(&self, root: &Root) -> anyhow::Result<()> {
        if !self.changed {
            return Ok(());
        }
        let text = |lines: &[Vec<String>]| {
            let lines: Vec<String> = lines.iter().map(|fields| fields.join(":") + "\n").collect();
            lines.concat()
        };
        let shadow_group = self.gid("shadow").unwrap_or(0);
        let old_owner = root
            .metadata("etc/shadow")?
            .map(|old| (old.uid(), old.gid()));
        root.write("etc/passwd", text(&self.passwd), 0o644)?;
        root.write("etc/group", text(&self.group), 0o644)?;
        root.write("etc/shadow", text(&self.shadow), 0o640)?;
        // Whose it was it stays, which needs no rights where it was ours.
        let (uid, gid) = old_owner.unwrap_or((0, shadow_group));
        root.own("etc/shadow", uid, gid)?;
        if self.gshadow.is_empty() {
            return Ok(());
        }
        root.write("etc/gshadow", text(&self.gshadow), 0o640)?;
        root.own("etc/gshadow", uid, gid)
    }

    /// A user's number.
    pub(super) fn uid(&self, name: &str) -> Option<u32> {
        if name == "root" {
            return Some(0);
        }
        self.account(name).map(|account| account.uid)
    }

    /// A group's number.
    pub(super) fn gid(&self, name: &str) -> Option<u32> {
        if name == "root" {
            return Some(0);
        }
        find(&self.group, name)?.get(2)?.parse().ok()
    }

    /// A user.
    pub(super) fn account(&self, name: &str) -> Option<Account> {
        let line = find(&self.passwd, name)?;
        Some(Account {
            uid: line.get(2)?.parse().ok()?,
            gid: line.get(3)?.parse().ok()?,
            home: line.get(5)?.clone(),
        })
    }

    /// The names of the users and groups who have a password, as a hash.
    pub(super) fn with_passwords(&self) -> Vec<&str> {
        let has = |line: &&Vec<String>| {
            line.get(1).is_some_and(|hash| {
                hash.is_empty()
                    || hash.trim_start_matches('!').starts_with(['$', '_'])
                    || is_old_hash(hash)
            })
        };
        // A group without a password has an empty field, and is open to its members only.
        let is_open = |line: &&Vec<String>| line.get(1).is_some_and(String::is_empty);
        let groups = self.group.iter().chain(&self.gshadow);
        let groups = groups.filter(|line| !is_open(line));
        let names = self.shadow.iter().chain(&self.passwd).chain(groups);
        let names = names.filter(has);
        names
            .filter_map(|line| line.first())
            .map(String::as_str)
            .collect()
    }

    /// Takes all passwords away: nobody can log in by one.
    pub(super) fn lock(&mut self) {
        let users = self.shadow.iter_mut().chain(&mut self.passwd);
        let groups = self.group.iter_mut().chain(&mut self.gshadow);
        let groups = groups.filter(|line| line.get(1).is_some_and(|hash| !hash.is_empty()));
        for line in users.chain(groups) {
            let Some(hash) = line.get_mut(1) else {
                continue;
            };
            // Whoever is locked may still have a hash behind the mark.
            let has_none = hash == "x" || hash.starts_with(['*', '!']) && !hash.contains('$');
            if !has_none {
                "*".clone_into(hash);
                self.changed = true;
            }
        }
    }

    /// Makes a user, its home and its groups; or changes one that is there.
    pub(super) fn add(&mut self, root: &Root, user: &ImageUser) -> anyhow::Result<()> {
        let name = user.name.as_str();
        if find(&self.passwd, "root").is_none() {
            self.passwd.push(fields("root:x:0:0:root:/root:/bin/sh"));
            self.group.push(fields("root:x:0:"));
            self.shadow.push(fields("root:*::0:99999:7:::"));
        }
        self.changed = true;
        let account = match self.account(name) {
            Some(account) => {
                if user.uid.is_some_and(|uid| uid != account.uid) {
                    bail!(
                        "the image has a user {name} already, with the number {}; leave `uid` out, or take another name",
                        account.uid
                    );
                }
                account
            }
            None => self.make(user)?,
        };
        let home = user
            .home
            .as_ref()
            .map_or(account.home.clone(), ToString::to_string);
        if let Some(line) = self.passwd.iter_mut().find(|line| line[0] == name)
            && line.len() >= 7
        {
            line[5].clone_from(&home);
            if let Some(shell) = &user.shell {
                line[6] = shell.to_string();
                self.shells.push((name.to_owned(), shell.to_string()));
            }
        }
        self.shadow
            .retain(|line| line[0] != name || user.password_hash.is_none());
        if find(&self.shadow, name).is_none() {
            let hash = user.password_hash.as_deref().unwrap_or("*");
            self.shadow
                .push(fields(&format!("{name}:{hash}::0:99999:7:::")));
        }
        for group in &user.groups {
            self.join(name, group.as_str())?;
        }
        if !root.exists(&home) {
            let place = root.directory(&home)?;
            fs::set_permissions(&place, Permissions::from_mode(0o700))
                .with_context(|| format!("cannot set the mode of {}", place.display()))?;
            root.own(&home, account.uid, account.gid)?;
        }
        Ok(())
    }

    /// Fails where a shell that was asked for is not in the image: at the end, for files and scripts may bring one.
    pub(super) fn find_shells(&self, root: &Root) -> anyhow::Result<()> {
        for (name, shell) in &self.shells {
            if !root.exists(shell) {
                bail!(
                    "the shell {shell} of the user {name} is not in the image; name another one, or install it"
                );
            }
        }
        Ok(())
    }

    fn make(&mut self, user: &ImageUser) -> anyhow::Result<Account> {
        let name = user.name.as_str();
        let taken = |number: u32, lines: &[Vec<String>]| {
            let text = number.to_string();
            lines.iter().any(|line| line.get(2) == Some(&text))
        };
        let uid = match user.uid {
            Some(uid) if taken(uid, &self.passwd) => {
                bail!("the number {uid} of the user {name} belongs to another user of the image")
            }
            Some(uid) => uid,
            None => (FIRST_UID..=LAST_UID)
                .find(|&uid| !taken(uid, &self.passwd) && !taken(uid, &self.group))
                .context("the image has no number free for another user")?,
        };
        let gid = match self.gid(name) {
            Some(gid) => gid,
            None => self.make_group(name, (!taken(uid, &self.group)).then_some(uid))?,
        };
        let home = user
            .home
            .as_ref()
            .map_or(format!("/home/{name}"), ToString::to_string);
        let shell = user.shell.as_ref().map_or(SHELL, AbsPath::as_str);
        if user.shell.is_none() {
            self.shells.push((name.to_owned(), SHELL.to_owned()));
        }
        self.passwd
            .push(fields(&format!("{name}:x:{uid}:{gid}::{home}:{shell}")));
        Ok(Account { uid, gid, home })
    }

    fn make_group(&mut self, name: &str, wanted: Option<u32>) -> anyhow::Result<u32> {
        let taken = |gid: &u32| {
            let text = gid.to_string();
            self.group.iter().any(|line| line.get(2) == Some(&text))
        };
        let gid = wanted
            .or_else(|| (FIRST_GROUP..=LAST_UID).find(|gid| !taken(gid)))
            .context("the image has no number free for another group")?;
        self.group.push(fields(&format!("{name}:x:{gid}:")));
        Ok(gid)
    }

    fn join(&mut self, user: &str, group: &str) -> anyhow::Result<()> {
        if find(&self.group, group).is_none() {
            self.make_group(group, None)?;
        }
        if let Some(line) = self.group.iter_mut().find(|line| line[0] == group) {
            line.resize(4, String::new());
            if !line[3].split(',').any(|member| member == user) {
                let comma = if line[3].is_empty() { "" } else { "," };
                line[3] = format!("{}{comma}{user}", line[3]);
            }
        }
        Ok(())
    }
}

fn fields(line: &str) -> Vec<String> {
    line.split(':').map(str::to_owned).collect()
}

fn find<'a>(lines: &'a [Vec<String>], name: &str) -> Option<&'a Vec<String>> {
    lines
        .iter()
        .find(|line| line.first().is_some_and(|first| first == name))
}

/// The 13 characters of the oldest crypt.
fn is_old_hash(hash: &str) -> bool {
    hash.len() == 13
        && hash
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"./".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> ImageUser {
        ImageUser {
            name: name.parse().expect("a name"),
            uid: None,
            groups: vec![
                "video".parse().expect("a group"),
                "render".parse().expect("a group"),
            ],
            home: None,
            shell: Some("/bin/sh".parse().expect("a path")),
            ssh_keys: Vec::new(),
            password_hash: None,
        }
    }

    fn root() -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Root::new(directory.path());
        for (path, text) in [
            ("bin/sh", ""),
            ("home/bob/mail", ""),
            (
                "etc/passwd",
                "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/sh\n",
            ),
            (
                "etc/group",
                "root:x:0:\nshadow:x:42:\nvideo:x:44:ann\nann:x:1000:\n",
            ),
            (
                "etc/shadow",
                "root:$6$x$y:19000:0:99999:7:::\nann:!:19000:0:99999:7:::\n",
            ),
        ] {
            root.write(path, text, 0o644).expect("a file");
        }
        (directory, root)
    }

    #[test]
    fn users_are_made_the_same_way_each_time() {
        let (_directory, root) = root();
        let mut users = Users::read(&root).expect("they can be read");
        assert_eq!(users.gid("shadow"), Some(42));
        users.add(&root, &user("bob")).expect("bob");
        users.add(&root, &user("bob")).expect("bob again");
        insta::assert_snapshot!(
            users.passwd.iter().chain(&users.group).chain(&users.shadow)
                .map(|line| line.join(":")).collect::<Vec<_>>().join("\n"),
            @r"
        root:x:0:0:root:/root:/bin/bash
        ann:x:1000:1000::/home/ann:/bin/sh
        bob:x:1001:1001::/home/bob:/bin/sh
        root:x:0:
        shadow:x:42:
        video:x:44:ann,bob
        ann:x:1000:
        bob:x:1001:
        render:x:1002:bob
        root:$6$x$y:19000:0:99999:7:::
        ann:!:19000:0:99999:7:::
        bob:*::0:99999:7:::
        ");
    }

    #[test]
    fn numbers_and_shells_that_cannot_be_are_refused() {
        let (_directory, root) = root();
        let mut users = Users::read(&root).expect("they can be read");
        let mut taken = user("bob");
        taken.uid = Some(1000);
        let error = users.add(&root, &taken).expect_err("ann has it");
        assert!(
            error.to_string().contains("belongs to another user"),
            "{error}"
        );
        let mut other = user("ann");
        other.uid = Some(1001);
        let error = users.add(&root, &other).expect_err("ann has 1000");
        assert!(
            error.to_string().contains("with the number 1000"),
            "{error}"
        );
        for name in ["bob", "ann"] {
            let mut shell = user(name);
            shell.shell = Some("/bin/zsh".parse().expect("a path"));
            let mut users = users.clone();
            users.add(&root, &shell).expect("it may come yet");
            let error = users.find_shells(&root).expect_err("there is no zsh");
            assert!(error.to_string().contains("is not in the image"), "{error}");
        }
    }

    /// Whoever only wants to give keys to root, or a group to a service, changes no shell.
    #[test]
    fn a_user_that_is_there_keeps_its_shell() {
        let (_directory, root) = root();
        let mut users = Users::read(&root).expect("they can be read");
        let mut plain = user("ann");
        plain.shell = None;
        users.add(&root, &plain).expect("ann is there");
        assert_eq!(users.passwd[1][6], "/bin/sh");
        users.find_shells(&root).expect("none was asked for");
        plain.name = "eve".parse().expect("a name");
        users.add(&root, &plain).expect("it may come yet");
        let error = users.find_shells(&root).expect_err("there is no bash");
        assert!(
            error.to_string().starts_with("the shell /bin/bash"),
            "{error}"
        );
        root.write("bin/bash", "", 0o755).expect("a file");
        users.find_shells(&root).expect("a file has brought it");
    }

    #[test]
    fn passwords_are_found_and_taken_away() {
        let (_directory, root) = root();
        let mut users = Users::read(&root).expect("they can be read");
        assert_eq!(users.with_passwords(), ["root"]);
        users.lock();
        assert_eq!(users.with_passwords(), Vec::<&str>::new());
        assert_eq!(users.shadow[0][1], "*");
        assert_eq!(users.passwd[0][1], "x");
        assert_eq!(users.shadow[1][1], "!");
    }
}
