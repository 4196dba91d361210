//! A template's `inspect`, read by what is known: a field that nobody here has heard of, with anything but a neutral
//! value, is a reason not to make the instance.

use serde_json::{Map, Value};

/// An object from which fields are taken one by one; what is left at the end was not understood.
pub(crate) struct Fields {
    name: &'static str,
    left: Map<String, Value>,
}

impl Fields {
    pub(crate) fn new(name: &'static str, value: Option<Value>) -> Self {
        let left = match value {
            Some(Value::Object(object)) => object,
            _ => Map::new(),
        };
        Self { name, left }
    }

    pub(crate) fn take(&mut self, field: &str) -> Value {
        self.left.remove(field).unwrap_or(Value::Null)
    }

    pub(crate) fn text(&mut self, field: &str) -> String {
        self.take(field).as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn number(&mut self, field: &str) -> i64 {
        self.take(field).as_i64().unwrap_or_default()
    }

    pub(crate) fn flag(&mut self, field: &str) -> bool {
        self.take(field).as_bool().unwrap_or_default()
    }

    pub(crate) fn texts(&mut self, field: &str) -> Vec<String> {
        let list = match self.take(field) {
            Value::Array(list) => list,
            _ => Vec::new(),
        };
        list.into_iter()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect()
    }

    pub(crate) fn ignore(&mut self, fields: &[&str]) {
        for field in fields {
            self.left.remove(*field);
        }
    }

    /// A sentence for each field that is left and says something.
    pub(crate) fn leftovers(self) -> Vec<String> {
        let says = |value: &Value| !is_neutral(value);
        let name = self.name;
        self.left
            .into_iter()
            .filter(|(_, value)| says(value))
            .map(|(key, value)| not_given(name, &key, &value))
            .collect()
    }
}

/// How a field that lean can't give is named to the operator.
pub(crate) fn not_given(object: &str, field: &str, value: &Value) -> String {
    let mut text = value.to_string();
    if text.chars().count() > 60 {
        text = text.chars().take(59).chain(['…']).collect();
    }
    format!("the lean engine does not give {object}.{field}={text}")
}

/// Whether a value says nothing: what Docker shows where nobody asked for anything.
pub(crate) fn is_neutral(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(is_neutral),
        Value::Object(fields) => fields.values().all(is_neutral),
    }
}
