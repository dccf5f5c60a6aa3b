//! Which images of which page exist in memory, and which of them somebody still needs. No IO.
//!
//! A page's images are sorted by version. An image of version p that is followed by one of version n is needed while some
//! *boundary* lies in p..n. Boundaries are the pinned versions, the committed version and the versions of records in
//! flight or to come. An image that is followed but needed is written down in `superseded` under n, so that the end of a boundary b
//! looks only at images with n > b. The key n is always the version of the very next image: were it not, dropping what is
//! speculative would leave an entry that later takes a page's only image away (random SQL found that).

mod settle;

use super::table::PageTable;
use super::{Applied, Attachment, Poison, Resigned, Stats};
use crate::page::{PAGE_BYTES, PageHash, PageRef, index};
use crate::record::{PageImage, Record};
use base::{PageNo, Term, Version};
use bytes::Bytes;
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// One image of a page: the page as of `version`, until the next image. `None`: it is in the file.
#[derive(Debug, Clone)]
struct Image {
    version: Version,
    memory: Option<PageRef>,
}

/// All that is known in memory of one page. No image that fits a version means: it is in the file.
#[derive(Debug, Default)]
struct Slot {
    images: SmallVec<[Image; 1]>,
    /// What the file holds, if it was read or written lately.
    cached: Option<PageRef>,
}

/// Why a pin has ended before its owner let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PinEnd {
    /// It kept too much.
    TooOld,
    /// Its version was dropped.
    LeadershipLost,
}

/// A version that somebody reads.
///
/// A connection keeps its pin from one transaction to the next, *idle*: if nothing was committed in between, it takes it up
/// again without a lock. A commit removes the idle pins of older versions.
#[derive(Debug)]
pub(crate) struct Pin {
    pub(crate) version: Version,
    pub(crate) pages: u32,
    id: u64,
    state: AtomicU8,
}

const IN_USE: u8 = 0;
const TOO_OLD: u8 = 1;
const LEADERSHIP_LOST: u8 = 2;
const IDLE: u8 = 3;

impl Pin {
    /// Whether and why the version is no longer kept. To be asked under the lock of the versions.
    pub(crate) fn ended(&self) -> Option<PinEnd> {
        match self.state.load(Ordering::Acquire) {
            TOO_OLD => Some(PinEnd::TooOld),
            LEADERSHIP_LOST => Some(PinEnd::LeadershipLost),
            _ => None,
        }
    }

