//! Tours through cities, read from the lines of a plan.

use crate::eval::text::chars::pattern;
use regex::Regex;
use std::sync::LazyLock;

/// First and last day of a stay.
static STAY: LazyLock<Regex> = LazyLock::new(|| pattern(r"[0-9]+-([0-9]+)"));

/// The last day of a line behind which something goes from one city to another.
static MOVE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r".*Day ([0-9]+).*from ([\p{L}\p{N}_]+) to ([\p{L}\p{N}_]+)"));

/// A repeated question, which tells the plan's last day.
static TOTAL: LazyLock<Regex> = LazyLock::new(|| pattern(r"European cities for ([0-9]+) days"));

/// A city and the days spent there, both ends counted.
pub type Stop = (String, i64);

/// The cities of `plan` in their order: the first one left, then all that are reached. Days end at the last stay named; none
/// without moves and stays.
pub fn stops(plan: &str) -> Option<Vec<Stop>> {
    let mut cities: Vec<&str> = Vec::new();
    let mut days = vec![1];
    let (mut total, mut last_day) = (None, None);
    for line in plan.split('\n') {
        if let Some(found) = TOTAL.captures(line) {
            total = Some(found[1].parse::<i64>().ok()?);
        }
        if let Some(found) = STAY.captures(line) {
            last_day = Some(found[1].parse::<i64>().ok()?);
            // What follows the last day of the question is another plan.
            if last_day == total {
                break;
            }
        }
        if let Some(found) = MOVE.captures(line) {
            let (_, [day, from, to]) = found.extract();
            if cities.is_empty() {
                cities.push(from);
            }
            cities.push(to);
            days.push(day.parse().ok()?);
        }
    }
    days.push(last_day?);
    let stays = days
        .windows(2)
        .map(|of| of[1].saturating_sub(of[0]).saturating_add(1));
    Some(cities.into_iter().map(str::to_owned).zip(stays).collect())
}

#[cfg(test)]
mod tests {
    use super::stops;

    fn check(plan: &str, expected: Option<&[(&str, i64)]>) {
        let found = stops(plan);
        let found: Option<Vec<(&str, i64)>> = found
            .as_ref()
            .map(|stops| stops.iter().map(|(city, days)| (&**city, *days)).collect());
        assert_eq!(found.as_deref(), expected, "{plan}");
    }

    #[test]
    fn days_count_at_both_ends() {
        let plan = "Day 1-4 Oslo\nDay 4 train from Oslo to Porto\nDay 4-6 Porto\nOn Day 2, no, Day 6: from Porto to Riga\n\
                    Day 6-10 Riga";
        check(plan, Some(&[("Oslo", 4), ("Porto", 3), ("Riga", 5)]));
    }

    #[test]
    fn another_plan_is_left_alone() {
        let plan = "3 European cities for 6 days\nDay 4 from Oslo to Porto\nDay 4-6 Porto\nDay 6 from Porto to Riga";
        check(plan, Some(&[("Oslo", 4), ("Porto", 3)]));
    }

    #[test]
    fn without_moves_or_stays_there_is_no_tour() {
        check("Day 1-4 Oslo", Some(&[]));
        check("Day 4 from Oslo to Porto", None);
        check("", None);
        check("Day 99999999999999999999 from A to B\n1-2", None);
    }
}
