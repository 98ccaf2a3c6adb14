//! Verification of a log through its reads, on any engine: every event against the chain of checksums, in bounded
//! memory. A file can be looked at more closely: [`verify`](crate::verify).

use std::ops::ControlFlow;

use crate::{
    Anchor, Damage, EventRef, Filter, Finding, Log, Position, ReadError, Scan, Verified,
    checksum::{Checksums, Content},
    finding::{Findings, Part},
};

/// Streams without all of their versions that are told one by one.
const STREAMS_TOLD_MAX: u32 = 8;

impl Log {
    /// Verifies the log as it is at this moment, also while others go on writing: positions and versions have no gaps,
    /// each event fits its checksum, and the head is that of the last event. Reads everything.
    ///
    /// `expected` is an anchor that was written down earlier: another event at its position is a finding. `progress` is
    /// called now and then with the position up to which events were checked and the last position.
    ///
    /// # Errors
    /// [`ReadError`]; damage is none, but for what cannot even be read.
    pub async fn verify(
        &self,
        expected: Option<Anchor>,
        mut progress: impl FnMut(Position, Position) + Send,
    ) -> Result<Verified, ReadError> {
        let head = self.anchor().await?;
        let mut findings = Findings::default();
        findings.begin(Part::Events);
        let (mut pass, mut events) = (Pass::new(), 0);
        while pass.reached < head.position {
            let scan = Scan::forward(pass.reached, head.position, Filter::all());
            let (read, seen) = self.fold_until(scan, pass, Pass::see).await?;
            pass = self.compared(read, seen, &mut findings).await?;
            events += pass.events;
            progress(pass.reached, head.position);
        }
        findings.begin(Part::Ends);
        self.ends((head, expected), &mut findings).await?;
        findings.begin(Part::Streams);
        for stream in self.broken_streams(STREAMS_TOLD_MAX).await? {
            let missing = Damage::Index { table: "of versions", why: "versions of the stream are missing".to_owned() };
            findings.add(Finding::of(missing).in_stream(Some(stream), None));
        }
        let (findings, more_findings) = findings.into_parts();
        Ok(Verified { head: head.position, checksum: head.checksum, events, findings, more_findings })
    }

    /// Compares what a pass has computed of the part of the log up to `seen` with what is stored, and prepares it for
    /// the next part.
    async fn compared(&self, mut pass: Pass, seen: Position, findings: &mut Findings) -> Result<Pass, ReadError> {
        let changed = self.first_changed(&pass.computed).await?;
        let end = changed.map_or(seen, |changed| changed.position);
        if changed.is_none() && pass.next <= seen {
            pass.misses(pass.next, seen);
        }
        for finding in pass.findings.drain(..).filter(|finding| finding.positions.is_none_or(|at| at.0 <= end)) {
            findings.add(finding);
        }
        if let Some(changed) = changed {
            let event = self.event_at(changed.position).await?;
            let (stream, version) = event.map(|event| (event.stream, event.version)).unzip();
            findings.add(Finding::at(changed.position, Damage::Changed).in_stream(stream, version));
            // Read again from here on.
            pass.recorded_at = i64::MIN;
        }
        pass.go_on(end, self.anchor_at(end).await?);
        Ok(pass)
    }

    /// The first event whose stored checksum is not the computed one. From there on none is, as each is made from the one
    /// before: the place is found by halving.
    async fn first_changed(&self, computed: &[Anchor]) -> Result<Option<Anchor>, ReadError> {
        let Some(last) = computed.last() else { return Ok(None) };
        if self.anchor_at(last.position).await? == Some(*last) {
            return Ok(None);
        }
        let (mut low, mut high) = (0, computed.len() - 1);
        while low < high {
            let middle = usize::midpoint(low, high);
            let Some(anchor) = computed.get(middle) else { break };
            if self.anchor_at(anchor.position).await? == Some(*anchor) { low = middle + 1 } else { high = middle }
        }
        Ok(computed.get(low).copied())
    }

    /// The head, and what was written down elsewhere, against what stands there.
    async fn ends(&self, ends: (Anchor, Option<Anchor>), findings: &mut Findings) -> Result<(), ReadError> {
        let (head, expected) = ends;
        if self.anchor_at(head.position).await? != Some(head) {
            findings.add(Finding::of(Damage::Head(format!("no event at {} has its checksum", head.position))));
        }
        if let Some(expected) = expected {
            let found = self.anchor_at(expected.position).await?.map(|found| found.checksum);
            if found != Some(expected.checksum) {
                let damage = Damage::Anchor { expected: expected.checksum, found };
                findings.add(Finding::at(expected.position, damage));
            }
        }
        Ok(())
    }
}

/// What is known while the events are read, in order.
struct Pass {
    /// Everything up to here was checked.
    reached: Position,
    /// The position that comes next.
    next: Position,
    /// The checksum of the event in front of it, if there is one.
    before: Option<u64>,
    recorded_at: i64,
    checksums: Checksums,
    /// Of the events of one part of the log.
    computed: Vec<Anchor>,
    /// Events that were looked at in vain, for want of the one in front of them.
    unchecked: Vec<Position>,
    findings: Vec<Finding>,
    /// How many events the last part had.
    events: u64,
}

impl Pass {
    fn new() -> Self {
        Self {
            reached: Position::START,
            next: Position::new(1),
            before: Some(0),
            recorded_at: i64::MIN,
            checksums: Checksums::new(),
            computed: Vec::new(),
            unchecked: Vec::new(),
            findings: Vec::new(),
            events: 0,
        }
    }

    fn see(&mut self, event: &EventRef<'_>) -> ControlFlow<()> {
        if event.position > self.next {
            self.misses(self.next, event.position.before());
        }
        if event.recorded_at < self.recorded_at {
            self.findings.push(Finding::at(event.position, Damage::RecordedBack));
        }
        self.recorded_at = event.recorded_at;
        self.next = event.position.plus(1);
        let Some(before) = self.before else {
            // What is stored there is what the next one goes on from.
            self.unchecked.push(event.position);
            return ControlFlow::Break(());
        };
        let checksum = self.checksums.of(&Content {
            before,
            position: event.position.get(),
            version: event.version,
            schema_version: event.schema_version,
            occurred_at: event.occurred_at,
            recorded_at: event.recorded_at,
            id: event.id.as_bytes(),
            stream: event.stream.as_str().as_bytes(),
            event_type: event.event_type.as_bytes(),
            metadata: event.metadata.as_bytes(),
            data: event.data.as_bytes(),
        });
        self.before = Some(checksum);
        self.computed.push(Anchor { position: event.position, checksum });
        ControlFlow::Continue(())
    }

    fn misses(&mut self, first: Position, last: Position) {
        self.findings.push(Finding::between(first, last, Damage::Missing));
        self.before = None;
    }

    /// Everything up to `end` is done; `stored` is what stands there, which one changed event must not make doubtful
    /// for those after it.
    fn go_on(&mut self, end: Position, stored: Option<Anchor>) {
        let seen = self.computed.iter().map(|event| event.position).chain(self.unchecked.drain(..));
        self.events = seen.filter(|position| *position <= end).count() as u64;
        self.computed.clear();
        self.before = stored.map(|stored| stored.checksum);
        (self.reached, self.next) = (end, end.plus(1));
    }
}