    /// Keeps the pin, but lets the next commit remove it.
    pub(super) fn rest(&self) -> bool {
        self.state.compare_exchange(IN_USE, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Uses an idle pin again; false if it was removed.
    pub(super) fn resume(&self) -> bool {
        self.state.compare_exchange(IDLE, IN_USE, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Ends the pin if it is idle.
    fn end_if_idle(&self) -> bool {
        self.state.compare_exchange(IDLE, TOO_OLD, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn end(&self, why: PinEnd) {
        let state = if why == PinEnd::TooOld { TOO_OLD } else { LEADERSHIP_LOST };
        self.state.store(state, Ordering::Release);
    }
}

/// Where a page is.
#[derive(Debug)]
pub(crate) enum Found {
    /// In memory.
    Memory(PageRef),
    /// In the file, with this hash.
    File(PageHash),
}

/// More pages than this are put together in one record only if one commit has them.
const MERGED_PAGES_MAX: usize = 1024;

/// Commits that will be one record, or the record that is in flight.
#[derive(Debug)]
struct Change {
    version: Version,
    db_pages: u32,
    /// All pages that got an image, also those that a later commit of the same record cut off.
    pages: Vec<PageNo>,
    /// Whether its last commit is not to be taken yet.
    held: bool,
}

/// The state behind the lock of a page store.
#[derive(Debug)]
pub(crate) struct Versions {
    slots: PageTable<Slot>,
    /// The hashes of the pages in the file.
    pub(super) sums: Vec<PageHash>,
    committed: (Version, u32),
    head: (Version, u32),
    leading: Option<Term>,
    /// A random number for the time since the last [`lead`](Self::lead).
    reign: u64,
    /// The attachment that holds SQLite's RESERVED lock.
    writer: Option<u64>,
    /// Commits not yet taken, by the record they will be in.
    tail: VecDeque<Change>,
    /// Records taken and not yet applied.
    taken: VecDeque<Change>,
    pins: BTreeMap<(Version, u64), Arc<Pin>>,
    attachments: BTreeMap<u64, Arc<Attachment>>,
    next_id: u64,
    /// (followed by, page) -> version of the image that is followed.
    superseded: BTreeMap<(Version, PageNo), Version>,
    old_images_max: usize,
    /// Pages whose newest image is in memory.
    dirty: BTreeSet<PageNo>,
    /// Pages in `cached`, oldest first.
    cached: VecDeque<PageNo>,
    cached_max: usize,
    /// The version that a checkpoint is writing.
    held: Option<Version>,
    unsettled: Option<Version>,
}

impl Versions {
    pub(super) fn new(at: (Version, u32), sums: Vec<PageHash>, old_bytes_max: u64, cache_bytes_max: u64) -> Self {
        let images = |bytes: u64| usize::try_from(bytes / PAGE_BYTES).unwrap_or(usize::MAX);
        Self {
            slots: PageTable::new(),
            sums,
            committed: at,
            head: at,
            leading: None,
            reign: 0,
            writer: None,
            tail: VecDeque::new(),
            taken: VecDeque::new(),
            pins: BTreeMap::new(),
            attachments: BTreeMap::new(),
            next_id: 1,
            superseded: BTreeMap::new(),
            old_images_max: images(old_bytes_max),
            dirty: BTreeSet::new(),
            cached: VecDeque::new(),
            cached_max: images(cache_bytes_max),
            held: None,
            unsettled: None,
        }
    }

    pub(crate) fn committed(&self) -> Version {
        self.committed.0
    }

    pub(crate) fn head(&self) -> Version {
        self.head.0
    }

    pub(super) fn head_pages(&self) -> u32 {
        self.head.1
    }

    pub(crate) fn committed_pages(&self) -> u32 {
        self.committed.1
    }

    pub(crate) fn overlay_bytes(&self) -> u64 {
        bytes(self.dirty.len())
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            committed: self.committed.0,
            head: self.head.0,
            checkpoint: Version::default(),
            pages: self.committed.1,
            overlay_bytes: self.overlay_bytes(),
            old_versions_bytes: bytes(self.superseded.len()),
            cache_bytes: bytes(self.cached.len()),
            pending_bytes: bytes(self.tail.iter().map(|c| c.pages.len()).sum()),
            pins: self.pins.len(),
            corrupt_pages: 0,
        }
    }

    // ---- looking up ----

    /// Where the image of a page in a version is. The version must be a boundary or the head.
    pub(crate) fn find(&self, page: PageNo, version: Version) -> Found {
        if let Some(slot) = self.slots.get(page) {
            match slot.images.iter().rev().find(|image| image.version <= version) {
                Some(Image { memory: Some(memory), .. }) => return Found::Memory(Arc::clone(memory)),
                _ => {
                    if let Some(cached) = &slot.cached {
                        return Found::Memory(Arc::clone(cached));
                    }
                }
            }
        }
        Found::File(self.sums.get(index(page)).copied().unwrap_or_default())
    }

    /// As [`find`](Self::find), but what is in the file is said to be there even if a copy is in memory.
    pub(super) fn find_stored(&self, page: PageNo, version: Version) -> Found {
        let image =
            self.slots.get(page).and_then(|slot| slot.images.iter().rev().find(|image| image.version <= version));
        match image {
            Some(Image { memory: Some(memory), .. }) => Found::Memory(Arc::clone(memory)),
            _ => Found::File(self.sums.get(index(page)).copied().unwrap_or_default()),
        }
    }

    /// Keeps a copy of what the file holds, and lets older copies go if there are too many.
    pub(super) fn cache(&mut self, page: PageNo, copy: PageRef) {
        if self.cached_max == 0 {
            return;
        }
        if let Some(slot) = self.slots.entry(page)
            && slot.cached.replace(copy).is_none()
        {
            self.cached.push_back(page);
        }
        while self.cached.len() > self.cached_max {
            let oldest = self.cached.pop_front();
            if let Some(slot) = oldest.and_then(|page| self.slots.get_mut(page)) {
                slot.cached = None;
            }
        }
    }

    // ---- boundaries ----

    fn needed(&self, from: Version, until: Version) -> bool {
        let inside = |v: Version| from <= v && v < until;
        inside(self.committed.0)
            || self.held.is_some_and(inside)
            || self.taken.iter().any(|record| inside(record.version))
            // The last one's version is the head, or becomes it.
            || self.tail.iter().rev().skip(1).any(|record| inside(record.version))
            || self.pins.range((from, 0)..(until, 0)).next().is_some()
    }

    pub(super) fn pin(&mut self, (version, pages): (Version, u32)) -> Arc<Pin> {
        let id = self.new_id();
        let pin = Arc::new(Pin { version, pages, id, state: AtomicU8::new(IN_USE) });
        self.pins.insert((version, id), Arc::clone(&pin));
        pin
    }

    pub(super) fn pin_committed(&mut self) -> Arc<Pin> {
        self.pin(self.committed)
    }

    pub(super) fn pin_head(&mut self) -> Arc<Pin> {
        self.pin(self.head)
    }

    pub(super) fn unpin(&mut self, pin: &Pin) {
        if self.pins.remove(&(pin.version, pin.id)).is_some() {
            self.boundary_ended(pin.version);
        }
    }

    /// Forgets the images that only this boundary needed. To be called when it is no longer one.
    fn boundary_ended(&mut self, boundary: Version) {
        if self.superseded.is_empty() {
            return;
        }
        let candidates: SmallVec<[(Version, PageNo, Version); 16]> = self
            .superseded
            .range((boundary.next(), PageNo(0))..)
            .filter(|(_, version)| **version <= boundary)
            .map(|((until, page), version)| (*until, *page, *version))
            .collect();
        for (until, page, version) in candidates {
            if !self.needed(version, until) {
                self.superseded.remove(&(until, page));
                self.forget_image(page, version, until);
            }
        }
    }

    /// Forgets an image that is followed by one of `until`; the one before it, if there is one, is followed by that now.
    fn forget_image(&mut self, page: PageNo, version: Version, until: Version) {
        if let Some(before) = self.superseded.remove(&(version, page)) {
            self.superseded.insert((until, page), before);
        }
        if let Some(slot) = self.slots.get_mut(page) {
            slot.images.retain(|image| image.version != version);
            tidy(slot);
        }
    }

    /// Ends the oldest readers until the old versions fit their limit.
    fn end_old_readers(&mut self) {
        while self.superseded.len() > self.old_images_max {
            let Some((&key, pin)) = self.pins.first_key_value() else { return };
            if key.0 >= self.committed.0 {
                return;
            }
            pin.end(PinEnd::TooOld);
            self.pins.remove(&key);
            self.boundary_ended(key.0);
        }
    }

    /// Ends all readers of versions before this one. Only for the case that their pages cannot be kept.
    pub(super) fn end_readers_before(&mut self, version: Version) {
        while let Some((&key, pin)) = self.pins.first_key_value() {
            if key.0 >= version {
                return;
            }
            pin.end(PinEnd::TooOld);
            self.pins.remove(&key);
            self.boundary_ended(key.0);
        }
    }

    // ---- new versions ----

    fn push(&mut self, page: PageNo, version: Version, image: PageRef) {
        let last = self.slots.get(page).and_then(|slot| slot.images.last()).map(|image| image.version);
        let keep = last.is_some_and(|last| self.needed(last, version));
        if let Some(last) = last {
            if keep {
                self.superseded.insert((version, page), last);
            } else {
                self.forget_image(page, last, version);
            }
        }
        let Some(slot) = self.slots.entry(page) else { return };
        slot.images.push(Image { version, memory: Some(image) });
        self.dirty.insert(page);
    }

    fn commit(&mut self, to: (Version, u32)) {
        let before = std::mem::replace(&mut self.committed, to).0;
        let idle: SmallVec<[(Version, u64); 16]> =
            self.pins.range(..(to.0, 0)).filter_map(|(key, pin)| pin.end_if_idle().then_some(*key)).collect();
        for key in idle {
            self.pins.remove(&key);
            if key.0 != before {
                self.boundary_ended(key.0);
            }
        }
        self.boundary_ended(before);
        self.end_old_readers();
    }

    pub(super) fn lead(&mut self, term: Term) -> Resigned {
        let resigned = self.resign();
        self.leading = Some(term);
        self.reign = rt::entropy::u64().max(1);
        resigned
    }

    pub(super) fn resign(&mut self) -> Resigned {
        self.leading = None;
        self.writer = None;
        let committed = self.committed.0;
        let changes = std::mem::take(&mut self.taken).into_iter().chain(std::mem::take(&mut self.tail));
        let mut pages = BTreeSet::new();
        for change in changes {
            pages.extend(change.pages);
        }
        for page in pages {
            if let Some(slot) = self.slots.get_mut(page) {
                for image in slot.images.iter().filter(|image| image.version > committed) {
                    self.superseded.remove(&(image.version, page));
                }
                slot.images.retain(|image| image.version <= committed);
                if slot.images.last().is_none_or(|image| image.memory.is_none()) {
                    self.dirty.remove(&page);
                }
                tidy(slot);
            }
        }
        let dropped = self.head.0.0 - committed.0;
        self.head = self.committed;
        let late = self.pins.split_off(&(committed.next(), 0));
        for pin in late.values() {
            pin.end(PinEnd::LeadershipLost);
        }
        let mut poisoned = 0;
        for attachment in self.attachments.values().filter(|a| a.newest_seen() > committed) {
            attachment.poison(Poison::LeadershipLost);
            poisoned += 1;
        }
        Resigned { committed, dropped, poisoned }
    }

    pub(super) fn next_record(&mut self) -> Option<Record> {
        let term = self.leading?;
        let Change { version, db_pages, pages, .. } = self.tail.pop_front_if(|change| !change.held)?;
        let base = self.taken.back().map_or(self.committed.0, |record| record.version);
        let numbers: BTreeSet<PageNo> = pages.into_iter().collect();
        let pages = numbers
            .range(..=PageNo(db_pages))
            .filter_map(|&number| match self.find(number, version) {
                Found::Memory(image) => Some(PageImage { number, image }),
                Found::File(_) => None,
            })
            .collect();
        self.taken.push_back(Change { version, db_pages, pages: numbers.into_iter().collect(), held: false });
        Some(Record { term, base, version, reign: self.reign, db_pages, pages, extra: Bytes::new() })
    }

    /// Takes a record of this node's own leadership, whose pages are here already.
    pub(super) fn apply_own(&mut self, head: &Record) -> bool {
        let own = self.leading == Some(head.term)
            && self.reign == head.reign
            && head.base == self.committed.0
            && self.taken.front().is_some_and(|record| record.version == head.version);
        if own && let Some(record) = self.taken.pop_front() {
            self.commit((record.version, record.db_pages));
        }
        own
    }

    pub(super) fn apply(&mut self, record: &Record, entry_term: Term) -> Applied {
        if record.term != entry_term || record.base != self.committed.0 {
            return Applied::Void;
        }
        if self.apply_own(record) {
            return Applied::Confirmed(record.version);
        }
        if self.head != self.committed {
            // Not this node's record: what its connections have built upon the committed version is void.
            tracing::warn!(version = %record.version, "a record of another origin came before what was written here");
            self.resign();
        }
        for page in &record.pages {
            self.push(page.number, record.version, Arc::clone(&page.image));
        }
        self.head = (record.version, record.db_pages);
        self.commit(self.head);
        Applied::Done(record.version)
    }

    // ---- connections ----

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn attach(&mut self) -> Arc<Attachment> {
        let attachment = Arc::new(Attachment::new(self.new_id()));
        self.attachments.insert(attachment.id(), Arc::clone(&attachment));
        attachment
    }

    pub(super) fn detach(&mut self, attachment: &Attachment) {
        self.release_writer(attachment);
        if attachment.holds()
            && let Some(version) = self.tail.back().filter(|last| last.held).map(|last| last.version)
        {
            self.let_go_of(version);
        }
        self.attachments.remove(&attachment.id());
    }

    pub(super) fn leading(&self) -> bool {
        self.leading.is_some()
    }

    pub(super) fn leading_term(&self) -> Option<Term> {
        self.leading
    }

    /// The number of the time it leads; 0 if it does not.
    pub(super) fn reign(&self) -> u64 {
        if self.leading() { self.reign } else { 0 }
    }

    pub(super) fn writer(&self) -> Option<u64> {
        self.writer
    }

    pub(super) fn take_writer(&mut self, attachment: &Attachment) {
        self.writer = Some(attachment.id());
    }

    pub(super) fn release_writer(&mut self, attachment: &Attachment) {
        if self.writer == Some(attachment.id()) {
            self.writer = None;
        }
    }

    /// Makes the next speculative version. A held one is in no record before [`let_go_of`](Self::let_go_of).
    pub(super) fn publish(&mut self, changes: Vec<(PageNo, PageRef)>, db_pages: u32, held: bool) -> Version {
        let version = self.head.0.next();
        let fits = |last: &Change| !held && last.pages.len() + changes.len() <= MERGED_PAGES_MAX;
        if !self.tail.back().is_some_and(fits) {
            // Before the images are pushed: the versions at which records end are boundaries.
            self.tail.push_back(Change { version, db_pages, pages: Vec::new(), held });
        }
        if let Some(change) = self.tail.back_mut() {
            change.pages.extend(changes.iter().map(|(page, _)| *page));
            (change.version, change.db_pages) = (version, db_pages);
        }
        for (page, image) in changes {
            self.push(page, version, image);
        }
        self.head = (version, db_pages);
        self.end_old_readers();
        version
    }

    /// A held commit may be taken, with those before it if they fit.
    pub(super) fn let_go_of(&mut self, version: Version) {
        let Some(at) = self.tail.iter().position(|change| change.held && change.version == version) else { return };
        if let Some(change) = self.tail.get_mut(at) {
            change.held = false;
        }
        let pages = |at: usize| self.tail.get(at).map_or(usize::MAX, |change| change.pages.len());
        if let Some(before) = at.checked_sub(1)
            && pages(before).saturating_add(pages(at)) <= MERGED_PAGES_MAX
            && let Some(mut before) = self.tail.remove(before)
            && let Some(change) = self.tail.get_mut(at - 1)
        {
            before.pages.append(&mut change.pages);
            change.pages = before.pages;
            self.boundary_ended(before.version);
        }
    }
}

/// Images that begin with "it is in the file" need not be written down.
fn tidy(slot: &mut Slot) {
    while slot.images.first().is_some_and(|image| image.memory.is_none()) {
        slot.images.remove(0);
    }
}

fn bytes(pages: usize) -> u64 {
    u64::try_from(pages).unwrap_or(u64::MAX).saturating_mul(PAGE_BYTES)
}
