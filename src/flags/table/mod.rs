//! The definition of `regexctl run`: every flag, once, grouped by what a person wants to
//! do. The order here is the order of the help.

mod cluster;
mod context;
mod files;
mod format;
mod limits;
mod pattern;
mod printed;
mod reading;

use super::flag::Flag;

/// Flags that serve one purpose.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// The heading in the help.
    pub heading: &'static str,
    /// In the order of the help.
    pub flags: &'static [Flag],
}

/// All flags of `regexctl run`.
pub fn groups() -> &'static [Group] {
    const GROUPS: &[Group] = &[
        Group {
            heading: "Pattern",
            flags: pattern::FLAGS,
        },
        Group {
            heading: "Which files",
            flags: files::FLAGS,
        },
        Group {
            heading: "How files are read",
            flags: reading::FLAGS,
        },
        Group {
            heading: "What is printed",
            flags: printed::FLAGS,
        },
        Group {
            heading: "Context",
            flags: context::FLAGS,
        },
        Group {
            heading: "Output format",
            flags: format::FLAGS,
        },
        Group {
            heading: "Where it runs",
            flags: cluster::FLAGS,
        },
        Group {
            heading: "Limits",
            flags: limits::FLAGS,
        },
    ];
    GROUPS
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::groups;

    /// No name and no letter means two things, and everything is documented.
    #[test]
    fn names_are_unique_and_documented() {
        let mut longs = HashSet::from(["help", "version"]);
        let mut shorts = HashSet::from(['h', 'V']);
        for flag in groups().iter().flat_map(|group| group.flags) {
            assert!(longs.insert(flag.long), "--{} twice", flag.long);
            assert!(
                flag.alias.is_none_or(|a| longs.insert(a)),
                "{:?}",
                flag.alias
            );
            assert!(
                flag.short.is_none_or(|s| shorts.insert(s)),
                "{:?}",
                flag.short
            );
            if let Some(undo) = flag.undo {
                assert!(longs.insert(undo.long), "--{} twice", undo.long);
                assert!(
                    undo.short.is_none_or(|s| shorts.insert(s)),
                    "{:?}",
                    undo.short
                );
            }
            let undo_help = flag.undo.and_then(|undo| undo.help);
            for help in std::iter::once(flag.help).chain(undo_help) {
                assert!(!help.is_empty(), "--{} has no help", flag.long);
                assert!(help.len() <= 72, "--{}: {} is too long", flag.long, help);
                assert!(
                    !help.ends_with('.'),
                    "--{} ends with a full stop",
                    flag.long
                );
            }
        }
    }
}
