//! Deciding between templates: of one name the newest valid one, of one route its holder.

use std::collections::BTreeMap;

use jiff::Timestamp;
use skep_model::{Function, FunctionName, Invalid, Route, TemplateId};

/// The templates of one name, the newest first; those before `chosen` have lost a route to another function.
struct Contest {
    candidates: Vec<Function>,
    chosen: usize,
}

impl Contest {
    fn current(&self) -> Option<&Function> {
        self.candidates.get(self.chosen)
    }

    /// How long the function has been there: its oldest template counts, in force or not, so that the order of
    /// functions stays the same while they fall back to older templates.
    fn seniority(&self) -> Option<(Timestamp, &TemplateId)> {
        self.candidates.last().map(age)
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
    holder: FunctionName,
}

/// Decides among valid templates of one namespace. `served_by` says whose a route is already.
///
/// Each round finds every conflict among what would be in force and settles one of them: the loser falls
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
            contest.chosen += 1;
        }
    }
    lift(&mut contests);
    let held = held_routes(&contests);
    let lost = contests
        .values()
        .flat_map(|contest| &contest.candidates[..contest.chosen]);
    let lost = lost.map(|function| refuse(function, &held)).collect();
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

/// Takes back what was decided too early: a template that lost a route to one that lost it in turn. Only what
/// nobody has is given, so that no new conflict comes of it, and each step goes to a newer template, so it ends.
fn lift(contests: &mut BTreeMap<FunctionName, Contest>) {
    loop {
        let held = held_routes(contests);
        let free = |function: &Function| {
            let mut routes = function.settings.routes.iter();
            routes.all(|route| held.get(route).is_none_or(|holder| **holder == function.name))
        };
        let liftable = contests.iter().filter_map(|(name, contest)| {
            let newer = contest.candidates[..contest.chosen].iter().position(free)?;
            Some((contest.seniority(), name.clone(), newer))
        });
        let Some((_, name, newer)) = liftable.min() else {
            return;
        };
        if let Some(contest) = contests.get_mut(&name) {
            contest.chosen = newer;
        }
    }
}

/// The routes of what is in force, and whose they are.
fn held_routes(contests: &BTreeMap<FunctionName, Contest>) -> BTreeMap<&Route, &FunctionName> {
    let in_force = contests.values().filter_map(Contest::current);
    in_force
        .flat_map(|f| f.settings.routes.iter().map(move |route| (route, &f.name)))
        .collect()
}

/// Older templates come first; Docker's ids settle a tie, so that every Skep decides alike.
fn age(function: &Function) -> (Timestamp, &TemplateId) {
    (function.template.created, &function.template.id)
}

/// Every function that can't be in force beside the others, the youngest first.
fn conflicts(
    contests: &BTreeMap<FunctionName, Contest>,
    served_by: impl Fn(&Route) -> Option<FunctionName>,
) -> Vec<Conflict> {
    let mut oldest_first: Vec<&Contest> = contests.values().collect();
    oldest_first.sort_by_key(|contest| contest.seniority());
    let keeps = |name: &FunctionName, route: &Route| {
        let current = contests.get(name).and_then(Contest::current);
        current.is_some_and(|function| function.settings.routes.contains(route))
    };
    let mut taken: BTreeMap<&Route, &FunctionName> = BTreeMap::new();
    let mut found = Vec::new();
    for function in oldest_first.into_iter().filter_map(Contest::current) {
        let routes = &function.settings.routes;
        let obstacle = routes.iter().find_map(|route| {
            let served = served_by(route).filter(|holder| keeps(holder, route));
            let holder = served.or_else(|| taken.get(route).map(|holder| (*holder).clone()))?;
            (holder != function.name).then_some(holder)
        });
        match obstacle {
            Some(holder) => found.push(Conflict {
                loser: function.name.clone(),
                holder,
            }),
            None => taken.extend(routes.iter().map(|route| (route, &function.name))),
        }
    }
    found.reverse();
    found
}

/// Says of each route that another function has who that is.
fn refuse(function: &Function, held: &BTreeMap<&Route, &FunctionName>) -> Invalid {
    let reason = |route: &Route| {
        let holder = held.get(route).filter(|holder| **holder != &function.name)?;
        Some(format!(
            "skep.route: {route} is already the route of the function {holder}; \
             choose another route, or remove {holder}"
        ))
    };
    Invalid {
        name: function.name.to_string(),
        template: function.template.id.clone(),
        template_name: function.template.name.clone(),
        reasons: function.settings.routes.iter().filter_map(reason).collect(),
    }
}
