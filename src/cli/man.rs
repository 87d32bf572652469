//! `todoctl man`: manual pages, generated from the definition of the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::config::Remedy;

use super::hint::Hint;
use super::output;
use super::own_file::OwnFile;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Write the pages of todoctl and of every subcommand to this directory.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// `command` is the whole command line.
pub(super) fn run(options: &Options, command: clap::Command) -> anyhow::Result<ExitCode> {
    if let Some(directory) = &options.dir {
        let failed = || format!("cannot write the manual pages to {}", directory.display());
        std::fs::create_dir_all(directory).with_context(failed)?;
        // The library follows links and opens devices, so it writes to a directory of our own.
        let pages = tempfile::tempdir().with_context(failed)?;
        clap_mangen::generate_to(command, pages.path()).with_context(failed)?;
        for page in std::fs::read_dir(pages.path()).with_context(failed)? {
            let page = page.with_context(failed)?;
            let bytes = std::fs::read(page.path()).with_context(failed)?;
            let target = directory.join(page.file_name());
            OwnFile::without_link(&target)
                .and_then(|file| file.write(&bytes, 0o644))
                .map_err(|error| {
                    Hint::of(
                        error,
                        format!("cannot write {}", target.display()),
                        Remedy::note("choose a directory of this user with --dir"),
                    )
                })?;
        }
    } else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command)
            .render(&mut page)
            .context("cannot generate the manual page")?;
        let page = String::from_utf8(page).context("the manual page is not UTF-8")?;
        output::data(page.trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn a_link_in_the_directory_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "kept").unwrap();
        for target in [file.as_path(), "/dev/null".as_ref(), "missing".as_ref()] {
            let pages = tempfile::tempdir().unwrap();
            std::os::unix::fs::symlink(target, pages.path().join("todoctl-serve.1")).unwrap();
            let options = Options {
                dir: Some(pages.path().to_owned()),
            };
            let error = run(&options, Cli::command()).unwrap_err();
            assert!(
                format!("{error:#}").contains("todoctl-serve.1"),
                "{error:#}"
            );
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
    }

    #[test]
    fn every_command_has_a_page() {
        let directory = tempfile::tempdir().unwrap();
        let pages = directory.path().join("man1");
        let options = Options {
            dir: Some(pages.clone()),
        };
        run(&options, Cli::command()).unwrap();
        let named = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap();
        assert!(named("todoctl.1").contains("todoctl"));
        for command in Cli::command().get_subcommands() {
            let page = named(&format!("todoctl-{}.1", command.get_name()));
            assert!(page.starts_with(".ie") || page.contains(".TH"), "{page}");
        }
    }
}
