//! Keeps what was heard on disk.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tokio::sync::oneshot;

use super::app::{App, Trouble};
use super::spool;
use crate::status::journal::{Journal, JournalError};
use crate::status::{At, Line};

/// How long what was heard may not be on disk yet. Everything of that time goes there with one sync.
const DELAY: Duration = Duration::from_millis(300);

/// The same while the disk takes nothing: each failure doubles the pause.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// The most lines that are copied at once: whoever hears something meanwhile waits for that.
const LINES: usize = 2048;

/// The most machines of which all is copied at once.
const MACHINES: usize = 256;

/// The thread that keeps.
pub(super) struct Keeping {
    thread: JoinHandle<()>,
    stop: mpsc::Sender<()>,
    /// Its other end is dropped at the end of the thread.
    ended: oneshot::Receiver<()>,
}

impl Keeping {
    /// Takes in what commands have tried while nobody served, and begins to keep.
    pub(super) fn start(app: Arc<App>, journal: Journal) -> anyhow::Result<Self> {
        let mut keeper = Keeper::new(app, journal);
        // It is told from the beginning.
        keeper.keep();
        let (stop, stopped) = mpsc::channel();
        let (at_end, ended) = oneshot::channel::<()>();
        let keep = move || {
            let _at_end = at_end;
            keeper.run(&stopped);
        };
        let thread = thread::Builder::new().name("records".into()).spawn(keep);
        let thread = thread.context("cannot start a thread")?;
        Ok(Self {
            thread,
            stop,
            ended,
        })
    }

    /// Has the rest written, and waits for it. Not on one of the threads for what blocks: all of them may read artifacts from a
    /// disk that hangs.
    pub(super) async fn end(self) -> anyhow::Result<()> {
        drop(self.stop);
        // Nothing is ever sent.
        let _ = self.ended.await;
        if self.thread.join().is_err() {
            bail!("what was heard last may not have been written down");
        }
        Ok(())
    }
}

/// Who keeps.
struct Keeper {
    app: Arc<App>,
    journal: Journal,
    pause: Duration,
    /// The pause before what commands have left is looked at again.
    spool_pause: Duration,
    /// Until then it is not looked at.
    spool_rests: Option<Instant>,
}

impl Keeper {
    fn new(app: Arc<App>, journal: Journal) -> Self {
        Self {
            app,
            journal,
            pause: DELAY,
            spool_pause: DELAY,
            spool_rests: None,
        }
    }

    /// Writes until the other end of `stop` is dropped, and then the rest.
    fn run(mut self, stop: &Receiver<()>) {
        let mut pause = self.pause;
        while stop.recv_timeout(pause) != Err(RecvTimeoutError::Disconnected) {
            pause = self.keep();
        }
        self.keep();
    }

    /// Writes what was heard since the last time. Gives the pause before the next time.
    fn keep(&mut self) -> Duration {
        let taken = self.take_in();
        let result = self.write();
        self.pause = match &result {
            Ok(()) => DELAY,
            Err(_) => (self.pause * 2).min(LONGEST_DELAY),
        };
        if let Some(taken) = taken {
            let is_kept = result.is_ok();
            let removed = taken.and_then(|is_any| {
                if is_any && is_kept {
                    spool::remove(self.app.store())
                } else {
                    Ok(())
                }
            });
            self.note_spool(removed);
        }
        let problem = result.err().map(|error| {
            let error = anyhow::Error::from(error);
            format!("what is heard of nodes is not kept: {error:#}")
        });
        self.app.trouble(Trouble::Records, problem);
        self.pause
    }

    /// Takes in what commands have tried. Tells whether it is to be removed once it is in the records; none if it was not looked
    /// at.
    fn take_in(&mut self) -> Option<anyhow::Result<bool>> {
        // Without a cluster nobody knows whose it is.
        self.app.served()?;
        if self.spool_rests.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let mut left = Vec::new();
        let taken = spool::take(self.app.store(), |at, tried| left.push((at, tried)));
        if !left.is_empty() {
            self.app.board().catch_up(At::now(), left);
        }
        Some(taken)
    }

    /// Tells what became of what commands have left. While it fails, it is looked at less and less often.
    fn note_spool(&mut self, result: anyhow::Result<()>) {
        if result.is_ok() {
            (self.spool_pause, self.spool_rests) = (DELAY, None);
        } else {
            self.spool_pause = (self.spool_pause * 2).min(LONGEST_DELAY);
            self.spool_rests = Some(Instant::now() + self.spool_pause);
        }
        let problem = result.err();
        let problem =
            problem.map(|error| format!("what commands have tried cannot be taken in: {error:#}"));
        self.app.trouble(Trouble::Tried, problem);
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

    #[test]
    fn what_commands_have_left_and_cannot_be_read_is_told_once_and_looked_at_less_and_less_often() {
        let temp = tempfile::tempdir().expect("a directory");
        let store = Store::at(temp.path());
        let (opened, _) = Journal::open(&store.nodes(), |_| {}).expect("it can be opened");
        let journal = opened.begin(std::iter::empty()).expect("it can be written");
        let app = Arc::new(App::new(store, Board::new(1)));
        let mut keeper = Keeper::new(Arc::clone(&app), journal);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            keeper.note_spool(Err(anyhow::anyhow!("cannot read it")));
            pauses.push(keeper.spool_pause.as_millis());
            assert!(
                keeper
                    .spool_rests
                    .is_some_and(|until| until > Instant::now())
            );
        }
        assert_eq!(
            pauses,
            [600, 1200, 2400, 4800, 9600, 19200, 30000, 30000, 30000]
        );
        assert_eq!(
            app.problem(&Trouble::Tried).as_deref(),
            Some("what commands have tried cannot be taken in: cannot read it")
        );
        // What is heard is kept all the while.
        assert_eq!(keeper.keep(), DELAY);
        keeper.note_spool(Ok(()));
        assert_eq!((keeper.spool_pause, keeper.spool_rests), (DELAY, None));
        assert_eq!(app.problem(&Trouble::Tried), None);
    }

    /// All threads for what blocks read from a disk that hangs.
    #[test]
    fn the_end_waits_for_nobody_who_reads() {
        let temp = tempfile::tempdir().expect("a directory");
        let store = Store::at(temp.path());
        let (opened, _) = Journal::open(&store.nodes(), |_| {}).expect("it can be opened");
        let journal = opened.begin(std::iter::empty()).expect("it can be written");
        let app = Arc::new(App::new(store, Board::new(1)));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(1)
            .enable_all()
            .build()
            .expect("it can be built");
        let (goes_on, hangs) = mpsc::channel::<()>();
        runtime.spawn_blocking(move || hangs.recv());
        let ended = runtime.block_on(async {
            let keeping = Keeping::start(Arc::clone(&app), journal).expect("it starts");
            hear(&app, 1);
            tokio::time::timeout(Duration::from_secs(60), keeping.end()).await
        });
        drop(goes_on);
        ended.expect("it ends in time").expect("it has written");
        let read = journal::read(&app.store().nodes(), |_| {});
        assert_eq!(read.expect("it can be read").lines, 1);
    }
}
