//! A small world to try the server on, made of ordinary events.

use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use chrono::Utc;
use chrono_tz::Tz;
use daybook_domain::book::{self, Book, PutBook};
use daybook_domain::decider::Decider;
use daybook_domain::registry::{self, RegistryCommand, RegistryDecider};
use daybook_domain::shop::{self, Money, ReceiptOrder, Shop, ShopCommand, ShopDecider, ShopId};
use daybook_eventlog::{Cause, Metadata, StreamId};
use uuid::{Uuid, uuid};

use crate::app::App;
use crate::auth::{KeyError, Role, Roles, TokenVerifier};

/// The reader that the printed token is for.
const READER: Uuid = uuid!("456e7890-e12b-34c5-d678-901234567890");
/// Who shares the books.
const LIBRARIAN: Uuid = uuid!("00000000-0000-4000-8000-000000000001");
const BOOKS: [(Uuid, &str, u32); 2] = [
    (uuid!("123e4567-e89b-12d3-a456-426614174000"), "Братья Карамазовы", 824),
    (uuid!("123e4567-e89b-12d3-a456-426614174001"), "Bhagavad-gītā As It Is", 868),
];
const TOKEN_VALID: Duration = Duration::from_hours(12);

/// The shop that the printed requests are for.
const SHOP: ShopId = 2;
const TERMINAL: &str = "0a1badae951f8473";
/// Number, name, category, price in hundredths, stock.
const ARTICLES: [(i64, &str, &str, i64, i64); 2] =
    [(6, "Samsung S24", "Téléphones", 4_000_000, 100), (7, "Écouteurs Bluetooth", "Accessoires", 2_500_000, 100)];

/// Adds what is not there yet; a second start adds nothing.
pub async fn provision(app: &App) -> Result<(), Box<dyn Error + Send + Sync>> {
    let metadata = Metadata { actor: Some(format!("{}demo", crate::jobs::ACTOR_PREFIX)), ..Metadata::default() };
    books(app, &metadata).await?;
    match shop(app, &metadata).await {
        // Another node was faster with the same world.
        Err(_) if is_shop_open(app).await? => Ok(()),
        provisioned => provisioned,
    }
}

async fn is_shop_open(app: &App) -> Result<bool, Box<dyn Error + Send + Sync>> {
    Ok(app.shops.view(&StreamId::from(shop::stream(SHOP)), |shop| *shop != Shop::Unopened).await?)
}

async fn books(app: &App, metadata: &Metadata) -> Result<(), Box<dyn Error + Send + Sync>> {
    for (book_id, title, pages) in BOOKS {
        let stream = StreamId::from(book::stream(book_id));
        if app.books.view(&stream, |book| *book != Book::Unknown).await? {
            continue;
        }
        let command = PutBook {
            book_id,
            caller: LIBRARIAN,
            caller_is_admin: true,
            title: title.to_owned(),
            total_pages: Some(Some(pages)),
            shared: Some(true),
            now: Utc::now(),
        };
        app.books.run(&stream, &command, metadata).await?;
    }
    Ok(())
}

