//! What a reader tells about themselves.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use chrono::Utc;
use chrono_tz::Tz;
use daybook_domain::reading::{ReaderCommand, ReaderDecider};
use daybook_eventlog::Decided;
use daybook_projections::reading::profiles;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::reader::Reader;
use super::sessions::stream;
use crate::app::App;
use crate::http::Problem;
use crate::http::fields::Fields;
use crate::http::openapi::{ReadProblems, WriteProblems};
use crate::http::read::{After, NoQuery};
use crate::http::unread::models_unread;
use crate::http::write::{Body, Write, answer, problem, respond};

const NAME_CHARS_MAX: usize = 200;

/// What to change: a field left out stays as it is, null clears it.
#[derive(ToSchema)]
pub struct ChangeProfile {
    /// IANA zone.
    #[schema(value_type = Option<String>, example = "Europe/Paris")]
    timezone: Option<Option<Tz>>,
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200)]
    display_name: Option<Option<String>>,
}

impl Body for ChangeProfile {
    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            timezone: fields.nullable("timezone"),
            display_name: fields.nullable_string("display_name", 1..=NAME_CHARS_MAX),
        }
    }
}

/// A reader's profile.
#[derive(Serialize, ToSchema)]
#[schema(as = Profile)]
pub struct ProfileBody {
    user_id: Uuid,
    /// IANA zone whose calendar holds when the request names none.
    #[schema(required)]
    timezone: Option<String>,
    #[schema(required)]
    display_name: Option<String>,
}

/// The reader's profile
#[utoipa::path(
    get,
    operation_id = "get_profile",
    path = "/api/v1/users/profile",
    tag = "Readers",
    responses((status = 200, description = "The profile", body = ProfileBody), ReadProblems)
)]
pub async fn get(
    State(app): State<App>,
    reader: Reader,
    _: NoQuery,
    After(after): After,
) -> Result<Json<ProfileBody>, Problem> {
    app.caught_up(&[profiles::NAME], after).await?;
    let profile = profiles::profile(&app.models, reader.id).await.map_err(models_unread)?;
    Ok(Json(ProfileBody { user_id: reader.id, timezone: profile.timezone, display_name: profile.display_name }))
}

/// Change the profile
#[utoipa::path(
    put,
    operation_id = "put_profile",
    path = "/api/v1/users/profile",
    tag = "Readers",
    request_body = ChangeProfile,
    responses((status = 200, description = "The profile", body = ProfileBody), WriteProblems)
)]
pub async fn put(State(app): State<App>, request: Write<Reader, ChangeProfile>) -> Result<Response, Problem> {
    let user_id = request.caller.id;
    let command = ReaderCommand::ChangeProfile {
        user_id,
        timezone: request.body.timezone,
        display_name: request.body.display_name,
        now: Utc::now(),
    };
    let render = move |decided: Decided<'_, ReaderDecider>| {
        let profile = &decided.state.profile;
        let timezone = profile.timezone.map(|zone| zone.name().to_owned());
        answer(StatusCode::OK, &ProfileBody { user_id, timezone, display_name: profile.display_name.clone() })
    };
    let executed = app.readers.execute(&stream(user_id), &command, &request.cause, render).await;
    executed.map(respond).map_err(|error| problem(error, |rejection| Problem::internal(&rejection)))
}
