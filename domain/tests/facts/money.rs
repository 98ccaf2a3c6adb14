//! Amounts are read by value, kept exactly and written with two decimals.

use daybook_domain::shop::{AMOUNT_MAX, Money, MoneyError};
use proptest::prelude::*;

fn parsed(text: &str) -> Result<String, MoneyError> {
    Money::parse_json(text).map(|money| money.to_string())
}

#[test]
fn a_number_is_read_by_its_value() {
    for (text, written) in [
        ("40000", "40000.00"),
        ("40000.000", "40000.00"),
        ("4e4", "40000.00"),
        ("4E+4", "40000.00"),
        ("400000000e-4", "40000.00"),
        ("0.4000000000000000000000000000000000000000000e5", "40000.00"),
        ("0.1", "0.10"),
        ("1e-2", "0.01"),
        ("0.07", "0.07"),
        ("0", "0.00"),
        ("-0", "0.00"),
        ("-0.0e5", "0.00"),
        ("0e999999999999999999999999", "0.00"),
        ("0.00000000000000000000000000001e29", "1.00"),
        ("10000000000000", "10000000000000.00"),
        ("1e13", "10000000000000.00"),
        ("9999999999999.99", "9999999999999.99"),
    ] {
        assert_eq!(parsed(text).as_deref(), Ok(written), "{text}");
    }
}

#[test]
fn what_is_no_amount_says_why() {
    for text in ["", "-", "+1", "01", ".5", "5.", "1e", "1e+", "1.e3", "0x10", "1 ", " 1", "NaN", "\"1\"", "null", "١"]
    {
        assert_eq!(parsed(text), Err(MoneyError::NotANumber), "{text}");
    }
    for text in ["-1", "-0.01", "-1e-9", "-1e999"] {
        assert_eq!(parsed(text), Err(MoneyError::Negative), "{text}");
    }
    for text in ["0.001", "1.999", "1e-3", "1e-99999999999999999999", "9999999999999.999"] {
        assert_eq!(parsed(text), Err(MoneyError::TooPrecise), "{text}");
    }
    for text in ["10000000000000.01", "1e14", "1e999", "1e99999999999999999999", "123456789012345678901234567890"] {
        assert_eq!(parsed(text), Err(MoneyError::TooLarge), "{text}");
    }
}

#[test]
fn amounts_add_and_multiply_exactly_up_to_the_greatest() {
    let dime = Money::from_hundredths(10).unwrap();
    assert_eq!(dime.times(3).unwrap().to_string(), "0.30");
    assert_eq!(dime.times(0), Some(Money::ZERO));
    assert_eq!(dime.times(-1), None);
    assert_eq!(dime.times(100_000_000_000_000), Some(AMOUNT_MAX));
    assert_eq!(dime.times(i64::MAX), None);
    assert_eq!(AMOUNT_MAX.plus(Money::ZERO), Some(AMOUNT_MAX));
    assert_eq!(AMOUNT_MAX.plus(dime), None);
    assert_eq!(Money::from_hundredths(-1), None);
    assert_eq!(Money::from_hundredths(AMOUNT_MAX.hundredths() + 1), None);
}

#[test]
fn only_its_own_text_is_read_back() {
    for json in [
        "\"1\"",
        "\"1.0\"",
        "\"1.000\"",
        "\".00\"",
        "\"-1.00\"",
        "\"1,00\"",
        "1.00",
        "1",
        "\"10000000000000.01\"",
        "\"99999999999999999999.00\"",
        "\"1.0x\"",
    ] {
        assert!(serde_json::from_str::<Money>(json).is_err(), "{json}");
    }
}

proptest! {
    #[test]
    fn every_amount_is_read_back_as_it_was(hundredths in 0..=AMOUNT_MAX.hundredths()) {
        let money = Money::from_hundredths(hundredths).unwrap();
        prop_assert_eq!(money.to_string(), format!("{}.{:02}", hundredths / 100, hundredths % 100));
        prop_assert_eq!(Money::parse_json(&money.to_string()), Ok(money));
        prop_assert_eq!(Money::parse_json(&format!("{hundredths}e-2")), Ok(money));
        let json = serde_json::to_string(&money).unwrap();
        prop_assert_eq!(&json, &format!("\"{money}\""));
        prop_assert_eq!(serde_json::from_str::<Money>(&json).unwrap(), money);
    }
}
