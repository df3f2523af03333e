//! The boot endpoint: what nodes ask for over HTTP, and the daemons beside it.
//!
//! ```text
//! GET  /boot.ipxe              leads iPXE to the next
//! GET  /boot/MAC.ipxe          what the machine with this Ethernet address is to load
//! GET  /artifact/SHA256[/NAME] kernels, initramfs, roots, overlays of nodes: immutable; HEAD and ranges, too
//! POST /stage/MAC              a node reports a stage of its boot (a form; see `form`)
//! POST /discover/MAC           an unknown machine tells what it is (JSON)
//! POST /forget/MAC             forgets a machine that is not in the cluster
//! POST /tried                  a command tells which nodes it has reached, and which not (JSON)
//! GET  /status.json            what `regex-provision status --json` prints
//! ```
//!
//! What is told comes from the generation that the link `current` leads to; when it leads elsewhere, or at SIGHUP,
//! that one is loaded, and served from then on. One that cannot be loaded is told in the status, and the one of
//! before is served on.
//!
//! - pure: [`head`], `answer` (artifacts), [`form`] (reports), [`chain`] (machines that go round), [`dhcp_log`];
//! - `connection` sends, `routes` answers, [`app`] knows; [`supervise`] runs dnsmasq and Ganesha where nobody else
//!   does; `masters` asks regex-master; `keep` writes down what was heard.
//!
//! Invariants: no request can end the process or make it hold more than the limits named here allow; what a
//! machine says is kept, and never believed where it matters: it changes nothing that another machine boots.

pub mod app;
pub mod chain;
pub mod dhcp_log;
pub mod form;
pub mod head;
pub mod supervise;

mod answer;
mod ask;
mod connection;
mod daemons;
mod generation;
mod joined;
mod keep;
mod masters;
mod permits;
mod routes;
mod spool;
mod verify;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::sleep;

pub use ask::{Answer, ask, fetch, forget, kept, listen_address, states, tell_tried};
pub use generation::Served;

use crate::apply::generation::current_number;
use crate::process::allow_open_files;
use crate::status::Board;
use crate::status::journal::Journal;
use crate::store::Store;
use app::{App, Trouble};
use connection::Peer;
use daemons::Daemons;
use keep::Keeping;
use permits::Permits;

/// How often the link to the generation is looked at; and, at first, what is damaged.
const LOOK: Duration = Duration::from_millis(500);

/// How often what is damaged is looked at when it stays so.
const LONGEST_LOOK: Duration = Duration::from_secs(30);

/// How long those who are served when the process is told to end may go on.
const GRACE: Duration = Duration::from_secs(5);

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;

/// Unknown machines that are kept where nothing was applied yet.
const FIRST_UNKNOWN: usize = 1024;

/// What the process is to do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where everything lies.
    pub store: Store,
    /// Where to listen, if not at the master's address and the port of the boot endpoint.
    pub listen: Option<SocketAddr>,
    /// Whether dnsmasq, and Ganesha where it is chosen, are run by this process.
    pub daemons: bool,
}

/// Serves until SIGTERM or SIGINT. `ready` is called when connections are accepted.
pub async fn run(
    options: Options,
    ready: impl FnOnce(SocketAddr) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let store = options.store.clone();
    let (app, journal) = open(&store)?;
    load(&app).await;
    let address = match (options.listen, app.served()) {
        (Some(address), _) => address,
        (None, Some(served)) => wanted_address(&served),
        (None, None) => bail!(
            "nothing to serve in {}: run `regex-provision apply` first, or say with --listen where to wait for it",
            store.root().display()
        ),
    };
    let listener = listen(address).with_context(|| cannot_listen(address))?;
    let address = listener.local_addr().context("the socket has no address")?;

    let (stop, stopped) = watch::channel(false);
    let keeping = Keeping::start(Arc::clone(&app), journal)?;
    let mut daemons = Daemons::start(&app, options.daemons)?;
    daemons.follow(app.served().as_deref());
    let masters = tokio::spawn(masters::ask(Arc::clone(&app)));
    let permits = Permits::new(&app);
    let accept = tokio::spawn(accept(
        listener,
        Arc::clone(&app),
        Arc::clone(&permits),
        stopped,
    ));
    raise_open_files();
    tracing::info!(%address, directory = %store.root().display(), "serving");

    let told = ready(address);
    if told.is_ok() {
        let must_be_there = options.listen.is_none().then_some(address);
        look(&app, &mut signals, &mut daemons, &permits, must_be_there).await;
    }

    // Whatever has happened: what was started is ended here, and nothing is left behind.
    tracing::info!("stopping");
    // Those who are told of it may be gone already.
    let _ = stop.send(true);
    accept.abort();
    masters.abort();
    daemons.end().await;
    permits.wait(GRACE).await;
    let kept = keeping.end().await;
    told.and(kept)
}

