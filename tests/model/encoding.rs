//! Queries, bodies and errors, as they are sent.

use form_urlencoded::Serializer;
use serde_json::{Value, json};

use super::requests::{Body, Field, Filter};

/// What is determined of an error's body.
pub fn error(body: &Value) -> Value {
    if body["detail"].is_string() && body.as_object().is_some_and(|body| body.len() == 1) {
        return "plain".into();
    }
    let Some(errors) = body["errors"].as_array() else {
        return body.clone();
    };
    let errors: Vec<_> = errors
        .iter()
        .map(|one| json!([one["field"], one["code"]]))
        .collect();
    json!({ "type": body["type"], "errors": errors })
}

impl Filter {
    pub fn query(&self) -> Serializer<'static, String> {
        let mut query = Serializer::new(String::new());
        let day = |days: u32| format!("2031-05-{:02}", days + 1);
        for (name, value) in [
            ("search", self.search.clone()),
            ("priority", self.priority.map(|one| one.as_str().to_owned())),
            ("completed", self.completed.map(|(text, _)| text.to_owned())),
            ("due_before", self.due_before.map(day)),
            ("due_after", self.due_after.map(day)),
        ] {
            if let Some(value) = value {
                query.append_pair(name, &value);
            }
        }
        query
    }
}

impl Body {
    pub fn json(&self) -> Value {
        fn value<T>(field: &Field<T>, json: impl Fn(&T) -> Value) -> Option<Value> {
            match field {
                Field::Absent => None,
                Field::Null => Some(Value::Null),
                Field::Is(value) => Some(json(value)),
                Field::Wrong(value, _) => Some(value.clone()),
            }
        }
        let text = |text: &String| Value::from(text.as_str());
        let fields = [
            ("title", value(&self.title, text)),
            ("description", value(&self.description, text)),
            ("priority", value(&self.priority, |one| one.as_str().into())),
            (
                "due_date",
                value(&self.due_date, |due| due.text.as_str().into()),
            ),
            ("completed", value(&self.completed, |one| (*one).into())),
        ];
        let present = fields
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Value::Object(present.collect())
    }
}
