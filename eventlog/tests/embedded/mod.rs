//! What only the embedded engine promises: about its folder, its file and its disk.

mod child;
mod file;
mod full_disk;
mod tampering;
mod verify;
