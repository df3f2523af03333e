//! Any bytes are refused or are a message; a message, encoded, is decoded as the same one;
//! and one that becomes a domain value comes back from it unchanged.

use std::fmt::Debug;

use prost::Message;
use regexctl_proto::domain::{BootId, Budget, Grant, LeaseId, Task};
use regexctl_proto::v1;

/// The messages that a peer may send, by the first byte of the input.
pub(crate) const MESSAGES: u8 = 16;

/// Panics where that does not hold. The first byte says which message the others are.
pub(crate) fn holds(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else {
        return;
    };
    match which % MESSAGES {
        0 => domain::<v1::Task, Task>(bytes),
        1 => domain::<v1::Lease, LeaseId>(bytes),
        2 => domain::<v1::Grant, Grant>(bytes),
        3 => {
            if let Some(message) = decoded::<v1::Budget>(bytes) {
                assert_eq!(v1::Budget::from(Budget::from(message)), message);
            }
        }
        4 => boot_id(bytes),
        5 => drop(decoded::<v1::SubmitRequest>(bytes)),
        6 => drop(decoded::<v1::ResultsRequest>(bytes)),
        7 => drop(decoded::<v1::ResultsReply>(bytes)),
        8 => drop(decoded::<v1::CancelRequest>(bytes)),
        9 => drop(decoded::<v1::NodesRequest>(bytes)),
        10 => drop(decoded::<v1::NodesReply>(bytes)),
        11 => drop(decoded::<v1::WorkerReport>(bytes)),
        12 => drop(decoded::<v1::WorkerOrders>(bytes)),
        13 => drop(decoded::<v1::CommitChunk>(bytes)),
        14 => drop(decoded::<v1::CommitReply>(bytes)),
        _ => drop(decoded::<v1::SubmitReply>(bytes)),
    }
}

/// The message in the bytes, if there is one.
fn decoded<M: Message + Default + PartialEq + Debug>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    let again = M::decode(message.encode_to_vec().as_slice());
    assert_eq!(again.as_ref(), Ok(&message));
    Some(message)
}

/// Takes a message into the domain and back.
fn domain<M, D>(bytes: &[u8])
where
    M: Message + Default + PartialEq + Debug + Clone + From<D>,
    D: TryFrom<M, Error: Debug>,
{
    if let Some(message) = decoded::<M>(bytes)
        && let Ok(value) = D::try_from(message.clone())
    {
        assert_eq!(M::from(value), message);
    }
}

fn boot_id(bytes: &[u8]) {
    assert_eq!(BootId::try_from(bytes).is_ok(), bytes.len() == 16);
}
