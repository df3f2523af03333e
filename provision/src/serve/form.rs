//! Stage reports as they come: `application/x-www-form-urlencoded`.

use crate::status::{BootId, Report, Stage, Words};

/// The largest report, in bytes.
pub const MAX_REPORT_BYTES: usize = 8 << 10;

/// Why a form is no report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// A field that every report has is missing.
    #[error("the field {0} is missing")]
    Missing(&'static str),
    /// A field's value is none.
    #[error("the field {field}: {problem}")]
    Value {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// Reads a report. Fields that are not known are passed over; of one that occurs twice the last
/// counts. A percentage above 100 is 100, a message is cut: what a node has to say is more important than its form.
pub fn report(form: &[u8]) -> Result<Report, FormError> {
    let (mut boot, mut stage, mut percent, mut words, mut ok) =
        (None, None, 0, Words::default(), true);
    for field in form.split(|&byte| byte == b'&') {
        let (name, value) = match field.iter().position(|&byte| byte == b'=') {
            Some(at) => (&field[..at], &field[at + 1..]),
            None => (field, &[][..]),
        };
        let value = decoded(value);
        let bad = |field, problem: String| FormError::Value { field, problem };
        match name {
            b"boot" if value.is_empty() => boot = None,
            b"boot" => {
                let id: BootId = value.parse().map_err(|e| bad("boot", format!("{e}")))?;
                boot = Some(id);
            }
            b"stage" => {
                let known: Stage = value.parse().map_err(|e| bad("stage", format!("{e}")))?;
                stage = Some(known);
            }
            b"percent" if value.is_empty() => {}
            b"percent" => {
                let number: u32 = value
                    .parse()
                    .map_err(|_| bad("percent", "not a number".into()))?;
                percent = u8::try_from(number.min(100)).unwrap_or(100);
            }
            b"message" => words = Words::new(&value),
            b"ok" => {
                ok = match value.as_str() {
                    "1" => true,
                    "0" => false,
                    _ => return Err(bad("ok", "neither 0 nor 1".into())),
                }
            }
            _ => {}
        }
    }
    let stage = stage.ok_or(FormError::Missing("stage"))?;
    Ok(Report {
        boot,
        stage,
        percent,
        words,
        ok,
    })
}

/// Undoes `+` and `%XX`. What is no escape stays as it is; what is no UTF-8 is replaced.
fn decoded(value: &[u8]) -> String {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => match tail {
                [high, low, after @ ..] => match (digit(high), digit(low)) {
                    (Some(high), Some(low)) => {
                        // Two digits of 4 bits fit into a byte.
                        bytes.push(u8::try_from(high << 4 | low).unwrap_or(b'?'));
                        rest = after;
                    }
                    _ => bytes.push(b'%'),
                },
                _ => bytes.push(b'%'),
            },
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_the_initramfs_is_read() {
        let report = report(b"boot=2f1c-7&stage=image&ok=0&percent=42&message=no+answer+from+10.0.0.1:%26%2B%25+%c3%bc")
            .expect("it is right");
        assert_eq!(
            report,
            Report {
                boot: "2f1c-7".parse().ok(),
                stage: Stage::Image,
                percent: 42,
                words: Words::new("no answer from 10.0.0.1:&+% ü"),
                ok: false,
            }
        );
    }

    #[test]
    fn little_is_enough_and_much_is_cut() {
        let little = report(b"stage=kernel").expect("it is right");
        assert!(little.ok && little.words.is_empty() && little.boot.is_none());
        let message = "x".repeat(5000);
        let form = format!("boot=&percent=&stage=image&percent=900&more=1&message={message}%2");
        let much = report(form.as_bytes()).expect("it is right");
        assert_eq!((much.percent, much.words.as_str().len()), (100, 400));
    }

    #[test]
    fn what_is_no_report_is_told() {
        for (form, error) in [
            (&b""[..], "the field stage is missing"),
            (b"stage=", "the field stage: no such stage"),
            (b"stage=up", "the field stage: no such stage"),
            (b"stage=image&percent=-1", "the field percent: not a number"),
            (b"stage=image&ok=yes", "the field ok: neither 0 nor 1"),
            (b"stage=image&boot=../x", "the field boot: no id of a boot"),
        ] {
            let found = report(form).expect_err("it is wrong").to_string();
            assert!(found.starts_with(error), "{found}");
        }
    }
}
