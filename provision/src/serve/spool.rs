//! What commands have tried while no boot endpoint ran: lines of JSON in a file beside the records, which the next one takes
//! in when it begins.
//!
//! Invariants: the file never has more than [`MAX_BYTES`]; a line that is torn or foreign is left out.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::status::{At, Tried};
use crate::store::Store;

/// The most that is kept: some 10,000 nodes.
const MAX_BYTES: u64 = 4 << 20;

/// What one command has tried.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    at: At,
    tried: Tried,
}

fn file(store: &Store) -> PathBuf {
    store.nodes().join("tried")
}

/// Keeps what was tried now. Only where records are kept already; where there is no room for it, it is lost.
pub(super) fn add(store: &Store, tried: Tried) -> io::Result<()> {
    let path = file(store);
    let at = At::now();
    let mut line = serde_json::to_vec(&Entry { at, tried })?;
    line.push(b'\n');
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    if file.metadata()?.len() + line.len() as u64 > MAX_BYTES {
        return Err(ErrorKind::StorageFull.into());
    }
    // At once, so that lines of several commands do not mix.
    file.write_all(&line)
}

/// Hands on what was kept, in its order.
pub(super) fn read(store: &Store, mut each: impl FnMut(At, Tried)) {
    let path = file(store);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                tracing::warn!(path = %path.display(), %error, "cannot read what commands have tried");
            }
            return;
        }
    };
    let lines = BufReader::new(file.take(MAX_BYTES)).lines();
    for line in lines.map_while(Result::ok) {
        if let Ok(Entry { at, tried }) = serde_json::from_str(&line) {
            each(at, tried);
        }
    }
}

/// Removes what was taken in.
pub(super) fn remove(store: &Store) {
    let path = file(store);
    if let Err(error) = fs::remove_file(&path)
        && error.kind() != ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove what commands have tried");
    }
}
