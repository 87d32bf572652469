//! The schemas say what the readers do.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use utoipa::PartialSchema;

use crate::api::input::declaration::{Declaration, Field, Location};
use crate::api::input::{
    AssetPath, BulkDelete, CompleteTask, CreateTask, Input, ListTasks, NotificationPath, SaveKey,
    TaskPath, UpdateTask, ValidationErrors,
};
use crate::domain::{Priority, Task, Timestamp};

/// An input, its fields and their schemas.
struct Case<T> {
    declaration: &'static Declaration,
    schemas: Map<String, Value>,
    input: std::marker::PhantomData<T>,
}

impl<T: Input> Case<T> {
    fn new() -> Self {
        let declaration = T::DECLARATION.unwrap();
        let schema = |field: &Field| {
            let schema = serde_json::to_value(field.schema()).unwrap();
            (field.name.to_owned(), resolved(schema))
        };
        Self {
            declaration,
            schemas: declaration.fields.iter().map(schema).collect(),
            input: std::marker::PhantomData,
        }
    }

    /// Values of paths and queries are texts.
    fn text(&self, value: &Value) -> Value {
        match (self.declaration.location, value) {
            (Location::Body | Location::SecretBody, _) | (_, Value::String(_)) => value.clone(),
            (_, other) => Value::from(other.to_string()),
        }
    }

    /// Reads an object with a value of one field, and examples of the others that are required.
    fn accepts(&self, name: &str, value: &Value) -> bool {
        let mut object = self.example(|field| field.is_required);
        object.insert(name.to_owned(), self.text(value));
        Self::reads(object)
    }

    /// An object with an example of each field that is wanted.
    fn example(&self, wanted: impl Fn(&Field) -> bool) -> Map<String, Value> {
        let fields = self.declaration.fields.iter().filter(|field| wanted(field));
        let example = |field: &Field| self.text(&examples(&self.schemas[field.name])[0]);
        fields
            .map(|field| (field.name.to_owned(), example(field)))
            .collect()
    }

    fn reads(object: Map<String, Value>) -> bool {
        T::from_object(&Value::Object(object), &mut ValidationErrors::default()).is_ok()
    }

    fn check(&self) {
        for field in self.declaration.fields {
            let (name, schema) = (field.name, &self.schemas[field.name]);
            assert!(!field.description().is_empty(), "{name}");
            let examples = examples(schema);
            assert!(!examples.is_empty(), "{name} has no example");
            for example in &examples {
                assert!(self.accepts(name, example), "{name}: {example}");
            }
            let (accepted, refused) = limits(schema, &examples[0]);
            for value in accepted {
                assert!(self.accepts(name, &value), "{name}: {value}");
            }
            for value in refused {
                assert!(!self.accepts(name, &value), "{name}: {value}");
            }
            if matches!(
                self.declaration.location,
                Location::Body | Location::SecretBody
            ) {
                self.check_types(name, schema);
            }
            if let Some(default) = schema.get("default") {
                assert!(self.accepts(name, default), "{name}: {default}");
            }
            let others = self.example(|other| other.name != name);
            assert_eq!(Self::reads(others), !field.is_required, "{name} absent");
        }
    }

