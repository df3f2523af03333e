//! The status of a cluster, for commands: asked of the boot endpoint; where that does not answer, put together from
//! what it has kept.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use ureq::Agent;

use super::generation::Served;
use super::spool;
use crate::model::{Cluster, MacAddr, Node};
use crate::nodeset;
use crate::status::journal::Journal;
use crate::status::{
    At, Board, Known, MAX_TRIED, Means, State, Status, Tried, TriedNode, Workers, build, journal,
};
use crate::store::Store;

/// The variable that says where the boot endpoint is reached, as through a tunnel.
const SERVER: &str = "REGEX_PROVISION_SERVER";

/// How long the boot endpoint may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// How long a connection to it may take.
const CONNECT: Duration = Duration::from_secs(2);

/// How long a connection may take that only tells what came of a command.
const TOLD: Duration = Duration::from_millis(500);

/// The largest status; one of 65,536 nodes has some 150 MB.
const MAX_STATUS_BYTES: u64 = 512 << 20;

/// A status, and where it is from.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: Status,
    /// Why the boot endpoint was not asked, if this is what it has kept.
    pub kept: Option<String>,
}

/// Asks the boot endpoint: that of the cluster, or the one at `server`. Where the former does not
/// answer, what it has kept is taken. Without any cluster, `server` must be given.
pub fn ask(cluster: &Cluster, server: Option<&str>) -> anyhow::Result<Answer> {
    let own = own_url(cluster);
    let url = server.unwrap_or(&own);
    match fetch(url) {
        Ok(status) => Ok(Answer { status, kept: None }),
        Err(error) if server.is_some() => Err(error),
        Err(error) => {
            let store = Store::at(cluster.serve.directory.as_path());
            Ok(Answer {
                status: kept(&store)?,
                kept: Some(format!("{error:#}")),
            })
        }
    }
}

/// Where the cluster's boot endpoint is reached from here.
fn own_url(cluster: &Cluster) -> String {
    std::env::var(SERVER).unwrap_or_else(|_| cluster.network.http_url())
}

/// What speaks to boot endpoints.
fn agent() -> Agent {
    Agent::config_builder()
        .timeout_global(Some(ANSWER))
        .timeout_connect(Some(CONNECT))
        .proxy(None)
        .http_status_as_error(false)
        .build()
        .new_agent()
}

/// What the boot endpoint at a URL says.
pub fn fetch(url: &str) -> anyhow::Result<Status> {
    let agent = agent();
    let get = || -> anyhow::Result<_> {
        let answer = agent
            .get(format!("{}/status.json", url.trim_end_matches('/')))
            .call()?;
        let status = answer.status();
        let mut body = answer.into_body();
        let bytes = body.with_config().limit(MAX_STATUS_BYTES).read_to_vec()?;
        if !status.is_success() {
            bail!("{status}: {}", String::from_utf8_lossy(&bytes).trim());
        }
        Ok(bytes)
    };
    let bytes = get().with_context(|| {
        format!("the boot endpoint {url} does not answer; does `regex-provision serve` run?")
    })?;
    serde_json::from_slice(&bytes)
        .with_context(|| format!("{url} answers, but is no boot endpoint of this version"))
}

/// Tells the boot endpoint which nodes a command has reached by some means, and which not, so that the status says it, too.
/// Where it does not answer in time, that is left for it beside its records. The command does not fail for that.
pub fn tell_tried(cluster: &Cluster, means: Means, nodes: &[TriedNode]) {
    let agent = Agent::config_builder()
        .timeout_global(Some(CONNECT))
        .timeout_connect(Some(TOLD))
        .proxy(None)
        .build()
        .new_agent();
    // It may be heard only after what another command has to tell.
    let at = At::now();
    let url = format!("{}/tried", own_url(cluster).trim_end_matches('/'));
    let store = Store::at(cluster.serve.directory.as_path());
    let mut answers = true;
    for nodes in nodes.chunks(MAX_TRIED) {
        let nodes = nodes.to_vec();
        let tried = Tried { means, nodes };
        let body = serde_json::to_vec(&tried);
        let body = body.expect("names and words can always be written as JSON");
        answers = answers && agent.post(&url).send(&body[..]).is_ok();
        // Whoever may not write there cannot leave anything.
        if !answers && spool::add(&store, at, tried).is_err() {
            return;
        }
    }
}

/// Forgets a machine that is not in the cluster: at the boot endpoint, or in what it has kept where it does not run. Tells
/// whether there was such a machine.
pub fn forget(cluster: &Cluster, server: Option<&str>, mac: MacAddr) -> anyhow::Result<bool> {
    let own = own_url(cluster);
    let url = server.unwrap_or(&own).trim_end_matches('/');
    let agent = agent();
    match agent.post(format!("{url}/forget/{mac}")).send(&[][..]) {
        Ok(answer) if answer.status().is_success() => Ok(true),
        Ok(answer) if answer.status() == 404 => Ok(false),
        Ok(answer) => bail!("{url} does not forget {mac}: {}", answer.status()),
        Err(error) if server.is_some() => Err(error)
            .with_context(|| format!("the boot endpoint {url} does not answer; is the URL right?")),
        Err(_) => forget_kept(&Store::at(cluster.serve.directory.as_path()), mac),
    }
}

/// Forgets it in what was kept.
fn forget_kept(store: &Store, mac: MacAddr) -> anyhow::Result<bool> {
    if !store.nodes().exists() {
        return Ok(false);
    }
    let mut board = Board::new(usize::MAX);
    let (opened, _) = Journal::open(&store.nodes(), |line| board.restore(line))?;
    let is_there = board.forget_unknown(mac);
    opened.begin(board.lines())?;
    Ok(is_there)
}

/// The status, from what is on disk.
pub fn kept(store: &Store) -> anyhow::Result<Status> {
    let Some(served) = Served::load(store)? else {
        bail!("nothing has been applied yet; run `regex-provision apply`");
    };
    let mut board = Board::default();
    journal::read(&store.nodes(), |line| board.restore(line))?;
    let macs = served.cluster.nodes().iter().map(|node| node.mac);
    let max_unknown = usize::try_from(served.cluster.serve.max_unknown).unwrap_or(usize::MAX);
    board.set_known(macs, max_unknown);
    let now = At::now();
    let mut left = Vec::new();
    let looked = spool::look(store, |at, tried| left.push((at, tried)));
    board.catch_up(now, left);
    let unread = looked.err();
    let unread =
        unread.map(|error| format!("what commands have tried cannot be taken in: {error:#}"));
    Ok(build(Known {
        at: now,
        serving_since: None,
        generation: Some(served.number),
        cluster: &served.cluster,
        offers: &served.offers(),
        board: &board,
        workers: &Workers::default(),
        daemons: Vec::new(),
        warnings: unread.into_iter().collect(),
    }))
}

/// What node sets call up and down.
pub fn states(status: &Status) -> impl Fn(&Node) -> Option<nodeset::State> + use<> {
    let states: std::collections::HashMap<_, _> = status
        .nodes
        .iter()
        .filter_map(|node| {
            let state = match node.state {
                State::Up => nodeset::State::Up,
                // On its way: it is neither.
                State::Booting => return None,
                State::Failed | State::Stuck | State::Lost | State::Never => nodeset::State::Down,
            };
            Some((node.name.clone(), state))
        })
        .collect();
    move |node| states.get(node.name.as_str()).copied()
}

/// `HOST:PORT` or `PORT`, for `--listen`.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is no address with a port, such as 10.0.0.1:8080"))
}
