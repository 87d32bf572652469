//! Log lines as JSON, in the form of tracing-subscriber's own JSON format, of which this is a
//! faster variant: that one writes each token by itself through several layers, and parses the
//! fields of a span again for every line. A busy daemon writes a line per request.

use std::error::Error;
use std::fmt::{self, Debug};

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::Clock;
use crate::domain::write_json_text;

/// Longer lines are rare.
const LINE_BYTES: usize = 512;

/// Formats an event as one JSON object: timestamp, level, the event's fields, target, and the
/// fields of the spans around it.
pub(super) struct JsonLines(pub Clock);

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // Records of the log crate have their metadata among their fields.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let mut line = Members(Vec::with_capacity(LINE_BYTES));
        line.0.push(b'{');
        line.name("timestamp");
        self.0.now().write_json(&mut line.0);
        line.text("level", metadata.level().as_str());
        event.record(&mut line);
        line.text("target", metadata.target());
        if let Some(scope) = context.event_scope() {
            line.name("spans");
            line.0.push(b'[');
            for span in scope.from_root() {
                line.separate();
                line.0.push(b'{');
                if let Some(fields) = span.extensions().get::<FormattedFields<N>>() {
                    line.0.extend_from_slice(fields.as_bytes());
                }
                line.text("name", span.name());
                line.0.push(b'}');
            }
            line.0.push(b']');
        }
        line.0.extend_from_slice(b"}\n");
        line.write_to(&mut writer)
    }
}

/// Formats the fields of a span as members of a JSON object.
pub(super) struct JsonMembers;

impl<'writer> FormatFields<'writer> for JsonMembers {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        let mut members = Members(Vec::new());
        fields.record(&mut members);
        members.write_to(&mut writer)
    }

    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &tracing::span::Record<'_>,
    ) -> fmt::Result {
        let mut members = Members(std::mem::take(&mut current.fields).into_bytes());
        fields.record(&mut members);
        members.write_to(&mut current.as_writer())
    }
}

/// JSON text within an object or a list.
struct Members(Vec<u8>);

impl Members {
    /// A comma, unless this is the first one.
    fn separate(&mut self) {
        if !matches!(self.0.last(), None | Some(b'{' | b'[')) {
            self.0.push(b',');
        }
    }

    fn name(&mut self, name: &str) {
        self.separate();
        write_json_text(name, &mut self.0);
        self.0.push(b':');
    }

    fn member<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        self.name(name);
        self.value(value);
    }

    fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        write_json_text(text, &mut self.0);
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        let length = self.0.len();
        if serde_json::to_writer(&mut self.0, value).is_err() {
            self.0.truncate(length);
            self.0.extend_from_slice(b"null");
        }
    }

    fn write_to(self, writer: &mut Writer<'_>) -> fmt::Result {
        writer.write_str(str::from_utf8(&self.0).map_err(|_| fmt::Error)?)
    }

    fn field<T: Serialize + ?Sized>(&mut self, field: &Field, value: &T) {
        if let Some(name) = shown_name(field) {
            self.member(name, value);
        }
    }
}

/// The name of a field; `None` for the metadata of a record of the log crate.
fn shown_name(field: &Field) -> Option<&'static str> {
    let name = field.name();
    (!name.starts_with("log.")).then(|| name.strip_prefix("r#").unwrap_or(name))
}

impl Visit for Members {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.field(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if let Some(name) = shown_name(field) {
            self.text(name, value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.record_str(field, &value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing_subscriber::fmt::MakeWriter;

    use crate::domain::Timestamp;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    impl Lines {
        fn parsed(&self) -> Vec<Value> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
            lines.collect()
        }
    }

    /// Events of every kind, with and without spans.
    fn log_everything() {
        tracing::info!("alone");
        let request =
            tracing::error_span!("request", request_id = "a\"b", late = tracing::field::Empty);
        let entered = request.enter();
        let odd = "line\nbreak, \u{1b}[31m, \"quotes\", \u{2028}, ü";
        tracing::warn!(
            text = odd,
            number = -7_i64,
            size = u64::MAX,
            share = 0.25,
            no_number = f64::NAN,
            yes = true,
            nothing = None::<&str>,
            shown = %odd,
            debugged = ?Some(odd),
            error = &std::io::Error::other(odd) as &(dyn Error + 'static),
            "in a span"
        );
        request.record("late", 1.5);
        let inner = tracing::error_span!("inner", r#type = "x");
        inner.in_scope(|| tracing::error!("deeper"));
        drop(entered);
        tracing::debug!("not of the level");
    }

    #[test]
    fn the_lines_are_those_of_the_common_format() {
        let (own, common) = (Lines::default(), Lines::default());
        let at = Timestamp::from_micros(1_000_000).unwrap();
        let builder = tracing_subscriber::fmt().with_writer(own.clone());
        let builder = builder.fmt_fields(JsonMembers);
        let subscriber = builder.event_format(JsonLines(Clock::fixed(at))).finish();
        tracing::subscriber::with_default(subscriber, log_everything);
        let builder = tracing_subscriber::fmt().with_writer(common.clone()).json();
        let builder = builder.flatten_event(true).with_current_span(false);
        tracing::subscriber::with_default(builder.finish(), log_everything);
        let (own, mut common) = (own.parsed(), common.parsed());
        for line in &mut common {
            line["timestamp"] = json!("1970-01-01T00:00:01Z");
        }
        assert_eq!(own.len(), 3);
        assert_eq!(own, common);
    }
}
