//! What is counted of invocations.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use skep_model::{Ending, FunctionName, Phase, Phases, ProblemCode, Trigger};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    function: Label,
    trigger: &'static str,
    /// `2xx` and so on: the exact status is the function's to choose, and would be one series each.
    code: &'static str,
}

/// A name whose copies share their text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Label(FunctionName);

impl EncodeLabelValue for Label {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.as_str().encode(encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabel {
    phase: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProblemLabel {
    code: &'static str,
}

/// From 50 µs (a reused instance) to a minute, in steps that keep 1 % of a second and 10 s readable alike.
const BUCKETS: [f64; 17] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0, 60.0,
];

fn phase_histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

/// The families of this crate. Series appear with the first invocation that they count.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: Family<Outcome, Counter>,
    phases: Family<PhaseLabel, Histogram, fn() -> Histogram>,
    /// The family's series, in the order of [`Phase::ALL`]: every request is observed in two of them at least.
    each_phase: [Histogram; Phase::ALL.len()],
    problems: Family<ProblemLabel, Counter>,
    in_flight: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let phases: Family<PhaseLabel, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(phase_histogram);
        let series = |phase: Phase| {
            phases.get_or_create_owned(&PhaseLabel {
                phase: phase.as_str(),
            })
        };
        Self {
            requests: Family::default(),
            each_phase: Phase::ALL.map(series),
            phases,
            problems: Family::default(),
            in_flight: Gauge::default(),
        }
    }
}

impl Metrics {
    /// Adds the families to a registry, whose prefix is `skep`.
    pub fn register(&self, registry: &mut Registry) {
        // A series that is there from the start can be told from one that is missing.
        for code in ProblemCode::ALL {
            drop(self.problems.get_or_create(&ProblemLabel { code: code.as_str() }));
        }
        registry.register(
            "skep_requests",
            "Invocations that ended, by function, by what asked for them and by the class of their answer",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "skep_phase",
            "Time in each phase of an invocation: queue, sandbox, start, ready, handler (to the head)",
            Unit::Seconds,
            self.phases.clone(),
        );
        registry.register(
            "skep_problems",
            "Answers that were Skep's own errors, by their code",
            self.problems.clone(),
        );
        registry.register(
            "skep_in_flight",
            "Invocations that run or wait now",
            self.in_flight.clone(),
        );
    }

    /// Counts an answer of Skep's own.
    pub fn problem(&self, code: ProblemCode) {
        self.problems
            .get_or_create(&ProblemLabel { code: code.as_str() })
            .inc();
    }

    /// Counts an invocation that begins; [`Metrics::ended`] is to follow.
    pub fn begun(&self) {
        self.in_flight.inc();
    }

    /// Counts its end.
    pub fn ended(&self, function: &FunctionName, trigger: Trigger, ending: &Ending, phases: &Phases) {
        self.in_flight.dec();
        let outcome = Outcome {
            function: Label(function.clone()),
            trigger: match trigger {
                Trigger::Request => "request",
                Trigger::Async => "async",
            },
            code: class(ending.http_status),
        };
        self.requests.get_or_create(&outcome).inc();
        if let Some(problem) = ending.problem {
            self.problem(problem);
        }
        self.observe(phases);
    }

    fn observe(&self, phases: &Phases) {
        for (phase, time) in phases.iter() {
            self.each_phase[phase as usize].observe(Duration::as_secs_f64(&time));
        }
    }
}

fn class(status: Option<u16>) -> &'static str {
    match status.map(|status| status / 100) {
        Some(1) => "1xx",
        Some(2) => "2xx",
        Some(3) => "3xx",
        Some(4) => "4xx",
        Some(5) => "5xx",
        _ => "none",
    }
}