/// Follows the generation in force until the process is told to end. The address is the one listened on, if the generation is to
/// name it.
async fn look(
    app: &Arc<App>,
    signals: &mut Signals,
    daemons: &mut Daemons,
    permits: &Permits,
    address: Option<SocketAddr>,
) {
    let mut verifying = tokio::spawn(async {});
    let mut pause = LOOK;
    while signals.next_or_look().await {
        if load(app).await {
            daemons.follow(app.served().as_deref());
            permits.resize(app);
        }
        // They may have been mended, and nobody ask for them. A disk that cannot read them is not asked without end.
        let damaged = app.damaged();
        if damaged.is_empty() {
            pause = LOOK;
        } else if verifying.is_finished() {
            let app = Arc::clone(app);
            verifying = tokio::spawn(async move {
                app.verify_each(damaged).await;
                sleep(pause).await;
            });
            pause = (pause * 2).min(LONGEST_LOOK);
        }
        let moved = app.served().zip(address).and_then(|(served, address)| {
            let wanted = wanted_address(&served);
            let problem = || {
                format!("listening on {address}, but cluster.toml says {wanted}; restart `regex-provision serve`")
            };
            (wanted != address).then(problem)
        });
        app.trouble(Trouble::Address, moved);
    }
}

/// Reads what was kept.
fn open(store: &Store) -> anyhow::Result<(Arc<App>, Journal)> {
    let mut board = Board::new(FIRST_UNKNOWN);
    let (opened, read) = Journal::open(&store.nodes(), |line| board.restore(line))?;
    let journal = opened.begin(board.lines())?;
    if read.damaged > 0 {
        tracing::warn!(
            lines = read.damaged,
            "records were damaged and are left out; journal.damaged has them"
        );
    }
    let app = App::new(store.clone(), board);
    Ok((Arc::new(app), journal))
}

/// Loads the generation in force, if it is another one than that served. Tells whether it is.
async fn load(app: &Arc<App>) -> bool {
    let now = app.served().map(|served| served.number);
    let store = app.store();
    let load = match current_number(store) {
        Ok(number) if number == now => Ok(None),
        Ok(_) => {
            let store = store.clone();
            let load = tokio::task::spawn_blocking(move || Served::load(&store)).await;
            load.unwrap_or_else(|_| Ok(None))
        }
        Err(error) => Err(error),
    };
    match load {
        Ok(None) => {
            app.trouble(Trouble::Generation, None);
            false
        }
        Ok(Some(served)) => {
            tracing::info!(
                generation = served.number,
                nodes = served.cluster.nodes().len(),
                "loaded"
            );
            let served = Arc::new(served);
            app.serve(Arc::clone(&served));
            app.trouble(Trouble::Generation, None);
            // Done now, the first node does not wait for it.
            let offered = Arc::clone(&served);
            tokio::task::spawn_blocking(move || drop(offered.offers()));
            let app = Arc::clone(app);
            tokio::spawn(async move { app.verify(&served).await });
            true
        }
        Err(error) => {
            let on = now.map_or_else(
                || "nothing is served".to_owned(),
                |now| format!("generation {now} is served on"),
            );
            let error = anyhow::Error::from(error);
            app.trouble(
                Trouble::Generation,
                Some(format!("cannot load what was applied: {error:#}; {on}")),
            );
            false
        }
    }
}

fn wanted_address(served: &Served) -> SocketAddr {
    let network = &served.cluster.network;
    (network.master.get(), network.http_port).into()
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What is told where a socket cannot be had.
fn cannot_listen(address: SocketAddr) -> String {
    let probe =
        TcpSocket::new_v4().and_then(|socket| socket.bind(SocketAddr::new(address.ip(), 0)));
    match probe {
        Err(error) if address.is_ipv4() && error.kind() == ErrorKind::AddrNotAvailable => format!(
            "cannot listen on {address}: no interface of this machine has the address {}; give it to the nodes' \
             interface (`ip address` lists them), or correct `master` in cluster.toml",
            address.ip()
        ),
        _ => format!("cannot listen on {address}"),
    }
}

/// Each connection may need a file besides itself.
fn raise_open_files() {
    if let Err(error) = allow_open_files(u64::MAX) {
        tracing::warn!(%error, "cannot raise the number of open files");
    }
}

async fn accept(
    listener: TcpListener,
    app: Arc<App>,
    permits: Arc<Permits>,
    stop: watch::Receiver<bool>,
) {
    let router = routes::router(Arc::clone(&app));
    loop {
        let permit = permits.one().await;
        match listener.accept().await {
            Ok((stream, address)) => {
                // There may be fewer of them since.
                let permit = match permits.keep(permit) {
                    Some(permit) => permit,
                    None => permits.one().await,
                };
                let serve = serve(
                    stream,
                    address,
                    Arc::clone(&app),
                    router.clone(),
                    stop.clone(),
                    permit,
                );
                tokio::spawn(serve);
            }
            Err(error) => {
                // Out of files, or the client is gone again: both pass.
                tracing::warn!(%error, "cannot accept a connection");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    address: SocketAddr,
    app: Arc<App>,
    router: axum::Router,
    stop: watch::Receiver<bool>,
    permit: OwnedSemaphorePermit,
) {
    if let Err(error) = connection::serve(stream, Peer::of(address.ip()), app, router, stop).await {
        tracing::debug!(%address, %error, "a connection ended");
    }
    drop(permit);
}

/// What the process waits for.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let on = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hang_up: on(SignalKind::hangup())?,
        })
    }

    /// Returns when it is time to look at the generation; false when the process is to end.
    async fn next_or_look(&mut self) -> bool {
        tokio::select! {
            _ = self.terminate.recv() => false,
            _ = self.interrupt.recv() => false,
            _ = self.hang_up.recv() => true,
            () = sleep(LOOK) => true,
        }
    }
}
