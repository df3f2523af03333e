//! What the boot endpoint knows, shared by all who serve.
//!
//! Locks are held for moments and never across a wait. Order, where two are held: `served` first, `board` last.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::io::Errno;

use super::chain::{Chains, Loop};
use super::connection::Source;
use super::generation::Served;
use super::supervise::DaemonState;
use super::verify::Verified;
use crate::model::{MacAddr, Unknown};
use crate::render::ipxe;
use crate::status::{At, Board, Event, Known, NoOffer, Words, Workers, build};
use crate::store::{Digest, Store};

/// The generations that are kept loaded: a node that was told of the one before still gets its
/// files.
const KEPT: usize = 3;

/// How long the status is told again before it is put together anew.
const STATUS_AGE: Duration = Duration::from_millis(250);

/// What helps where an artifact that loaders load is not as it was built.
const BUILD_AGAIN: &str =
    "build the image again with `regex-provision image build`, then `regex-provision apply`";

/// What is wrong with the boot endpoint itself. Each is told once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// The generation in force cannot be loaded.
    Generation,
    /// The generation in force wants another address or port.
    Address,
    /// Records cannot be kept.
    Records,
    /// dnsmasq's log cannot be followed.
    Log,
    /// What commands have tried, and left for us, cannot be taken in.
    Tried,
    /// An artifact that loaders load is damaged on the disk, is missing, or cannot be read.
    Artifact(Digest),
}

/// What the boot endpoint knows.
pub struct App {
    store: Store,
    since: At,
    /// The newest first.
    served: Mutex<Vec<Arc<Served>>>,
    board: Mutex<Board>,
    /// Questions for scripts of machines.
    chains: Mutex<Chains>,
    /// Questions for the first script.
    firsts: Mutex<Chains>,
    workers: Mutex<Workers>,
    daemons: Mutex<Vec<Arc<DaemonState>>>,
    troubles: Mutex<BTreeMap<Trouble, String>>,
    verified: Verified,
    told: Mutex<Option<(Instant, Bytes)>>,
}

