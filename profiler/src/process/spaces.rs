//! Layouts of address spaces, each once: the processes that a server forks all have their parent's.
//!
//! In: the mappings of a process. Out: a [`SpaceId`], the same for the same mappings, and the unwinder that belongs to
//! it. Unwinders are made when they are first needed, and the ones not used for longest are dropped beyond a bound.

use std::collections::HashMap;
use std::sync::Arc;

use super::images::Images;
use crate::unwind::{Mapping, Unwinder};

/// Names one layout. Never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpaceId(u64);

struct Space {
    mappings: Arc<[Mapping]>,
    /// Processes that have this layout.
    users: usize,
    unwinder: Option<Box<Unwinder>>,
    used: u64,
}

/// All layouts in use.
pub struct Spaces {
    by_layout: HashMap<Arc<[Mapping]>, SpaceId>,
    by_id: HashMap<SpaceId, Space>,
    next: u64,
    /// Unwinders alive, and their bound.
    unwinders: usize,
    max_unwinders: usize,
}

impl Spaces {
    pub fn new(max_unwinders: usize) -> Self {
        Self { by_layout: HashMap::new(), by_id: HashMap::new(), next: 0, unwinders: 0, max_unwinders }
    }

    /// One more process has this layout.
    pub fn enter(&mut self, mappings: Vec<Mapping>) -> SpaceId {
        if let Some(id) = self.by_layout.get(mappings.as_slice()).copied() {
            self.share(id);
            return id;
        }
        let id = SpaceId(self.next);
        self.next += 1;
        let mappings: Arc<[Mapping]> = mappings.into();
        self.by_layout.insert(mappings.clone(), id);
        self.by_id.insert(id, Space { mappings, users: 1, unwinder: None, used: 0 });
        id
    }

    /// One more process has the layout of another.
    pub fn share(&mut self, id: SpaceId) {
        if let Some(space) = self.by_id.get_mut(&id) {
            space.users += 1;
        }
    }

    /// One process less has this layout; the last one takes it along.
    pub fn leave(&mut self, id: SpaceId) {
        let Some(space) = self.by_id.get_mut(&id) else { return };
        space.users -= 1;
        if space.users == 0 {
            self.unwinders -= usize::from(space.unwinder.is_some());
            self.by_layout.remove(&space.mappings);
            self.by_id.remove(&id);
        }
    }

    /// The mappings of a layout.
    pub fn mappings(&self, id: SpaceId) -> &[Mapping] {
        self.by_id.get(&id).map_or(&[], |space| &space.mappings)
    }

    /// The unwinder of a layout. `clock` is larger at each call.
    pub fn unwinder(&mut self, id: SpaceId, clock: u64, images: &Images) -> &mut Unwinder {
        let missing = self.by_id.get(&id).is_some_and(|space| space.unwinder.is_none());
        if missing {
            if self.unwinders >= self.max_unwinders {
                self.drop_oldest_unwinder();
            }
            self.unwinders += 1;
        }
        let space = self.by_id.get_mut(&id).expect("an id that was given out and not left");
        space.used = clock;
        let mappings = &space.mappings;
        space
            .unwinder
            .get_or_insert_with(|| Box::new(Unwinder::new(mappings.clone(), |image| images.parsed(image))))
    }

    /// Layouts in use.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    fn drop_oldest_unwinder(&mut self) {
        let alive = self.by_id.values_mut().filter(|space| space.unwinder.is_some());
        if let Some(space) = alive.min_by_key(|space| space.used) {
            space.unwinder = None;
            self.unwinders -= 1;
        }
    }
}
