//! Settings: environment variables read once, through a function argument, with every mistake reported together.
//!
//! A function declares each of its variables as one [`Setting`] constant. The constant is what the parser reads
//! by, what a mistake is named by and what the table in the README is compared with, so a name exists once.
//!
//! ```
//! use function::settings::{Reader, Setting};
//!
//! const RETRIES: Setting =
//!     Setting { name: "RETRIES", default: Some("3"), expected: "a number from 0 to 9", meaning: "attempts after the first" };
//!
//! let mut reader = Reader::new(|name| (name == "RETRIES").then(|| "many".to_owned()));
//! let retries = reader.required(&RETRIES, str::parse::<u8>);
//! let mistakes = reader.finish(retries).unwrap_err();
//! assert_eq!(
//!     mistakes.to_string(),
//!     "RETRIES: expected a number from 0 to 9, given \"many\": invalid digit found in string"
//! );
//! ```

use std::fmt;

/// One environment variable that a function reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The variable's name.
    pub name: &'static str,
    /// The text that stands in for an unset or empty variable; `None`: there is no such text.
    pub default: Option<&'static str>,
    /// What a value looks like, to follow the word "expected" in a mistake.
    pub expected: &'static str,
    /// What the setting does, for the README.
    pub meaning: &'static str,
}

impl Setting {
    /// The setting's row in a Markdown table of name, default, values and meaning.
    pub fn row(&self) -> String {
        let default = self.default.map_or_else(String::new, |text| format!("`{text}`"));
        format!("| `{}` | {default} | {} | {} |", self.name, self.expected, self.meaning)
    }
}

/// Reads settings and collects what is wrong with them.
///
/// `F` gives the value of a variable, or `None` when it is unset. An empty value counts as unset, because a
/// deployment template can leave a variable empty but hardly leave it out.
#[derive(Debug)]
pub struct Reader<F> {
    var: F,
    mistakes: Vec<Mistake>,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    /// A reader over the given variables, with no mistake found yet.
    pub fn new(var: F) -> Self {
        Self { var, mistakes: Vec::new() }
    }

    /// The value of a setting that may be absent: `None` when it is unset and has no default, or is mistaken.
    pub fn optional<T, E: fmt::Display>(
        &mut self,
        setting: &Setting,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let given = (self.var)(setting.name).filter(|value| !value.is_empty());
        let text = given.as_deref().or(setting.default)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(why) => {
                let why = why.to_string();
                self.mistake(Mistake::new(setting, Some(text), why));
                None
            }
        }
    }

    /// The value of a setting that must be there: `None` only after noting a mistake.
    pub fn required<T, E: fmt::Display>(
        &mut self,
        setting: &Setting,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let before = self.mistakes.len();
        let value = self.optional(setting, parse);
        if value.is_none() && self.mistakes.len() == before {
            self.mistake(Mistake::new(setting, None, String::new()));
        }
        value
    }

    /// Notes a mistake that no single parser can see, such as two settings that exclude each other.
    pub fn mistake(&mut self, mistake: Mistake) {
        self.mistakes.push(mistake);
    }

    /// The settings made of what was read, unless there were mistakes.
    ///
    /// # Errors
    /// Every mistake noted, in the order in which the settings were read.
    pub fn finish<T>(self, settings: Option<T>) -> Result<T, Mistakes> {
        match settings {
            Some(settings) if self.mistakes.is_empty() => Ok(settings),
            _ => Err(Mistakes(self.mistakes)),
        }
    }
}

/// What is wrong with one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    name: &'static str,
    given: Option<String>,
    expected: &'static str,
    why: String,
}

impl Mistake {
    /// A mistake in `setting`, where `given` was found (`None`: nothing); `why` says more, may have several lines
    /// and may be empty.
    pub fn new(setting: &Setting, given: Option<&str>, why: impl Into<String>) -> Self {
        Self {
            name: setting.name,
            given: given.map(str::to_owned),
            expected: setting.expected,
            why: why.into(),
        }
    }
}

