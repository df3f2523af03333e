//! What is known of the master besides the model.

use std::path::PathBuf;

use super::LoaderFile;

/// What rendering needs to know of the master: where its programs are, and the loaders that
/// its distribution has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// `regex-provision`.
    pub provision: PathBuf,
    /// `regex-master`.
    pub master: PathBuf,
    /// `dnsmasq`.
    pub dnsmasq: PathBuf,
    /// `ganesha.nfsd`.
    pub ganesha: PathBuf,
    /// What firmware can be given over TFTP; only those that the cluster needs are used.
    pub loaders: Vec<LoaderFile>,
}

/// The usual places on Debian, and no loaders.
impl Default for Site {
    fn default() -> Self {
        Self {
            provision: "/usr/bin/regex-provision".into(),
            master: "/usr/bin/regex-master".into(),
            dnsmasq: "/usr/sbin/dnsmasq".into(),
            ganesha: "/usr/bin/ganesha.nfsd".into(),
            loaders: Vec::new(),
        }
    }
}
