//! Keeps what was heard on disk.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::app::{App, Trouble};
use super::spool;
use crate::status::Line;
use crate::status::journal::{Journal, JournalError};

/// How long what was heard may not be on disk yet. Everything of that time goes there with one sync.
const DELAY: Duration = Duration::from_millis(300);

/// The same while the disk takes nothing: each failure doubles the pause.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// The most lines that are copied at once: whoever hears something meanwhile waits for that.
const LINES: usize = 2048;

/// The most machines of which all is copied at once.
const MACHINES: usize = 256;

/// Who keeps.
pub(super) struct Keeper {
    app: Arc<App>,
    journal: Journal,
    pause: Duration,
}

impl Keeper {
    pub(super) fn new(app: Arc<App>, journal: Journal) -> Self {
        Self {
            app,
            journal,
            pause: DELAY,
        }
    }

    /// Writes until the other end of `stop` is dropped, and then the rest. To be run on a thread of its own.
    pub(super) fn run(mut self, stop: &Receiver<()>) {
        let mut pause = self.pause;
        while stop.recv_timeout(pause) != Err(RecvTimeoutError::Disconnected) {
            pause = self.keep();
        }
        self.keep();
    }

    /// Writes what was heard since the last time. Gives the pause before the next time.
    pub(super) fn keep(&mut self) -> Duration {
        // Without a cluster nobody knows whose it is.
        let is_taken = self.app.served().is_some()
            && spool::take(self.app.store(), |at, tried| {
                self.app.board().catch_up(at, tried);
            });
        let result = self.write();
        self.pause = match &result {
            Ok(()) => DELAY,
            Err(_) => (self.pause * 2).min(LONGEST_DELAY),
        };
        if is_taken && result.is_ok() {
            spool::remove(self.app.store());
        }
        let problem = result.err().map(|error| {
            let error = anyhow::Error::from(error);
            format!("what is heard of nodes is not kept: {error:#}")
        });
        self.app.trouble(Trouble::Records, problem);
        self.pause
    }

    fn write(&mut self) -> Result<(), JournalError> {
        while !self.journal.wants_all() {
            let lines = self.app.board().drain(LINES);
            if !lines.is_empty() {
                self.journal.append(&lines)?;
            }
            if lines.len() < LINES {
                break;
            }
        }
        if self.journal.wants_all() {
            self.journal.replace(all(&self.app))?;
        }
        Ok(())
    }
}

/// All that is to be kept, of some machines at a time: what changes in between is told by what is drained next.
fn all(app: &App) -> impl Iterator<Item = Line> {
    let machines = app.board().begin_all();
    let mut at = 0;
    let some = std::iter::from_fn(move || {
        let some = machines.get(at..)?.iter().take(MACHINES);
        at += MACHINES;
        let mut board = app.board();
        let lines = some.flat_map(|mac| board.lines_of(*mac));
        Some(lines.collect::<Vec<_>>())
    });
    some.flatten()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::model::MacAddr;
    use crate::status::{Board, Event, Words, journal};
    use crate::store::Store;

    fn hear(app: &App, number: u16) {
        let [high, low] = number.to_be_bytes();
        let mac = MacAddr::new([0x52, 0x54, 0, 0, high, low]).expect("an address of one machine");
        app.hear(Event::Script {
            mac,
            address: [10, 77, high, low].into(),
            offer: None,
            words: Words::new("waits"),
        });
    }

    /// The journal has grown, and is to be written anew.
    #[test]
    fn on_a_full_disk_it_is_tried_less_and_less_often_and_then_all_is_there() {
        let temp = tempfile::tempdir().expect("a directory");
        let store = Store::at(temp.path());
        let (opened, _) = Journal::open(&store.nodes(), |_| {}).expect("it can be opened");
        let mut grown = opened.begin(std::iter::empty()).expect("it can be written");
        let gone = Line::Forget {
            mac: "52:54:00:00:00:01".parse().expect("an address"),
        };
        let many = vec![gone; 50_000];
        while !grown.wants_all() {
            grown.append(&many).expect("it can be written");
        }
        let app = Arc::new(App::new(store, Board::new(2_000)));
        let mut keeper = Keeper::new(Arc::clone(&app), grown);
        let new = app.store().nodes().join("journal.new");
        symlink("/dev/full", &new).expect("the directory is ours");
        let mut pauses = Vec::new();
        for number in 0..1_000 {
            hear(&app, number);
            if number < 9 {
                pauses.push(keeper.keep().as_millis());
            }
        }
        assert_eq!(
            pauses,
            [600, 1200, 2400, 4800, 9600, 19200, 30000, 30000, 30000]
        );
        std::fs::remove_file(&new).expect("it is there");
        assert_eq!(keeper.keep(), DELAY);
        hear(&app, 1_000);
        assert_eq!(keeper.keep(), DELAY);
        let mut board = Board::new(2_000);
        let read = journal::read(&app.store().nodes(), |line| board.restore(line));
        assert_eq!(read.expect("it can be read").lines, 1_001);
        assert_eq!(board.unknown(), app.board().unknown());
    }
}