/// `NAME: expected …, given "…": why`. A reason of several lines (a caret under an expression) follows on lines
/// of its own, all indented alike so that carets stay where they point.
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, ", self.name, self.expected)?;
        match &self.given {
            Some(given) => write!(f, "given {given:?}")?,
            None => write!(f, "but it is not set")?,
        }
        let why = self.why.trim_end();
        if why.contains('\n') {
            why.lines().try_for_each(|line| write!(f, "\n    {line}"))
        } else if !why.is_empty() {
            write!(f, ": {why}")
        } else {
            Ok(())
        }
    }
}

/// Every mistake found in the settings, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            mistake.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBER: Setting =
        Setting { name: "NUMBER", default: Some("7"), expected: "a small number", meaning: "how many" };
    const WORD: Setting = Setting { name: "WORD", default: None, expected: "`yes`", meaning: "whether" };

    fn word(text: &str) -> Result<(), &'static str> {
        match text {
            "yes" => Ok(()),
            "caret" => Err("this is no word\n  caret\n    ^"),
            _ => Err(""),
        }
    }

    fn read(vars: &[(&str, &str)]) -> Result<(u8, Option<()>), String> {
        let mut reader =
            Reader::new(|name| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()));
        let number = reader.required(&NUMBER, str::parse);
        let word = reader.optional(&WORD, word);
        reader.finish(number.map(|number| (number, word))).map_err(|mistakes| mistakes.to_string())
    }

    #[track_caller]
    fn check(vars: &[(&str, &str)], want: Result<(u8, Option<()>), &str>) {
        assert_eq!(read(vars), want.map_err(str::to_owned));
    }

    #[test]
    fn a_value_is_read_and_an_unset_or_empty_one_is_its_default() {
        check(&[("NUMBER", "3"), ("WORD", "yes")], Ok((3, Some(()))));
        check(&[], Ok((7, None)));
        check(&[("NUMBER", ""), ("WORD", "")], Ok((7, None)));
    }

    #[test]
    fn mistakes_are_named_together_with_what_was_given_and_expected() {
        check(&[("WORD", "no")], Err("WORD: expected `yes`, given \"no\""));
        check(&[("WORD", "a\u{7}b")], Err("WORD: expected `yes`, given \"a\\u{7}b\""));
        check(
            &[("NUMBER", "300"), ("WORD", " yes")],
            Err("NUMBER: expected a small number, given \"300\": number too large to fit in target type\n\
                 WORD: expected `yes`, given \" yes\""),
        );
    }

    #[test]
    fn a_reason_of_several_lines_keeps_its_caret_in_place() {
        check(
            &[("WORD", "caret")],
            Err("WORD: expected `yes`, given \"caret\"\n    this is no word\n      caret\n        ^"),
        );
    }

    #[test]
    fn a_required_setting_that_is_not_set_is_a_mistake_and_noted_once() {
        let mut reader = Reader::new(|_| None);
        let value = reader.required(&WORD, word);
        let mistakes = reader.finish(value).unwrap_err();
        assert_eq!(mistakes.to_string(), "WORD: expected `yes`, but it is not set");
    }

    #[test]
    fn a_noted_mistake_fails_settings_that_could_all_be_read() {
        let mut reader = Reader::new(|_| None);
        reader.mistake(Mistake::new(&WORD, Some("yes"), "not together with NUMBER"));
        let mistakes = reader.finish(Some(())).unwrap_err();
        assert_eq!(mistakes.to_string(), "WORD: expected `yes`, given \"yes\": not together with NUMBER");
    }

    #[test]
    fn a_row_shows_the_default_as_code_and_nothing_where_there_is_none() {
        assert_eq!(NUMBER.row(), "| `NUMBER` | `7` | a small number | how many |");
        assert_eq!(WORD.row(), "| `WORD` |  | `yes` | whether |");
    }
}
