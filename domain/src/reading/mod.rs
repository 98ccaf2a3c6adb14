//! Reading: a reader's sessions and profile, and what the calendar makes of them.
//!
//! The deciders and events say what happened; [`calendar`] and [`mod@streak`] are the arithmetic that statistics are
//! made of. Statistics themselves are not here: they are read models.

pub mod calendar;
mod command;
mod decider;
mod events;
mod reader;
pub mod streak;
mod values;

use uuid::Uuid;

pub use calendar::{COUNTED_HOURS_MAX, Share, local_date, shares};
pub use command::{OfflineSession, ReaderCommand, ReaderRejection};
pub use decider::ReaderDecider;
pub use events::{
    ReaderEvent, ReaderProfileChanged, ReadingSessionEnded, ReadingSessionStarted, ReadingSessionUpdated,
};
pub use reader::{ActiveSession, Profile, Reader, Situation};
pub use streak::{Streak, streak};
pub use values::{AboveHundred, DeviceType, EndReason, Percent, UnknownDeviceType};

/// Where the ids of offline sessions live. Changing it would record every repeated session a second time.
const OFFLINE_SESSIONS: Uuid = Uuid::from_u128(0x3ec8_8788_204e_48df_bb9d_ff93_8663_7d24);

/// The stream of one reader: `reader-{uuid}`.
#[must_use]
pub fn stream(user: Uuid) -> String {
    format!("reader-{user}")
}

/// The session that `user`'s device calls `client_id`: the same answer for ever, so that a repeat is recognised.
#[must_use]
pub fn offline_session_id(user: Uuid, client_id: Uuid) -> Uuid {
    let name = [user.into_bytes(), client_id.into_bytes()].concat();
    Uuid::new_v5(&OFFLINE_SESSIONS, &name)
}
