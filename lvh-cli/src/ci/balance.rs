//! Which machine does what, so that the last one ends as early as can be: multiprocessor scheduling.
//!
//! Longest first is within a third of the best (Graham, 1969), which is too far off where a shard has few tests. So what the fullest
//! shard has is moved or exchanged while that helps, from several starts, until no better plan is possible or the time is better
//! spent on the tests.

/// How many exchanges are looked at, in all starts together: a fraction of a second.
const EFFORT: usize = 20_000_000;
/// How many starts there are at most.
const STARTS: usize = 400;

/// For each of `weights`, the number of its shard, below `count`.
pub(super) fn balanced(weights: &[u64], count: usize) -> Vec<usize> {
    let bound = least(weights, count);
    let (mut random, mut effort) = (Random(0x9e37_79b9_7f4a_7c15), EFFORT);
    let mut best: Option<Plan> = None;
    for start in 0..STARTS {
        let mut order: Vec<(u64, usize)> = weights.iter().enumerate().map(|(item, &weight)| (weight, item)).collect();
        if start > 0 {
            // Another order of what is about as long.
            order.iter_mut().for_each(|(weight, _)| *weight -= *weight / 1000 * random.below(300));
        }
        order.sort_unstable_by_key(|&(weight, item)| (std::cmp::Reverse(weight), item));
        let mut plan = Plan::longest_first(weights, order.iter().map(|(_, item)| *item), count);
        while plan.longest() > bound + bound / 1000 && plan.improve(&mut effort) {}
        effort = effort.saturating_sub(weights.len() + 1);
        if best.as_ref().is_none_or(|best| plan.longest() < best.longest()) {
            best = Some(plan);
        }
        if effort == 0 || best.as_ref().is_some_and(|best| best.longest() <= bound + bound / 1000) {
            break;
        }
    }
    best.map(|plan| plan.shard_of).unwrap_or_default()
}

/// As [`balanced`], where neighbours need the same: they stay together where that makes the longest shard no more than a twentieth longer.
pub(super) fn balanced_in_order(weights: &[u64], count: usize) -> Vec<usize> {
    let apart = balanced(weights, count);
    let longest = loads(&apart, weights, count).into_iter().max().unwrap_or_default();
    let lengths = (0..=20).map(|part| longest + longest / 400 * part);
    lengths.into_iter().find_map(|length| cut(weights, count, length)).unwrap_or(apart)
}

/// How long each shard is.
fn loads(shards: &[usize], weights: &[u64], count: usize) -> Vec<u64> {
    let mut loads = vec![0; count];
    shards.iter().zip(weights).for_each(|(&shard, weight)| loads[shard] += weight);
    loads
}

/// Cuts the row into `count` shards, none empty and none longer than `longest`, which no single weight is.
fn cut(weights: &[u64], count: usize, longest: u64) -> Option<Vec<usize>> {
    let (mut shard, mut load) = (0, 0);
    let places: Vec<usize> = weights
        .iter()
        .map(|weight| {
            if load > 0 && load + weight > longest {
                (shard, load) = (shard + 1, 0);
            }
            load += weight;
            shard
        })
        .collect();
    (shard + 1 == count).then_some(places)
}

/// What no plan can be shorter than.
pub(super) fn least(weights: &[u64], count: usize) -> u64 {
    let mut sorted = weights.to_vec();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    let longest = sorted.first().copied().unwrap_or_default();
    // Of more than there are shards, two share one.
    let shared = sorted.get(count).map_or(0, |weight| weight + sorted[count - 1]);
    weights.iter().sum::<u64>().div_ceil(count as u64).max(longest).max(shared)
}

struct Plan<'a> {
    weights: &'a [u64],
    shard_of: Vec<usize>,
    items: Vec<Vec<usize>>,
    loads: Vec<u64>,
}

impl<'a> Plan<'a> {
    fn longest_first(weights: &'a [u64], order: impl Iterator<Item = usize>, count: usize) -> Self {
        let mut plan =
            Self { weights, shard_of: vec![0; weights.len()], items: vec![Vec::new(); count], loads: vec![0; count] };
        let mut heap: std::collections::BinaryHeap<_> =
            (0..count).map(|shard| std::cmp::Reverse((0, 0_usize, shard))).collect();
        for item in order {
            let std::cmp::Reverse((load, items, shard)) = heap.pop().expect("there is a shard");
            plan.add(item, shard);
            heap.push(std::cmp::Reverse((load + weights[item], items + 1, shard)));
        }
        plan
    }

    fn longest(&self) -> u64 {
        self.loads.iter().copied().max().unwrap_or_default()
    }

    /// Makes the fullest shard less full, without another becoming as full; false where that cannot be, or takes more than is
    /// left of `effort`.
    fn improve(&mut self, effort: &mut usize) -> bool {
        let fullest = (0..self.loads.len()).max_by_key(|&shard| self.loads[shard]).unwrap_or_default();
        let exchanges = self.items[fullest].len() * (self.weights.len() + self.loads.len());
        *effort = effort.saturating_sub(exchanges);
        if *effort == 0 {
            return false;
        }
        let others = (0..self.loads.len()).filter(|&shard| shard != fullest);
        let change = others.flat_map(|other| self.best_change(fullest, other)).min_by_key(|change| change.longer);
        let Some(Change { other, give, take, .. }) = change else { return false };
        self.remove(give, fullest);
        self.add(give, other);
        if let Some(take) = take {
            self.remove(take, other);
            self.add(take, fullest);
        }
        true
    }

