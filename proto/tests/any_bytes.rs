//! The property of the fuzz target `wire`, on every test run.

#[path = "../../fuzz/properties/wire.rs"]
mod property;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use regexctl_proto::v1;

/// Paths of which some break the rules.
fn path() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "([a-c]{1,3}/){0,3}[a-c]{0,3}".prop_map(String::into_bytes),
        "(\\.\\./|/|\\./|\0)?[a-c]{0,3}".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..8),
    ]
}

fn task() -> impl Strategy<Value = v1::Task> {
    let tree = (path(), any::<u32>(), any::<u32>()).prop_map(|(path, slice_start, slice_end)| {
        v1::task::Kind::Tree(v1::Tree {
            path,
            slice_start,
            slice_end,
        })
    });
    let paths = vec(path(), 0..4).prop_map(|paths| v1::task::Kind::Paths(v1::Paths { paths }));
    let range = (path(), 0..9_u64, 0..9_u64, 0..9_u64).prop_map(|(path, start, end, size)| {
        v1::task::Kind::Range(v1::Range {
            path,
            start,
            end,
            size,
        })
    });
    let weight = prop_oneof![0..=1_u64 << 60, any::<u64>()];
    let kind = option::weighted(0.9, prop_oneof![tree, paths, range]);
    (any::<u32>(), weight, kind).prop_map(|(root, weight, kind)| v1::Task { root, weight, kind })
}

fn grant() -> impl Strategy<Value = v1::Grant> {
    let lease =
        (any::<u64>(), any::<u64>(), 0..4_u32).prop_map(|(job, shard, attempt)| v1::Lease {
            job,
            shard,
            attempt,
        });
    let budget =
        any::<(u32, u64, u64)>().prop_map(|(millis, result_bytes, remainder_bytes)| v1::Budget {
            millis,
            result_bytes,
            remainder_bytes,
        });
    let (lease, budget) = (option::weighted(0.9, lease), option::weighted(0.9, budget));
    (lease, budget, vec(task(), 0..4)).prop_map(|(lease, budget, tasks)| v1::Grant {
        lease,
        budget,
        tasks,
    })
}

/// The first byte of the property's input for each kind of message.
const TASK: u8 = 0;
const LEASE: u8 = 1;
const GRANT: u8 = 2;
const BUDGET: u8 = 3;

proptest! {
    #[test]
    fn any_bytes(which in 0..property::MESSAGES, bytes in vec(any::<u8>(), 0..64)) {
        property::holds(&[&[which][..], &bytes].concat());
    }

    #[test]
    fn messages(grant in grant()) {
        let mut inputs = vec![[&[GRANT][..], &grant.encode_to_vec()].concat()];
        inputs.extend(grant.tasks.iter().map(|task| [&[TASK][..], &task.encode_to_vec()].concat()));
        inputs.extend(grant.lease.iter().map(|lease| [&[LEASE][..], &lease.encode_to_vec()].concat()));
        inputs.extend(grant.budget.iter().map(|budget| [&[BUDGET][..], &budget.encode_to_vec()].concat()));
        for input in inputs {
            property::holds(&input);
        }
    }

    /// One byte of a message is not as it was sent, or some are cut off.
    #[test]
    fn damaged_messages(grant in grant(), which in 0..property::MESSAGES, at: usize, byte: u8, cut: bool) {
        let mut bytes = grant.encode_to_vec();
        let at = at % (bytes.len() + 1);
        if cut {
            bytes.truncate(at);
        } else if let Some(damaged) = bytes.get_mut(at) {
            *damaged = byte;
        }
        property::holds(&[&[which][..], &bytes].concat());
        property::holds(&[&[GRANT][..], &bytes].concat());
    }
}
