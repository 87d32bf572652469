//! Errors in words for people.

use std::error::Error;

/// The texts of `error` and of its causes, each of which says something new.
pub(crate) fn causes(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let driver = error.downcast_ref::<sqlx::Error>();
        let text = driver.map_or_else(|| error.to_string(), plain);
        // Many errors repeat their source in their own text.
        if !texts.iter().any(|said| said.contains(&text)) {
            texts.push(text);
        }
        // The server's error would be repeated.
        let is_last = matches!(driver, Some(sqlx::Error::Database(_)));
        next = error.source().filter(|_| !is_last);
    }
    texts
}

/// The database's own message. sqlx adds the line of PostgreSQL's C source that reported it.
pub(super) fn plain(error: &sqlx::Error) -> String {
    match error.as_database_error() {
        Some(fault) => fault.message().to_owned(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_not_repeated() {
        let error = anyhow::Error::new(sqlx::Error::RowNotFound).context("cannot count");
        let [first, second] = &causes(error.as_ref())[..] else {
            panic!("{:?}", causes(error.as_ref()));
        };
        assert_eq!(first, "cannot count");
        assert!(second.starts_with("no rows returned"), "{second}");
    }
}
