//! Where somebody believes a thing to be, from step to step.

use super::cast::Spot;
use super::story::{State, Story};

/// One person and one thing of a story.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair<'a> {
    /// The story.
    pub(super) story: &'a Story,
    /// Which of its people.
    pub(super) person: usize,
    /// Which of its things.
    pub(super) thing: usize,
}

impl Pair<'_> {
    /// Where the person believes the thing to be after each step: where it was at the last one after which both were in one
    /// room; nothing before the first such step.
    pub(super) fn beliefs(&self) -> Vec<Option<Spot>> {
        let mut belief = None;
        let states = self.story.states();
        let after = states.iter().map(|state| {
            let spot = state.things[self.thing];
            if state.people[self.person] == Some(spot.0) {
                belief = Some(spot);
            }
            belief
        });
        after.collect()
    }

    /// One line a step: where both are, and what the person believes.
    pub(super) fn trace(&self) -> Vec<String> {
        let states = self.story.states();
        let steps = states.iter().zip(self.beliefs()).enumerate();
        let lines = steps.map(|(step, (state, belief))| self.line(step, state, belief));
        lines.collect()
    }

    fn line(&self, step: usize, state: &State, belief: Option<Spot>) -> String {
        let (name, thing) = self.names();
        let room = self.story.cast.room(state.people[self.person]);
        let [spot, belief] = [Some(state.things[self.thing]), belief].map(|spot| self.spot(spot));
        format!("- Step {step}: {name}: {room}; {thing}: {spot}; belief: {belief}")
    }

    /// What the person believes in the end.
    pub(super) fn last(&self) -> String {
        self.spot(self.beliefs().pop().flatten())
    }

    /// Names of both.
    pub(super) fn names(&self) -> (&'static str, &'static str) {
        let cast = &self.story.cast;
        (cast.people[self.person], cast.things[self.thing])
    }

    fn spot(&self, spot: Option<Spot>) -> String {
        spot.map_or("none".to_owned(), |spot| self.story.cast.spot(spot))
    }
}
