//! What is told to services, by whomever can tell them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;

use super::plan::Action;
use crate::model::Cluster;
use crate::render::Service;

/// The port of NFS.
const NFS_PORT: u16 = 2049;

/// Why a service is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// `systemctl` could not be run.
    #[error("cannot run systemctl")]
    Run(#[from] io::Error),
    /// `systemctl` has failed.
    #[error("{0}")]
    Failed(String),
    /// A signal asked for the end.
    #[error("it was ended by a signal")]
    Interrupted,
    /// It does not come up, or not to the end.
    #[error("{unit} does not come up: {what}")]
    Down {
        /// Which.
        unit: &'static str,
        /// What systemd says of it.
        what: String,
    },
}

/// A generation as its services show it, when they are up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its number, which the boot endpoint tells.
    pub generation: u32,
    /// Where they answer.
    pub answers: BTreeMap<Service, SocketAddr>,
}

impl Expected {
    /// What a generation of this cluster shows.
    pub fn of(generation: u32, cluster: &Cluster) -> Self {
        let network = &cluster.network;
        let at = |port| (network.master.get(), port).into();
        let answers = [
            (Service::Serve, at(network.http_port)),
            (Service::Master, at(network.master_port)),
            (Service::Ganesha, at(NFS_PORT)),
        ];
        Self {
            generation,
            answers: answers.into(),
        }
    }
}

/// Who can tell services.
pub trait Services {
    /// Which of these, all ours, do not run although their units are there.
    fn down(&mut self, of: &BTreeSet<Service>) -> Result<BTreeSet<Service>, ServiceError>;

    /// How a service is now.
    fn state(&mut self, service: Service) -> Result<State, ServiceError>;

    /// Has the units read again.
    fn reload_units(&mut self) -> Result<(), ServiceError>;

    /// What follows is the switch to this. What is in force is not known if nothing was applied yet, or cannot
    /// be read.
    fn expect(&mut self, in_force: Option<Expected>, wanted: Expected);

    /// What follows is the way back to what was in force, which no signal interrupts.
    fn go_back(&mut self);

    /// Has a service start with the machine, or not any more. That alone neither starts nor stops it.
    fn enable(&mut self, service: Service, is_enabled: bool) -> Result<(), ServiceError>;

    /// Tells a service, and waits until it is up, or stopped.
    fn act(&mut self, service: Service, action: Action) -> Result<(), ServiceError>;

    /// Makes a service that was told something run as it did before, when its files are again.
    fn put_back(
        &mut self,
        service: Service,
        action: Action,
        before: State,
    ) -> Result<(), ServiceError>;
}

/// How a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Its unit is there.
    pub is_there: bool,
    /// It is started with the machine.
    pub is_enabled: bool,
    /// It runs.
    pub is_active: bool,
}

/// Nobody: for a fake root, and where systemd does not run.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoServices;

impl Services for NoServices {
    fn down(&mut self, _: &BTreeSet<Service>) -> Result<BTreeSet<Service>, ServiceError> {
        Ok(BTreeSet::new())
    }

    fn state(&mut self, service: Service) -> Result<State, ServiceError> {
        Ok(State {
            is_there: true,
            is_enabled: service.is_ours(),
            is_active: service.is_ours(),
        })
    }

    fn reload_units(&mut self) -> Result<(), ServiceError> {
        Ok(())
    }

    fn expect(&mut self, _: Option<Expected>, _: Expected) {}

    fn go_back(&mut self) {}

    fn enable(&mut self, _: Service, _: bool) -> Result<(), ServiceError> {
        Ok(())
    }

    fn act(&mut self, _: Service, _: Action) -> Result<(), ServiceError> {
        Ok(())
    }

    fn put_back(&mut self, _: Service, _: Action, _: State) -> Result<(), ServiceError> {
        Ok(())
    }
}
