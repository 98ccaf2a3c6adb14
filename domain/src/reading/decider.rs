//! The rules of reading: one active session a reader, and time that never runs backwards.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

use super::command::{OfflineSession, ReaderCommand, ReaderRejection};
use super::events::{
    ReaderEvent, ReaderProfileChanged, ReadingSessionEnded, ReadingSessionStarted, ReadingSessionUpdated,
};
use super::reader::{ActiveSession, Profile, Reader, Situation};
use super::values::EndReason;
use crate::decider::Decider;
use crate::instant::to_micros;

/// A superseded session whose last sign of life is at most this old is taken to have been read until now.
const STILL_READING_MINUTES_MAX: TimeDelta = TimeDelta::minutes(30);

/// The rules of one reader.
#[derive(Debug, Clone, Copy)]
pub struct ReaderDecider;

impl Decider for ReaderDecider {
    type Command = ReaderCommand;
    type Event = ReaderEvent;
    type State = Reader;
    type Rejection = ReaderRejection;

    fn decide(reader: &Reader, command: &ReaderCommand) -> Result<Vec<ReaderEvent>, ReaderRejection> {
        match command {
            ReaderCommand::Start { session_id, user_id, book_id, start_position, device_type, timezone, now } => {
                let superseded = superseded(&reader.session, to_micros(*now));
                let started = ReadingSessionStarted {
                    session_id: *session_id,
                    user_id: *user_id,
                    book_id: *book_id,
                    started_at: superseded
                        .as_ref()
                        .map_or(to_micros(*now), |ended| ended.ended_at.max(to_micros(*now))),
                    start_position: *start_position,
                    device_type: *device_type,
                    timezone: zone(*timezone, &reader.profile),
                };
                let superseded = superseded.map(ReaderEvent::ReadingSessionEnded);
                Ok(superseded.into_iter().chain([ReaderEvent::ReadingSessionStarted(started)]).collect())
            }
            ReaderCommand::Update { session_id, position, now } => {
                let active = active(reader, *session_id)?;
                Ok(vec![ReaderEvent::ReadingSessionUpdated(ReadingSessionUpdated {
                    session_id: *session_id,
                    position: *position,
                    reported_at: active.last_seen_at.max(to_micros(*now)),
                })])
            }
            ReaderCommand::End { session_id, position, timezone, now } => {
                let active = active(reader, *session_id)?;
                if *position < active.start_position {
                    return Err(ReaderRejection::EndsBeforeItsStart { start: active.start_position, end: *position });
                }
                let ended_at = active.last_seen_at.max(to_micros(*now));
                Ok(vec![ReaderEvent::ReadingSessionEnded(ReadingSessionEnded {
                    end_position: *position,
                    timezone: timezone.unwrap_or(active.timezone),
                    ..active.ended(ended_at, EndReason::Requested)
                })])
            }
            ReaderCommand::EndIdle { session_id, idle_after, now } => match reader.session.active(*session_id) {
                None => Ok(Vec::new()),
                Some(active) if *now - active.last_seen_at < *idle_after => {
                    Err(ReaderRejection::NotIdle { session_id: *session_id })
                }
                Some(active) => {
                    let ended = active.ended(active.last_seen_at, EndReason::Idle);
                    Ok(vec![ReaderEvent::ReadingSessionEnded(ended)])
                }
            },
            ReaderCommand::RecordOffline { user_id, timezone, sessions } => {
                let zone = |session: &OfflineSession| zone(session.timezone.or(*timezone), &reader.profile);
                Ok(sessions.iter().map(|session| offline(*user_id, zone(session), session)).collect())
            }
            ReaderCommand::ChangeProfile { user_id, timezone, display_name, now } => {
                let before = &reader.profile;
                let after = Profile {
                    timezone: timezone.unwrap_or(before.timezone),
                    display_name: display_name.clone().unwrap_or_else(|| before.display_name.clone()),
                };
                if after == *before {
                    return Ok(Vec::new());
                }
                Ok(vec![ReaderEvent::ReaderProfileChanged(ReaderProfileChanged {
                    user_id: *user_id,
                    timezone: after.timezone,
                    display_name: after.display_name,
                    changed_at: to_micros(*now),
                })])
            }
        }
    }

    fn evolve(reader: &mut Reader, event: &ReaderEvent) {
        match event {
            ReaderEvent::ReadingSessionStarted(started) => {
                reader.session = Situation::Reading(ActiveSession::begun_by(started));
            }
            ReaderEvent::ReadingSessionUpdated(updated) => match &mut reader.session {
                Situation::Reading(active) if active.session_id == updated.session_id => {
                    active.position = updated.position;
                    active.last_seen_at = updated.reported_at;
                }
                Situation::Reading(_) | Situation::Idle => {}
            },
            ReaderEvent::ReadingSessionEnded(ended) => {
                // A session read offline was never active: the active one goes on.
                if reader.session.active(ended.session_id).is_some() {
                    reader.session = Situation::Idle;
                }
            }
            ReaderEvent::ReaderProfileChanged(changed) => {
                reader.profile = Profile { timezone: changed.timezone, display_name: changed.display_name.clone() };
            }
        }
    }
}

fn active(reader: &Reader, session_id: Uuid) -> Result<&ActiveSession, ReaderRejection> {
    reader.session.active(session_id).ok_or(ReaderRejection::NotActive { session_id })
}

/// The zone of a new session: the one asked for, else the reader's own, else UTC.
fn zone(asked: Option<Tz>, profile: &Profile) -> Tz {
    asked.or(profile.timezone).unwrap_or(Tz::UTC)
}

/// The end of the active session, if there is one, because another one starts `now`.
fn superseded(session: &Situation, now: DateTime<Utc>) -> Option<ReadingSessionEnded> {
    let Situation::Reading(active) = session else {
        return None;
    };
    let still_reading = now - active.last_seen_at <= STILL_READING_MINUTES_MAX;
    let ended_at = if still_reading { active.last_seen_at.max(now) } else { active.last_seen_at };
    Some(active.ended(ended_at, EndReason::Superseded))
}

fn offline(user_id: Uuid, timezone: Tz, session: &OfflineSession) -> ReaderEvent {
    let started_at = to_micros(session.started_at);
    ReaderEvent::ReadingSessionEnded(ReadingSessionEnded {
        session_id: session.session_id,
        user_id,
        book_id: session.book_id,
        started_at,
        ended_at: started_at.max(to_micros(session.ended_at)),
        start_position: session.start_position,
        end_position: session.end_position,
        device_type: session.device_type,
        timezone,
        reason: EndReason::Offline,
        client_id: Some(session.client_id),
    })
}
