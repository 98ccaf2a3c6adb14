//! Bodies and queries, good and bad.

use super::*;
use chrono::{DateTime, TimeZone as _, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

fn wrong(problem: Problem) -> Vec<(String, String)> {
    assert_eq!(problem.status(), 400);
    problem.errors().iter().map(|error| (error.field.clone(), error.message.clone())).collect()
}

fn wrong_fields(fields: Fields<'_>) -> Vec<String> {
    wrong(fields.finish().unwrap_err()).into_iter().map(|(field, _)| field).collect()
}

#[test]
fn every_type_is_read_from_a_body() {
    let body = br#"{"id":"0190B5A8-7C3E-7D7A-9D0F-1C2B3A4D5E6F","done":true,"title":"D\u00fcne","page":5,
        "at":"2026-01-31T12:30:00+03:00","zone":"Africa/Kinshasa","n":9007199254740993,"name":"x"}"#;
    let mut fields = Fields::from_json(body).unwrap();
    let id: Uuid = fields.required("id");
    let at: DateTime<Utc> = fields.required("at");
    let name: Text<1, 5> = fields.required("name");
    assert_eq!(id.to_string(), "0190b5a8-7c3e-7d7a-9d0f-1c2b3a4d5e6f");
    assert_eq!(at, Utc.with_ymd_and_hms(2026, 1, 31, 9, 30, 0).unwrap());
    assert!(fields.required::<bool>("done"));
    assert_eq!(fields.string("title", 1..=4), "Düne");
    assert_eq!(fields.integer("page", 1..=100), 5);
    assert_eq!(fields.required::<Tz>("zone"), Tz::Africa__Kinshasa);
    assert_eq!(fields.required::<Integer<0, { i64::MAX }>>("n").get(), 9_007_199_254_740_993);
    assert_eq!(name.into_string(), "x");
    fields.finish().unwrap();
}

