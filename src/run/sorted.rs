//! `--sort path`: keeps all results, and gives them in the order of their paths.

use regexctl_proto::domain::matches_cost;
use regexctl_proto::v1;

/// The most bytes of results that are kept to be sorted.
pub(super) const SORT_BYTES: u64 = 1 << 30;

/// A file's results, waiting.
pub(super) struct Kept {
    /// Which PATH of the command line comes first.
    root: u32,
    pub(super) path: Vec<u8>,
    pub(super) file: v1::FileMatches,
    pub(super) node: Option<String>,
}

/// Results not yet printed.
#[derive(Default)]
pub(super) struct Sorted {
    kept: Vec<Kept>,
    bytes: u64,
}

/// There are too many results to be sorted.
#[derive(Debug, thiserror::Error)]
#[error(
    "the results exceed {SORT_BYTES} bytes, too many for --sort path; leave it out, and pipe the output into sort"
)]
pub(super) struct TooMany;

impl Sorted {
    pub(super) fn keep(
        &mut self,
        path: Vec<u8>,
        file: v1::FileMatches,
        nodes: &[String],
    ) -> Result<(), TooMany> {
        self.bytes += matches_cost(&file) + path.len() as u64;
        if self.bytes > SORT_BYTES {
            return Err(TooMany);
        }
        self.kept.push(Kept {
            root: file.root,
            path,
            node: nodes.get(file.node as usize).cloned(),
            file,
        });
        Ok(())
    }

    /// In the order of a walk that takes the entries of each directory by name: the PATHs as typed, and below them
    /// component by component. The parts of one file stay in their order.
    pub(super) fn finish(mut self) -> impl Iterator<Item = Kept> {
        self.kept.sort_by(|a, b| {
            let parts = |kept: &Kept| {
                kept.path
                    .split(|&b| b == b'/')
                    .map(<[u8]>::to_vec)
                    .collect::<Vec<_>>()
            };
            a.root.cmp(&b.root).then_with(|| {
                if a.path == b.path {
                    std::cmp::Ordering::Equal
                } else {
                    parts(a).cmp(&parts(b))
                }
            })
        });
        self.kept.into_iter()
    }
}
