//! Bounds that hold whatever is in the log.

use uuid::Uuid;

use crate::{
    APPEND_EVENTS_MAX, Append, AppendError, EVENT_BYTES_MAX, EVENT_TYPE_BYTES_MAX, ImportError, RecordedEvent,
    STREAM_NAME_BYTES_MAX,
};

/// Refuses an append that no engine should see.
pub(crate) fn check_append(append: &Append) -> Result<(), AppendError> {
    if append.events() > APPEND_EVENTS_MAX || append.parts.len() > APPEND_EVENTS_MAX {
        return Err(AppendError::Invalid(format!("an append holds at most {APPEND_EVENTS_MAX} events")));
    }
    if let Some(id) = repeated_id(append) {
        return Err(AppendError::Invalid(format!("event id {id} occurs twice in one append")));
    }
    for part in &append.parts {
        // A part may be empty; its name counts all the same.
        check_name("a stream's name", part.stream.as_str(), STREAM_NAME_BYTES_MAX).map_err(AppendError::Invalid)?;
        for event in &part.events {
            check_event(event.id, &event.event_type, [&event.data, &event.metadata]).map_err(AppendError::Invalid)?;
        }
    }
    Ok(())
}

/// Refuses an import of more events than one call takes.
pub(crate) fn check_import_size(events: usize) -> Result<(), ImportError> {
    if events > APPEND_EVENTS_MAX { Err(ImportError::TooMany { events }) } else { Ok(()) }
}

/// What breaks a bound in an event that another log recorded, in words.
pub(crate) fn check_recorded(event: &RecordedEvent) -> Result<(), String> {
    check_name("a stream's name", event.stream.as_str(), STREAM_NAME_BYTES_MAX)?;
    check_event(event.id, &event.event_type, [&event.data, &event.metadata])
}

fn check_event(id: Uuid, event_type: &str, texts: [&str; 2]) -> Result<(), String> {
    check_name("an event type's name", event_type, EVENT_TYPE_BYTES_MAX)?;
    // JSON has no NUL bytes, and not every engine can keep them.
    if texts.iter().any(|text| text.contains('\0')) {
        return Err(format!("event {id} holds a NUL byte"));
    }
    let bytes = texts.map(str::len).iter().sum::<usize>();
    if bytes > EVENT_BYTES_MAX {
        return Err(format!("event {id} has {bytes} bytes, at most {EVENT_BYTES_MAX} are allowed"));
    }
    Ok(())
}

fn check_name(what: &str, name: &str, bytes_max: usize) -> Result<(), String> {
    match name.len() {
        bytes if bytes == 0 || bytes > bytes_max => Err(format!("{what} has 1 to {bytes_max} bytes, not {bytes}")),
        _ if name.contains('\0') => Err(format!("{what} holds a NUL byte")),
        _ => Ok(()),
    }
}

fn repeated_id(append: &Append) -> Option<Uuid> {
    let mut ids: Vec<Uuid> = append.parts.iter().flat_map(|part| &part.events).map(|event| event.id).collect();
    if ids.is_sorted_by(|a, b| a < b) {
        return None;
    }
    ids.sort_unstable();
    ids.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}
