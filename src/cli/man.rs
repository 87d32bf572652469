//! `todoctl man`: manual pages, generated from the definition of the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory;

use super::{Cli, output};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Write the pages of todoctl and of every subcommand to this directory.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let command = Cli::command();
    if let Some(directory) = &options.dir {
        let failed = || format!("cannot write the manual pages to {}", directory.display());
        std::fs::create_dir_all(directory).with_context(failed)?;
        clap_mangen::generate_to(command, directory).with_context(failed)?;
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
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let directory = tempfile::tempdir().unwrap();
        let pages = directory.path().join("man1");
        let options = Options {
            dir: Some(pages.clone()),
        };
        run(&options).unwrap();
        let named = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap();
        assert!(named("todoctl.1").contains("todoctl"));
        for command in Cli::command().get_subcommands() {
            let page = named(&format!("todoctl-{}.1", command.get_name()));
            assert!(page.starts_with(".ie") || page.contains(".TH"), "{page}");
        }
    }
}
