//! Asks regex-master which workers are registered.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use regexctl_proto::v1::jobs_client::JobsClient;
use regexctl_proto::v1::{NodeStatus, NodesRequest};
use tokio::time::{sleep, timeout};
use tonic::transport::Endpoint;

use super::app::App;
use crate::model::{Cluster, MacAddr};
use crate::status::view::{MasterStatus, WorkerStatus};
use crate::status::{At, Event, Words};

/// How often it is asked.
const EVERY: Duration = Duration::from_secs(2);

/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// The most workers of an answer that are looked at.
const MAX_WORKERS: usize = 131_072;

/// Asks for ever.
pub(super) async fn ask(app: Arc<App>) {
    loop {
        if let Some(served) = app.served() {
            let cluster = &served.cluster;
            if cluster
                .nodes()
                .iter()
                .any(|node| node.settings.worker.is_some())
            {
                let url = cluster.network.master_url();
                let answer = timeout(ANSWER, nodes(&url)).await;
                let answer =
                    answer.unwrap_or_else(|_| Err(format!("no answer in {} s", ANSWER.as_secs())));
                note(&app, cluster, url, answer);
            } else {
                *app.workers() = crate::status::Workers::default();
            }
        }
        sleep(EVERY).await;
    }
}

async fn nodes(url: &str) -> Result<Vec<NodeStatus>, String> {
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| error.to_string())?;
    let channel = endpoint.connect_timeout(ANSWER).connect().await;
    let channel = channel.map_err(|error| innermost(&error))?;
    let request = NodesRequest {
        protocol: regexctl_proto::limits::PROTOCOL,
    };
    let answer = JobsClient::new(channel).nodes(request).await;
    let answer = answer.map_err(|status| status.message().to_owned())?;
    Ok(answer.into_inner().nodes)
}

/// What the transport says at the bottom: the rest is "transport error".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn note(app: &App, cluster: &Cluster, url: String, answer: Result<Vec<NodeStatus>, String>) {
    let now = At::now();
    let mut events = Vec::new();
    {
        let mut workers = app.workers();
        let nodes = match answer {
            Ok(nodes) => nodes,
            Err(error) => {
                let error = Words::new(&error).to_string();
                workers.status.error = Some(error);
                workers.status.url = Some(url);
                return;
            }
        };
        let count = nodes.len();
        let mut attached = HashMap::new();
        for node in nodes.into_iter().take(MAX_WORKERS) {
            let Some(mac) = whose(cluster, &node) else {
                continue;
            };
            let since = now.minus(Duration::from_millis(node.attached_millis));
            let words = Words::new(&format!("attached to {url} as {}", node.name));
            events.push(Event::Registered { mac, since, words });
            attached.insert(
                mac,
                WorkerStatus {
                    since,
                    version: Words::new(&node.version),
                    draining: node.draining,
                },
            );
        }
        let gone: Vec<_> = workers
            .attached
            .keys()
            .filter(|mac| !attached.contains_key(mac))
            .copied()
            .collect();
        workers.left.extend(gone.into_iter().map(|mac| (mac, now)));
        workers
            .left
            .retain(|mac, _| !attached.contains_key(mac) && cluster.node_by_mac(*mac).is_some());
        workers.attached = attached;
        workers.since.get_or_insert(now);
        workers.status = MasterStatus {
            url: Some(url),
            answered: Some(now),
            error: None,
            workers: count,
        };
    }
    let mut board = app.board();
    for event in events {
        board.hear(now, event);
    }
}

/// The node of a worker: by the name that its settings gave it, else by its address.
fn whose(cluster: &Cluster, worker: &NodeStatus) -> Option<MacAddr> {
    if let Some(node) = worker
        .name
        .parse()
        .ok()
        .and_then(|name| cluster.node(&name))
    {
        return Some(node.mac);
    }
    let address = worker
        .address
        .rsplit_once(':')
        .map_or(&*worker.address, |(ip, _)| ip);
    let address = address.parse().ok()?;
    cluster.node_by_address(address).map(|node| node.mac)
}
