//! The terminals of all shops, as this process knows them: who sells is recognised in memory.
//!
//! The register is folded from the log's events about terminals. A task follows the log; whoever changes a terminal
//! brings the register up to that change before it is answered, and a terminal that is not recognised is looked for
//! once more after everything that any node has answered by then. So a check takes no lock of a stream and, for a
//! terminal that is recognised, reads nothing.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use daybook_domain::event::{DecodeError, Event, Stored as _};
use daybook_domain::registry::{RegistryEvent, TerminalAssigned, TerminalReleased};
use daybook_domain::shop::{KeyDigest, ShopEvent, ShopId, TerminalChanged, TerminalRegistered};
use daybook_eventlog::{Filter, Log, Position, ReadError};
use daybook_projections::supervised;
use tokio::sync::Mutex;

use super::terminal_key;

/// The events that say which terminals may sell.
const TYPES: [&str; 4] =
    [TerminalAssigned::TYPE, TerminalReleased::TYPE, TerminalRegistered::TYPE, TerminalChanged::TYPE];
/// Events of one page of the log.
const PAGE_EVENTS: usize = 1_024;
/// The pause between two looks at a log that grows.
const FOLLOW_EVERY: Duration = Duration::from_millis(25);
/// The pause after a look that failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A terminal that may work, and what it was recognised by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Its serial number.
    pub serial: String,
    /// The shop it is active in.
    pub shop_id: ShopId,
    /// What its key was checked against; none when it has no key.
    pub key: Option<KeyDigest>,
}

/// Why a request is no terminal's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TerminalRefused {
    /// It names no serial number.
    #[error("the request names no terminal")]
    NoSerial,
    /// No terminal with that serial number is active in any shop.
    #[error("the terminal is not active in any shop")]
    NotActive,
    /// The terminal has a key, and the request has another one or none.
    #[error("the terminal's key is missing or wrong")]
    WrongKey,
}

/// The register could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum TerminalsError {
    /// The log could not be read.
    #[error("the terminals could not be read from the log")]
    Read(#[source] ReadError),
    /// The log holds an event about a terminal that this build cannot read.
    #[error("an event about a terminal could not be read")]
    Decode(#[source] DecodeError),
}

/// The terminals of all shops. A clone is a reference to the same register.
#[derive(Clone)]
pub struct Terminals(Arc<Shared>);

struct Shared {
    log: Log,
    register: RwLock<Register>,
    /// Up to where the register was folded; whoever brings it further holds the lock.
    applied: Mutex<Position>,
}

impl Terminals {
    /// The terminals in `log`. A task of the current runtime follows it until it is closed.
    pub fn follow(log: Log) -> Self {
        let terminals =
            Self(Arc::new(Shared { log, register: RwLock::default(), applied: Mutex::new(Position::START) }));
        let followed = terminals.clone();
        tokio::spawn(supervised("terminals", move || followed.clone().keep_up()));
        terminals
    }

    /// The terminal with this serial number, if it may work and `key` is its own.
    ///
    /// # Errors
    /// [`TerminalRefused`], as far as the register knows.
    pub fn check(&self, serial: Option<&str>, key: Option<&str>) -> Result<Terminal, TerminalRefused> {
        let register = self.0.register.read().unwrap_or_else(PoisonError::into_inner);
        let checked = serial.ok_or(TerminalRefused::NoSerial).and_then(|serial| register.check(serial, key));
        let outcome = if checked.is_ok() { "recognised" } else { "refused" };
        metrics::counter!("daybook_terminal_checks_total", "outcome" => outcome).increment(1);
        checked
    }

    /// Brings the register up to everything that any node has answered before now.
    ///
    /// # Errors
    /// As [`reach`](Self::reach).
    pub async fn catch_up(&self) -> Result<(), TerminalsError> {
        let head = self.0.log.stored_head().await.map_err(TerminalsError::Read)?;
        self.reach(head).await
    }

    /// Brings the register up to `position`, if it is not there yet.
    ///
    /// # Errors
    /// [`TerminalsError`] when the log cannot be read, or holds an event that this build cannot read.
    pub async fn reach(&self, position: Position) -> Result<(), TerminalsError> {
        let mut applied = self.0.applied.lock().await;
        let filter = Filter::types(TYPES);
        while *applied < position {
            let read = self.0.log.read_all_with(*applied, PAGE_EVENTS, &filter, |event| {
                Event::decode(event.event_type, event.schema_version, event.data.as_bytes())
            });
            let page = read.await.map_err(TerminalsError::Read)?;
            let events: Vec<Option<Event>> =
                page.events.into_iter().collect::<Result<_, _>>().map_err(TerminalsError::Decode)?;
            let mut register = self.0.register.write().unwrap_or_else(PoisonError::into_inner);
            events.iter().flatten().for_each(|event| register.apply(event));
            *applied = page.next_after;
        }
        Ok(())
    }

    async fn keep_up(self) {
        let mut head = self.0.log.watch_head();
        loop {
            let position = *head.borrow_and_update();
            let pause = match self.reach(position).await {
                Ok(()) => FOLLOW_EVERY,
                Err(TerminalsError::Read(ReadError::Closed)) => return,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "changes of terminals could not be read");
                    // The head stays unseen, so that the next look comes without a further event.
                    head.mark_changed();
                    RETRY_AFTER
                }
            };
            // Sales move the head all the time: one look serves many of them.
            tokio::time::sleep(pause).await;
            if head.changed().await.is_err() {
                return;
            }
        }
    }
}