    /// A value of another JSON type is refused, and null unless the schema allows it.
    fn check_types(&self, name: &str, schema: &Value) {
        let types = types(schema);
        for value in [
            json!(null),
            json!(true),
            json!(1),
            json!("\u{7f}"),
            json!([]),
            json!({}),
        ] {
            let of_value = match &value {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(_) => "integer",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            if !types.contains(of_value) {
                assert!(!self.accepts(name, &value), "{name}: {value}");
            }
            if value.is_null() {
                assert_eq!(self.accepts(name, &value), types.contains("null"), "{name}");
            }
        }
    }
}

/// A schema with the component that it refers to.
fn resolved(mut schema: Value) -> Value {
    for list in ["oneOf", "allOf"] {
        if let Some(Value::Array(items)) = schema.get_mut(list) {
            let items: Vec<Value> = std::mem::take(items).into_iter().map(resolved).collect();
            schema[list] = items.into();
        }
    }
    let component = match schema["$ref"].as_str() {
        None => return schema,
        Some("#/components/schemas/Priority") => Priority::schema(),
        Some("#/components/schemas/Timestamp") => Timestamp::schema(),
        Some(other) => panic!("{other}"),
    };
    serde_json::to_value(component).unwrap()
}

/// The parts of a schema: itself, or its alternatives.
fn parts(schema: &Value) -> Vec<&Value> {
    let lists = ["oneOf", "allOf"]
        .iter()
        .filter_map(|list| schema[list].as_array());
    std::iter::once(schema).chain(lists.flatten()).collect()
}

fn types(schema: &Value) -> BTreeSet<&str> {
    let types = parts(schema).into_iter().map(|part| &part["type"]);
    types
        .flat_map(|one| match one {
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
            one => Vec::from_iter(one.as_str()),
        })
        .collect()
}

fn examples(schema: &Value) -> Vec<Value> {
    let parts = parts(schema);
    let of = |key: &str| -> Vec<Value> {
        let lists = parts.iter().filter_map(|part| part[key].as_array());
        lists
            .flatten()
            .filter(|one| !one.is_null())
            .cloned()
            .collect()
    };
    let single = parts.iter().filter_map(|part| part.get("example").cloned());
    of("examples")
        .into_iter()
        .chain(of("enum"))
        .chain(single)
        .collect()
}

/// Values at the limits of the schema, and values just beyond them or of another format.
fn limits(schema: &Value, example: &Value) -> (Vec<Value>, Vec<Value>) {
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for part in parts(schema) {
        let limit = |name: &str| part[name].as_i64();
        let text = |length: i64| {
            let padding = std::iter::repeat('x');
            let characters = example.as_str().unwrap().chars().chain(padding);
            Value::String(characters.take(length.try_into().unwrap()).collect())
        };
        let list = |length: i64| json!(vec![1; length.try_into().unwrap()]);
        if let Some(least) = limit("minLength") {
            accepted.push(text(least));
            refused.push(text(least - 1));
        }
        if let Some(most) = limit("maxLength") {
            accepted.push(text(most));
            refused.push(text(most + 1));
        }
        if let Some(least) = limit("minItems") {
            accepted.push(list(least));
            refused.push(list(least - 1));
        }
        if let Some(least) = limit("minimum") {
            accepted.push(json!(least));
            refused.push(json!(least - 1));
        }
        if let Some(most) = limit("maximum") {
            accepted.push(json!(most));
            refused.push(json!(most + 1));
        }
        if part["enum"].is_array() || part["format"].is_string() || part["type"] == "boolean" {
            refused.push(json!("another"));
        }
    }
    (accepted, refused)
}

#[test]
fn readers_and_schemas_agree() {
    Case::<CreateTask>::new().check();
    Case::<UpdateTask>::new().check();
    Case::<CompleteTask>::new().check();
    Case::<BulkDelete>::new().check();
    Case::<SaveKey>::new().check();
    Case::<ListTasks>::new().check();
    Case::<TaskPath>::new().check();
    Case::<NotificationPath>::new().check();
    Case::<AssetPath>::new().check();
}

/// A field of a task is declared in the bodies of POST and PUT, or left out here on purpose.
#[test]
fn every_task_field_is_declared() {
    let names = |declaration: Option<&Declaration>| -> BTreeSet<String> {
        let fields = declaration.unwrap().fields.iter();
        fields.map(|field| field.name.to_owned()).collect()
    };
    let task = serde_json::to_value(Task::schema()).unwrap();
    let mut fields: BTreeSet<String> = task["properties"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    for set_by_the_daemon in ["id", "user_id", "created_at", "updated_at"] {
        assert!(fields.remove(set_by_the_daemon));
    }
    assert_eq!(names(UpdateTask::DECLARATION), fields);
    // A new task is not completed (contract 3.2).
    assert!(fields.remove("completed"));
    assert_eq!(names(CreateTask::DECLARATION), fields);
}
