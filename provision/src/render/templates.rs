//! The templates, compiled once.

use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value};

macro_rules! templates {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../templates/", $name)))),*]
    };
}

const TEMPLATES: [(&str, &str); 26] = templates![
    "boot.ipxe",
    "chrony-master.conf",
    "chrony-node.conf",
    "dhcpd-unknown.conf",
    "dhcpd.conf",
    "dnsmasq-hosts",
    "dnsmasq.conf",
    "exports",
    "ganesha.conf",
    "grub-entry.cfg",
    "grub.cfg",
    "hosts",
    "kea-classes.json",
    "kea-reservations.json",
    "logrotate",
    "node.ipxe",
    "pxelinux.cfg",
    "refused.ipxe",
    "regex-host-keys.service",
    "regex-master.service",
    "regex-provision-dnsmasq.service",
    "regex-provision-ganesha.service",
    "regex-provision-serve.service",
    "rsyslog-master.conf",
    "rsyslog-node.conf",
    "sshd.conf",
];

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build()
        .expect("the usual marks are kept");
    environment.set_syntax(syntax);
    for (name, source) in TEMPLATES {
        environment
            .add_template(name, source)
            .expect("each template is compiled by a test");
    }
    environment
});

/// The text that a template makes of these values.
pub(super) fn fill(name: &str, values: Value) -> String {
    ENVIRONMENT
        .get_template(name)
        .and_then(|template| template.render(values))
        .unwrap_or_else(|error| panic!("the template {name} does not fit its values: {error:#}"))
}
