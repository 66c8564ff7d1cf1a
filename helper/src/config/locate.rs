// SPDX-License-Identifier: GPL-2.0-only OR MIT

//! From a place in a TOML text to line and key, and what was found wrong so far.

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;

use super::error::ConfigError;

/// A text and the file it came from.
pub struct Source<'a> {
    path: &'a Path,
    text: &'a str,
    problems: RefCell<Vec<ConfigError>>,
}

impl<'a> Source<'a> {
    /// The text of a file.
    pub fn new(path: &'a Path, text: &'a str) -> Self {
        Self { path, text, problems: RefCell::default() }
    }

    /// Keeps what is wrong, so that the rest is looked at too.
    pub fn note<T>(&self, result: Result<T, ConfigError>) -> Option<T> {
        result.map_err(|problem| self.complain(problem)).ok()
    }

    /// [`Self::note`], of something that is wrong for sure.
    pub fn complain(&self, problem: ConfigError) {
        self.problems.borrow_mut().push(problem);
    }

    /// Everything that is wrong, from the first line on.
    pub fn problems(self) -> Vec<ConfigError> {
        let mut problems = self.problems.into_inner();
        let place = |problem: &ConfigError| match problem {
            ConfigError::Read { .. } => (0, 0),
            ConfigError::Wrong { line, column, .. } => (*line, *column),
        };
        problems.sort_by_key(place);
        problems
    }

    /// The text.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// What the TOML library did not like.
    pub fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        let message = error.message().trim().lines().collect::<Vec<_>>().join("; ");
        self.wrong(error.span().unwrap_or(0..0), message)
    }

    /// What is wrong at a place.
    pub fn wrong(&self, span: Range<usize>, message: impl Into<String>) -> ConfigError {
        let (line, key) = self.locate(span.start);
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        ConfigError::Wrong { path: self.path.to_owned(), line, column, key, message: message.into() }
    }

    /// What is wrong with the value of a key, such as `peer[2].interface`; of the file, if it does not have the key.
    pub fn wrong_key(&self, wanted: &str, message: impl Into<String>) -> ConfigError {
        let mut at = 0;
        for line in self.text.split_inclusive('\n') {
            let value = line.find('=').map(|equals| at + equals + 1);
            if let Some(value) = value.filter(|value| self.locate(*value).1 == wanted) {
                let blank = self.text.get(value..).map_or(0, |rest| rest.len() - rest.trim_start().len());
                return self.wrong(value + blank..value + blank, message);
            }
            at += line.len();
        }
        let path = self.path.to_owned();
        ConfigError::Wrong { path, line: 1, column: 1, key: wanted.to_owned(), message: message.into() }
    }

    /// The line, from 1, and the dotted key, tables that come more than once numbered from 1.
    fn locate(&self, at: usize) -> (usize, String) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let (mut table, mut headers) = (String::new(), Vec::<&str>::new());
        let mut key = "";
        for text in self.text.lines().take(line) {
            let text = text.trim_start();
            if let Some(header) = text.strip_prefix("[[").and_then(|rest| rest.split("]]").next()) {
                headers.push(header.trim());
                let number = headers.iter().filter(|other| **other == header.trim()).count();
                table = format!("{}[{number}]", header.trim());
                key = "";
            } else if let Some(header) = text.strip_prefix('[').filter(|_| key_of(text).is_none()) {
                table = header.split(']').next().unwrap_or_default().trim().to_owned();
                key = "";
            } else if let Some(found) = key_of(text) {
                key = found;
            }
        }
        let key = match (table.as_str(), key) {
            ("", "") => "file".to_owned(),
            ("", key) => key.to_owned(),
            (table, "") => table.to_owned(),
            (table, key) => format!("{table}.{key}"),
        };
        (line, key)
    }
}

/// The key a line sets; `None` for a comment, the middle of a list, or anything else.
fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.split_once('=')?;
    let key = key.trim();
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '"');
    (!key.is_empty() && key.chars().all(bare)).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_lines() {
        let text = "# x = 1\n[host]\nidle = 3\n\n[[peer]]\nname = \"a\"\n[[peer]]\nremote = [\n  \"::/0\",\n]\n";
        let source = Source::new(Path::new("f"), text);
        for (needle, line, key) in [
            ("idle", 3, "host.idle"),
            ("[[peer]]", 5, "peer[1]"),
            ("\"a\"", 6, "peer[1].name"),
            ("::/0", 9, "peer[2].remote"),
        ] {
            assert_eq!(source.locate(text.find(needle).unwrap()), (line, key.to_owned()), "{needle}");
        }
        assert_eq!(source.locate(0), (1, "file".to_owned()));
        for (key, place) in [("host.idle", "f:3:8: "), ("peer[2].remote", "f:8:10: "), ("host.listen", "f:1:1: ")] {
            assert_eq!(source.wrong_key(key, "x").to_string(), format!("{place}{key}: x"));
        }
    }
}