/// The terminals by serial number.
#[derive(Default)]
struct Register(HashMap<String, Known>);

/// What is known of one terminal.
#[derive(Default)]
struct Known {
    /// The shop that the terminal belongs to now.
    shop_id: Option<ShopId>,
    /// In each shop that it was ever registered in: its key, and whether it may sell.
    places: HashMap<ShopId, Place>,
}

#[derive(Default)]
struct Place {
    key: Option<KeyDigest>,
    active: bool,
}

impl Register {
    fn check(&self, serial: &str, key: Option<&str>) -> Result<Terminal, TerminalRefused> {
        let known = self.0.get(serial).ok_or(TerminalRefused::NotActive)?;
        let shop_id = known.shop_id.ok_or(TerminalRefused::NotActive)?;
        let place = known.places.get(&shop_id).filter(|place| place.active).ok_or(TerminalRefused::NotActive)?;
        match (&place.key, key) {
            (None, _) => {}
            (Some(kept), Some(key)) if terminal_key::matches(kept, key) => {}
            (Some(_), _) => return Err(TerminalRefused::WrongKey),
        }
        Ok(Terminal { serial: serial.to_owned(), shop_id, key: place.key.clone() })
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Registry(RegistryEvent::TerminalAssigned(assigned)) => {
                self.known(&assigned.serial).shop_id = Some(assigned.shop_id);
            }
            Event::Registry(RegistryEvent::TerminalReleased(released)) => {
                let known = self.known(&released.serial);
                known.shop_id = known.shop_id.filter(|shop_id| *shop_id != released.shop_id);
            }
            Event::Shop(ShopEvent::TerminalRegistered(registered)) => {
                let place = Place { key: registered.key.clone(), active: true };
                self.known(&registered.serial).places.insert(registered.shop_id, place);
            }
            Event::Shop(ShopEvent::TerminalChanged(changed)) => {
                self.known(&changed.serial).places.entry(changed.shop_id).or_default().active = changed.active;
            }
            Event::Registry(_) | Event::Shop(_) | Event::Reader(_) | Event::Book(_) => {}
        }
    }

    fn known(&mut self, serial: &str) -> &mut Known {
        self.0.entry(serial.to_owned()).or_default()
    }
}
