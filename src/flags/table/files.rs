//! Which files are searched. Without these flags: all of them.

use std::ffi::OsStr;

use clap::ValueHint;

use crate::flags::args::{FileType, FilesFrom, Mode};
use crate::flags::flag::{Flag, Undo};
use crate::flags::value;

pub(super) const FLAGS: &[Flag] = &[
    Flag::list("glob", "GLOB", |args, value| {
        if let Some(value) = value {
            args.globs.push(value::text(value)?.to_owned());
        }
        Ok(())
    })
    .short('g')
    .help("Only files that match GLOB, or with ! in front those that do not")
    .more(
        "May be given several times; the last glob that matches a file decides. Globs are \
         those of .gitignore and relative to the working directory, and they win over \
         every other filter:\n\n    regexctl run -g '*.h' -g '!third_party/' u64",
    ),
    Flag::list("iglob", "GLOB", |args, value| {
        if let Some(value) = value {
            args.iglobs.push(value::text(value)?.to_owned());
        }
        Ok(())
    })
    .help("As -g, but upper and lower case are the same")
    .more("They are looked at after those of -g, wherever they stand."),
    Flag::switch("glob-case-insensitive", |args, on| {
        args.glob_case_insensitive = on;
    })
    .undo("no-glob-case-insensitive")
    .help("All globs of -g are as those of --iglob"),
    Flag::list("type", "TYPE", |args, value| {
        if let Some(value) = value {
            args.types.push(file_type(value, false)?);
        }
        Ok(())
    })
    .short('t')
    .help("Only files of TYPE, such as rust or py; see --type-list")
    .more("May be given several times. `all` stands for every type there is."),
    Flag::list("type-not", "TYPE", |args, value| {
        if let Some(value) = value {
            args.types.push(file_type(value, true)?);
        }
        Ok(())
    })
    .short('T')
    .help("No files of TYPE")
    .more("Of -t and -T, the last that a file is of decides."),
    Flag::switch("type-list", |args, _| args.mode.update(Mode::TypeList))
        .help("Print the file types and their globs, and search nothing"),
    Flag::value("max-depth", "NUM", |args, value| {
        args.max_depth = value.map(value::number).transpose()?;
        Ok(())
    })
    .short('d')
    .alias("maxdepth")
    .help("Do not go deeper than NUM directories below a PATH")
    .more("With 0 only PATHs that are files are searched."),
    Flag::value("max-filesize", "SIZE", |args, value| {
        args.max_filesize = value.map(value::size).transpose()?;
        Ok(())
    })
    .help("Skip files larger than SIZE")
    .more("In bytes, or with K, M or G behind the number."),
    Flag::switch("follow", |args, on| args.follow = on)
        .short('L')
        .undo("no-follow")
        .help("Follow symbolic links below a PATH")
        .more("A PATH that is a link is always followed; a link to its own ancestor is an error."),
    Flag::switch("ignore", |args, on| args.ignore = on)
        .opposite(Undo {
            long: "no-ignore",
            short: None,
            help: Some("Do not honour ignore files; the default"),
        })
        .help("Honour .gitignore, .ignore and .rgignore files")
        .more(
            "Those of the searched directories and of all their ancestors, the exclude file \
             of a git repository, and the user's own git excludes. ripgrep does this \
             unasked; regexctl does not. These three flags give ripgrep's filters:\n\n    \
             regexctl run --ignore --no-hidden --no-binary PATTERN",
        ),
    Flag::switch("no-hidden", |args, on| args.skip_hidden = on)
        .opposite(Undo {
            long: "hidden",
            short: Some('.'),
            help: Some("Search them as well; the default"),
        })
        .help("Skip files and directories whose name begins with a dot"),
    Flag::count("unrestricted", |args| {
        args.unrestricted += 1;
        match args.unrestricted {
            1 => args.ignore = false,
            2 => args.skip_hidden = false,
            3 => args.binary = crate::flags::args::Binary::default(),
            _ => return Err("is given more than 3 times".to_owned()),
        }
        Ok(())
    })
    .short('u')
    .help("Undo --ignore; -uu also --no-hidden; -uuu also --no-binary")
    .more(
        "-uuu is what regexctl does by default; the flag is for command lines written for \
         ripgrep, and against filters of the configuration file.",
    ),
    Flag::switch("files", |args, _| args.mode.update(Mode::Files))
        .help("Print the paths that would be searched, and search nothing")
        .more("Every argument that is not a flag is then a path."),
    Flag::list("files-from", "LIST", |args, value| {
        if let Some(value) = value {
            args.files_from.push(FilesFrom {
                list: value.into(),
                terminator: b'\n',
            });
        }
        Ok(())
    })
    .hint(ValueHint::FilePath)
    .help("Search the paths in LIST, one a line; - is standard input")
    .more(
        "Beside the PATHs, if there are any. The list names files, which no filter leaves \
         out; a directory in it is passed over. For example, what git knows:\n\n    \
         git ls-files | regexctl run --files-from - TODO",
    ),
    Flag::list("files0-from", "LIST", |args, value| {
        if let Some(value) = value {
            args.files_from.push(FilesFrom {
                list: value.into(),
                terminator: 0,
            });
        }
        Ok(())
    })
    .hint(ValueHint::FilePath)
    .help("As --files-from, but each path ends with NUL")
    .more(
        "For names that hold newlines:\n\n    \
         find . -newer stamp -print0 | regexctl run --files0-from - TODO",
    ),
];

fn file_type(value: &OsStr, exclude: bool) -> Result<FileType, String> {
    Ok(FileType {
        name: value::text(value)?.to_owned(),
        exclude,
    })
}
