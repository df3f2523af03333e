//! The first tasks of a job.

use regexctl_proto::domain::{Task, TaskKind, Weight};

/// Paths named one by one become tasks of so many.
const NAMES_PER_TASK: usize = 256;
/// Or of so many bytes, when that is less.
const NAME_BYTES_PER_TASK: usize = 64 << 10;

/// One task for each root that is walked, and some for the `named` paths below a root. A
/// root and a named path weigh the same.
pub fn initial_tasks(walk: &[bool], named: Vec<(u32, Vec<Vec<u8>>)>) -> Vec<Task> {
    let roots = walk.iter().filter(|&&walk| walk).count();
    let paths: usize = named.iter().map(|(_, paths)| paths.len()).sum();
    let mut weights = Weight::WHOLE.split((roots + paths) as u64);
    let mut weigh =
        |count: usize| Weight(weights.by_ref().take(count).map(|weight| weight.0).sum());
    let mut tasks = Vec::with_capacity(roots + paths.div_ceil(NAMES_PER_TASK));
    for (root, _) in (0..).zip(walk).filter(|&(_, &walk)| walk) {
        tasks.push(Task::root(root, weigh(1)));
    }
    for (root, paths) in named {
        let mut chunk = Vec::new();
        let mut bytes = 0;
        for path in paths {
            let full = chunk.len() >= NAMES_PER_TASK || bytes + path.len() > NAME_BYTES_PER_TASK;
            if full && !chunk.is_empty() {
                let paths = std::mem::take(&mut chunk);
                tasks.push(named_task(root, weigh(paths.len()), paths));
                bytes = 0;
            }
            bytes += path.len();
            chunk.push(path);
        }
        if !chunk.is_empty() {
            tasks.push(named_task(root, weigh(chunk.len()), chunk));
        }
    }
    tasks
}

fn named_task(root: u32, weight: Weight, paths: Vec<Vec<u8>>) -> Task {
    Task {
        root,
        weight,
        kind: TaskKind::Paths { paths },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(tasks: &[Task]) -> u64 {
        tasks.iter().map(|task| task.weight.0).sum()
    }

    #[test]
    fn roots_and_names_share_the_whole() {
        let names: Vec<_> = (0..1000).map(|i| format!("n{i}").into_bytes()).collect();
        let tasks = initial_tasks(&[true, false, true], vec![(1, names.clone())]);
        assert_eq!(weight(&tasks), Weight::WHOLE.0);
        assert_eq!(tasks.len(), 2 + 4);
        assert_eq!((tasks[0].root, tasks[1].root), (0, 2));
        let told: Vec<_> = tasks
            .into_iter()
            .filter_map(|task| match task.kind {
                TaskKind::Paths { paths } if task.root == 1 => Some(paths),
                _ => None,
            })
            .flatten()
            .collect();
        assert_eq!(told, names);
    }

    #[test]
    fn long_names_make_small_tasks() {
        let names = vec![vec![b'x'; 60 << 10]; 3];
        assert_eq!(initial_tasks(&[false], vec![(0, names)]).len(), 3);
    }

    #[test]
    fn nothing_gives_nothing() {
        assert!(initial_tasks(&[false], Vec::new()).is_empty());
        assert!(initial_tasks(&[], vec![(0, Vec::new())]).is_empty());
    }
}
