//! What clients ask: submit, read results, cancel, list the nodes.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use regexctl_proto::cut::cut;
use regexctl_proto::domain::{
    BadMessage, JobId, batch_cost, check_any_path, error_cost, matches_cost,
};
use regexctl_proto::limits::{MAX_BATCH_BYTES, MAX_JOB_PATHS_BYTES};
use regexctl_proto::v1;
use regexctl_proto::v1::jobs_server::Jobs;
use regexctl_proto::v1::results_reply::Event;
use regexctl_proto::v1::submit_request::Part;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::{check_protocol, next_of, refuse};
use crate::hub::{Hub, ResultsError, ResultsReader, SubmitError, initial_tasks};

/// The service of the clients.
pub(super) struct JobsService {
    hub: Hub,
}

impl JobsService {
    pub(super) fn new(hub: Hub) -> Self {
        Self { hub }
    }
}

#[tonic::async_trait]
impl Jobs for JobsService {
    type ResultsStream = ResultsStream;

    async fn submit(
        &self,
        request: Request<Streaming<v1::SubmitRequest>>,
    ) -> Result<Response<v1::SubmitReply>, Status> {
        let mut stream = request.into_inner();
        let Some(Part::Header(header)) = next_of(&mut stream).await?.and_then(|first| first.part)
        else {
            return Err(Status::invalid_argument("the first message is no header"));
        };
        check_protocol(header.protocol)?;
        let spec = header.spec.unwrap_or_default();
        check_spec(&spec, &header.walk).map_err(|error| refuse(&error))?;
        let mut named: Vec<(u32, Vec<Vec<u8>>)> = Vec::new();
        let mut bytes = 0;
        while let Some(message) = next_of(&mut stream).await? {
            let Some(Part::Paths(paths)) = message.part else {
                return Err(Status::invalid_argument(
                    "bad message: SubmitRequest: paths were expected",
                ));
            };
            check_paths(&paths, spec.roots.len()).map_err(|error| refuse(&error))?;
            bytes += paths.paths.iter().map(Vec::len).sum::<usize>();
            if bytes > MAX_JOB_PATHS_BYTES {
                return Err(Status::resource_exhausted(format!(
                    "bytes of paths named one by one: the limit is {MAX_JOB_PATHS_BYTES}"
                )));
            }
            match named.last_mut() {
                Some((root, list)) if *root == paths.root => list.extend(paths.paths),
                _ => named.push((paths.root, paths.paths)),
            }
        }
        let tasks = initial_tasks(&header.walk, named);
        let job = self.hub.submit(spec, tasks).map_err(|error| match error {
            SubmitError::Bad(bad) => refuse(&bad),
            SubmitError::Limit { .. } => Status::resource_exhausted(error.to_string()),
            SubmitError::Stopping => Status::unavailable(error.to_string()),
        })?;
        tracing::info!(job = job.0, "submitted");
        Ok(Response::new(v1::SubmitReply { job: job.0 }))
    }

