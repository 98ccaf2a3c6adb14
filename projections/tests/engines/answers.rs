//! What read models answer: every query, asked about everything that the mixed log knows, as text.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, Utc};
use daybook_eventlog::Position;
use daybook_projections::{
    ReadModels, library,
    reading::{
        history::{self, Cursor, Place},
        profiles, statistics,
    },
    shop::{
        documents::{self, Kind},
        ledger::{self, Basis, MovementFilter},
        register,
        sales::{self, Period},
    },
};
use uuid::Uuid;

use crate::mixed::{ARTICLES, READERS, SHOPS};

pub async fn all(models: &ReadModels) -> Vec<String> {
    let mut told = of_books_and_readers(models).await;
    for shop in 1..=SHOPS {
        told.extend(of_shop(models, shop).await);
        told.extend(of_ledger(models, shop).await);
        told.extend(of_sales(models, shop).await);
    }
    told.push(format!("{:?}", register::shops(models, 0, 10).await.unwrap()));
    told.push(format!("{:?}", register::shops(models, 1, 1).await.unwrap()));
    told
}

fn sorted<T: std::fmt::Debug>(rows: Vec<T>) -> String {
    let mut rows: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
    rows.sort();
    rows.join("\n")
}

fn middle() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(1_774_750_000_000_000).unwrap()
}

async fn of_books_and_readers(models: &ReadModels) -> Vec<String> {
    let mut told = Vec::new();
    let mut tell = |text: String| told.push(text);
    let mut sessions = Vec::new();
    for reader in (1..=READERS).map(|number| Uuid::from_u128(number << 120 | 7)) {
        let (books, total) = library::readable(models, reader, 0, 100).await.unwrap();
        tell(format!("{books:?} of {total}"));
        tell(format!("{:?}", library::readable(models, reader, 1, 2).await.unwrap()));
        let (none, also) = library::readable(models, reader, 1_000, 2).await.unwrap();
        assert!(none.is_empty() && also == total, "a page without books counts them as well");
        for book in books {
            tell(format!("{:?}", library::book(models, book.id, reader).await.unwrap()));
            tell(format!("{:?}", history::page(models, reader, Some(book.id), Place::Skip(1), 5, true).await.unwrap()));
        }
        let (page, total) = history::page(models, reader, None, Place::Skip(0), 50, true).await.unwrap();
        sessions.extend(page.iter().map(|session| session.id));
        if let Some(session) = page.first() {
            let below = Cursor { started_at: session.started_at.timestamp_micros(), id: session.id };
            tell(format!("{:?}", history::page(models, reader, None, Place::Below(below), 3, false).await.unwrap()));
            tell(format!("{:?}", history::session(models, session.id).await.unwrap()));
        }
        tell(format!("{page:?} of {total}"));
        tell(format!("{:?}", history::active(models, reader, true).await.unwrap()));
        tell(format!("{:?}", profiles::profile(models, reader).await.unwrap()));
        tell(format!("{:?}", statistics::days(models, reader).await.unwrap()));
        tell(format!("{:?}", statistics::books(models, reader, true).await.unwrap()));
        tell(format!("{:?}", statistics::books(models, reader, false).await.unwrap()));
        let moment = models.snapshot(&[library::NAME, statistics::NAME]).await.unwrap();
        assert_eq!(
            statistics::books(&moment, reader, true).await.unwrap(),
            statistics::books(models, reader, true).await.unwrap()
        );
        drop(moment);
        tell(format!("{:?}", statistics::totals(models, reader).await.unwrap()));
        tell(format!("{:?}", statistics::hours(models, reader).await.unwrap()));
        tell(format!("{:?}", statistics::devices(models, reader).await.unwrap()));
        let (first, last) = (middle().date_naive() - Days::new(300), middle().date_naive());
        tell(format!("{:?}", statistics::sessions_by_date(models, reader, first, last).await.unwrap()));
    }
    tell(sorted(history::sessions(models, &sessions).await.unwrap()));
    tell(sorted(history::idle_since(models, middle(), 1_000).await.unwrap()));
    told
}

