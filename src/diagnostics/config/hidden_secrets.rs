//! Secrets that todoctl has generated beside its SQLite file, and that variables hide.

use crate::config::{
    DatabaseTarget, Remedy, SecretName, generated_secret_path, is_placeholder, read_small_file,
};
use crate::diagnostics::context::Context;
use crate::services::last_database::LastDatabase;

/// Those in effect have other values, and the generated ones are not accepted beside them: what is
/// wrong, and what to do.
pub(super) fn hidden(context: &Context) -> Option<(String, Remedy)> {
    let audit = &context.audit;
    let database = &match audit.target()? {
        DatabaseTarget::Sqlite(file) => file.clone(),
        // The service was moved, and has not been served there yet.
        DatabaseTarget::Postgres(_) => {
            let last = LastDatabase::read(context.request.source.file()?)?;
            last.file().filter(|_| last.tasks > 0)?
        }
    };
    let is_known = |value: &str| {
        let mut all = audit.secrets.iter();
        all.any(|(_, known)| known.expose().split(',').any(|one| one.trim() == value))
    };
    let value_of = |name: &str| {
        let mut all = audit.secrets.iter();
        all.find_map(|(one, value)| (*one == name).then(|| value.expose()))
    };
    let hidden = SecretName::ALL.into_iter().filter_map(|name| {
        let set = value_of(name.as_str())?;
        let path = generated_secret_path(database, name.as_str());
        let generated = read_small_file(&path).ok()?;
        let generated = String::from_utf8(generated).ok()?;
        let is_hidden = !is_placeholder(set)
            && name.is_strong(generated.trim())
            && !is_known(generated.trim())
            && value_of(name.previous()).is_none();
        is_hidden.then_some((name, path))
    });
    let hidden: Vec<(SecretName, _)> = hidden.collect();
    let (_, first) = hidden.first()?;
    let directory = first.parent()?.display().to_string();
    let names: Vec<&str> = hidden.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(", ");
    let note = Remedy::note(
        "this accepts the generated values too, for the daemon at its next start, until nobody has them any more:",
    );
    let remedy = hidden.iter().fold(note, |all, (name, path)| {
        let set = Remedy::command(format!("todoctl config set {}=-", name.previous()));
        all.then(Remedy::command("cat").arg(path).pipe(&set))
    });
    let unused = hidden
        .iter()
        .fold(Remedy::command("rm"), |all, (_, path)| all.arg(path));
    Some((
        format!(
            "{names}: set to other values than todoctl has generated in {directory}, which counted before; services, sessions and provider keys of those are refused"
        ),
        remedy.then(Remedy::note(format!(
            "or: if nobody has the generated ones any more: {unused}"
        ))),
    ))
}