/// The lock, whoever has panicked with it: each change of what is behind is complete.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl App {
    /// One that knows what was kept.
    pub fn new(store: Store, board: Board) -> Self {
        Self {
            store,
            since: At::now(),
            served: Mutex::default(),
            board: Mutex::new(board),
            chains: Mutex::default(),
            firsts: Mutex::default(),
            workers: Mutex::default(),
            daemons: Mutex::default(),
            troubles: Mutex::default(),
            verified: Verified::default(),
            told: Mutex::default(),
        }
    }

    /// Where everything lies.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The generation in force, as far as it could be loaded.
    pub fn served(&self) -> Option<Arc<Served>> {
        lock(&self.served).first().cloned()
    }

    /// From now on this is what is served.
    pub fn serve(&self, served: Arc<Served>) {
        let macs: Vec<_> = served.cluster.nodes().iter().map(|node| node.mac).collect();
        let fixed: Vec<_> = served
            .cluster
            .nodes()
            .iter()
            .map(|node| (node.address.get(), node.mac))
            .collect();
        let max_unknown = usize::try_from(served.cluster.serve.max_unknown).unwrap_or(usize::MAX);
        {
            let mut all = lock(&self.served);
            all.insert(0, served);
            all.truncate(KEPT);
            // What nobody is told to load any more is nobody's trouble.
            lock(&self.troubles).retain(|trouble, _| match trouble {
                Trouble::Artifact(digest) => all[0].loaded(*digest).is_some(),
                _ => true,
            });
        }
        lock(&self.chains).clear();
        lock(&self.firsts).clear();
        let mut board = self.board();
        board.set_known(macs, max_unknown);
        board.set_fixed(fixed);
    }

    /// What was heard.
    pub fn board(&self) -> MutexGuard<'_, Board> {
        lock(&self.board)
    }

    /// What regex-master says.
    pub fn workers(&self) -> MutexGuard<'_, Workers> {
        lock(&self.workers)
    }

    /// Takes a daemon into the status.
    pub fn add_daemon(&self, daemon: Arc<DaemonState>) {
        lock(&self.daemons).push(daemon);
    }

    /// Notes what is wrong, or that it is not any more. Logs changes.
    pub fn trouble(&self, what: Trouble, problem: Option<String>) {
        let mut troubles = lock(&self.troubles);
        match problem {
            Some(problem) => {
                if troubles.get(&what) != Some(&problem) {
                    tracing::error!("{problem}");
                    troubles.insert(what, problem);
                }
            }
            None => {
                if let Some(problem) = troubles.remove(&what) {
                    tracing::info!("no more: {problem}");
                }
            }
        }
    }

    /// What is wrong with this, if something is.
    pub fn problem(&self, with: &Trouble) -> Option<String> {
        lock(&self.troubles).get(with).cloned()
    }

    /// Takes note of what was heard now.
    pub fn hear(&self, event: Event) {
        if let Event::Report { mac, .. } | Event::Machine { mac, .. } = &event {
            lock(&self.chains).started(*mac);
            lock(&self.firsts).started(*mac);
        }
        let event = self.with_offer(event);
        tracing::debug!(?event, "heard");
        self.board().hear(At::now(), event);
    }

    /// A script that was sent over TFTP says what the generation's files say.
    fn with_offer(&self, event: Event) -> Event {
        let Event::Tftp {
            address,
            file,
            mac: Some(mac),
        } = event
        else {
            return event;
        };
        let offer = self.served().and_then(|served| {
            let node = served.cluster.node_by_mac(mac)?;
            served.offer(node).ok()
        });
        Event::Script {
            mac,
            address,
            offer,
            words: file,
        }
    }

    /// The artifact with this digest: a file, or a node's overlay, which is made when it is asked
    /// for.
    pub(super) async fn artifact(self: &Arc<Self>, digest: Digest) -> io::Result<Option<Source>> {
        match File::open(self.store.artifact_path(digest)) {
            Ok(file) => {
                let damage = self.damage(digest, &file).await;
                if let Some(problem) = damage.inspect_err(|error| self.unreadable(digest, error))? {
                    return Ok(Some(Source::Damaged(problem)));
                }
                let length = file.metadata()?.len();
                return Ok(Some(Source::File(file, length)));
            }
            Err(error) => {
                self.unreadable(digest, &error);
                if error.kind() != ErrorKind::NotFound {
                    tracing::error!(%digest, %error, "cannot open the artifact");
                    return Err(error);
                }
            }
        }
        let app = Arc::clone(self);
        let make = move || {
            let all = lock(&app.served).clone();
            all.iter().find_map(|served| served.overlay(digest))
        };
        let made = tokio::task::spawn_blocking(make)
            .await
            .map_err(io::Error::other)?;
        Ok(made.map(|tar| Source::Memory(tar.into())))
    }

    /// What is wrong with an artifact. Only what is surely verified by whoever asks for it is not read: a loader may ask for
    /// what no generation that is loaded names, by a script of long ago.
    async fn damage(&self, digest: Digest, file: &File) -> io::Result<Option<String>> {
        let is_verified_by_who_asks = {
            let all = lock(&self.served);
            let is_loaded = all.iter().any(|served| served.loaded(digest).is_some());
            !is_loaded && all.iter().any(|served| served.is_root(digest))
        };
        if is_verified_by_who_asks {
            return Ok(None);
        }
        let found = self.verified.digest(digest, file).await?;
        let path = self.store.artifact_path(digest);
        let problem = self.note_artifact(digest, |what| {
            if found == digest {
                return None;
            }
            let advice = what.map_or("nothing that was applied since needs it", |_| BUILD_AGAIN);
            let problem = format!(
                "{} is damaged on the master's disk, and is not handed out: {} has the SHA-256 {found}; {advice}",
                what.unwrap_or("a file of an earlier generation"),
                path.display()
            );
            if what.is_none() {
                tracing::warn!("{problem}");
            }
            Some(problem)
        });
        Ok(problem)
    }

    /// Notes what is wrong with an artifact; that depends on what it is to loaders by the newest generation. Whoever asks for
    /// what no node is told to load any more has no trouble that is to be told for ever.
    fn note_artifact(
        &self,
        digest: Digest,
        problem: impl FnOnce(Option<&str>) -> Option<String>,
    ) -> Option<String> {
        // Held until it is noted: another generation may be loaded at any time, and forgets what is not its own.
        let all = lock(&self.served);
        let what = all.first().and_then(|served| served.loaded(digest));
        let problem = problem(what);
        self.trouble(Trouble::Artifact(digest), what.and(problem.clone()));
        problem
    }

    /// Notes that an artifact cannot be opened or read.
    fn unreadable(&self, digest: Digest, error: &io::Error) {
        let path = self.store.artifact_path(digest);
        let path = path.display();
        let code = error.raw_os_error().map(Errno::from_raw_os_error);
        let advice = match code {
            // It tells nothing of the artifact.
            Some(Errno::MFILE | Errno::NFILE) => "it is tried again",
            _ => BUILD_AGAIN,
        };
        self.note_artifact(digest, |what| {
            let what = what?;
            Some(match error.kind() {
                ErrorKind::NotFound => {
                    format!(
                        "{what} is missing: there is no {path} on the master's disk; {BUILD_AGAIN}"
                    )
                }
                _ => format!(
                    "{what} cannot be read from the master's disk: {path}: {error}; {advice}"
                ),
            })
        });
    }

    /// Reads all that loaders load of a generation, one after the other, so that what is damaged is told before a node boots.
    pub(super) async fn verify(&self, served: &Served) {
        self.verify_each(served.all_loaded()).await;
    }

    /// Artifacts that were damaged, or could not be read, when they were looked at last.
    pub(super) fn damaged(&self) -> Vec<Digest> {
        let troubles = lock(&self.troubles);
        let damaged = troubles.keys().filter_map(|trouble| match trouble {
            Trouble::Artifact(digest) => Some(*digest),
            _ => None,
        });
        damaged.collect()
    }

    /// Reads those that have changed since.
    pub(super) async fn verify_each(&self, digests: impl IntoIterator<Item = Digest>) {
        for digest in digests {
            let looked = match File::open(self.store.artifact_path(digest)) {
                Ok(file) => self.damage(digest, &file).await.map(drop),
                Err(error) => Err(error),
            };
            if let Err(error) = looked {
                self.unreadable(digest, &error);
            }
        }
    }

    /// The first script of iPXE; none if nothing was applied yet.
    pub fn first_script(&self, address: Ipv4Addr, kind: Asking) -> Option<String> {
        let served = self.served()?;
        if kind == Asking::Looking {
            return Some(ipxe::first_script(&served.cluster));
        }
        let who = self.board().who(address);
        if let Some(mac) = who
            && let Some(found) = lock(&self.firsts).ask(At::now(), mac, address)
        {
            self.stop(mac, address, &found);
            return Some(stopping(&found));
        }
        self.hear(Event::FirstScript { address });
        Some(ipxe::first_script(&served.cluster))
    }

    /// What a machine is to load; none if nothing was applied yet. May read files.
    pub fn script(&self, mac: MacAddr, address: Ipv4Addr, kind: Asking) -> Option<String> {
        let served = self.served()?;
        let cluster = &served.cluster;
        if kind == Asking::Loader
            && let Some(found) = lock(&self.chains).ask(At::now(), mac, address)
        {
            self.stop(mac, address, &found);
            return Some(stopping(&found));
        }
        let hear = |event| {
            if kind == Asking::Loader {
                self.hear(event);
            }
        };
        let told = |offer, words: &str| Event::Script {
            mac,
            address,
            offer,
            words: Words::new(words),
        };
        let Some(node) = cluster.node_by_mac(mac) else {
            let waiting = match cluster.serve.unknown {
                Unknown::Wait => ipxe::waiting_script(cluster, &served.images),
                Unknown::Refuse => {
                    hear(told(
                        None,
                        "is not known, and was told to boot from elsewhere",
                    ));
                    return Some(ipxe::refused_script(cluster));
                }
            };
            return Some(match waiting {
                Ok(script) => {
                    hear(told(None, "is not known, and was told to wait"));
                    script
                }
                Err(error) => {
                    let error = error.to_string();
                    hear(told(None, &error));
                    later(mac, &error, &served)
                }
            });
        };
        let made = served.offer(node).and_then(|offer| {
            let script = ipxe::node_script(cluster, node, &served.images, offer.overlay);
            Ok((offer, script.map_err(|error| error.to_string())?))
        });
        Some(match made {
            Ok((offer, script)) => {
                hear(told(Some(offer), "iPXE"));
                script
            }
            Err(NoOffer { why: error, .. }) => {
                let words = Words::new(&error);
                hear(Event::Stopped {
                    mac,
                    address,
                    words,
                });
                later(mac, &error, &served)
            }
        })
    }

    fn stop(&self, mac: MacAddr, address: Ipv4Addr, found: &Loop) {
        let words = Words::new(&found.words());
        tracing::warn!(%mac, "{words}");
        self.hear(Event::Stopped {
            mac,
            address,
            words,
        });
    }

    /// The status, as JSON. Takes a while for many nodes.
    pub fn status(&self) -> Option<Bytes> {
        let served = self.served()?;
        let mut told = lock(&self.told);
        if let Some((at, bytes)) = &*told
            && at.elapsed() < STATUS_AGE
        {
            return Some(bytes.clone());
        }
        let offers = served.offers();
        let daemons = lock(&self.daemons)
            .iter()
            .map(|daemon| daemon.status())
            .collect();
        let warnings = lock(&self.troubles).values().cloned().collect();
        let workers = self.workers().clone();
        let status = build(Known {
            at: At::now(),
            serving_since: Some(self.since),
            generation: Some(served.number),
            cluster: &served.cluster,
            offers: &offers,
            board: &self.board(),
            workers: &workers,
            daemons,
            warnings,
        });
        let bytes = serde_json::to_vec(&status).expect("a status can always be written as JSON");
        let bytes = Bytes::from(bytes);
        *told = Some((Instant::now(), bytes.clone()));
        Some(bytes)
    }
}

