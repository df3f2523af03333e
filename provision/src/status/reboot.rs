//! What a node has booted beside what it would boot now. Pure.

use std::collections::BTreeSet;

use super::Offer;

/// Why a node would have to be rebooted to be what it is to be; none if it need not.
pub fn reboot_reason(booted: &Offer, wanted: &Offer) -> Option<String> {
    let mut reasons = Vec::new();
    if booted.image != wanted.image {
        reasons.push(format!(
            "the image {} instead of {}",
            wanted.image, booted.image
        ));
    } else if booted.manifest != wanted.manifest {
        reasons.push(format!(
            "the image {} was built again: {} instead of {}",
            wanted.image,
            wanted.manifest.short(),
            booted.manifest.short()
        ));
    }
    if booted.overlay != wanted.overlay {
        reasons.push(format!(
            "its own files have changed: {} instead of {}",
            wanted.overlay.short(),
            booted.overlay.short()
        ));
    }
    let (old, new) = (arguments(&booted.arguments), arguments(&wanted.arguments));
    let gone = old.difference(&new).map(|word| format!("-{word}"));
    let added = new.difference(&old).map(|word| format!("+{word}"));
    let changed: Vec<_> = added.chain(gone).collect();
    if !changed.is_empty() {
        reasons.push(format!("kernel arguments: {}", changed.join(" ")));
    }
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// The words of a command line, without the digests, which are told otherwise.
fn arguments(line: &str) -> BTreeSet<&str> {
    const TOLD: [&str; 6] = [
        "rp.image=",
        "rp.size=",
        "rp.overlay=",
        "rp.manifest=",
        "rp.nfs=",
        "rp.usr=",
    ];
    let is_told = |word: &&str| TOLD.iter().any(|prefix| word.starts_with(prefix));
    line.split_whitespace()
        .filter(|word| !is_told(word))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Digest;

    fn offer() -> Offer {
        Offer {
            generation: 1,
            image: "base".parse().expect("a name"),
            manifest: Digest::of(b"m"),
            kernel: Digest::of(b"k"),
            initramfs: Digest::of(b"i"),
            overlay: Digest::of(b"o"),
            arguments: "rp.root=ram rp.image=aa quiet panic=10".into(),
        }
    }

    #[test]
    fn each_difference_is_named() {
        assert_eq!(reboot_reason(&offer(), &offer()), None);
        let later = Offer {
            generation: 2,
            arguments: "rp.root=ram rp.image=bb quiet panic=10".into(),
            ..offer()
        };
        assert_eq!(
            reboot_reason(&offer(), &later),
            None,
            "told by the manifest"
        );
        let built = Offer {
            manifest: Digest::of(b"n"),
            overlay: Digest::of(b"p"),
            arguments: "rp.root=nfs rp.image=aa panic=10".into(),
            ..offer()
        };
        assert_eq!(
            reboot_reason(&offer(), &built).as_deref(),
            Some(
                "the image base was built again: 1b16b1df538b instead of 62c66a7a5dd7; its own files have changed: \
                 148de9c5a7a4 instead of 65c74c15a686; kernel arguments: +rp.root=nfs -quiet -rp.root=ram"
            )
        );
        let other = Offer {
            image: "gpu".parse().expect("a name"),
            ..built
        };
        let reason = reboot_reason(&offer(), &other).expect("another image");
        assert!(
            reason.starts_with("the image gpu instead of base; "),
            "{reason}"
        );
    }
}