async fn shop(app: &App, metadata: &Metadata) -> Result<(), Box<dyn Error + Send + Sync>> {
    let stream = StreamId::from(shop::stream(SHOP));
    if is_shop_open(app).await? {
        return Ok(());
    }
    let now = Utc::now();
    let mut registered = vec![RegistryCommand::TakeShopId { id: Some(SHOP), now }];
    let mut decided = vec![ShopCommand::OpenShop {
        shop_id: SHOP,
        name: "Ma Boutique".to_owned(),
        currency: "CDF".to_owned(),
        timezone: Tz::Africa__Kinshasa,
        allow_negative_stock: false,
        low_stock_threshold: 5,
        require_terminal_keys: false,
        now,
    }];
    registered.push(RegistryCommand::AssignTerminal { serial: TERMINAL.to_owned(), shop_id: SHOP, now });
    decided.push(ShopCommand::RegisterTerminal {
        serial: TERMINAL.to_owned(),
        name: "Terminal messie vanza".to_owned(),
        key: None,
        now,
    });
    for (id, name, category, price, _) in ARTICLES {
        registered.push(RegistryCommand::TakeArticleId { id: Some(id), shop_id: SHOP, now });
        decided.push(ShopCommand::AddArticle {
            article_id: id,
            name: name.to_owned(),
            code: None,
            category: Some(category.to_owned()),
            price: Money::from_hundredths(price).unwrap_or_default(),
            active: true,
            now,
        });
    }
    let line = |(article_id, _, _, _, quantity)| ReceiptOrder { article_id, quantity, unit_cost: None };
    let lines = ARTICLES.into_iter().map(line).collect();
    decided.push(ShopCommand::ReceiveStock { document: "DEMO-1".to_owned(), lines, now });

    // The whole shop in one append: it is there with everything, or not at all.
    let mut register = app.registry.lock(&StreamId::new(registry::STREAM)).await?;
    let registered = decide_all::<RegistryDecider>(register.state(), &registered)?;
    let mut shop = app.shops.lock(&stream).await?;
    let decided = decide_all::<ShopDecider>(shop.state(), &decided)?;
    let cause = Cause { metadata: metadata.clone(), request: None };
    shop.commit_with(decided, (&mut register, registered), &cause, None).await?;
    Ok(())
}

/// Decides on one command after the other, each on what those before it have led to.
fn decide_all<D: Decider>(state: &D::State, commands: &[D::Command]) -> Result<Vec<D::Event>, D::Rejection> {
    let mut state = state.clone();
    let mut events = Vec::new();
    for command in commands {
        for event in D::decide(&state, command)? {
            D::evolve(&mut state, &event);
            events.push(event);
        }
    }
    Ok(events)
}

/// Prints requests that work as they are.
pub fn show(verifier: &TokenVerifier, address: SocketAddr) -> Result<(), KeyError> {
    let token = verifier.mint(&READER.to_string(), Roles::default(), &[], TOKEN_VALID)?;
    let roles = [Role::Admin, Role::Auditor].into_iter().collect();
    let admin = verifier.mint(&LIBRARIAN.to_string(), roles, &[], TOKEN_VALID)?;
    let (book, base) = (BOOKS[0].0, format!("http://{address}"));
    let text = format!(
        r#"
A reader's token, good for 12 hours, and requests to paste into another terminal:

export TOKEN={token}
curl -s -X POST {base}/api/v1/reading-sessions/start -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{{"book_id": "{book}", "start_position": 25, "device_type": "mobile"}}'
curl -s {base}/api/v1/reading-sessions/active -H "Authorization: Bearer $TOKEN"
curl -s {base}/api/v1/users/stats/weekly -H "Authorization: Bearer $TOKEN" -H 'X-Timezone: Europe/Moscow'
curl -s {base}/api/v1/books -H "Authorization: Bearer $TOKEN"

A till's sale, and what the shop has left ({TERMINAL} is the till's serial number):

curl -s -X POST {base}/api/v2/simple/ventes/sync/ -H 'X-Device-Serial: {TERMINAL}' -H 'Content-Type: application/json' -d '[{{"numero_facture": "VENTE-001", "mode_paiement": "CASH", "paye": true, "lignes": [{{"article_id": 6, "quantite": 1, "prix_unitaire": 40000}}]}}]'
curl -s {base}/api/v2/simple/articles/ -H 'X-Device-Serial: {TERMINAL}'

An administrator's and auditor's token, and every movement of an article:

export ADMIN={admin}
curl -s {base}/api/v1/shops/{SHOP}/stock/6/movements -H "Authorization: Bearer $ADMIN"

All routes, to try in a browser: {base}/docs

"#
    );
    // Nobody reads it when standard output is closed; the server serves all the same.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    Ok(())
}