#[test]
fn absent_null_and_value_are_told_apart() {
    let mut fields = Fields::from_json(br#"{"b":null,"c":3,"e":null}"#).unwrap();
    assert_eq!(fields.nullable::<i64>("a"), None);
    assert_eq!(fields.nullable::<i64>("b"), Some(None));
    assert_eq!(fields.nullable::<i64>("c"), Some(Some(3)));
    assert_eq!(fields.optional::<i64>("d"), None);
    assert_eq!(fields.optional::<i64>("e"), None);
    fields.finish().unwrap();
}

#[test]
fn every_wrong_field_is_named_once_with_what_is_allowed() {
    let mut fields = Fields::from_json(br#"{"b":null,"c":"5","z":1,"y":2,"d":101}"#).unwrap();
    let _: i64 = fields.required("a");
    let _: i64 = fields.required("b");
    let _ = fields.integer("c", 1..=100);
    let _ = fields.optional_integer("d", 1..=100);
    fields.invalid("e", "must be after d");
    let expected = [
        ("a", "is missing"),
        ("b", "must not be null"),
        ("c", "must be a whole number from 1 to 100"),
        ("d", "must be a whole number from 1 to 100"),
        ("e", "must be after d"),
        ("y", "is not a field here: leave it out"),
        ("z", "is not a field here: leave it out"),
    ];
    assert_eq!(wrong(fields.finish().unwrap_err()), expected.map(|(field, message)| (field.into(), message.into())));
}

#[test]
fn a_whole_number_has_no_fraction_no_exponent_and_no_quotes() {
    for number in ["2.5", "\"5\"", "1e400", "5.0", "5e0", "0", "101", "9223372036854775808", "true", "[5]", "{}", "-1"]
    {
        let body = format!("{{\"page\":{number}}}");
        let mut fields = Fields::from_json(body.as_bytes()).unwrap();
        let _ = fields.integer("page", 1..=100);
        assert_eq!(wrong_fields(fields), ["page"], "{number}");
    }
}

#[test]
fn texts_are_measured_in_characters() {
    let mut fields = Fields::from_json("{\"a\":\"жжж\",\"b\":\"жжжж\",\"c\":\"\",\"d\":5}".as_bytes()).unwrap();
    assert_eq!(fields.string("a", 1..=3), "жжж");
    let _ = (fields.string("b", 1..=3), fields.string("c", 1..=3), fields.string("d", 1..=3));
    assert_eq!(wrong_fields(fields), ["b", "c", "d"]);
}

#[test]
fn ids_times_and_zones_are_taken_in_one_form() {
    for uuid in [
        "0190b5a87c3e7d7a9d0f1c2b3a4d5e6f",
        "{0190b5a8-7c3e-7d7a-9d0f-1c2b3a4d5e6f}",
        "",
        "0190b5a8-7c3e-7d7a-9d0f-1c2b3a4d5e6g",
    ] {
        assert!(Uuid::from_text(uuid).is_err(), "{uuid}");
    }
    for time in
        ["2026-01-31", "2026-01-31T09:30:00", "2026-02-30T00:00:00Z", "1769851800", "9999-12-31T23:59:59-01:00", ""]
    {
        assert!(DateTime::<Utc>::from_text(time).is_err(), "{time}");
    }
    for zone in ["europe/moscow", "Mars/Olympus", "+03:00", ""] {
        assert!(Tz::from_text(zone).is_err(), "{zone}");
    }
}

#[test]
fn a_body_that_is_no_json_object_is_named_body() {
    let deep = "[".repeat(100_000);
    for body in ["", "  \n", "{", "[1]", "5", "null", "\"a\"", "{\"a\":1}x", "{'a':1}", "{\"a\":NaN}", &deep] {
        let problem = Fields::from_json(body.as_bytes()).err().unwrap();
        assert_eq!(wrong(problem)[0].0, "body", "{body:.20}");
    }
    assert_eq!(wrong(Fields::from_json(b"{\"a\":\"\xff\"}").err().unwrap())[0].1, "must be UTF-8");
}

#[test]
fn a_member_given_twice_is_wrong_and_a_deep_one_is_unreadable() {
    let deep = format!("{{\"a\":1,\"a\":1,\"b\":{}{},\"c\":\"\\ud800\"}}", "[".repeat(10_000), "]".repeat(10_000));
    let mut fields = Fields::from_json(deep.as_bytes()).unwrap();
    let _ = (fields.integer("a", 0..=9), fields.required::<Value>("b"), fields.string("c", 0..=9));
    assert_eq!(wrong_fields(fields), ["a", "b", "c"]);
}

#[test]
fn unknown_members_may_be_let_pass_and_never_flood_the_answer() {
    Fields::from_json(br#"{"x":1}"#).unwrap().ignoring_unknown().finish().unwrap();
    let members: Vec<_> = (0..1000).map(|n| format!("\"{n}{}\":1", "x".repeat(500))).collect();
    let body = format!("{{{}}}", members.join(","));
    let problem = Fields::from_json(body.as_bytes()).unwrap().finish().unwrap_err();
    assert_eq!(problem.errors().len(), 50);
    assert!(problem.errors().iter().all(|error| error.field.len() <= 100));
}

#[test]
fn a_query_is_decoded_and_its_unknown_parameters_are_wrong_unless_they_are_let_pass() {
    let query = "page=5&q=D%C3%BCne+2&zone=Europe%2FMoscow&utm=1&utm=2&flag=true";
    assert_eq!(wrong_fields(Fields::from_query("utm=1&utm=2&b=")), ["b", "utm"]);
    let mut fields = Fields::from_query(query).ignoring_unknown();
    assert_eq!(fields.integer("page", 1..=100), 5);
    assert_eq!(fields.optional_string("q", 0..=100).unwrap(), "Düne 2");
    assert_eq!(fields.required::<Tz>("zone"), Tz::Europe__Moscow);
    assert!(fields.required::<bool>("flag"));
    assert_eq!(fields.optional::<Uuid>("absent"), None);
    fields.finish().unwrap();
}

#[test]
fn a_repeated_or_malformed_parameter_is_wrong() {
    let mut fields = Fields::from_query("page=1&page=2&size=&n=%2B5&m=5.0");
    let _ = (fields.integer("page", 1..=100), fields.optional_integer("size", 1..=100));
    let _ = (fields.required::<i64>("n"), fields.required::<i64>("m"));
    assert_eq!(wrong_fields(fields), ["page", "size", "n", "m"]);
}
