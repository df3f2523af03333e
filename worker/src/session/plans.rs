//! The compiled jobs that this node knows.

use std::collections::HashMap;
use std::sync::Arc;

use regexctl_proto::domain::{BadMessage, Grant, JobId, TaskKind};
use regexctl_proto::v1;
use tracing::warn;

use crate::engine::Finished;
use crate::plan::Plan;

/// How many jobs are kept compiled; the one used longest ago is forgotten, and asked for again.
const MAX_PLANS: usize = 32;

/// A job's plan, or why there is none.
type Compiled = Result<Arc<Plan>, String>;

#[derive(Default)]
pub(super) struct Plans {
    plans: HashMap<JobId, (u64, Compiled)>,
    /// Counts uses.
    clock: u64,
}

impl Plans {
    /// Compiles a job. One that does not compile is kept with its error, which its shards then tell.
    pub(super) fn learn(&mut self, entry: v1::JobEntry) -> Result<(), BadMessage> {
        let spec = entry
            .spec
            .ok_or_else(|| BadMessage::missing("JobEntry.spec"))?;
        let job = JobId(entry.job);
        let compiled = Plan::compile(&spec).map(Arc::new).map_err(|error| {
            warn!(job = job.0, "cannot be run here: {error}");
            error.to_string()
        });
        if self.plans.len() >= MAX_PLANS
            && let Some((&oldest, _)) = self.plans.iter().min_by_key(|(_, (used, _))| *used)
        {
            self.plans.remove(&oldest);
        }
        self.clock += 1;
        self.plans.insert(job, (self.clock, compiled));
        Ok(())
    }

    /// The plan for a grant, whose tasks are checked against it.
    pub(super) fn get(&mut self, grant: &Grant) -> Result<Compiled, BadMessage> {
        self.clock += 1;
        let clock = self.clock;
        let (used, compiled) = self
            .plans
            .get_mut(&grant.lease.job)
            .ok_or_else(|| BadMessage::new("Grant.lease", "of a job that was not sent"))?;
        *used = clock;
        if let Ok(plan) = compiled
            && let Some(task) = grant
                .tasks
                .iter()
                .find(|task| task.root as usize >= plan.roots.len())
        {
            let problem = format!("{} of {}", task.root, plan.roots.len());
            return Err(BadMessage::new("Task.root", problem));
        }
        Ok(compiled.clone())
    }

    /// The last lease of the job was taken away: most likely the job has ended. Scans under way stop; should
    /// the job go on, the master sends it again.
    pub(super) fn ended(&mut self, job: JobId) {
        if let Some((_, Ok(plan))) = self.plans.remove(&job) {
            plan.cancel();
        }
    }

    pub(super) fn known(&self) -> Vec<u64> {
        self.plans.keys().map(|job| job.0).collect()
    }
}

/// The end of a shard whose job this node cannot run: each of its tasks is an error.
pub(super) fn refused(grant: &Grant, why: &str) -> Finished {
    let mut tally = v1::Tally::default();
    let mut errors = Vec::new();
    for task in &grant.tasks {
        let paths = match &task.kind {
            // A root may be a file as well as a directory; any other was seen where its parent was listed.
            TaskKind::Tree { path, slice } => {
                let first = u64::from(slice.start == 0);
                tally.dirs_seen += first * u64::from(path.is_empty());
                tally.dirs_failed += first;
                vec![path.clone()]
            }
            // Counted as scanned where the file was split.
            TaskKind::Range { path, .. } => vec![path.clone()],
            TaskKind::Paths { paths } => {
                tally.seen += paths.len() as u64;
                tally.failed += paths.len() as u64;
                paths.clone()
            }
        };
        for path in paths {
            errors.push(v1::FileError {
                root: task.root,
                path,
                kind: v1::FileErrorKind::Other.into(),
                message: format!("the worker cannot run this job: {why}"),
                directory: matches!(task.kind, TaskKind::Tree { .. }),
                of_part: match &task.kind {
                    TaskKind::Tree { slice, .. } => slice.start != 0,
                    TaskKind::Range { .. } => true,
                    TaskKind::Paths { .. } => false,
                },
            });
        }
    }
    Finished {
        lease: grant.lease,
        tally,
        time: std::time::Duration::ZERO,
        remainder: Vec::new(),
        results: vec![v1::ResultBatch {
            errors,
            ..v1::ResultBatch::default()
        }],
    }
}
