//! systemd units: of the boot endpoint, of regex-master, and of the daemons that we run ourselves.

use minijinja::{Value, context};

use super::file::{Checker, Effect, File, Place, Service};
use super::templates::fill;
use super::{Site, nfs};
use crate::model::{Cluster, ExportServer, NfsVersion};

pub(super) fn files(cluster: &Cluster, site: &Site) -> Vec<File> {
    let common = context! {
        cluster => cluster.name.as_str(),
        directory => escaped(cluster.serve.directory.as_str()),
    };
    let program = |program: &std::path::Path| {
        context! { program => escaped(&program.display().to_string()) }
    };
    let network = &cluster.network;
    let serve = context! { listen => format!("{}:{}", network.master, network.http_port) };
    let mut files = vec![
        // It listens where it did for as long as it lives: with another address its unit is another one, and so it is
        // started anew. The address itself it takes from what is in force, which changes with one rename.
        unit(
            Service::Serve,
            context! { ..common.clone(), ..serve, ..program(&site.provision) },
        ),
        unit(
            Service::Dnsmasq,
            context! { ..common.clone(), ..program(&site.dnsmasq) },
        ),
        unit(
            Service::Master,
            context! {
                listen => format!("{}:{}", network.master, network.master_port),
                cluster => cluster.name.as_str(),
                ..program(&site.master),
            },
        ),
    ];
    if nfs::server(cluster) == nfs::Server::Ganesha {
        let v3 = cluster.exports.values().any(|export| {
            export.server == ExportServer::Ganesha && export.version == NfsVersion::V3
        });
        files.push(unit(
            Service::Ganesha,
            context! { ..common.clone(), ..context! { v3 }, ..program(&site.ganesha) },
        ));
    }
    files
}

fn unit(service: Service, values: Value) -> File {
    let name = service.unit();
    let place = place(service);
    File {
        name: File::name_in_system(&place),
        bytes: fill(name, values).into_bytes(),
        place: Place::System(place.into()),
        mode: 0o644,
        service: Some((service, Effect::Restart)),
        checker: Some(Checker::Systemd),
    }
}

/// Where a unit of ours lies on the master.
pub(super) fn place(service: Service) -> String {
    format!("/etc/systemd/system/{}", service.unit())
}

/// A path in a unit, where `%` stands for something else.
pub(super) fn escaped(path: &str) -> String {
    path.replace('%', "%%")
}
