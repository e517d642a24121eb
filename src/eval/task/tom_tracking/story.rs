//! What two people do with two things in two rooms.

use super::cast::{Cast, Spot, TWO};
use crate::random::index_below;
use rand_chacha::ChaCha8Rng;

/// Where everybody and everything is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    /// Rooms of the people; nothing for one who left.
    pub(super) people: [Option<usize>; TWO],
    /// Containers of the things.
    pub(super) things: [Spot; TWO],
}

/// What somebody does in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// Goes to the other room.
    Go,
    /// Leaves, and is nowhere.
    Leave,
    /// Comes back, into this room.
    Enter(usize),
    /// Moves this thing to the other container of the room.
    Move(usize),
    /// Carries this thing to this container of the other room.
    Carry(usize, usize),
}

/// Who did something, and what.
pub(super) type Event = (usize, Deed);

/// A story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Story {
    /// Who and what there is.
    pub(super) cast: Cast,
    /// Step 0.
    pub(super) start: State,
    /// The steps after that.
    pub(super) events: Vec<Event>,
}

impl State {
    fn draw(rng: &mut ChaCha8Rng) -> Self {
        let mut any = || index_below(rng, TWO);
        Self {
            people: [Some(any()), Some(any())],
            things: [(any(), any()), (any(), any())],
        }
    }

    /// Draws what somebody does next, of the kinds of deeds that are possible.
    fn draw_event(&self, rng: &mut ChaCha8Rng) -> Event {
        let person = index_below(rng, TWO);
        let Some(room) = self.people[person] else {
            return (person, Deed::Enter(index_below(rng, TWO)));
        };
        let things = 0..TWO;
        let near: Vec<usize> = things.filter(|of| self.things[*of].0 == room).collect();
        let num_kinds = if near.is_empty() { 2 } else { 4 };
        let kind = index_below(rng, num_kinds);
        let mut thing = || near[index_below(rng, near.len())];
        let deed = match kind {
            0 => Deed::Go,
            1 => Deed::Leave,
            2 => Deed::Move(thing()),
            _ => Deed::Carry(thing(), index_below(rng, TWO)),
        };
        (person, deed)
    }

    fn after(mut self, (person, deed): Event) -> Self {
        let other = |of: usize| TWO - 1 - of;
        match deed {
            Deed::Go => self.people[person] = self.people[person].map(other),
            Deed::Leave => self.people[person] = None,
            Deed::Enter(room) => self.people[person] = Some(room),
            Deed::Move(thing) => self.things[thing].1 = other(self.things[thing].1),
            Deed::Carry(thing, container) => {
                let room = other(self.things[thing].0);
                self.people[person] = Some(room);
                self.things[thing] = (room, container);
            }
        }
        self
    }
}

impl Story {
    /// Draws a story.
    pub(super) fn draw(rng: &mut ChaCha8Rng, num_events: usize) -> Self {
        let cast = Cast::draw(rng);
        let start = State::draw(rng);
        let mut state = start;
        let mut events = Vec::with_capacity(num_events);
        while events.len() < num_events {
            let event = state.draw_event(rng);
            state = state.after(event);
            events.push(event);
        }
        Self {
            cast,
            start,
            events,
        }
    }

    /// The same up to the step of that number.
    #[must_use]
    pub(super) fn first(&self, num_events: usize) -> Self {
        let mut story = self.clone();
        story.events.truncate(num_events);
        story
    }

    /// What is where after each step, from step 0 on.
    pub(super) fn states(&self) -> Vec<State> {
        let next = |state: &mut State, event: &Event| {
            *state = state.after(*event);
            Some(*state)
        };
        let after = self.events.iter().scan(self.start, next);
        std::iter::once(self.start).chain(after).collect()
    }

    /// What a reader is told, one line a step.
    pub(super) fn lines(&self) -> Vec<String> {
        let states = self.states();
        let events = std::iter::zip(&self.events, &states[1..]);
        let told = events.map(|(event, after)| self.tell(*event, after));
        let steps = std::iter::once(self.setting()).chain(told).enumerate();
        steps
            .map(|(step, text)| format!("Step {step}: {text}\n"))
            .collect()
    }

    fn setting(&self) -> String {
        let Self { cast, start, .. } = self;
        let person = |of: usize| {
            format!(
                "{} is in the {}.",
                cast.people[of],
                cast.room(start.people[of])
            )
        };
        let thing = |of: usize| {
            format!(
                "The {} is in the {}.",
                cast.things[of],
                cast.spot(start.things[of])
            )
        };
        [person(0), person(1), thing(0), thing(1)].join(" ")
    }

    fn tell(&self, (person, deed): Event, after: &State) -> String {
        let cast = &self.cast;
        let name = cast.people[person];
        let room = cast.room(after.people[person]);
        let spot = |thing: usize| cast.spot(after.things[thing]);
        match deed {
            Deed::Go => format!("{name} goes to the {room}."),
            Deed::Leave => format!("{name} leaves."),
            Deed::Enter(_) => format!("{name} enters the {room}."),
            Deed::Move(thing) => {
                format!(
                    "{name} moves the {} to the {}.",
                    cast.things[thing],
                    spot(thing)
                )
            }
            Deed::Carry(thing, _) => {
                format!(
                    "{name} carries the {} to the {}.",
                    cast.things[thing],
                    spot(thing)
                )
            }
        }
    }
}
