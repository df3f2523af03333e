//! A job's description, compiled: what every shard of the job shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use regexctl_proto::domain::{BadMessage, check_any_path};
use regexctl_proto::limits::MAX_ROOTS;
use regexctl_proto::v1;
use regexctl_scan::{
    Binary, CaseMode, Encoding, Limits, Pattern, PatternError, PatternSpec, Scanner, SearchSpec,
    SpecError, Want, splittable,
};
use regexctl_source::{Filter, FilterError, FilterSpec, GlobSpec, TypeSpec};

/// Why a job's description cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The pattern.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// How to search.
    #[error(transparent)]
    Search(#[from] SpecError),
    /// Which files.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The message itself.
    #[error(transparent)]
    Message(#[from] BadMessage),
}

/// A compiled job. Shared by all threads; a thread makes its own [`Scanner`] from it.
pub struct Plan {
    /// What to look for and how; `None` when files are only listed.
    search: Option<(Pattern, SearchSpec)>,
    /// Which files.
    pub filter: Filter,
    /// Absolute paths; tasks name them by index.
    pub roots: Vec<Vec<u8>>,
    /// What a file's result is.
    pub want: v1::Want,
    /// A large file may be searched in independent parts.
    pub splittable: bool,
    /// Whether the time of each file with a result is measured.
    pub timing: bool,
    cancel: Arc<AtomicBool>,
}

impl Plan {
    /// Compiles the description.
    pub fn compile(spec: &v1::JobSpec) -> Result<Self, PlanError> {
        let empty = v1::PatternSpec::default();
        let pattern_spec = pattern_spec(spec.pattern.as_ref().unwrap_or(&empty))?;
        let search = spec
            .search
            .as_ref()
            .ok_or_else(|| BadMessage::missing("JobSpec.search"))?;
        let want = v1::Want::try_from(search.want)
            .map_err(|_| BadMessage::new("SearchSpec.want", search.want.to_string()))?;
        let filter = spec.filter.clone().unwrap_or_default();
        if spec.roots.len() > MAX_ROOTS {
            return Err(BadMessage::new("JobSpec.roots", format!("more than {MAX_ROOTS}")).into());
        }
        let mut roots = Vec::with_capacity(spec.roots.len());
        for root in &spec.roots {
            check_any_path("Root.path", &root.path)?;
            if root.path.first() != Some(&b'/') {
                let path = root.path.escape_ascii();
                return Err(BadMessage::new("Root.path", format!("{path} is not absolute")).into());
            }
            roots.push(root.path.clone());
        }
        let cancel = Arc::new(AtomicBool::new(false));
        let mut can_split = false;
        let search_pair = match scan_want(want) {
            None => None,
            Some(scan_want) => {
                let search_spec = search_spec(search, scan_want)?;
                let pattern = Pattern::compile(&pattern_spec)?;
                // A scanner is made here once so that a bad encoding is found now.
                Scanner::new(&pattern, &search_spec, Arc::clone(&cancel))?;
                can_split = splittable(&pattern_spec, &search_spec);
                Some((pattern, search_spec))
            }
        };
        Ok(Self {
            search: search_pair,
            filter: Filter::new(&filter_spec(filter))?,
            roots,
            want,
            splittable: can_split,
            timing: search.timing,
            cancel,
        })
    }

    /// A scanner for one thread; `None` when files are only listed.
    pub fn scanner(&self) -> Option<Scanner> {
        let (pattern, spec) = self.search.as_ref()?;
        let scanner = Scanner::new(pattern, spec, Arc::clone(&self.cancel));
        Some(scanner.expect("the same arguments were accepted by `compile`"))
    }

    /// The scans of this job end within 100 ms, as cancelled.
    pub fn cancel(&self) {
        self.cancel.store(true, Ordering::Relaxed);
    }

    /// Whether the job was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// The longest line that is searched, in bytes.
    pub fn max_line_bytes(&self) -> usize {
        (self.search.as_ref()).map_or(usize::MAX, |(_, spec)| spec.max_line_bytes)
    }

    /// Whether lines are numbered.
    pub fn line_numbers(&self) -> bool {
        (self.search.as_ref()).is_some_and(|(_, spec)| spec.line_numbers)
    }

    /// Whether a match, and with it a record, may hold several lines.
    pub fn spans_lines(&self) -> bool {
        (self.search.as_ref()).is_some_and(|(pattern, _)| pattern.spans_lines())
    }

    /// Whether NUL is a byte like any other.
    pub fn text_mode(&self) -> bool {
        (self.search.as_ref()).is_some_and(|(_, spec)| matches!(spec.binary, Binary::Text))
    }
}

fn limit(value: u64, default: usize) -> usize {
    match value {
        0 => default,
        n => usize::try_from(n).unwrap_or(usize::MAX),
    }
}

/// The pattern of the message, as `scan` takes it.
pub fn pattern_spec(spec: &v1::PatternSpec) -> Result<PatternSpec, BadMessage> {
    let case = match v1::CaseMode::try_from(spec.case) {
        Ok(v1::CaseMode::Sensitive) => CaseMode::Sensitive,
        Ok(v1::CaseMode::Insensitive) => CaseMode::Insensitive,
        Ok(v1::CaseMode::Smart) => CaseMode::Smart,
        Err(_) => return Err(BadMessage::new("PatternSpec.case", spec.case.to_string())),
    };
    let default = Limits::default();
    Ok(PatternSpec {
        patterns: spec.patterns.clone(),
        fixed_strings: spec.fixed_strings,
        word: spec.word,
        whole_line: spec.whole_line,
        case,
        multi_line: spec.multi_line,
        dot_matches_new_line: spec.dot_matches_new_line,
        crlf: spec.crlf,
        null_data: spec.null_data,
        no_unicode: spec.no_unicode,
        limits: Limits {
            pattern_bytes: limit(spec.max_pattern_bytes, default.pattern_bytes),
            compiled_bytes: limit(spec.max_compiled_bytes, default.compiled_bytes),
            dfa_bytes: limit(spec.max_dfa_bytes, default.dfa_bytes),
        },
    })
}

fn scan_want(want: v1::Want) -> Option<Want> {
    Some(match want {
        v1::Want::Lines => Want::Lines,
        v1::Want::CountLines => Want::CountLines,
        v1::Want::CountMatches => Want::CountMatches,
        v1::Want::FilesWithMatch => Want::FilesWithMatch,
        v1::Want::FilesWithoutMatch => Want::FilesWithoutMatch,
        v1::Want::Files => return None,
    })
}

fn search_spec(spec: &v1::SearchSpec, want: Want) -> Result<SearchSpec, BadMessage> {
    let binary = match v1::BinaryMode::try_from(spec.binary) {
        Ok(v1::BinaryMode::Search) => Binary::Search,
        Ok(v1::BinaryMode::Skip) => Binary::Skip,
        Ok(v1::BinaryMode::Text) => Binary::Text,
        Ok(v1::BinaryMode::Report) => Binary::Report,
        Err(_) => {
            return Err(BadMessage::new(
                "SearchSpec.binary",
                spec.binary.to_string(),
            ));
        }
    };
    let encoding = match spec.encoding.as_str() {
        "" | "auto" => Encoding::Auto,
        "none" => Encoding::Raw,
        label => Encoding::Label(label.to_owned()),
    };
    let default = SearchSpec::default();
    Ok(SearchSpec {
        want,
        submatches: spec.submatches,
        line_numbers: spec.line_numbers,
        offsets: spec.offsets,
        invert: spec.invert,
        before_context: spec.before_context as usize,
        after_context: spec.after_context as usize,
        max_count: spec.max_count,
        binary,
        encoding,
        replacement: spec.replacement.clone(),
        max_line_bytes: limit(spec.max_line_bytes, default.max_line_bytes),
    })
}

fn filter_spec(spec: v1::FilterSpec) -> FilterSpec {
    FilterSpec {
        globs: spec
            .globs
            .into_iter()
            .map(|glob| GlobSpec {
                pattern: glob.pattern,
                case_insensitive: glob.case_insensitive,
            })
            .collect(),
        types: spec
            .types
            .into_iter()
            .map(|of| TypeSpec {
                name: of.name,
                exclude: of.exclude,
            })
            .collect(),
        max_depth: spec.max_depth,
        max_filesize: spec.max_filesize,
        follow: spec.follow,
        skip_hidden: spec.skip_hidden,
        ignore: spec.ignore,
        global_ignore: spec.global_ignore,
        base: spec.base,
    }
}
