//! Keeps packages' scripts from starting services while an image is made.

use super::root::Root;

/// What packages ask whether a service may be started.
const POLICY: &str = "usr/sbin/policy-rc.d";

/// While it lives, no service is started by packages. An image's own policy comes back.
pub(super) struct NoServices {
    root: Root,
    before: Option<Vec<u8>>,
}

/// Forbids it.
pub(super) fn no_services(root: &Root) -> anyhow::Result<NoServices> {
    let before = root.read(POLICY)?;
    root.write(POLICY, "#!/bin/sh\nexit 101\n", 0o755)?;
    Ok(NoServices {
        root: root.clone(),
        before,
    })
}

impl Drop for NoServices {
    fn drop(&mut self) {
        // A root that cannot be written fails at the next step anyhow.
        let _ = match &self.before {
            Some(before) => self.root.write(POLICY, before, 0o755),
            None => self.root.remove(POLICY),
        };
    }
}
