use skep_wire::Place;

use super::*;

fn usage(children: u64) -> Usage {
    Usage {
        children,
        memory: children << 20,
        nano_cpus: children,
    }
}

fn claim(node: &str, sequence: u64, children: u64, max: Option<u64>) -> Claim {
    Claim {
        node: node.to_owned(),
        sequence,
        function: "f".to_owned(),
        usage: usage(children),
        limits: max.map(usage),
        asking: Vec::new(),
        place: None,
        instead: None,
    }
}

/// A question for places, of which the first is asked for by this.
fn asking(node: &str, sequence: u64, children: u64, numbers: &[u64]) -> Claim {
    Claim {
        asking: numbers.iter().map(|number| (*number, usage(1))).collect(),
        place: Some(Place {
            number: numbers[0],
            wants: usage(1),
            of: None,
            inherits: false,
            can: true,
            stays: false,
            here: usage(children),
        }),
        ..claim(node, sequence, children, Some(4))
    }
}

fn here(claims: &Claims, claim: Claim, now: Instant) -> Result<(), String> {
    claims.claim(claim, now, |_| None).map(drop)
}

fn on_b(claims: &Claims, claim: Claim, now: Instant) -> Result<Agreed, String> {
    claims.claim(claim, now, |_| Some(("b".to_owned(), usage(1))))
}

#[test]
fn all_nodes_together_have_no_more_than_is_granted() {
    let now = Instant::now();
    let claims = Claims::new(now);
    assert_eq!(here(&claims, claim("a", 1, 2, Some(4)), now), Ok(()));
    assert_eq!(here(&claims, claim("b", 1, 2, Some(4)), now), Ok(()));
    let refused = here(&claims, claim("b", 2, 3, Some(4)), now).unwrap_err();
    assert!(refused.contains("has 4 children on all nodes"), "{refused}");
    // Asked twice it counts once, and what one gives back another may have.
    assert_eq!(here(&claims, claim("a", 1, 2, Some(4)), now), Ok(()));
    assert_eq!(here(&claims, claim("a", 2, 1, None), now), Ok(()));
    assert_eq!(here(&claims, claim("b", 3, 3, Some(4)), now), Ok(()));
}

#[test]
fn what_arrives_late_changes_nothing() {
    let now = Instant::now();
    let claims = Claims::new(now);
    assert_eq!(here(&claims, claim("a", 7, 3, Some(4)), now), Ok(()));
    assert_eq!(here(&claims, claim("a", 6, 1, None), now), Ok(()));
    assert!(here(&claims, claim("b", 1, 2, Some(4)), now).is_err());
}

#[test]
fn a_node_of_which_nothing_is_heard_has_nothing() {
    let now = Instant::now();
    let claims = Claims::new(now);
    assert_eq!(here(&claims, claim("a", 1, 4, Some(4)), now), Ok(()));
    assert!(here(&claims, claim("b", 1, 1, Some(4)), now).is_err());
    assert_eq!(here(&claims, claim("b", 2, 1, Some(4)), now + STALE), Ok(()));
}

#[test]
fn a_child_that_is_made_elsewhere_counts_once_on_its_whole_way() {
    let now = Instant::now();
    let claims = Claims::new(now);
    // Four at once, none of which knows of the others' answers: all go to `b`.
    for (sequence, number) in [(1, 11), (2, 12), (3, 13), (4, 14)] {
        let mut numbers = vec![11, 12, 13, 14];
        numbers.sort_by_key(|other| *other != number);
        let agreed = on_b(&claims, asking("a", sequence, 4, &numbers), now).unwrap();
        assert_eq!(agreed.node.as_deref(), Some("b"));
    }
    let full = on_b(&claims, asking("a", 5, 5, &[15, 11, 12, 13, 14]), now).unwrap_err();
    assert!(full.contains("has 4 children"), "{full}");
    // `b` claims them in `a`'s place, whether `a` has heard of it or not.
    for (sequence, number) in [(1, 11), (2, 12), (3, 13), (4, 14)] {
        let made = Claim {
            instead: Some(("a".to_owned(), number)),
            ..claim("b", sequence, sequence, Some(4))
        };
        assert_eq!(here(&claims, made, now), Ok(()), "{number}");
    }
    assert!(here(&claims, claim("a", 6, 1, Some(4)), now).is_err());
    // One of them ends.
    assert_eq!(here(&claims, claim("b", 5, 3, None), now), Ok(()));
    assert_eq!(here(&claims, claim("a", 7, 1, Some(4)), now), Ok(()));
}

#[test]
fn a_child_that_was_never_made_counts_no_longer() {
    let now = Instant::now();
    let claims = Claims::new(now);
    on_b(&claims, asking("a", 1, 4, &[1]), now).unwrap();
    assert!(here(&claims, claim("b", 1, 1, Some(4)), now).is_err());
    assert_eq!(here(&claims, claim("a", 2, 3, None), now), Ok(()));
    assert_eq!(here(&claims, claim("b", 2, 1, Some(4)), now), Ok(()));
    on_b(&claims, asking("a", 3, 4, &[2]), now).unwrap_err();
    here(&claims, claim("b", 3, 0, None), now).unwrap();
    on_b(&claims, asking("a", 4, 4, &[3]), now).unwrap();
    assert_eq!(here(&claims, claim("b", 4, 1, Some(4)), now + PLACED), Ok(()));
}

#[test]
fn who_holds_children_is_told_once_all_have_said_so() {
    let now = Instant::now();
    let claims = Claims::new(now);
    here(&claims, claim("a", 1, 1, None), now).unwrap();
    assert_eq!(claims.holders("f", now), None);
    let later = now + UNKNOWING;
    assert_eq!(claims.holders("f", later), Some(vec!["a".to_owned()]));
    assert_eq!(claims.holders("g", later), Some(Vec::new()));
    assert_eq!(claims.holders("f", now + STALE), Some(Vec::new()));
}
