//! How many of a function's instances one task may run, so that all tasks together run `skep.max` and nobody counts.

/// The share of task `number` (they count from 1) of what all `ceil(max / slots)` tasks have together. A number beyond
/// them has none.
pub(crate) fn share(max: u32, slots: u32, number: u32) -> u32 {
    let tasks = max.div_ceil(slots.max(1)).max(1);
    if number == 0 || number > tasks {
        return 0;
    }
    max / tasks + u32::from(number <= max % tasks)
}

/// The number in a task's name, `SERVICE.NUMBER.ID`. A service's name may have dots in it, the others have none.
pub(crate) fn number(task_name: &str) -> Option<u32> {
    task_name.rsplit('.').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_all_tasks_are_the_functions_limit() {
        for max in 1..200_u32 {
            for slots in 1..40 {
                let tasks = max.div_ceil(slots);
                let shares = (1..=tasks).map(|number| share(max, slots, number));
                assert_eq!(shares.clone().sum::<u32>(), max, "max={max} slots={slots}");
                assert!(shares.clone().all(|share| share >= 1 && share <= slots));
            }
        }
    }

    #[test]
    fn a_task_beyond_the_limit_has_no_share() {
        assert_eq!(share(20, 16, 3), 0);
        assert_eq!(share(20, 16, 0), 0);
    }

    #[test]
    fn a_tasks_number_stands_before_its_id() {
        assert_eq!(number("skep-default-hello.3.p7v1kq"), Some(3));
        assert_eq!(number("a.b.12.p7v1kq"), Some(12));
        assert_eq!(number("hello"), None);
        assert_eq!(number("hello.p7v1kq.node"), None);
    }
}
