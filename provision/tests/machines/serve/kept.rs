//! A directory: who serves it, and what is learnt from it without asking over HTTP.

use regexctl_provision::serve::Served;
use regexctl_provision::status::State;
use regexctl_provision::store::Digest;

use super::boots::boot;
use super::client::get;
use super::site::Site;

#[test]
fn sets_of_nodes_know_who_is_up() {
    let site = Site::new(3, "");
    site.build("one");
    site.apply(1);
    let server = site.serve();
    boot(&server, 1, "b-1");
    server.until("it is up", |status| status.nodes[1].state == State::Up);
    server.end();
    for (set, nodes) in [
        ("@up", "s1\n"),
        ("@down", "s[0,2]\n"),
        ("@all,!@down", "s1\n"),
    ] {
        let (code, out, told) = site.run_alone(&["node", "list", set, "--fold"]);
        assert_eq!((code, out.as_str()), (Some(0), nodes), "{set}: {told}");
        assert!(told.contains("by what it has kept"), "{told}");
    }
}

/// Somebody asks for what nobody has before anything else was asked for.
#[test]
fn what_is_not_there_is_looked_for_among_all_nodes_files() {
    let site = Site::new(2, "");
    site.build("one");
    site.apply(1);
    let served = Served::load(&site.store()).expect("it can be loaded");
    let served = served.expect("something was applied");
    assert_eq!(served.overlay(Digest::of(b"nobody's")), None);
    let node = &served.cluster.nodes()[1];
    let offer = served.offer(node).expect("its image is there");
    assert!(served.overlay(offer.overlay).is_some());
}

#[test]
fn one_process_serves_a_directory_and_nothing_needs_to_be_applied_first() {
    let site = Site::new(1, "");
    let (code, _, told) = site.run(&["serve", "--no-daemons"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("run `regex-provision apply` first"), "{told}");
    let server = site.serve();
    assert_eq!(get(server.address, "/boot.ipxe").status, 503);
    assert!(
        get(server.address, "/status.json")
            .text()
            .contains("nothing has been applied yet")
    );
    let (code, _, told) = site.run(&["serve", "--no-daemons", "--listen", "127.0.0.1:0"]);
    assert_eq!(code, Some(2));
    assert!(
        told.contains("another `regex-provision serve` uses"),
        "{told}"
    );
    site.build("one");
    site.apply(1);
    super::super::harness::until("it is served", || {
        (get(server.address, "/boot.ipxe").status == 200).then_some(())
    });
    server.end();
}
