//! The articles of a shop.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::Utc;
use daybook_domain::registry::RegistryCommand;
use daybook_domain::shop::{Article, ArticleId, Money, ShopCommand, ShopDecider, ShopEvent, ShopId};
use daybook_eventlog::{Answer, Decided};
use daybook_projections::shop::ledger;
use daybook_projections::shop::register::{self, ArticleRow};
use serde::Serialize;
use utoipa::ToSchema;

use super::author::Admin;
use super::page::{Page, PageQuery, paging};
use super::path::{NumberPath, ShopPath};
use super::refusal::{no_article, problem};
use super::shops;
use super::two_streams::{self, stream};
use super::values::{ID_MAX, NAME_CHARS_MAX, money, money_schema, optional_money, optional_money_schema};
use crate::app::App;
use crate::http::fields::Fields;
use crate::http::openapi::{Forbidden, ReadProblems, WriteProblems};
use crate::http::read::{After, NoQuery, Query};
use crate::http::unread::models_unread;
use crate::http::write::{Body, Write, answer, respond};
use crate::http::{Problem, ProblemBody};

const CODE_CHARS_MAX: usize = 100;
const CATEGORY_CHARS_MAX: usize = 100;

/// An article to add.
#[derive(ToSchema)]
#[schema(as = NewArticle)]
pub struct ArticleToAdd {
    /// Unique over all shops; the next free one when left out.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64)]
    id: Option<i64>,
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    #[schema(min_length = 1, max_length = 100)]
    code: Option<String>,
    #[schema(min_length = 1, max_length = 100)]
    category: Option<String>,
    #[schema(schema_with = money_schema)]
    price: Money,
    /// Whether it may be sold.
    #[schema(default = true)]
    active: Option<bool>,
}

impl Body for ArticleToAdd {
    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            id: fields.optional_integer("id", 1..=ID_MAX),
            name: fields.string("name", 1..=NAME_CHARS_MAX),
            code: fields.optional_string("code", 1..=CODE_CHARS_MAX),
            category: fields.optional_string("category", 1..=CATEGORY_CHARS_MAX),
            price: money(fields, "price"),
            active: fields.optional("active"),
        }
    }
}

/// What changes of an article; what is left out stays as it is.
#[derive(ToSchema)]
#[schema(as = ArticleChange)]
pub struct ArticleToChange {
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    /// Null: it has none any more.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100)]
    code: Option<Option<String>>,
    /// Null: it has none any more.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100)]
    category: Option<Option<String>>,
    #[schema(schema_with = optional_money_schema, required = false)]
    price: Option<Money>,
    /// Whether it may be sold.
    active: Option<bool>,
}

impl Body for ArticleToChange {
    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            name: fields.optional_string("name", 1..=NAME_CHARS_MAX),
            code: fields.nullable_string("code", 1..=CODE_CHARS_MAX),
            category: fields.nullable_string("category", 1..=CATEGORY_CHARS_MAX),
            price: optional_money(fields, "price"),
            active: fields.optional("active"),
        }
    }
}

/// An article.
#[derive(Serialize, ToSchema)]
#[schema(as = Article)]
pub struct ArticleBody {
    id: i64,
    shop_id: i64,
    name: String,
    #[schema(required)]
    code: Option<String>,
    #[schema(required)]
    category: Option<String>,
    /// Of one unit.
    #[schema(value_type = String, pattern = r"^\d+\.\d{2}$", example = "40000.00")]
    price: Option<Money>,
    /// Whether it may be sold.
    active: bool,
    /// How many units there are.
    stock: i64,
}

impl ArticleBody {
    fn of(shop_id: ShopId, id: ArticleId, article: &Article) -> Self {
        Self {
            id,
            shop_id,
            name: article.name.clone(),
            code: article.code.clone(),
            category: article.category.clone(),
            price: Some(article.price),
            active: article.active,
            stock: article.stock,
        }
    }

    fn listed(shop_id: ShopId, article: ArticleRow) -> Self {
        let ArticleRow { id, name, code, category, price, active, stock } = article;
        Self { id, shop_id, name, code, category, price: Money::from_hundredths(price), active, stock }
    }
}

