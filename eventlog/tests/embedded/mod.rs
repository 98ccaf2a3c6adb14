//! What only the embedded engine promises: about its folder, its file and its disk.

mod backup;
mod child;
mod file;
mod full_disk;
mod import;
mod snapshots;
mod tampering;
mod verify;
mod verify_bytes;
mod verify_events;
mod verify_indexes;
