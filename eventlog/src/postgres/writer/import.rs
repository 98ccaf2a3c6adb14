//! Events that another log recorded: taken over as they stand, or not at all.

use std::{sync::Arc, time::Instant};

use sqlx::PgConnection;

use super::{
    super::{connection::answered, error::StatementError},
    Writer,
    facts::Question,
    plan::plan_import,
    rows::stands,
};
use crate::{
    AppendError, ExpectedVersion, ImportError, NewEvent, Position, RecordedEvent, StreamAppend, StreamId,
    rules::check_recorded,
};

/// What a try came to, other than by a failure.
type Imported = Result<Position, ImportError>;

impl Writer {
    /// Writes `events` in one transaction; answers the head after it.
    pub(super) async fn import(&mut self, events: Vec<RecordedEvent>) -> Imported {
        // Names that the database would choke on are not asked for: the check comes to them first.
        let sound = events.iter().take_while(|event| is_sound(event)).count();
        let parts = parts_of(&events[..sound]);
        let (started, patience) = (Instant::now(), self.patience());
        let mut in_doubt = false;
        loop {
            self.rest().await;
            let error = match self.try_import(&events, &parts, &mut in_doubt).await {
                Ok(imported) => {
                    self.is_well();
                    return imported;
                }
                Err(error) => error,
            };
            let patience = if in_doubt { self.connector.patience * 2 } else { patience };
            if !self.may_try_again(&error, started.elapsed() < patience) {
                tracing::error!(error = &error as &dyn std::error::Error, in_doubt, "an import could not be written");
                return Err(if in_doubt { ImportError::InDoubt(Arc::new(error)) } else { import_error(error) });
            }
        }
    }

    async fn try_import(
        &mut self,
        events: &[RecordedEvent],
        parts: &[(StreamAppend, i64)],
        in_doubt: &mut bool,
    ) -> Result<Imported, StatementError> {
        let mut connection = self.take_connection().await?;
        let imported = self.import_on(&mut connection, events, parts, in_doubt).await?;
        self.connection = Some(connection);
        Ok(imported)
    }

    async fn import_on(
        &mut self,
        connection: &mut PgConnection,
        events: &[RecordedEvent],
        parts: &[(StreamAppend, i64)],
        in_doubt: &mut bool,
    ) -> Result<Imported, StatementError> {
        let patience = self.connector.patience;
        answered(patience, sqlx::raw_sql("BEGIN; SELECT FROM head FOR UPDATE").execute(&mut *connection)).await?;
        let ends = events.first().zip(events.last());
        if *in_doubt
            && let Some((first, last)) = ends
            && stands(connection, &self.connector, (first.position, first.id)).await?
        {
            // The commit whose answer got lost went through.
            answered(patience, sqlx::raw_sql("ROLLBACK").execute(&mut *connection)).await?;
            self.head.advance(last.position);
            return Ok(Ok(last.position));
        }
        let question = Question::of_parts(parts.iter().map(|(part, _)| part), &self.kinds);
        let facts = question.ask(connection, &self.connector).await?;
        self.learn(&facts.kinds);
        let (rows, head) = match plan_import(events, parts, &facts, &self.kinds) {
            Ok((rows, head)) if !rows.is_empty() => (rows, head),
            nothing_to_write => {
                answered(patience, sqlx::raw_sql("ROLLBACK").execute(&mut *connection)).await?;
                self.head.advance(facts.head);
                return Ok(nothing_to_write.map(|_| facts.head));
            }
        };
        if !rows.write(connection, &self.connector, &head).await? {
            return Err(sqlx::Error::Protocol("the head moved under its lock".to_owned()).into());
        }
        if let Err(error) = answered(patience, sqlx::raw_sql("COMMIT").execute(&mut *connection)).await {
            *in_doubt |= error.is_lost();
            return Err(error);
        }
        // What was remembered is of an older head.
        self.memory = None;
        self.count(&rows, &head);
        Ok(Ok(head.to))
    }
}

fn import_error(error: StatementError) -> ImportError {
    match error.into_append() {
        AppendError::StorageFull(source) => ImportError::StorageFull(source),
        AppendError::Storage(source) => ImportError::Storage(source),
        AppendError::Unavailable(source) => ImportError::Unavailable(source),
        other => ImportError::Storage(Arc::new(other)),
    }
}

fn is_sound(event: &RecordedEvent) -> bool {
    check_recorded(event).is_ok()
}

/// Events of one stream, recorded at the same time, as an append would have written them.
fn parts_of(events: &[RecordedEvent]) -> Vec<(StreamAppend, i64)> {
    let same = |a: &RecordedEvent, b: &RecordedEvent| a.stream == b.stream && a.recorded_at == b.recorded_at;
    let part = |events: &[RecordedEvent]| {
        let stream = events.first().map_or_else(|| StreamId::from(""), |event| event.stream.clone());
        let recorded_at = events.first().map_or(0, |event| event.recorded_at.timestamp_micros());
        let events = events.iter().map(new_event).collect();
        (StreamAppend { stream, expected: ExpectedVersion::Any, events }, recorded_at)
    };
    events.chunk_by(same).map(part).collect()
}

fn new_event(event: &RecordedEvent) -> NewEvent {
    NewEvent {
        id: event.id,
        event_type: event.event_type.to_string().into(),
        schema_version: event.schema_version,
        data: event.data.clone(),
        metadata: event.metadata.as_str().into(),
        occurred_at: event.occurred_at,
    }
}
