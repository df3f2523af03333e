//! The declaration of one flag.
//!
//! The functions here are `const`, so that the tables of [`super::table`] are constants
//! and a program that only prints its version builds none of them.

use std::ffi::OsStr;

use super::args::RunArgs;

/// One flag: everything that is said about it anywhere.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// The name after `--`.
    pub long: &'static str,
    /// The letter after `-`.
    pub short: Option<char>,
    /// Another accepted name, not told in the help.
    pub alias: Option<&'static str>,
    /// The flag that takes this one back.
    pub undo: Option<Undo>,
    /// One line, for `-h`.
    pub help: &'static str,
    /// Further paragraphs, for `--help` and the manual page.
    pub more: &'static str,
    /// What the flag takes and does.
    pub form: Form,
}

/// The opposite of a flag.
#[derive(Debug, Clone, Copy)]
pub struct Undo {
    /// The name after `--`.
    pub long: &'static str,
    /// The letter after `-`.
    pub short: Option<char>,
    /// One line, when the opposite is listed beside the flag; without it the flag's long
    /// help names it.
    pub help: Option<&'static str>,
}

/// What a flag's value looks like.
#[derive(Debug, Clone, Copy)]
pub struct ValueForm {
    /// In the help: `<NUM>`.
    pub name: &'static str,
    /// The only values there are, when they can be listed.
    pub choices: &'static [&'static str],
    /// What a shell completes.
    pub hint: clap::ValueHint,
}

/// What a flag takes, and how it is applied.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// Nothing. Applied with true, its opposite with false.
    Switch(fn(&mut RunArgs, bool)),
    /// Nothing, and how often it is given counts; applied once for each.
    Count(fn(&mut RunArgs) -> Result<(), String>),
    /// A value; the last wins. Its opposite applies none.
    Value(ValueForm, ApplyValue),
    /// A value, any number of times. Its opposite applies none.
    List(ValueForm, ApplyValue),
}

/// Applies a value. The error says what is wrong with it and what is right, and is
/// printed behind the flag's name and the value.
pub type ApplyValue = fn(&mut RunArgs, Option<&OsStr>) -> Result<(), String>;

impl Flag {
    const fn new(long: &'static str, form: Form) -> Self {
        Self {
            long,
            short: None,
            alias: None,
            undo: None,
            help: "",
            more: "",
            form,
        }
    }

    /// A flag that takes no value.
    pub(super) const fn switch(long: &'static str, apply: fn(&mut RunArgs, bool)) -> Self {
        Self::new(long, Form::Switch(apply))
    }

    /// A flag that takes no value and counts.
    pub(super) const fn count(
        long: &'static str,
        apply: fn(&mut RunArgs) -> Result<(), String>,
    ) -> Self {
        Self::new(long, Form::Count(apply))
    }

    /// A flag whose last value wins.
    pub(super) const fn value(long: &'static str, name: &'static str, apply: ApplyValue) -> Self {
        Self::new(long, Form::Value(ValueForm::named(name), apply))
    }

    /// A flag whose values add up.
    pub(super) const fn list(long: &'static str, name: &'static str, apply: ApplyValue) -> Self {
        Self::new(long, Form::List(ValueForm::named(name), apply))
    }

    pub(super) const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    pub(super) const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    /// The flag's opposite, told in its long help.
    pub(super) const fn undo(self, long: &'static str) -> Self {
        self.opposite(Undo {
            long,
            short: None,
            help: None,
        })
    }

    /// The flag's opposite, listed beside it.
    pub(super) const fn opposite(mut self, undo: Undo) -> Self {
        self.undo = Some(undo);
        self
    }

    pub(super) const fn help(mut self, help: &'static str) -> Self {
        self.help = help;
        self
    }

    pub(super) const fn more(mut self, more: &'static str) -> Self {
        self.more = more;
        self
    }

    pub(super) const fn choices(mut self, choices: &'static [&'static str]) -> Self {
        if let Form::Value(ref mut form, _) | Form::List(ref mut form, _) = self.form {
            form.choices = choices;
        }
        self
    }

    pub(super) const fn hint(mut self, hint: clap::ValueHint) -> Self {
        if let Form::Value(ref mut form, _) | Form::List(ref mut form, _) = self.form {
            form.hint = hint;
        }
        self
    }

    /// Its value, when it takes one.
    pub fn value_form(&self) -> Option<ValueForm> {
        match self.form {
            Form::Value(form, _) | Form::List(form, _) => Some(form),
            Form::Switch(_) | Form::Count(_) => None,
        }
    }
}

impl ValueForm {
    const fn named(name: &'static str) -> Self {
        Self {
            name,
            choices: &[],
            hint: clap::ValueHint::Other,
        }
    }
}
