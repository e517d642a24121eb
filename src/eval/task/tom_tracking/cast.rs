//! Who and what there is in a story.

use crate::random::shuffle;
use rand_chacha::ChaCha8Rng;

/// People, things, rooms, and containers of each room.
pub(super) const TWO: usize = 2;

/// A container: its room, and which of the room's it is.
pub(super) type Spot = (usize, usize);

const PEOPLE: [&str; 12] = [
    "Agnes", "Boris", "Clara", "Dario", "Edda", "Felix", "Greta", "Hugo", "Irma", "Jonas", "Lotte",
    "Otto",
];

const THINGS: [&str; 12] = [
    "candle", "coin", "key", "lamp", "lemon", "map", "ribbon", "rope", "spoon", "stamp", "thimble",
    "whistle",
];

const ROOMS: [&str; 8] = [
    "attic", "cellar", "garage", "kitchen", "nursery", "pantry", "studio", "workshop",
];

const CONTAINERS: [&str; 8] = [
    "barrel", "basket", "box", "chest", "crate", "drawer", "jar", "sack",
];

/// The names in a story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cast {
    /// Names.
    pub(super) people: [&'static str; TWO],
    /// Names.
    pub(super) things: [&'static str; TWO],
    rooms: [&'static str; TWO],
    /// By room.
    containers: [[&'static str; TWO]; TWO],
}

impl Cast {
    /// Names that are never drawn, for a worked example.
    pub(super) fn example() -> Self {
        Self {
            people: ["Nils", "Vera"],
            things: ["ball", "comb"],
            rooms: ["hall", "shed"],
            containers: [["bag", "tub"], ["bin", "case"]],
        }
    }

    /// Draws different names.
    pub(super) fn draw(rng: &mut ChaCha8Rng) -> Self {
        Self {
            people: two(rng, PEOPLE),
            things: two(rng, THINGS),
            rooms: two(rng, ROOMS),
            containers: [two(rng, CONTAINERS), two(rng, CONTAINERS)],
        }
    }

    /// Where somebody is.
    pub(super) fn room(&self, room: Option<usize>) -> &'static str {
        room.map_or("nowhere", |room| self.rooms[room])
    }

    /// A container, named after its room as well.
    pub(super) fn spot(&self, (room, container): Spot) -> String {
        format!("{} {}", self.rooms[room], self.containers[room][container])
    }
}

fn two<const N: usize>(rng: &mut ChaCha8Rng, mut of: [&'static str; N]) -> [&'static str; TWO] {
    shuffle(rng, &mut of);
    [of[0], of[1]]
}
