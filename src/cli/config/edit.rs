//! `todoctl config set`, `unset` and `respell`: changing the `.env` file.

use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;

use crate::cli::context::Context;
use crate::cli::env_file::{EnvFile, failed};
use crate::cli::hint::Hint;
use crate::cli::own_file::OwnFile;
use crate::cli::{input, output};
use crate::config::{
    Audit, Remedy, SecretName, Source, Variable, is_no_path, misspelt, nearest, read_small_file,
    readable, respelt, with_part,
};

#[derive(Debug, clap::Args)]
pub(crate) struct SetOptions {
    /// A variable and its value; `-` as the value reads standard input.
    // Parsed later, because clap repeats what it cannot parse, and that may be a secret.
    #[arg(required = true, value_name = "NAME=VALUE")]
    pub(crate) assignments: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct UnsetOptions {
    /// The variable.
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RespellOptions {
    /// The variable, as the file spells it.
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

pub(super) fn set(options: &SetOptions, context: &Context) -> anyhow::Result<ExitCode> {
    let mut edit = Edit::begin(context)?;
    for assignment in &options.assignments {
        let Some((name, value)) = assignment.split_once('=') else {
            bail!("one of the arguments is not NAME=VALUE");
        };
        let value = match value {
            "-" => input::secret(&format!("{name} (not shown):"))?,
            value => value.to_owned(),
        };
        edit.set(name, Some(&value))?;
    }
    edit.finish(true)
}

pub(super) fn unset(options: &UnsetOptions, context: &Context) -> anyhow::Result<ExitCode> {
    let mut edit = Edit::begin(context)?;
    for name in &options.names {
        if name.contains('.') {
            edit.set(name, None)?;
        } else {
            edit.unset(name)?;
        }
    }
    edit.finish(false)
}

pub(super) fn respell(options: &RespellOptions, context: &Context) -> anyhow::Result<ExitCode> {
    respell_names(&options.names, context)
}

/// Spells these variables as todoctl needs it, or none of them; without a name the lines of the file.
pub(crate) fn respell_names(names: &[String], context: &Context) -> anyhow::Result<ExitCode> {
    let mut edit = Edit::begin(context)?;
    if names.is_empty() {
        edit.mend();
    }
    for name in names {
        edit.respell(name)?;
    }
    edit.finish(true)
}

/// Changes that are written together.
struct Edit<'a> {
    context: &'a Context,
    file: EnvFile,
    /// Files that `NAME_FILE` names, and what they will contain.
    secret_files: Vec<(OwnFile, String)>,
    /// The variables that changed, and the values in `secret_files`.
    changed: Vec<String>,
    in_files: Vec<(String, String)>,
    said: Vec<String>,
}

impl<'a> Edit<'a> {
    fn begin(context: &'a Context) -> anyhow::Result<Self> {
        Ok(Self {
            context,
            file: EnvFile::open(context.env_file())?,
            secret_files: Vec::new(),
            changed: Vec::new(),
            in_files: Vec::new(),
            said: Vec::new(),
        })
    }

    /// Sets a variable, or a part of the URL in it; `None` removes the part.
    fn set(&mut self, target: &str, value: Option<&str>) -> anyhow::Result<()> {
        let (name, part) = match target.split_once('.') {
            Some((name, part)) => (name, Some(part)),
            None => (target, None),
        };
        let variable = known(name)?;
        self.refuse_environment(name)?;
        let value = match part {
            None => value.unwrap_or_default().to_owned(),
            Some(part) => {
                let url = self.current(variable, name)?;
                with_part(&url, part, value).ok_or_else(|| {
                    Hint::new(
                        format!("{name} is not set to the URL of a server, so it has no {part}"),
                        Remedy::command("todoctl config show"),
                    )
                })?
            }
        };
        self.write(variable, name, &value)
    }

    fn unset(&mut self, name: &str) -> anyhow::Result<()> {
        self.refuse_environment(name)?;
        let place = self.place().to_string();
        let said = if self.file.value(name).is_none() {
            format!("{name}: not set in {place}")
        } else if self.file.retire(name) {
            format!("{name}: removed; {place} {IN_COMMENT}")
        } else {
            format!("{name}: removed from {place}")
        };
        self.said.push(said);
        Ok(())
    }

    fn mend(&mut self) {
        let mended = self.file.mend();
        if mended.is_empty() {
            self.said.push(format!("{}: already right", self.place()));
        }
        let corrected = mended.into_iter().map(|one| format!("corrected: {one}"));
        self.said.extend(corrected);
    }

    /// Renames a misspelt variable, or respells the value of a known one.
    fn respell(&mut self, name: &str) -> anyhow::Result<()> {
        self.refuse_environment(name)?;
        let source = self.context.source();
        if let Some((_, meant)) = misspelt(source).find(|(found, _)| *found == name) {
            let value = source.get(name).unwrap_or_default();
            if source.get(meant).is_some_and(|other| other != value) {
                return Err(Hint::new(
                    format!("{name} and {meant} are both set, to different values"),
                    Remedy::unset(name.to_owned()),
                )
                .into());
            }
            self.file.remove(name);
            self.file.set(meant, value);
            self.changed.push(meant.to_owned());
            self.said
                .push(format!("{name}: renamed to {meant} in {}", self.place()));
            return Ok(());
        }
        if let Some(meant) = nearest(name)
            && Variable::of(name).is_none()
            && self.file.value(name).is_none()
            && self.file.value(meant).is_some()
        {
            self.said
                .push(format!("{name}: already renamed to {meant}"));
            return Ok(());
        }
        let variable = known(name)?;
        if name == variable.file_name() {
            self.move_value(variable, name);
            return Ok(());
        }
        let secret = SecretName::ALL.into_iter().find(|one| one.as_str() == name);
        if let Some(number) = secret.and_then(|secret| self.file.uncomment(secret)) {
            let place = self.place().to_string();
            self.changed.push(name.to_owned());
            self.said.push(format!(
                "{name}: taken out of the comment in line {number} of {place}"
            ));
            return Ok(());
        }
        let value = self.current(variable, name)?;
        match respelt(variable.name, &value) {
            Some(new) => self.write(variable, name, &new),
            None if self.problem(&[name.to_owned()])?.is_none() => {
                self.said.push(format!("{name}: already right"));
                Ok(())
            }
            None => Err(Hint::new(
                format!("{name} has no other spelling that todoctl understands"),
                Remedy::command("todoctl config check"),
            )
            .into()),
        }
    }

    /// Gives the variable a value that was written where the path of its file belongs.
    fn move_value(&mut self, variable: &Variable, name: &str) {
        let Some(value) = self.file.value(name).map(str::to_owned) else {
            self.said.push(format!("{name}: not set"));
            return;
        };
        if Path::new(&value).exists() {
            self.said.push(format!("{name}: already right"));
            return;
        }
        self.file.remove(name);
        self.file.set(variable.name, &value);
        self.changed.push(variable.name.to_owned());
        let (meant, place) = (variable.name, self.place().to_string());
        self.said
            .push(format!("{name}: renamed to {meant} in {place}"));
    }

    fn write(&mut self, variable: &Variable, name: &str, value: &str) -> anyhow::Result<()> {
        if value.contains(char::is_control) {
            return Err(Hint::new(
                format!("the new value of {name} has several lines, or a control character"),
                Remedy::note(format!("{name} needs one line of text")),
            )
            .into());
        }
        let file_name = variable.file_name();
        self.changed.push(name.to_owned());
        let (is_commented, place) = if let Some(path) = self.secret_file(variable, name) {
            let is_commented = match read_secret(path) {
                Ok(old) => self.file.keep(name, &old, value),
                Err(error) if error.kind() == ErrorKind::NotFound => false,
                Err(error) => return Err(unread(path, &file_name, error).into()),
            };
            let own = OwnFile::of_service(Path::new(path))
                .map_err(|error| failed(Path::new(path), error, "written"))?;
            self.secret_files.push((own, format!("{value}\n")));
            self.in_files.push((name.to_owned(), value.to_owned()));
            (is_commented, format!("{path}, which {file_name} names"))
        } else {
            let is_commented = self.file.rotate(name, value);
            (is_commented, self.place().to_string())
        };
        let mut said = format!("{name}: written to {place}");
        if is_commented {
            said += &format!("; {} {IN_COMMENT}", self.place());
        }
        self.said.push(said);
        Ok(())
    }

    /// The file that `NAME_FILE` names, if the value of `name` comes from there.
    fn secret_file(&self, variable: &Variable, name: &str) -> Option<&'a str> {
        let source = self.context.source();
        let is_direct = source.get(variable.name).is_some();
        let path = source.get(&variable.file_name())?;
        (variable.kind.has_file() && !is_direct && name == variable.name).then_some(path)
    }

    fn current(&self, variable: &Variable, name: &str) -> anyhow::Result<String> {
        if let Some((_, value)) = self.in_files.iter().rfind(|(one, _)| one == name) {
            return Ok(value.clone());
        }
        if let Some(path) = self.secret_file(variable, name) {
            return read_secret(path)
                .map_err(|error| unread(path, &variable.file_name(), error).into());
        }
        let value = self.file.written_value(name)?.map(str::trim);
        let value = value.filter(|value| !value.is_empty());
        value.map(str::to_owned).ok_or_else(|| {
            Hint::new(
                format!("{name} is not set"),
                Remedy::note(format!(
                    "set it as a whole; this reads it without showing it: todoctl config set {name}=-"
                )),
            )
            .into()
        })
    }

    /// The environment has precedence, so a change of the file would have no effect.
    fn refuse_environment(&self, name: &str) -> anyhow::Result<()> {
        let source = self.context.source();
        if !source.is_in_environment(name) {
            return Ok(());
        }
        Err(Hint::new(
            format!(
                "{name} is set in this process's environment, which has precedence over {}",
                self.place()
            ),
            Remedy::note(format!("change it there, or first: unset {name}")),
        )
        .into())
    }

    /// Writes everything, unless `is_checked` and todoctl would refuse one of the values.
    fn finish(self, is_checked: bool) -> anyhow::Result<ExitCode> {
        if is_checked {
            self.check()?;
        }
        for (file, text) in &self.secret_files {
            let written = file.write(text.as_bytes(), 0o600);
            written.map_err(|error| failed(file.path(), error, "written"))?;
        }
        self.file.save()?;
        for line in &self.said {
            output::note(line);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn check(&self) -> anyhow::Result<()> {
        match self.problem(&self.changed)? {
            None => Ok(()),
            Some(hint) => Err(hint.into()),
        }
    }

    /// What todoctl would refuse of these variables, as they are in the changed file.
    fn problem(&self, names: &[String]) -> anyhow::Result<Option<Hint>> {
        let mut source = Source::with_file_text(self.context.env_file(), self.file.text())?;
        for (name, value) in &self.in_files {
            source.replace(name, value);
        }
        let audit = Audit::of(&source);
        let refused = |name: &String| audit.problems.iter().find(|one| one.variable == *name);
        let problem = names.iter().find_map(refused);
        Ok(problem.map(|problem| Hint::new(problem.to_string(), problem.remedy.at(&source))))
    }

    fn place(&self) -> std::path::Display<'_> {
        self.context.env_file().display()
    }
}

/// What follows the name of the file that has a comment now.
const IN_COMMENT: &str = "keeps the old value in a comment";

/// The secret in a file, as its reader gets it.
fn read_secret(path: &str) -> std::io::Result<String> {
    let bytes = read_small_file(Path::new(path))?;
    let text = String::from_utf8(bytes).map_err(|_| ErrorKind::InvalidData)?;
    Ok(text.trim_start_matches('\u{feff}').trim().to_owned())
}

fn unread(path: &str, file_name: &str, error: std::io::Error) -> Hint {
    if is_no_path(path) {
        return Hint::new(
            format!("{file_name} is no path of a file"),
            Remedy::command("todoctl config check"),
        );
    }
    Hint::of(
        error,
        format!("{file_name} names {path}, which cannot be read"),
        readable(Path::new(path)),
    )
}

/// The variable of that name.
fn known(name: &str) -> Result<&'static Variable, Hint> {
    Variable::of(name).ok_or_else(|| {
        let what = format!("{name} is not a variable of todoctl");
        match nearest(name) {
            Some(meant) => Hint::new(what, Remedy::note(format!("did you mean {meant}?"))),
            None => Hint::new(what, Remedy::command("todoctl config show")),
        }
    })
}
