//! Equal outputs of many nodes, told once.

use std::collections::HashMap;

use super::Outcome;

/// The most that is kept of one node's output, in bytes.
pub const MAX_NODE_OUTPUT_BYTES: usize = 1 << 20;

/// The most that is kept of all nodes' outputs, equal ones once, in bytes.
pub const MAX_OUTPUT_BYTES: usize = 256 << 20;

/// The outputs of nodes while they come.
#[derive(Debug)]
pub struct Gathered {
    /// How much more is kept, in bytes.
    room: usize,
    is_full: bool,
    /// Of nodes that have not ended, by their place.
    open: HashMap<usize, Output>,
    /// What was printed, and by which nodes.
    groups: HashMap<(Output, Outcome), Vec<usize>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Output {
    bytes: Vec<u8>,
    truncated: bool,
}

/// Nodes that printed the same and ended alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Their places, in order.
    pub nodes: Vec<usize>,
    /// What each of them printed, standard output and standard error as they came.
    pub output: Vec<u8>,
    /// There was more of it, than [`MAX_NODE_OUTPUT_BYTES`] or than fits into [`MAX_OUTPUT_BYTES`] with the others.
    pub truncated: bool,
    /// How they ended.
    pub outcome: Outcome,
}

impl Default for Gathered {
    fn default() -> Self {
        Self::with_room(MAX_OUTPUT_BYTES)
    }
}

impl Gathered {
    fn with_room(room: usize) -> Self {
        Self {
            room,
            is_full: false,
            open: HashMap::new(),
            groups: HashMap::new(),
        }
    }

    /// Whether something was dropped because [`MAX_OUTPUT_BYTES`] were kept already.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// A node has printed something.
    pub fn add(&mut self, node: usize, bytes: &[u8]) {
        let output = self.open.entry(node).or_default();
        let wanted = bytes.len().min(MAX_NODE_OUTPUT_BYTES - output.bytes.len());
        let kept = wanted.min(self.room);
        self.room -= kept;
        self.is_full |= kept < wanted;
        output.bytes.extend_from_slice(&bytes[..kept]);
        output.truncated |= kept < bytes.len();
    }

    /// A node has ended. Equal outputs are kept once.
    pub fn end(&mut self, node: usize, outcome: Outcome) {
        let output = self.open.remove(&node).unwrap_or_default();
        let bytes = output.bytes.len();
        let nodes = self.groups.entry((output, outcome)).or_default();
        if !nodes.is_empty() {
            self.room += bytes;
        }
        nodes.push(node);
    }

    /// The groups, in the order of their first nodes.
    pub fn into_groups(self) -> Vec<Group> {
        let mut groups: Vec<Group> = self
            .groups
            .into_iter()
            .map(|((output, outcome), mut nodes)| {
                nodes.sort_unstable();
                Group {
                    nodes,
                    output: output.bytes,
                    truncated: output.truncated,
                    outcome,
                }
            })
            .collect();
        groups.sort_unstable_by_key(|group| group.nodes[0]);
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_outputs_are_one_group_however_they_came() {
        let mut gathered = Gathered::default();
        gathered.add(2, b"Debian ");
        gathered.add(0, b"Debian 12\n");
        gathered.add(1, b"Debian 13\n");
        gathered.add(2, b"12\n");
        for node in [2, 1, 0] {
            gathered.end(node, Outcome::Exited(0));
        }
        gathered.end(3, Outcome::Exited(1));
        let groups = gathered.into_groups();
        let told: Vec<_> = groups
            .iter()
            .map(|group| (&*group.nodes, &*group.output))
            .collect();
        assert_eq!(
            told,
            [
                (&[0, 2][..], &b"Debian 12\n"[..]),
                (&[1], b"Debian 13\n"),
                (&[3], b"")
            ]
        );
    }

    #[test]
    fn the_same_words_with_another_end_are_another_group() {
        let mut gathered = Gathered::default();
        for node in 0..2 {
            gathered.add(node, b"x");
            gathered.end(node, Outcome::Exited(i32::from(node == 1)));
        }
        assert_eq!(gathered.into_groups().len(), 2);
    }

    #[test]
    fn a_node_that_prints_without_end_is_cut() {
        let mut gathered = Gathered::default();
        for _ in 0..3 {
            gathered.add(0, &vec![b'x'; MAX_NODE_OUTPUT_BYTES / 2 + 1]);
        }
        gathered.end(0, Outcome::Exited(0));
        let [group] = &gathered.into_groups()[..] else {
            panic!("one group")
        };
        assert_eq!(
            (group.output.len(), group.truncated),
            (MAX_NODE_OUTPUT_BYTES, true)
        );
    }

    #[test]
    fn all_together_are_cut_but_equal_ones_count_once() {
        let mut gathered = Gathered::with_room(25);
        for node in 0..100 {
            gathered.add(node, b"the same..");
            gathered.end(node, Outcome::Exited(0));
        }
        assert!(!gathered.is_full());
        gathered.add(100, b"something else....");
        gathered.end(100, Outcome::Exited(0));
        assert!(gathered.is_full());
        let told: Vec<_> = gathered
            .into_groups()
            .into_iter()
            .map(|group| (group.nodes.len(), group.output.len(), group.truncated))
            .collect();
        assert_eq!(told, [(100, 10, false), (1, 15, true)]);
    }
}
