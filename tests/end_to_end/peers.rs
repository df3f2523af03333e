//! Masters and workers that cannot be reached, are something else, or cannot do what they are told: each side says which,
//! where and what to do.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use regexctl_proto::v1;
use regexctl_proto::v1::jobs_server::{Jobs, JobsServer};
use regexctl_proto::v1::workers_server::{Workers, WorkersServer};
use rustix::process::Signal;
use tokio_stream::Empty;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use crate::harness::cluster::Cluster;
use crate::harness::command::{self, Process, run, search};
use crate::harness::scratch::{Scratch, write};
use crate::harness::{programs, until};

/// The command line of a worker.
fn worker(master: &str, root: &Path) -> std::process::Command {
    let mut worker = std::process::Command::new(programs::worker());
    worker.env_remove("REGEXCTL_MASTER");
    worker.args(["serve", "--master", master, "--root"]);
    worker.arg(root);
    worker
}

#[test]
fn a_master_that_cannot_be_reached_is_named() {
    let scratch = Scratch::new();
    write(&scratch.path(), "file", "foo\n");
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let url = format!("http://{}", free.expect("loopback has a free port"));
    let told = run(search(&scratch.path(), Some(&url), ["foo", "."]));
    told.expect_code(2)
        .expect_error(&url)
        .expect_error("regex-master");
    let mut nodes = command::regexctl(&scratch.path());
    nodes.args(["nodes", "--master", &url]);
    run(nodes).expect_code(2).expect_error(&url);
    for url in ["not a url", "http://"] {
        let told = run(search(&scratch.path(), Some(url), ["foo", "."]));
        told.expect_code(2).expect_error(url);
    }
}

/// The master answers whoever speaks another version, and goes on.
#[test]
fn another_version_is_refused_with_both_numbers() {
    use regexctl_proto::limits::PROTOCOL;
    use regexctl_proto::v1::jobs_client::JobsClient;
    use regexctl_proto::v1::workers_client::WorkersClient;

    let scratch = Scratch::new();
    write(&scratch.path(), "file", "foo\n");
    let cluster = Cluster::start(&scratch.path(), 1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let statuses = runtime.expect("it can be started").block_on(async {
        let endpoint = tonic::transport::Endpoint::from_shared(cluster.url.clone());
        let channel = endpoint
            .expect("it is a URL")
            .connect()
            .await
            .expect("it listens");
        let mut jobs = JobsClient::new(channel.clone());
        let nodes = jobs.nodes(v1::NodesRequest { protocol: 999 }).await;
        let header = v1::SubmitHeader {
            protocol: 999,
            ..v1::SubmitHeader::default()
        };
        let part = Some(v1::submit_request::Part::Header(header));
        let submit = jobs
            .submit(tokio_stream::once(v1::SubmitRequest { part }))
            .await;
        let report = v1::WorkerReport {
            protocol: 999,
            name: "stranger".to_owned(),
            boot_id: vec![7; 16],
            threads: 1,
            slots: 1,
            ..v1::WorkerReport::default()
        };
        let attach = WorkersClient::new(channel)
            .attach(tokio_stream::once(report))
            .await;
        let attach = match attach {
            Err(status) => status,
            Ok(stream) => stream
                .into_inner()
                .message()
                .await
                .expect_err("it is refused"),
        };
        [
            nodes.expect_err("it is refused"),
            submit.expect_err("it is refused"),
            attach,
        ]
    });
    for status in statuses {
        assert_eq!(status.code(), tonic::Code::FailedPrecondition, "{status}");
        let both = [PROTOCOL.to_string(), "999".to_owned()];
        assert!(
            both.iter().all(|number| status.message().contains(number)),
            "{status}"
        );
    }
    run(search(&scratch.path(), Some(&cluster.url), ["foo", "."])).expect_code(0);
}

/// Something else listens where the master should.
#[test]
fn what_is_no_master_is_named() {
    let scratch = Scratch::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the client connects");
        let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        // The client may have gone already.
        let _ = std::io::Write::write_all(&mut stream, answer);
    });
    run(search(&scratch.path(), Some(&url), ["foo", "."]))
        .expect_code(2)
        .expect_error(&url);
    server.join().expect("it does not panic");
}

#[test]
fn a_worker_whose_root_cannot_be_read_says_so() {
    let scratch = Scratch::new();
    write(&scratch.path(), "file", "");
    let path = scratch.path();
    // What is in /proc is not for workers, and a root in which nothing may be read is a mistake.
    for root in [
        &path.join("not-there"),
        &path.join("file"),
        Path::new("/proc"),
    ] {
        let told = run(worker("http://127.0.0.1:1", root));
        told.expect_code(2)
            .expect_error("--root")
            .expect_error(&root.display().to_string());
    }
}

/// A worker's root that goes away while it serves is an error of the job, not of the worker.
#[test]
fn a_root_that_goes_away_is_told() {
    let scratch = Scratch::new();
    let tree = scratch.dir("tree");
    write(&tree, "file", "foo\n");
    let cluster = Cluster::start(&tree, 1);
    let path = tree.to_str().expect("it is text");
    let search = || run(search(&scratch.path(), Some(&cluster.url), ["foo", path]));
    fs::rename(&tree, scratch.path().join("moved")).expect("it is ours");
    // The worker keeps the directory open, whatever it is called.
    let told = search();
    told.expect_code(0);
    assert_eq!(
        told.stdout,
        format!("{path}/file:foo\n").as_bytes(),
        "{told}"
    );
    fs::remove_dir_all(scratch.path().join("moved")).expect("it is ours");
    let told = search();
    told.expect_code(2)
        .expect_error(&format!("{path}: no such file or directory"));
    assert_eq!(cluster.nodes().len(), 1);
}

