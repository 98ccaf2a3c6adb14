//! Fields that hold objects, and fields whose exact text counts.

use std::ops::RangeInclusive;

use serde_json::value::RawValue;

use super::{ERRORS_MAX, Fields, Input, object};

impl<'a> Fields<'a> {
    /// A required list of objects, each read field by field by `read`. What is wrong in one of them is named with its
    /// place: `lines[0].quantity`.
    pub fn objects<T>(
        &mut self,
        name: &'static str,
        count: RangeInclusive<usize>,
        read: impl Fn(&mut Fields<'_>) -> T,
    ) -> Vec<T> {
        let items = self.items(name, count);
        let mut objects = Vec::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            // More is not told anyway.
            if self.errors.len() >= ERRORS_MAX {
                break;
            }
            match object::parse(item.get().as_bytes()) {
                Ok(object) => {
                    let mut fields = Fields {
                        unknown_is_an_error: self.unknown_is_an_error,
                        ..Fields::new(Input::Json(object.members))
                    };
                    fields.repeated = object.repeated;
                    objects.push(read(&mut fields));
                    for error in fields.into_errors() {
                        self.invalid(format!("{name}[{place}].{}", error.field), error.message);
                    }
                }
                Err(message) => self.invalid(format!("{name}[{place}]"), message),
            }
        }
        objects
    }

    /// Whether a field of a body is there, be it null or wrong.
    pub fn is_given(&self, name: &str) -> bool {
        match &self.input {
            Input::Json(members) => members.contains_key(name),
            Input::Query(parameters) => parameters.contains_key(name),
        }
    }

    /// A required field of a body that is read from its JSON text as it was sent, all digits of a number included.
    pub fn exact<T: Default>(&mut self, name: &'static str, parse: impl FnOnce(&RawValue) -> Result<T, String>) -> T {
        let errors_before = self.errors.len();
        match self.nullable_exact(name, parse) {
            Some(Some(value)) => return value,
            Some(None) => self.invalid(name, "must not be null"),
            None if self.errors.len() == errors_before => self.invalid(name, "is missing"),
            None => {}
        }
        T::default()
    }

    /// The same for a field that may be absent (`None`), null (`Some(None)`) or a value.
    pub fn nullable_exact<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&RawValue) -> Result<T, String>,
    ) -> Option<Option<T>> {
        let given = match &mut self.input {
            Input::Json(members) => members.remove(name)?,
            Input::Query(_) => return None,
        };
        if self.repeated.iter().any(|repeated| repeated == name) {
            self.invalid(name, "is given more than once");
            return None;
        }
        if given.get() == "null" {
            return Some(None);
        }
        match parse(given) {
            Ok(value) => Some(Some(value)),
            Err(message) => {
                self.invalid(name, message);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of the lines, or the fields that are wrong.
    fn numbers(body: &str) -> Result<Vec<i64>, Vec<String>> {
        let mut fields = Fields::from_json(body.as_bytes()).unwrap();
        let numbers = fields.objects("lines", 1..=3, |line| line.integer("n", 1..=9));
        match fields.finish() {
            Ok(()) => Ok(numbers),
            Err(problem) => Err(problem.errors().iter().map(|error| error.field.clone()).collect()),
        }
    }

    #[test]
    fn each_object_of_a_list_is_read_field_by_field() {
        assert_eq!(numbers(r#"{"lines":[{"n":1},{"n":9}]}"#), Ok(vec![1, 9]));
    }

    #[test]
    fn what_is_wrong_in_an_object_is_named_with_its_place() {
        let wrong = |body, fields: &[&str]| {
            assert_eq!(numbers(body), Err(fields.iter().map(|&field| field.to_owned()).collect()), "{body}");
        };
        wrong(r#"{"lines":[{"n":1},{"n":10},{}]}"#, &["lines[1].n", "lines[2].n"]);
        wrong(r#"{"lines":[{"n":1,"more":2}]}"#, &["lines[0].more"]);
        wrong(r#"{"lines":[{"n":1,"n":2}]}"#, &["lines[0].n"]);
        wrong(r#"{"lines":[5,null,{"n":1}]}"#, &["lines[0]", "lines[1]"]);
        for none in [r#"{}"#, r#"{"lines":[]}"#, r#"{"lines":{"n":1}}"#, r#"{"lines":[{},{},{},{}]}"#] {
            wrong(none, &["lines"]);
        }
    }

    #[test]
    fn an_exact_field_sees_the_text_as_it_was_sent() {
        let mut fields = Fields::from_json(br#"{"n": 0.30000000000000000001 , "none": null}"#).unwrap();
        assert_eq!(fields.exact("n", |text| Ok(text.get().to_owned())), "0.30000000000000000001");
        assert_eq!(fields.nullable_exact("none", |_| Ok(1)), Some(None));
        assert_eq!(fields.nullable_exact("absent", |_| Ok(1)), None);
        assert_eq!(fields.exact("missing", |_| Ok(1)), 0);
        assert_eq!(fields.finish().unwrap_err().errors()[0].field, "missing");
    }
}
