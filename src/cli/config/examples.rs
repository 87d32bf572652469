//! What `--help` says about changes of the `.env` file.

pub(super) const SET: &str = "\
Examples:
  todoctl config set PORT=8001 LOG_LEVEL=debug
  todoctl config set 'EMAIL_FROM=Todo <todo@example.com>'
  todoctl config set JWT_SECRET=-                    read the value, do not show it
  todoctl config set DATABASE_URL.sslmode=verify-full
  todoctl config set DATABASE_URL.password=-         one part of a URL

Parts of a URL are user, password, host, port, database and its parameters.
A value that todoctl would refuse is not written. If NAME_FILE is set, the value
is written into that file. The old value of one of todoctl's own secrets is kept
as NAME_PREVIOUS if it can still be used, otherwise in a comment. A running daemon reads the file when it is restarted.

Exit codes: 0 success, 2 error; then nothing was changed.";

pub(super) const UNSET: &str = "\
Examples:
  todoctl config unset REDIS_URL
  todoctl config unset DATABASE_URL.options          one part of a URL

Exit codes: 0 success, 2 error; then nothing was changed.";

pub(super) const RESPELL: &str = "\
Examples:
  todoctl config respell ENCRYPTION_KEY              standard base64 or hex
  todoctl config respell DATABASE_URL                quotes, an @ in the password
  todoctl config respell DATABSE_URL                 a misspelt name
  todoctl config respell JWT_SECRET                  invisible characters around it
  todoctl config respell                             lines of the file

Values stay the same. Nothing is changed where it is not clear what is meant.
Without a name it divides lines with two variables, writes lines of other kinds
of files as NAME=value, takes invisible characters out of names, and removes
lines without a value, or with the same one, beside another of that name.

Exit codes: 0 success, 2 error; then nothing was changed.";
