//! Deciding between templates: of one name the newest valid one, of one route its holder.

use std::collections::BTreeMap;

use skep_model::{Function, FunctionName, Invalid, Route};

/// The templates of one name, the newest first; those before `chosen` have lost a route to another function.
struct Contest {
    candidates: Vec<Function>,
    chosen: usize,
}

impl Contest {
    fn current(&self) -> Option<&Function> {
        self.candidates.get(self.chosen)
    }
}

/// What was decided.
pub(crate) struct Decision {
    pub(crate) in_force: Vec<Function>,
    pub(crate) lost: Vec<Invalid>,
    pub(crate) superseded: Vec<Function>,
}

/// A function that wants a route which another has.
struct Conflict {
    loser: FunctionName,
    route: Route,
    holder: FunctionName,
}

/// Decides among valid templates of one namespace. `served_by` says whose a route is already.
///
/// Each round finds every conflict among what would be in force and settles one of them for good: the loser falls
/// back to its next older template. A conflict whose holder loses elsewhere in the same round waits, since that
/// holder may be gone in the next.
pub(crate) fn decide(valid: Vec<Function>, served_by: impl Fn(&Route) -> Option<FunctionName>) -> Decision {
    let mut contests: BTreeMap<FunctionName, Contest> = BTreeMap::new();
    for function in valid {
        let contest = contests.entry(function.name.clone());
        contest
            .or_insert_with(|| Contest {
                candidates: Vec::new(),
                chosen: 0,
            })
            .candidates
            .push(function);
    }
    for contest in contests.values_mut() {
        contest.candidates.sort_by(|a, b| age(b).cmp(&age(a)));
    }
    let mut lost = Vec::new();
    loop {
        let conflicts = conflicts(&contests, &served_by);
        let losing = |name: &FunctionName| conflicts.iter().any(|other| other.loser == *name);
        let Some(conflict) = conflicts
            .iter()
            .find(|c| !losing(&c.holder))
            .or_else(|| conflicts.first())
        else {
            break;
        };
        if let Some(contest) = contests.get_mut(&conflict.loser) {
            lost.extend(contest.current().map(|function| refuse(function, conflict)));
            contest.chosen += 1;
        }
    }
    let mut decision = Decision {
        in_force: Vec::new(),
        lost,
        superseded: Vec::new(),
    };
    for contest in contests.into_values() {
        let mut remaining = contest.candidates.into_iter().skip(contest.chosen);
        decision.in_force.extend(remaining.next());
        decision.superseded.extend(remaining);
    }
    decision
}

/// Older templates come first; Docker's ids settle a tie, so that every Skep decides alike.
fn age(function: &Function) -> (jiff::Timestamp, &skep_model::TemplateId) {
    (function.template.created, &function.template.id)
}

/// Every function that can't be in force beside the others, the newest template first.
fn conflicts(
    contests: &BTreeMap<FunctionName, Contest>,
    served_by: impl Fn(&Route) -> Option<FunctionName>,
) -> Vec<Conflict> {
    let mut oldest_first: Vec<&Function> = contests.values().filter_map(Contest::current).collect();
    oldest_first.sort_by(|a, b| age(a).cmp(&age(b)));
    let keeps = |name: &FunctionName, route: &Route| {
        let current = contests.get(name).and_then(Contest::current);
        current.is_some_and(|function| function.settings.routes.contains(route))
    };
    let mut taken: BTreeMap<&Route, &FunctionName> = BTreeMap::new();
    let mut found = Vec::new();
    for function in oldest_first {
        let obstacle = function.settings.routes.iter().find_map(|route| {
            let served = served_by(route).filter(|holder| keeps(holder, route));
            let holder = served.or_else(|| taken.get(route).map(|holder| (*holder).clone()))?;
            (holder != function.name).then(|| (route.clone(), holder))
        });
        match obstacle {
            Some((route, holder)) => found.push(Conflict {
                loser: function.name.clone(),
                route,
                holder,
            }),
            None => taken.extend(
                function
                    .settings
                    .routes
                    .iter()
                    .map(|route| (route, &function.name)),
            ),
        }
    }
    found.reverse();
    found
}

fn refuse(function: &Function, conflict: &Conflict) -> Invalid {
    let (route, holder) = (&conflict.route, &conflict.holder);
    Invalid {
        name: function.name.to_string(),
        template: function.template.id.clone(),
        template_name: function.template.name.clone(),
        reasons: vec![format!(
            "skep.route: {route} is already the route of the function {holder}; \
             choose another route, or remove {holder}"
        )],
    }
}