    async fn results(
        &self,
        request: Request<v1::ResultsRequest>,
    ) -> Result<Response<ResultsStream>, Status> {
        let job = JobId(request.into_inner().job);
        let reader = self.hub.results(job).map_err(|error| match error {
            ResultsError::Unknown(_) => Status::not_found(error.to_string()),
            ResultsError::Taken(_) | ResultsError::Partial(_) => {
                Status::failed_precondition(error.to_string())
            }
        })?;
        Ok(Response::new(ResultsStream {
            reader,
            ready: VecDeque::new(),
        }))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelReply>, Status> {
        let job = request.into_inner().job;
        tracing::info!(job, "cancelled by a client");
        self.hub.cancel(JobId(job));
        Ok(Response::new(v1::CancelReply {}))
    }

    async fn nodes(
        &self,
        request: Request<v1::NodesRequest>,
    ) -> Result<Response<v1::NodesReply>, Status> {
        check_protocol(request.into_inner().protocol)?;
        let nodes = self.hub.nodes();
        Ok(Response::new(v1::NodesReply { nodes }))
    }
}

fn check_spec(spec: &v1::JobSpec, walk: &[bool]) -> Result<(), BadMessage> {
    if walk.len() != spec.roots.len() {
        let problem = format!("{} entries for {} roots", walk.len(), spec.roots.len());
        return Err(BadMessage::new("SubmitHeader.walk", problem));
    }
    for root in &spec.roots {
        check_any_path("Root.path", &root.path)?;
        if !root.path.starts_with(b"/") {
            let problem = format!("{} is not absolute", root.path.escape_ascii());
            return Err(BadMessage::new("Root.path", problem));
        }
    }
    Ok(())
}

fn check_paths(paths: &v1::SubmitPaths, roots: usize) -> Result<(), BadMessage> {
    if paths.root as usize >= roots {
        let problem = format!("{}, but the job has {roots} roots", paths.root);
        return Err(BadMessage::new("SubmitPaths.root", problem));
    }
    paths
        .paths
        .iter()
        .try_for_each(|path| check_any_path("SubmitPaths.paths", path))
}

/// A job's events as messages that keep the limits. The next batch is taken from the hub when the connection
/// can take it, so a client that does not read holds up the granting of leases.
pub(super) struct ResultsStream {
    reader: ResultsReader,
    /// The rest of a batch that was cut.
    ready: VecDeque<v1::ResultBatch>,
}

impl Stream for ResultsStream {
    type Item = Result<v1::ResultsReply, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(reply(Event::Batch(batch)))));
            }
            match self.reader.poll_recv(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Event::Batch(batch))) => self.ready = cut_batch(batch),
                Poll::Ready(Some(event)) => return Poll::Ready(Some(Ok(reply(event)))),
            }
        }
    }
}

fn reply(event: Event) -> v1::ResultsReply {
    v1::ResultsReply { event: Some(event) }
}

/// Batches of about `MAX_BATCH_BYTES`, larger files cut.
fn cut_batch(batch: v1::ResultBatch) -> VecDeque<v1::ResultBatch> {
    if batch_cost(&batch) <= MAX_BATCH_BYTES as u64 {
        return VecDeque::from([batch]);
    }
    let mut batches = VecDeque::new();
    let mut open = v1::ResultBatch::default();
    let mut bytes = 0;
    let mut close = |open: &mut v1::ResultBatch, bytes: &mut u64| {
        let mut closed = std::mem::take(open);
        closed.nodes.clone_from(&batch.nodes);
        batches.push_back(closed);
        *bytes = 0;
    };
    for piece in (batch.files.into_iter()).flat_map(|file| cut(file, MAX_BATCH_BYTES)) {
        let cost = matches_cost(&piece);
        if bytes > 0 && bytes + cost > MAX_BATCH_BYTES as u64 {
            close(&mut open, &mut bytes);
        }
        bytes += cost;
        open.files.push(piece);
    }
    for error in batch.errors {
        let cost = error_cost(&error);
        if bytes > 0 && bytes + cost > MAX_BATCH_BYTES as u64 {
            close(&mut open, &mut bytes);
        }
        bytes += cost;
        open.errors.push(error);
    }
    close(&mut open, &mut bytes);
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use regexctl_proto::cut::Joiner;

    #[test]
    fn a_large_batch_is_cut_and_joins_again() {
        let file = |name: &str, length: u32| v1::FileMatches {
            path: name.into(),
            line_numbers: vec![1],
            lengths: vec![length],
            text: vec![b'x'; length as usize],
            matched_lines: 1,
            continues: true,
            ..v1::FileMatches::default()
        };
        let files = vec![file("a", 10), file("b", 3 << 20), file("c", 10)];
        let errors = vec![v1::FileError::default()];
        let batch = v1::ResultBatch {
            files: files.clone(),
            errors: errors.clone(),
            nodes: vec!["n".to_owned()],
        };
        let batches = cut_batch(batch);
        assert!(batches.len() >= 3);
        let mut joiner = Joiner::default();
        let mut files_again = Vec::new();
        let mut told = Vec::new();
        for batch in batches {
            assert_eq!(batch.nodes, ["n"]);
            let bytes: usize = batch.files.iter().map(|file| file.text.len()).sum();
            assert!(bytes <= MAX_BATCH_BYTES);
            for piece in batch.files {
                files_again.extend(joiner.push(piece).expect("the pieces fit"));
            }
            told.extend(batch.errors);
        }
        assert_eq!(files_again, files);
        assert_eq!(told, errors);
    }
}