/// Who asks for a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// A loader, which will do what the script says.
    Loader,
    /// Anybody else, who only wants to know what the script says: an initramfs that waits, a person.
    Looking,
}

/// The script for a machine that goes round.
fn stopping(found: &Loop) -> String {
    format!(
        "#!ipxe\necho regex-provision: this machine {}\n\
         echo `regex-provision status` on the master says more. Trying the next boot device.\n\
         sleep 20\nexit 1\n",
        plain(&found.words())
    )
    .replace('`', "")
}

/// A script for a machine that cannot boot now: says why, and asks again until there is an answer. Left to its firmware, it
/// may stand before "no bootable device" for ever.
fn later(mac: MacAddr, why: &str, served: &Served) -> String {
    let url = served.cluster.network.http_url();
    let mac = mac.to_string().replace(':', "-");
    format!(
        "#!ipxe\necho regex-provision: cannot boot now: {}\n:again\necho Asking again in 30 seconds\n\
         sleep 30\nchain --replace --autofree {url}/boot/{mac}.ipxe || goto again\n",
        plain(why)
    )
}

/// Text that iPXE prints as it is.
fn plain(text: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || " .,:;-_/()=+".contains(c);
    let text: String = text
        .chars()
        .map(|c| if keep(c) { c } else { ' ' })
        .collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
