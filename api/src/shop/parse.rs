//! Batches of sales as tills send them: whatever is wrong with one sale is that sale's error and no other's.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use daybook_domain::shop::{DraftLine, LINES_MAX, Money, PaymentMode, SaleDraft, SaleError};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::refusal::Refusal;

/// The most sales of one request.
pub const SALES_MAX: usize = 1_000;
const NUMBER_CHARS_MAX: usize = 100;
/// More digits of a second than any clock has.
const DATE_BYTES_MAX: usize = 64;

/// A sale as it was sent: its number, when one can be read, and its content or what is wrong with it.
pub struct SentSale {
    pub numero_facture: Option<String>,
    pub draft: Result<SaleDraft, SaleError>,
}

/// Reads a body: an array of sales, or `{"ventes": […]}`.
pub fn batch(body: &[u8]) -> Result<Vec<SentSale>, Refusal> {
    #[derive(Deserialize)]
    struct Wrapped<'a> {
        #[serde(borrow)]
        ventes: Vec<&'a RawValue>,
    }
    let text = std::str::from_utf8(body).map_err(|_| Refusal::invalid_format())?;
    let bare: Result<Vec<&RawValue>, _> = serde_json::from_str(text);
    let sales = match bare {
        Ok(sales) => sales,
        Err(_) => serde_json::from_str::<Wrapped<'_>>(text).map_err(|_| Refusal::invalid_format())?.ventes,
    };
    match sales.len() {
        0 => Err(Refusal::empty_data()),
        1..=SALES_MAX => Ok(sales.into_iter().map(sale).collect()),
        _ => Err(Refusal::too_many()),
    }
}

/// The fields of a sale, each still as it came; others are passed over.
#[derive(Deserialize)]
struct RawSale<'a> {
    #[serde(borrow, default)]
    numero_facture: Option<&'a RawValue>,
    #[serde(borrow, default)]
    mode_paiement: Option<&'a RawValue>,
    #[serde(borrow, default)]
    paye: Option<&'a RawValue>,
    #[serde(borrow, default)]
    date_vente: Option<&'a RawValue>,
    #[serde(borrow, default)]
    lignes: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawLine<'a> {
    #[serde(borrow, default)]
    article_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    quantite: Option<&'a RawValue>,
    #[serde(borrow, default)]
    prix_unitaire: Option<&'a RawValue>,
}

fn sale(raw: &RawValue) -> SentSale {
    let Some(raw) = object::<RawSale<'_>>(raw) else {
        return SentSale { numero_facture: None, draft: Err(invalid("vente", "un objet est attendu")) };
    };
    let number = number(raw.numero_facture);
    let numero_facture = number.as_ref().ok().cloned().flatten();
    let draft = number.and_then(|numero_facture| draft(&raw, numero_facture));
    SentSale { numero_facture, draft }
}

fn draft(raw: &RawSale<'_>, numero_facture: Option<String>) -> Result<SaleDraft, SaleError> {
    let mode = match given(raw.mode_paiement) {
        None => PaymentMode::Cash,
        Some(raw) => {
            let name = text(raw).ok_or_else(|| invalid("mode_paiement", "un texte est attendu"))?;
            PaymentMode::parse(&name).ok_or_else(|| SaleError::UnknownPaymentMode { mode: shortened(&name) })?
        }
    };
    let paye = match given(raw.paye).map(RawValue::get) {
        None | Some("true") => true,
        Some("false") => false,
        Some(_) => return Err(invalid("paye", "true ou false est attendu")),
    };
    let (date_vente, date_sent) = given(raw.date_vente).map(date).transpose()?.unzip();
    let lines = given(raw.lignes).ok_or(SaleError::NoLines)?;
    let lines: Vec<&RawValue> =
        serde_json::from_str(lines.get()).map_err(|_| invalid("lignes", "un tableau est attendu"))?;
    if lines.len() > LINES_MAX {
        return Err(SaleError::TooManyLines { count: lines.len() });
    }
    let lines = lines.into_iter().map(line).collect::<Result<_, _>>()?;
    Ok(SaleDraft { numero_facture, mode, paye, date_vente, date_sent, lines })
}

fn line(raw: &RawValue) -> Result<DraftLine, SaleError> {
    let raw: RawLine<'_> = object(raw).ok_or_else(|| invalid("lignes", "chaque ligne est un objet"))?;
    let article_id = given(raw.article_id).ok_or_else(|| invalid("article_id", "obligatoire"))?;
    Ok(DraftLine {
        article_id: whole(article_id).ok_or_else(|| invalid("article_id", "un nombre entier est attendu"))?,
        quantite: match given(raw.quantite) {
            None => 1,
            Some(raw) => whole(raw).ok_or_else(|| invalid("quantite", "un nombre entier est attendu"))?,
        },
        prix_unitaire: match given(raw.prix_unitaire) {
            None => None,
            Some(raw) => {
                let price = Money::parse_json(raw.get());
                Some(price.map_err(|error| SaleError::amount("prix_unitaire", error))?)
            }
        },
    })
}

/// An empty number counts as none.
fn number(raw: Option<&RawValue>) -> Result<Option<String>, SaleError> {
    let Some(raw) = given(raw) else { return Ok(None) };
    let number = text(raw).ok_or_else(|| invalid("numero_facture", "un texte est attendu"))?;
    if number.chars().count() > NUMBER_CHARS_MAX {
        return Err(invalid("numero_facture", "100 caractères au plus"));
    }
    Ok(Some(number.into_owned()).filter(|number| !number.trim().is_empty()))
}