async fn of_shop(models: &ReadModels, shop: i64) -> Vec<String> {
    let mut told = vec![
        format!("{:?}", register::shop(models, shop).await.unwrap()),
        format!("{:?}", register::terminals(models, shop, 0, 10).await.unwrap()),
        format!("{:?}", register::terminals(models, shop, 1, 2).await.unwrap()),
        format!("{:?}", register::articles(models, shop, 1, 3).await.unwrap()),
        format!("{:?}", register::articles_on_sale(models, shop).await.unwrap()),
    ];
    for article in 1..=ARTICLES {
        told.push(format!("{:?}", register::article(models, shop, article).await.unwrap()));
    }
    for kind in [Kind::Receipt, Kind::Adjustment, Kind::Transfer] {
        told.push(format!("{:?}", documents::documents(models, shop, kind, 1, 20).await.unwrap()));
        for id in 1..200 {
            told.push(format!("{:?}", documents::document(models, shop, kind, id).await.unwrap()));
        }
    }
    told
}

async fn of_ledger(models: &ReadModels, shop: i64) -> Vec<String> {
    let mut told = vec![
        format!("{:?}", ledger::stocks(models, shop, 1, 3).await.unwrap()),
        format!("{:?}", ledger::stocks_up_to(models, shop, 1, 3, Position::new(60)).await.unwrap()),
        format!("{:?}", ledger::stocks_occurred_by(models, shop, 1, 3, middle()).await.unwrap()),
        format!("{:?}", ledger::balances(models, shop, 200).await.unwrap()),
        format!("{:?}", ledger::balances(models, shop, 1 << 40).await.unwrap()),
        format!("{:?}", ledger::alerts(models, shop, (0, 0, ""), 1_000).await.unwrap()),
        format!("{:?}", ledger::alerts(models, shop, (50, 1, "low"), 5).await.unwrap()),
    ];
    for article in 1..=ARTICLES {
        told.push(format!("{:?}", ledger::stock(models, shop, article).await.unwrap()));
        let occurred = ledger::stock_occurred_by(models, shop, article, middle()).await.unwrap();
        let up_to = ledger::stock_up_to(models, shop, article, Position::new(40)).await.unwrap();
        told.push(format!("{occurred:?} {up_to:?}"));
        for basis in [Basis::Occurred, Basis::Recorded] {
            let all = MovementFilter::default();
            let moved = ledger::movements(models, shop, article, basis, &all, 1_000).await.unwrap();
            told.push(format!("{moved:?}"));
            let sold = MovementFilter { kind: Some("VENTE".to_owned()), after: Some((40, 1)), ..all };
            told.push(format!("{:?}", ledger::movements(models, shop, article, basis, &sold, 7).await.unwrap()));
        }
        let some = MovementFilter { from: Some(middle()), to: Some(Utc::now()), ..MovementFilter::default() };
        let moved = ledger::movements(models, shop, article, Basis::Occurred, &some, 1_000).await.unwrap();
        told.push(format!("{moved:?}"));
    }
    told
}

async fn of_sales(models: &ReadModels, shop: i64) -> Vec<String> {
    let all = Period::default();
    let half = Period { from: Some(middle()), ..Period::default() };
    let page = sales::page(models, shop, all, None, 1_000).await.unwrap();
    let numbers: Vec<&str> = page.iter().map(|sale| sale.numero_facture.as_str()).collect();
    let below = page.get(3).map(|sale| (sale.sold_at.timestamp_micros(), sale.position));
    let day: NaiveDate = middle().date_naive();
    let map = |found: std::collections::HashMap<String, String>| found.into_iter().collect::<BTreeMap<_, _>>();
    vec![
        format!("{page:?}"),
        format!("{:?}", sales::page(models, shop, half, below, 4).await.unwrap()),
        sorted(sales::by_numbers(models, shop, &numbers).await.unwrap()),
        format!("{:?}", map(sales::fingerprints(models, shop, &numbers).await.unwrap())),
        format!("{:?}", map(sales::numbers_from(models, shop, "FAC-").await.unwrap())),
        format!("{:?}", map(sales::numbers_from(models, shop, "F").await.unwrap())),
        format!("{:?}", sales::turnover(models, shop, all).await.unwrap()),
        format!("{:?}", sales::turnover(models, shop, half).await.unwrap()),
        format!("{:?}", sales::turnover_of_days(models, shop, None, None).await.unwrap()),
        format!("{:?}", sales::turnover_of_days(models, shop, Some(day), None).await.unwrap()),
        format!("{:?}", sales::turnover_of_days(models, shop, Some(day), Some(day)).await.unwrap()),
        format!("{:?}", sales::by_mode(models, shop, day).await.unwrap()),
        format!("{:?}", sales::top_articles(models, shop, day, 3).await.unwrap()),
    ]
}