    /// The best single exchange of the two.
    fn best_change(&self, full: usize, other: usize) -> Option<Change> {
        let (high, low) = (self.loads[full], self.loads[other]);
        let changes = self.items[full].iter().flat_map(|&give| {
            let taken = self.items[other].iter().map(|&item| Some(item)).chain([None]);
            taken.map(move |take| (give, take))
        });
        let rated = changes.filter_map(|(give, take)| {
            let (given, taken) = (self.weights[give], take.map_or(0, |item| self.weights[item]));
            let longer = (high - given + taken).max(low + given - taken);
            (given > taken && longer < high).then_some(Change { longer, other, give, take })
        });
        rated.min_by_key(|change| change.longer)
    }

    fn add(&mut self, item: usize, shard: usize) {
        self.shard_of[item] = shard;
        self.items[shard].push(item);
        self.loads[shard] += self.weights[item];
    }

    fn remove(&mut self, item: usize, shard: usize) {
        self.items[shard].retain(|&other| other != item);
        self.loads[shard] -= self.weights[item];
    }
}

/// An item for another, or for none.
struct Change {
    /// The longer of both shards afterwards.
    longer: u64,
    other: usize,
    give: usize,
    take: Option<usize>,
}

/// xorshift64 (Marsaglia, 2003): the same plan for the same tests.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long the longest shard is; each item is in one.
    fn longest(weights: &[u64], count: usize) -> u64 {
        let shards = balanced(weights, count);
        assert_eq!(shards.len(), weights.len());
        loads(&shards, weights, count).into_iter().max().unwrap()
    }

    #[track_caller]
    fn check_within_a_tenth(weights: &[u64], count: usize, best: u64) {
        let found = longest(weights, count);
        assert!(found * 10 <= best * 11, "{found} for {best}: {count} shards of {weights:?}");
    }

    /// The best plan, by trying all.
    fn exact(weights: &[u64], loads: &mut [u64], best: u64) -> u64 {
        let Some((&weight, rest)) = weights.split_first() else { return loads.iter().copied().max().unwrap() };
        let mut best = best;
        for shard in 0..loads.len() {
            // Empty shards are alike, and what is no better need not be tried.
            if loads[shard] + weight < best && !loads[..shard].contains(&loads[shard]) {
                loads[shard] += weight;
                best = exact(rest, loads, best).min(best);
                loads[shard] -= weight;
            }
        }
        best
    }

    #[test]
    fn few_are_as_good_as_the_best_plan() {
        let mut random = Random(7);
        for _ in 0..300 {
            let (items, count) = (1 + random.below(9), 1 + random.below(4) as usize);
            let weights: Vec<u64> = (0..items).map(|_| 1 + random.below(1000)).collect();
            check_within_a_tenth(&weights, count, exact(&weights, &mut vec![0; count], u64::MAX));
        }
        // Longest first has 7 here.
        assert_eq!(longest(&[3, 3, 2, 2, 2], 2), 6);
        assert_eq!(longest(&[5], 3), 5);
        assert_eq!(balanced(&[], 2), [0; 0]);
    }

    #[test]
    fn neighbours_stay_together_where_that_costs_little() {
        assert_eq!(balanced_in_order(&[5, 5, 5, 5, 5, 5], 3), [0, 0, 1, 1, 2, 2]);
        assert_eq!(balanced_in_order(&[500, 501, 510, 490, 499], 5), [0, 1, 2, 3, 4]);
        // In order the longest would be 10, and not 9.
        let apart = balanced_in_order(&[8, 8, 1, 1], 2);
        assert!(apart[0] != apart[1] && apart[2] != apart[3], "{apart:?}");
        assert_eq!(balanced_in_order(&[], 2), [0; 0]);
        let mut random = Random(17);
        for _ in 0..200 {
            let (items, count) = (4 + random.below(60), 1 + random.below(4) as usize);
            let weights: Vec<u64> = (0..items).map(|_| 1 + random.below(1000)).collect();
            let loads = loads(&balanced_in_order(&weights, count), &weights, count);
            let longest_here = loads.iter().copied().max().unwrap();
            assert!(longest_here * 20 <= longest(&weights, count) * 21, "{count} shards of {weights:?}");
            assert!(loads.iter().all(|load| *load > 0), "{count} shards of {weights:?}");
        }
    }

    /// Shards that are full to the brim are cut into tests, so the best plan is known.
    #[test]
    fn many_are_within_a_tenth_of_a_plan_that_is_known() {
        const FULL: u64 = 1_000_000;
        let mut random = Random(11);
        for round in 0..27 {
            let (count, parts) = (2 + random.below(30) as usize, 2 + round % 9);
            let cut = |random: &mut Random| {
                let mut cuts: Vec<u64> = (1..parts).map(|_| 1 + random.below(FULL - 1)).collect();
                cuts.extend([0, FULL]);
                cuts.sort_unstable();
                cuts.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>()
            };
            let weights: Vec<u64> = (0..count).flat_map(|_| cut(&mut random)).collect();
            check_within_a_tenth(&weights, count, FULL);
        }
    }

    #[test]
    fn thousands_take_no_time_worth_a_word() {
        let mut random = Random(13);
        let weights: Vec<u64> = (0..5000).map(|_| 1 + random.below(60_000)).collect();
        for count in [7, 100, 1000] {
            check_within_a_tenth(&weights, count, least(&weights, count));
        }
    }
}