/// Any moment that RFC 3339 can write, and its text: whether it is plausible is decided with the sale.
fn date(raw: &RawValue) -> Result<(DateTime<Utc>, String), SaleError> {
    let sent = text(raw).filter(|text| text.len() <= DATE_BYTES_MAX);
    let date = sent.and_then(|text| Some((DateTime::parse_from_rfc3339(&text).ok()?.to_utc(), text.into_owned())));
    date.ok_or_else(|| invalid("date_vente", "une date RFC 3339 est attendue"))
}

/// The fields of an object; a list of values in their order is none.
fn object<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    raw.get().starts_with('{').then(|| serde_json::from_str(raw.get()).ok()).flatten()
}

/// A field that is there and not null.
fn given(raw: Option<&RawValue>) -> Option<&RawValue> {
    raw.filter(|raw| raw.get() != "null")
}

fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    if let Ok(text) = serde_json::from_str::<&str>(raw.get()) {
        return Some(Cow::Borrowed(text));
    }
    serde_json::from_str(raw.get()).ok().map(Cow::Owned)
}

/// A whole number by value: 2, 2.0 and 2e0 are the same.
fn whole(raw: &RawValue) -> Option<i64> {
    if let Ok(number) = raw.get().parse::<i64>() {
        return Some(number);
    }
    let hundredths = Money::parse_json(raw.get()).ok()?.hundredths();
    (hundredths % 100 == 0).then_some(hundredths / 100)
}

fn invalid(field: &str, message: &str) -> SaleError {
    SaleError::Invalid { field: field.to_owned(), message: message.to_owned() }
}

fn shortened(text: &str) -> String {
    text.chars().take(50).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(body: &str) -> SentSale {
        batch(body.as_bytes()).unwrap().pop().unwrap()
    }

    fn error(sale: &str) -> String {
        only(&format!("[{sale}]")).draft.unwrap_err().to_string()
    }

    #[test]
    fn a_sale_is_read_with_its_defaults() {
        let sale = only(r#"[{"lignes": [{"article_id": 6}], "extra": {"a": [1]}}]"#);
        let draft = sale.draft.unwrap();
        assert_eq!((draft.mode, draft.paye, draft.date_vente), (PaymentMode::Cash, true, None));
        assert_eq!(draft.lines, [DraftLine { article_id: 6, quantite: 1, prix_unitaire: None }]);
        assert_eq!(sale.numero_facture, None);
    }

    #[test]
    fn a_wrapped_batch_is_read_as_well() {
        assert_eq!(batch(br#"{"ventes": [{"lignes": []}, 5]}"#).unwrap().len(), 2);
    }

    #[test]
    fn what_is_no_batch_is_refused() {
        for body in ["", "{}", "5", "null", "[", "{\"ventes\": 5}", "\u{feff}[]"] {
            assert!(matches!(batch(body.as_bytes()), Err(Refusal::Own(status, _)) if status == 400), "{body}");
        }
        assert!(batch(b"\xff[]").is_err());
        let many = format!("[{}]", vec!["1"; SALES_MAX + 1].join(","));
        assert!(matches!(batch(many.as_bytes()), Err(Refusal::Own(status, _)) if status == 413));
    }

    #[test]
    fn an_empty_number_counts_as_none() {
        assert_eq!(only(r#"[{"numero_facture": "", "lignes": []}]"#).numero_facture, None);
        assert_eq!(only(r#"[{"numero_facture": "V-1"}]"#).numero_facture.as_deref(), Some("V-1"));
    }

    #[test]
    fn whole_numbers_are_whole_by_value() {
        let quantity = |quantity: &str| {
            let sale = format!(r#"[{{"lignes": [{{"article_id": 6, "quantite": {quantity}}}]}}]"#);
            only(&sale).draft.map(|draft| draft.lines[0].quantite)
        };
        assert_eq!(quantity("2.0"), Ok(2));
        assert_eq!(quantity("-1"), Ok(-1));
        for wrong in ["2.5", "\"2\"", "true", "[]", "1e300"] {
            assert!(quantity(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_sale_says_what_is_wrong() {
        assert_eq!(error("5"), "vente: un objet est attendu");
        assert_eq!(error(r#"["V-1", "CASH", true, null, [{"article_id": 6}]]"#), "vente: un objet est attendu");
        assert_eq!(error(r#"{"lignes": [[6, 1, 100]]}"#), "lignes: chaque ligne est un objet");
        assert_eq!(error("{}"), "La vente ne contient aucune ligne");
        assert_eq!(error(r#"{"mode_paiement": "TROC", "lignes": []}"#), "Mode de paiement inconnu: TROC");
        assert_eq!(error(r#"{"paye": "oui", "lignes": []}"#), "paye: true ou false est attendu");
        assert_eq!(error(r#"{"date_vente": "hier", "lignes": []}"#), "date_vente: une date RFC 3339 est attendue");
        assert_eq!(error(r#"{"lignes": [{"quantite": 1}]}"#), "article_id: obligatoire");
        assert!(error(r#"{"lignes": [{"article_id": 6, "prix_unitaire": 1.005}]}"#).starts_with("prix_unitaire"));
    }
}
