//! What a checkpoint, or an installed snapshot, does to the images in memory.

use super::super::table::PageTable;
use super::{Image, Pin, Versions, tidy};
use crate::page::{PageHash, PageRef, index};
use base::{PageNo, Version};
use std::sync::Arc;

impl Versions {
    /// Pages from `from` on whose newest image is in memory, at most `most` of them.
    pub(in crate::page_store) fn dirty_from(&self, from: PageNo, most: usize) -> Vec<PageNo> {
        self.dirty.range(from..).take(most).copied().collect()
    }

    /// The image that a checkpoint of `version` writes, if it is not in the file.
    pub(in crate::page_store) fn to_write(&self, page: PageNo, version: Version) -> Option<(Version, PageRef)> {
        let slot = self.slots.get(page)?;
        let image = slot.images.iter().rev().find(|image| image.version <= version)?;
        Some((image.version, Arc::clone(image.memory.as_ref()?)))
    }

    /// Puts a page that is in the file in memory as of `version`, because a checkpoint is going to overwrite it there.
    pub(in crate::page_store) fn shadow(&mut self, page: PageNo, version: Version, contents: PageRef) {
        let images = self.slots.get(page).map(|slot| slot.images.as_slice()).unwrap_or_default();
        let at = images.iter().position(|image| image.version > version).unwrap_or(images.len());
        let before = at.checked_sub(1).and_then(|before| images.get(before)).map(|image| image.version);
        let after = images.get(at).map(|image| image.version);
        let keep_before = before.is_some_and(|before| self.needed(before, version));
        let Some(slot) = self.slots.entry(page) else { return };
        if before == Some(version) {
            if let Some(image) = slot.images.iter_mut().find(|image| image.version == version) {
                image.memory = Some(contents);
            }
        } else {
            slot.images.insert(at, Image { version, memory: Some(contents) });
            match before {
                Some(before) if keep_before => drop(self.superseded.insert((version, page), before)),
                Some(before) => self.forget_image(page, before, version),
                None => {}
            }
        }
        match after {
            Some(after) => drop(self.superseded.insert((after, page), version)),
            None => drop(self.dirty.insert(page)),
        }
    }

    /// For whom the file's contents of a page must be kept when a checkpoint overwrites it as of `version`: the readers of
    /// the versions from the first up to the second.
    pub(in crate::page_store) fn to_preserve(&self, page: PageNo, version: Version) -> Option<(Version, Version)> {
        let images = self.slots.get(page).map(|slot| slot.images.as_slice()).unwrap_or_default();
        let in_file = images.iter().position(|image| image.memory.is_none());
        let (from, next) = match in_file {
            Some(at) => (images.get(at)?.version, images.get(at + 1)),
            None => (Version(0), images.first()),
        };
        let until = next.map_or(version, |image| image.version.min(version));
        let read = from < until && self.pins.range((from, 0)..(until, 0)).next().is_some();
        read.then_some((from, until))
    }

    /// Takes the file's contents of a page for those whom [`to_preserve`](Self::to_preserve) named.
    pub(in crate::page_store) fn preserve(
        &mut self,
        page: PageNo,
        (from, until): (Version, Version),
        contents: PageRef,
    ) {
        if !self.needed(from, until) {
            return;
        }
        let Some(slot) = self.slots.entry(page) else { return };
        if let Some(image) = slot.images.iter_mut().find(|image| image.memory.is_none()) {
            image.memory = Some(contents);
        } else {
            slot.images.insert(0, Image { version: from, memory: Some(contents) });
        }
        if slot.images.last().is_some_and(|last| last.version == from) {
            slot.images.push(Image { version: until, memory: None });
        }
        self.superseded.insert((until, page), from);
    }

    /// Keeps the images of a version for a checkpoint, whatever the limit for old versions. One at a time.
    pub(in crate::page_store) fn hold(&mut self, pin: &Pin) -> bool {
        let held = pin.ended().is_none();
        if held {
            self.held = Some(pin.version);
        }
        held
    }

    /// The end of [`hold`](Self::hold).
    pub(in crate::page_store) fn let_go(&mut self) {
        if let Some(version) = self.held.take() {
            self.boundary_ended(version);
        }
    }

    /// The file holds the page as of `version` now, with this hash.
    pub(in crate::page_store) fn settle(&mut self, page: PageNo, version: Version, hash: PageHash) {
        let at = index(page);
        if self.sums.len() <= at {
            self.sums.resize(at + 1, PageHash::default());
        }
        if let Some(sum) = self.sums.get_mut(at) {
            *sum = hash;
        }
        let Some(slot) = self.slots.get_mut(page) else { return };
        let written = slot.images.iter_mut().rev().find(|image| image.version <= version);
        let image = written.and_then(|image| image.memory.take());
        if slot.images.last().is_none_or(|image| image.memory.is_none()) {
            self.dirty.remove(&page);
        }
        tidy(slot);
        if let Some(image) = image {
            self.cache(page, image);
        }
    }

    /// The database ends before this page as of `version`, which is in the file: what is in memory is for old readers only.
    pub(in crate::page_store) fn settle_past_end(&mut self, page: PageNo, version: Version) {
        let Some(slot) = self.slots.get(page) else { return };
        let last = slot.images.iter().rev().find(|image| image.version <= version).map(|image| image.version);
        if let Some(last) = last
            && last < version
        {
            if self.needed(last, version) {
                self.superseded.insert((version, page), last);
            } else {
                self.forget_image(page, last, version);
            }
            let Some(slot) = self.slots.get_mut(page) else { return };
            let at = slot.images.iter().position(|image| image.version > version).unwrap_or(slot.images.len());
            slot.images.insert(at, Image { version, memory: None });
        }
        let Some(slot) = self.slots.get_mut(page) else { return };
        if slot.images.last().is_none_or(|image| image.memory.is_none()) {
            self.dirty.remove(&page);
        }
        tidy(slot);
    }

    /// Forgets the hashes past the end of the file.
    pub(in crate::page_store) fn truncate_sums(&mut self, pages: u32) {
        self.sums.truncate(usize::try_from(pages).unwrap_or(usize::MAX));
    }

    /// The version below which pages of the file may be from the future: a checkpoint or an install is, or was, at work.
    pub(in crate::page_store) fn unsettled(&self) -> Option<Version> {
        self.unsettled
    }

    pub(in crate::page_store) fn set_unsettled(&mut self, until: Option<Version>) {
        self.unsettled = until;
    }

    /// Takes an installed snapshot as the committed version: all of it is in the file, nothing in memory is of use.
    pub(in crate::page_store) fn jump(&mut self, to: (Version, u32), sums: Vec<PageHash>) {
        self.resign();
        self.end_readers_before(to.0);
        self.slots = PageTable::new();
        self.superseded.clear();
        self.dirty.clear();
        self.cached.clear();
        self.sums = sums;
        self.head = to;
        self.committed = to;
    }
}
