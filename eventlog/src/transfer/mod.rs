//! Whole logs on their way out of Daybook and back: exports, the lines of an export read back, and copies of one log
//! into another. Files, their names and what a person is told are the caller's.

mod copy;
mod export;
mod filler;
mod lines;
mod parquet;

pub use self::{
    copy::{Copied, CopyError, copy},
    export::{Export, ExportError, Exported, Format},
    filler::{Filled, Filler},
    lines::{Batch, Source, SourceError},
};