/// The articles of a shop, by id
#[utoipa::path(
    get,
    operation_id = "list_articles",
    path = "/api/v1/admin/shops/{id}/articles",
    tag = "Administration",
    params(("id" = i64, Path, minimum = 1), PageQuery),
    responses((status = 200, description = "A page of articles", body = Page<ArticleBody>), ReadProblems, Forbidden)
)]
pub async fn list(
    State(app): State<App>,
    _: Admin,
    ShopPath(shop_id): ShopPath,
    After(after): After,
    Query(query): Query,
) -> Result<Json<Page<ArticleBody>>, Problem> {
    let paging = paging(&query)?;
    app.caught_up(&[register::NAME, ledger::NAME], after).await?;
    shops::known(&app, shop_id).await?;
    let articles = register::articles(&app.models, shop_id, paging.skip(), paging.page_size).await;
    let (articles, total) = articles.map_err(models_unread)?;
    let articles = articles.into_iter().map(|article| ArticleBody::listed(shop_id, article));
    Ok(Json(Page::new(paging, articles.collect(), total)))
}

/// One article of a shop
#[utoipa::path(
    get,
    operation_id = "get_article",
    path = "/api/v1/admin/shops/{id}/articles/{article_id}",
    tag = "Administration",
    params(("id" = i64, Path, minimum = 1), ("article_id" = i64, Path, minimum = 1)),
    responses((status = 200, description = "The article", body = ArticleBody), ReadProblems, Forbidden)
)]
pub async fn get(
    State(app): State<App>,
    _: Admin,
    _: NoQuery,
    NumberPath(shop_id, article_id): NumberPath,
    After(after): After,
) -> Result<Json<ArticleBody>, Problem> {
    app.caught_up(&[register::NAME, ledger::NAME], after).await?;
    shops::known(&app, shop_id).await?;
    let article = register::article(&app.models, shop_id, article_id).await;
    let article = article.map_err(models_unread)?.ok_or_else(no_article)?;
    Ok(Json(ArticleBody::listed(shop_id, article)))
}

/// Add an article
#[utoipa::path(
    post,
    operation_id = "add_article",
    path = "/api/v1/admin/shops/{id}/articles",
    tag = "Administration",
    params(("id" = i64, Path, minimum = 1)),
    request_body = ArticleToAdd,
    responses(
        (status = 201, description = "The article", body = ArticleBody),
        WriteProblems,
        (status = 409, description = "The id is taken, in this shop or another", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub async fn post(
    State(app): State<App>,
    ShopPath(shop_id): ShopPath,
    request: Write<Admin, ArticleToAdd>,
) -> Result<Response, Problem> {
    shops::must_be_open(&app, shop_id).await?;
    let (body, now) = (request.body, Utc::now());
    let ask = RegistryCommand::TakeArticleId { id: body.id, shop_id, now };
    let executed = two_streams::with_register(
        &app,
        &ask,
        |registered| {
            let command = ShopCommand::AddArticle {
                article_id: two_streams::number(registered)?,
                name: body.name.clone(),
                code: body.code.clone(),
                category: body.category.clone(),
                price: body.price,
                active: body.active.unwrap_or(true),
                now,
            };
            Ok((shop_id, command))
        },
        &request.cause,
        |decided: Decided<'_, ShopDecider>| {
            let added = decided.events.iter().find_map(|event| match event {
                ShopEvent::ArticleAdded(added) => Some(added.article_id),
                _ => None,
            });
            shown(StatusCode::CREATED, &decided, added)
        },
    );
    executed.await.map(respond)
}

/// Change an article
#[utoipa::path(
    put,
    operation_id = "change_article",
    path = "/api/v1/admin/shops/{id}/articles/{article_id}",
    tag = "Administration",
    params(("id" = i64, Path, minimum = 1), ("article_id" = i64, Path, minimum = 1)),
    request_body = ArticleToChange,
    responses((status = 200, description = "The article", body = ArticleBody), WriteProblems)
)]
pub async fn put(
    State(app): State<App>,
    NumberPath(shop_id, article_id): NumberPath,
    request: Write<Admin, ArticleToChange>,
) -> Result<Response, Problem> {
    let body = request.body;
    let command = ShopCommand::ChangeArticle {
        article_id,
        name: body.name,
        code: body.code,
        category: body.category,
        price: body.price,
        active: body.active,
        now: Utc::now(),
    };
    let shown = move |decided: Decided<'_, ShopDecider>| shown(StatusCode::OK, &decided, Some(article_id));
    let executed = app.shops.execute(&stream(shop_id), &command, &request.cause, shown).await;
    executed.map(respond).map_err(problem)
}

fn shown(status: StatusCode, decided: &Decided<'_, ShopDecider>, article_id: Option<ArticleId>) -> Answer {
    let article = decided.state.open().zip(article_id).and_then(|(shop, id)| {
        let article = shop.articles.get(&id)?;
        Some(ArticleBody::of(shop.shop_id, id, article))
    });
    answer(status, &article)
}
