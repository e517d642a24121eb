//! Connections between cities: a route, and others that lead into it or round in loops.

use crate::random::{below, index_below, shuffle};
use rand_chacha::ChaCha8Rng;

/// Kinds of transport.
pub(super) const KINDS: [&str; 4] = ["bus", "train", "plane", "ferry"];

/// Of so many cities, [`FEWEST`] to [`MOST`] are not on the route.
const OF_CITIES: usize = 50;

const FEWEST: usize = 10;
const MOST: usize = 25;

/// Of a hundred cities that are not on the route, those from which nothing leads to its end.
const LOST: u64 = 3;

/// A one-way connection between two cities, which are numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Road {
    /// Where it begins.
    pub(super) from: usize,
    /// Where it ends.
    pub(super) to: usize,
    /// One of [`KINDS`].
    pub(super) kind: &'static str,
}

/// Connections in any order, one out of every city but the last one of the route, out of which none leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Roads {
    /// The connections.
    pub(super) all: Vec<Road>,
}

impl Roads {
    /// Most cities that there are with a route of `num_steps`.
    pub(super) fn most_cities(num_steps: usize) -> usize {
        2 * (num_steps + 1)
    }

    /// Draws connections of which `num_steps` make a route from city 0 to city `num_steps`.
    pub(super) fn draw(rng: &mut ChaCha8Rng, num_steps: usize) -> Self {
        let num_on_route = num_steps + 1;
        let mut ends: Vec<(usize, usize)> = (0..num_steps).map(|city| (city, city + 1)).collect();
        ends.extend(draw_others(rng, num_on_route));
        let mut all: Vec<Road> = Vec::with_capacity(ends.len());
        for (from, to) in ends {
            let kind = KINDS[index_below(rng, KINDS.len())];
            all.push(Road { from, to, kind });
        }
        shuffle(rng, &mut all);
        Self { all }
    }

    /// The connections from one city to another, one after the other: there is no other way. Nothing if there is none.
    pub(super) fn route(&self, from: usize, to: usize) -> Option<Vec<Road>> {
        let mut out: Vec<Option<Road>> = vec![None; self.all.len() + 1];
        for road in &self.all {
            *out.get_mut(road.from)? = Some(*road);
        }
        let mut route = Vec::new();
        let mut city = from;
        while city != to {
            // None is taken twice, or the way would go round.
            let road = out.get_mut(city)?.take()?;
            route.push(road);
            city = road.to;
        }
        Some(route)
    }
}

/// Where connections out of other cities than those of the route begin and end.
fn draw_others(rng: &mut ChaCha8Rng, num_on_route: usize) -> Vec<(usize, usize)> {
    let of_fifty = FEWEST + index_below(rng, MOST - FEWEST + 1);
    let num_others = (num_on_route * of_fifty / (OF_CITIES - of_fifty)).max(1);
    let others = num_on_route..num_on_route + num_others;
    let (mut lost, mut led): (Vec<usize>, Vec<usize>) =
        others.partition(|_| below(rng, 100) < LOST);
    if lost.len() == 1 {
        // It could lead to itself alone.
        led.append(&mut lost);
    }
    let mut ends = Vec::with_capacity(num_others);
    let mut goals: Vec<usize> = (0..num_on_route).collect();
    for city in led {
        ends.push((city, goals[index_below(rng, goals.len())]));
        goals.push(city);
    }
    for (at, city) in lost.iter().enumerate() {
        let other = index_below(rng, lost.len() - 1);
        ends.push((*city, lost[other + usize::from(other >= at)]));
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::stream;

    /// Cities that lead to `to`.
    fn num_leading(roads: &Roads, to: usize) -> usize {
        let cities = roads.all.iter().map(|road| road.from);
        cities
            .filter(|city| roads.route(*city, to).is_some())
            .count()
    }

    #[test]
    fn one_connection_leads_out_of_every_city_but_the_last() {
        let (mut num_others, mut num_lost, mut seen) = (0, 0, [false; KINDS.len()]);
        for (index, num_steps) in (24..40).chain([4, 5, 800]).enumerate() {
            let roads = Roads::draw(&mut stream("t", &[index as u64]), num_steps);
            let num_cities = roads.all.len() + 1;
            assert!(num_cities <= Roads::most_cities(num_steps));
            let mut froms: Vec<usize> = roads.all.iter().map(|road| road.from).collect();
            assert!(!froms.is_sorted(), "shuffled");
            froms.sort_unstable();
            let cities = (0..num_cities).filter(|city| *city != num_steps);
            assert!(froms.into_iter().eq(cities));
            for road in &roads.all {
                assert!(road.from != road.to && road.to < num_cities);
                seen[KINDS.iter().position(|kind| *kind == road.kind).unwrap()] = true;
            }
            let others = num_cities - (num_steps + 1);
            // A fifth to a half of all cities, rounded down.
            assert!(5 * (others + 1) >= num_cities && 2 * others <= num_cities);
            num_others += others;
            num_lost += num_cities - 1 - num_leading(&roads, num_steps);
        }
        assert_eq!(seen, [true; KINDS.len()]);
        assert!(100 * num_lost > num_others && 100 * num_lost < 6 * num_others);
    }

    #[test]
    fn routes_follow_the_connections() {
        let road = |(from, to)| Road {
            from,
            to,
            kind: KINDS[0],
        };
        let roads = Roads {
            all: [(1, 2), (0, 1), (3, 1), (4, 5), (5, 4)].map(road).to_vec(),
        };
        let route = |from, to| {
            let route = roads.route(from, to)?;
            Some(route.iter().map(|road| road.to).collect::<Vec<_>>())
        };
        assert_eq!(route(0, 2), Some(vec![1, 2]));
        assert_eq!(route(3, 2), Some(vec![1, 2]));
        assert_eq!(route(2, 2), Some(vec![]));
        assert_eq!(route(4, 2), None, "round in a loop");
        assert_eq!(route(0, 3), None, "past the end");
    }
}