/// The way a master of a later version answers everything.
struct Later;

impl Later {
    fn refuse<T>() -> Result<Response<T>, Status> {
        Err(Status::failed_precondition(
            "protocol version 1, but this master speaks 2",
        ))
    }
}

#[tonic::async_trait]
impl Jobs for Later {
    async fn submit(
        &self,
        _: Request<Streaming<v1::SubmitRequest>>,
    ) -> Result<Response<v1::SubmitReply>, Status> {
        Self::refuse()
    }

    type ResultsStream = Empty<Result<v1::ResultsReply, Status>>;

    async fn results(
        &self,
        _: Request<v1::ResultsRequest>,
    ) -> Result<Response<Self::ResultsStream>, Status> {
        Self::refuse()
    }

    async fn cancel(
        &self,
        _: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelReply>, Status> {
        Self::refuse()
    }

    async fn nodes(
        &self,
        _: Request<v1::NodesRequest>,
    ) -> Result<Response<v1::NodesReply>, Status> {
        Self::refuse()
    }
}

#[tonic::async_trait]
impl Workers for Later {
    type AttachStream = Empty<Result<v1::WorkerOrders, Status>>;

    async fn attach(
        &self,
        _: Request<Streaming<v1::WorkerReport>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        Self::refuse()
    }

    async fn commit(
        &self,
        _: Request<Streaming<v1::CommitChunk>>,
    ) -> Result<Response<v1::CommitReply>, Status> {
        Self::refuse()
    }
}

/// Serves, on threads that live as long as the test, the services of a later version, under our names or not.
fn later_master(under_our_names: bool) -> (tokio::runtime::Runtime, String) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("it can be started");
    let incoming = {
        let _inside = runtime.enter();
        TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("loopback has a free port")
    };
    let url = format!("http://{}", incoming.local_addr().expect("it is bound"));
    let mut server = Server::builder();
    let router = if under_our_names {
        let router = server.add_service(JobsServer::new(Later));
        router.add_service(WorkersServer::new(Later))
    } else {
        // A service that is no name of ours.
        server.add_routes(tonic::service::Routes::default())
    };
    runtime.spawn(router.serve_with_incoming(incoming));
    (runtime, url)
}

#[test]
fn a_master_of_another_version_is_told_by_clients_and_workers() {
    let scratch = Scratch::new();
    write(&scratch.path(), "file", "foo\n");
    for (under_our_names, said) in [
        (true, "protocol version 1, but this master speaks 2"),
        (false, "it does not serve regexctl.v1"),
    ] {
        let (_runtime, url) = later_master(under_our_names);
        let mut nodes = command::regexctl(&scratch.path());
        nodes.args(["nodes", "--master", &url]);
        for command in [
            search(&scratch.path(), Some(&url), ["foo", "."]),
            nodes,
            worker(&url, &scratch.path()),
        ] {
            run(command)
                .expect_code(2)
                .expect_error(&url)
                .expect_error(said)
                .expect_error("install the same version of regexctl on both");
        }
    }
}

#[test]
fn a_worker_with_a_wrong_address_ends_and_says_so() {
    let scratch = Scratch::new();
    for wrong in ["master", "https://m:7411", "http://m:port", "ftp://m:1"] {
        run(worker(wrong, &scratch.path()))
            .expect_code(2)
            .expect_error("--master")
            .expect_error(wrong);
    }
    let mut many = worker("http://127.0.0.1:1", &scratch.path());
    many.args(["--threads", "1025"]);
    run(many).expect_code(2).expect_error("1024");
}

/// It tries again, and says why each time.
#[test]
fn a_worker_whose_master_is_not_there_says_why() {
    let scratch = Scratch::new();
    let log = scratch.path().join("log");
    let file = fs::File::create(&log).expect("it can be written");
    let url = "http://127.0.0.1:1";
    let worker = Process::daemon(worker(url, &scratch.path()), file);
    let text = until("it has tried twice", || {
        let text = fs::read_to_string(&log).expect("it is text");
        (text.matches("trying again").count() >= 2).then_some(text)
    });
    let why = "tcp connect error: Connection refused";
    assert!(text.contains(why) && text.contains(url), "{text}");
    assert!(
        !text.contains("tcp connect error: tcp connect error"),
        "{text}"
    );
    worker.signal(Signal::TERM);
    worker.finish().expect_code(0);
}

/// A job waits for workers that may come, and says that it does.
#[test]
fn a_job_without_a_worker_says_what_it_waits_for() {
    let scratch = Scratch::new();
    write(&scratch.path(), "file", "foo\n");
    let mut cluster = Cluster::master(&[&scratch.path()]);
    let log = scratch.path().join("log");
    let stderr = fs::File::create(&log).expect("it can be written");
    let job = search(&scratch.path(), Some(&cluster.url), ["foo", "file"]);
    let job = Process::daemon(job, stderr);
    until("it is told", || {
        let text = fs::read_to_string(&log).expect("it is text");
        text.contains("no worker is attached").then_some(())
    });
    cluster.add_worker();
    let told = job.finish();
    told.expect_code(0);
    assert_eq!(told.stdout, b"foo\n", "{told}");
    let text = fs::read_to_string(&log).expect("it is text");
    assert_eq!(text.lines().count(), 1, "{text}");
}
