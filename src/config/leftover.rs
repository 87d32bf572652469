//! What templates and platforms leave in the place of a value.

use super::remedy::Remedy;

/// What a value is, that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leftover {
    /// A word for "nothing", of a language or a template engine.
    Nothing,
    /// A reference that should have been replaced by a value.
    Reference,
}

const NOTHING: [&str; 8] = [
    "null",
    "undefined",
    "none",
    "nil",
    "<nil>",
    "(null)",
    "<no value>",
    "n/a",
];

/// Begins and ends of references: of shells, compose files, template engines and platforms.
const REFERENCES: [(&str, &str); 10] = [
    ("${", "}"),
    ("{{", "}}"),
    ("$(", ")"),
    ("<%", "%>"),
    ("@Microsoft.KeyVault(", ")"),
    ("op://", ""),
    ("vault:", ""),
    ("arn:aws:secretsmanager:", ""),
    ("secretref:", ""),
    // Of sops.
    ("ENC[", "]"),
];

impl Leftover {
    pub(super) fn of(value: &str) -> Option<Self> {
        let value = value.trim();
        if NOTHING.iter().any(|word| value.eq_ignore_ascii_case(word)) {
            return Some(Self::Nothing);
        }
        let mut references = REFERENCES.iter();
        let is_reference =
            references.any(|(begin, end)| value.starts_with(begin) && value.ends_with(end));
        is_reference.then_some(Self::Reference)
    }

    /// A predicate of the variable.
    pub(super) fn fault(self) -> &'static str {
        match self {
            Self::Nothing => "is a word for nothing, which a template has put there",
            Self::Reference => {
                "is a reference, and not the value that it should have been replaced by"
            }
        }
    }

    /// `name` may be left out, or has a default.
    pub(super) fn remedy(self, name: &'static str) -> Remedy {
        match self {
            Self::Nothing => Remedy::unset(name),
            Self::Reference => Remedy::note(format!(
                "let the platform, the shell or the template put in the value of {name}, or set it: todoctl config set {name}=-"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left() {
        for value in ["null", "None", "undefined", "<no value>", " nil "] {
            assert_eq!(Leftover::of(value), Some(Leftover::Nothing), "{value}");
        }
        for value in [
            "${JWT_SECRET}",
            "${{Postgres.DATABASE_URL}}",
            "{{ .Values.jwtSecret }}",
            "{{secret}}",
            "$(cat /run/secrets/jwt)",
            "$(JWT_SECRET)",
            "op://prod/todo/jwt",
            "arn:aws:secretsmanager:eu-west-1:1:secret:jwt",
            "ENC[AES256_GCM,data:x,type:str]",
        ] {
            assert_eq!(Leftover::of(value), Some(Leftover::Reference), "{value}");
        }
        for value in [
            "",
            "nothing",
            "postgresql://${USER}@h/d",
            "0f1e2d3c",
            "{\"a\":1}",
        ] {
            assert_eq!(Leftover::of(value), None, "{value}");
        }
    }
}
