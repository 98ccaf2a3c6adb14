//! Appends that are written together.

use crate::{
    Answer, Append, Appended, RequestKey, StreamAppend,
    queue::{Reply, Room},
};

/// An append of a group, without its answers.
pub(super) struct Waiting {
    pub(super) parts: Vec<StreamAppend>,
    pub(super) key: Option<RequestKey>,
}

/// The answer to be kept with an append: to be made, or made for what was appended so.
#[derive(Default)]
pub(super) struct Promise {
    pub(super) make: Option<Make>,
    pub(super) made: Option<(Appended, Answer)>,
}

type Make = Box<dyn FnOnce(&Appended) -> Answer + Send>;

/// What is written together.
#[derive(Default)]
pub(super) struct Group {
    pub(super) appends: Vec<Waiting>,
    pub(super) promises: Vec<Promise>,
    pub(super) replies: Vec<(Reply, Room)>,
    pub(super) events: usize,
    pub(super) bytes: usize,
}

impl Group {
    pub(super) fn take(&mut self, append: Append, reply: Reply, room: Room) {
        self.events += append.events();
        self.bytes += append.bytes();
        let Append { parts, remember } = append;
        let (key, make) = remember.map(|remember| (remember.key, remember.answer)).unzip();
        self.appends.push(Waiting { parts, key });
        self.promises.push(Promise { make, made: None });
        self.replies.push((reply, room));
    }
}
