//! Daemons that end, hang, and are left behind.

use super::*;

fn shell(directory: &Path, script: &str) -> Daemon {
    Daemon {
        name: "shell",
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        pid_file: directory.join("run/shell.pid"),
    }
}

struct Running {
    orders: watch::Sender<Orders>,
    state: Arc<DaemonState>,
    said: mpsc::Receiver<String>,
    task: tokio::task::JoinHandle<()>,
}

fn start(daemon: Daemon) -> Running {
    let run = Orders {
        run: true,
        ..Orders::default()
    };
    let (orders, receiver) = watch::channel(run);
    let (supervisor, said) = Supervisor::new(daemon, receiver);
    let state = supervisor.state();
    let task = tokio::spawn(supervisor.run());
    Running {
        orders,
        state,
        said,
        task,
    }
}

impl Running {
    async fn line(&mut self) -> String {
        let line = timeout(Duration::from_secs(60), self.said.recv()).await;
        line.expect("it speaks in time").expect("it speaks")
    }

    async fn end(self) {
        self.orders.send_modify(|orders| orders.end = true);
        timeout(Duration::from_secs(60), self.task)
            .await
            .expect("it ends")
            .expect("well");
    }
}

fn is_there(pid: u32) -> bool {
    began(pid).is_some()
}

#[tokio::test]
async fn it_is_started_again_and_its_last_words_are_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut running = start(shell(
        directory.path(),
        "echo begun; echo no port >&2; exit 3",
    ));
    assert_eq!(running.line().await, "begun");
    while running.line().await != "begun" {}
    let status = running.state.status();
    assert!(status.restarts >= 1);
    let ended = status.ended.clone().expect("it has ended");
    assert!(
        ended.starts_with("exit status: 3: ") && ended.contains("no port"),
        "{ended}"
    );
    running.end().await;
}

#[tokio::test]
async fn orders_are_followed() {
    let directory = tempfile::tempdir().expect("a directory");
    // A shell cannot trap what whoever started the tests has it ignore, as nohup does.
    let script = r#"exec env --default-signal=HUP sh -c 'trap "echo reload" HUP; echo $$; while :; do sleep 0.05; done'"#;
    let mut running = start(shell(directory.path(), script));
    let first: u32 = running.line().await.parse().expect("a number");
    assert_eq!(running.state.status().pid, Some(first));
    running.orders.send_modify(|orders| orders.reload += 1);
    assert_eq!(running.line().await, "reload");
    running.orders.send_modify(|orders| orders.restart += 1);
    let second: u32 = running.line().await.parse().expect("a number");
    assert!(first != second && !is_there(first) && is_there(second));
    assert_eq!(running.state.status().restarts, 0, "it was told to");
    running.end().await;
    assert!(!is_there(second));
    assert!(!directory.path().join("run/shell.pid").exists());
}

#[tokio::test]
async fn one_that_does_not_end_is_killed() {
    let directory = tempfile::tempdir().expect("a directory");
    let script = "trap '' TERM; echo $$; while :; do sleep 0.05; done";
    let mut running = start(shell(directory.path(), script));
    let pid: u32 = running.line().await.parse().expect("a number");
    running.end().await;
    assert!(!is_there(pid));
}

#[tokio::test]
async fn one_that_was_left_behind_is_ended_and_a_stranger_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let daemon = shell(directory.path(), "echo $$; exec sleep 600");
    let sleep = || {
        Command::new("/bin/sleep")
            .arg("600")
            .kill_on_drop(true)
            .spawn()
    };
    let mut left = sleep().expect("there is sleep");
    let mut stranger = sleep().expect("there is sleep");
    let left_pid = left.id().expect("it runs");
    let stranger_pid = stranger.id().expect("it runs");
    write_pid(&daemon.pid_file, left_pid).expect("it can be written");
    let mut running = start(daemon.clone());
    // Waited for here, for it is our child and stays until then.
    left.wait().await.expect("it has ended");
    running.line().await;
    running.end().await;

    fs::write(&daemon.pid_file, format!("{stranger_pid} 1\n")).expect("it can be written");
    let mut running = start(daemon);
    running.line().await;
    assert!(stranger.try_wait().expect("it can be asked").is_none());
    running.end().await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let daemon = Daemon {
        program: "/nowhere/dnsmasq".into(),
        ..shell(directory.path(), "")
    };
    let running = start(daemon);
    let ended = async {
        loop {
            if let Some(ended) = running.state.status().ended {
                return ended;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    let ended = timeout(Duration::from_secs(60), ended)
        .await
        .expect("it is told");
    assert!(ended.contains("cannot start /nowhere/dnsmasq"), "{ended}");
    running.end().await;
}

#[test]
fn pauses_grow_and_are_reset() {
    let mut pauses = Pauses(FIRST_PAUSE);
    let short = Duration::from_secs(1);
    let millis: Vec<_> = (0..9).map(|_| pauses.next(short).as_millis()).collect();
    assert_eq!(
        millis,
        [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000]
    );
    assert_eq!(pauses.next(WELL), FIRST_PAUSE);
}
