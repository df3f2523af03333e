//! How the bytes of a file become lines.

use crate::flags::flag::{Flag, Undo};
use crate::flags::value;

pub(super) const FLAGS: &[Flag] = &[
    Flag::switch("text", |args, on| args.binary.text = on)
        .short('a')
        .undo("no-text")
        .help("Search binary files as if they were text")
        .more(
            "Without it a match behind a NUL byte is told, but its line is not printed. \
             Printing binary data may upset a terminal.",
        ),
    Flag::switch("no-binary", |args, on| {
        args.binary.skip = on;
        args.binary.text = false;
    })
    .opposite(Undo {
        long: "binary",
        short: None,
        help: Some("Search files with NUL bytes to their end; the default"),
    })
    .help("Stop at the first NUL byte of a file that is not a PATH")
    .more(
        "What ripgrep does unasked: a file that holds a NUL byte is taken for binary, and \
         what was found before the NUL is printed with a warning.",
    ),
    Flag::value("encoding", "ENCODING", |args, value| {
        let label = value.map(value::text).transpose()?.unwrap_or("auto");
        if label.is_empty() {
            return Err("must be auto, none or a label such as utf-16le".to_owned());
        }
        label.clone_into(&mut args.encoding);
        Ok(())
    })
    .short('E')
    .undo("no-encoding")
    .help("The encoding of the files: auto, none, or a label such as latin1")
    .more(
        "auto, the default, looks for a byte order mark and otherwise takes files as they \
         are; none does not even look. The labels are those of the WHATWG Encoding \
         Standard, https://encoding.spec.whatwg.org/#concept-encoding-get.",
    ),
    Flag::value("max-count", "NUM", |args, value| {
        args.max_count = value.map(value::number).transpose()?;
        Ok(())
    })
    .short('m')
    .help("Stop a file after NUM matching lines")
    .more("With 0 nothing is searched."),
];
