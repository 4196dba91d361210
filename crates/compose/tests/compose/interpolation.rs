use crate::harness::{file, notes, refusal};
use proptest::prelude::*;
use skep_compose::{InterpolationError, Variables, interpolate};
use std::collections::BTreeSet;

fn variables() -> Variables {
    [("SET", "value"), ("EMPTY", ""), ("OTHER", "other")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

fn filled(text: &str) -> Result<String, InterpolationError> {
    interpolate(text, &variables(), &mut BTreeSet::new())
}

#[test]
fn every_form_gives_what_the_specification_says() {
    for (text, expected) in [
        ("plain", "plain"),
        ("$SET", "value"),
        ("${SET}", "value"),
        ("a$SET-b", "avalue-b"),
        ("${SET}x", "valuex"),
        ("$$SET", "$SET"),
        ("$${SET}", "${SET}"),
        ("$$$SET", "$value"),
        ("$UNSET", ""),
        ("${SET:-d}", "value"),
        ("${EMPTY:-d}", "d"),
        ("${UNSET:-d}", "d"),
        ("${SET-d}", "value"),
        ("${EMPTY-d}", ""),
        ("${UNSET-d}", "d"),
        ("${UNSET:-}", ""),
        ("${SET:+x}", "x"),
        ("${EMPTY:+x}", ""),
        ("${UNSET:+x}", ""),
        ("${SET+x}", "x"),
        ("${EMPTY+x}", "x"),
        ("${UNSET+x}", ""),
        ("${SET:?e}", "value"),
        ("${EMPTY?e}", ""),
        ("${UNSET:-${OTHER}}", "other"),
        ("${UNSET:-${UNSET:-deep}}", "deep"),
        ("${UNSET:-a:b-c?d}", "a:b-c?d"),
        ("${UNSET:-$$x}", "$x"),
        ("${UNSET:-http://x/?a=b}", "http://x/?a=b"),
        ("ünïcode ${SET} ✓", "ünïcode value ✓"),
    ] {
        assert_eq!(filled(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn required_variables_and_broken_ones_are_errors() {
    for (text, expected) in [
        (
            "${UNSET:?set it}",
            "the variable UNSET is required and missing: set it",
        ),
        ("${EMPTY:?}", "the variable EMPTY is required and missing"),
        (
            "${UNSET?$OTHER}",
            "the variable UNSET is required and missing: other",
        ),
        ("${SET", "\"${SET\" is not a variable"),
        ("${}", "\"${}\" is not a variable"),
        ("${1A}", "\"${1A}\" is not a variable"),
        ("${SET!x}", "\"${SET!x}\" is not a variable"),
        ("cost: $5", "\"$5\" is not a variable"),
        ("$", "\"$\" is not a variable"),
        ("${UNSET:-${SET}", "\"${UNSET:-${SET}\" is not a variable"),
    ] {
        let error = filled(text).expect_err(text);
        assert_eq!(error.to_string(), expected, "{text}");
    }
}

#[test]
fn an_unset_variable_is_noted_and_a_required_one_refused_with_its_place() {
    assert_eq!(
        notes(&file("user: ${NOBODY_SET_THIS}")),
        [
            "compose.yaml:4:11: services.web.user: the variable NOBODY_SET_THIS is not set; nothing stands in its place"
        ]
    );
    assert_eq!(
        refusal(&file("user: ${NOBODY_SET_THIS:?who}")),
        "compose.yaml:4:11: services.web.user: the variable NOBODY_SET_THIS is required and missing: who\n  hint: set NOBODY_SET_THIS in the environment or in the .env file beside the Compose file"
    );
    assert_eq!(
        refusal(&file("command: echo $(date)")),
        "compose.yaml:4:14: services.web.command: \"$(date)\" is not a variable\n  hint: write $$ for a dollar sign; variables are $NAME and ${NAME:-default}"
    );
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,60}") {
        let _ = filled(&text);
    }

    #[test]
    fn no_soup_of_operators_panics(text in "[${}:?+A-C-]{0,60}") {
        let _ = filled(&text);
    }

    #[test]
    fn a_text_without_dollars_stays_as_it_is(text in "[^$]{0,60}") {
        prop_assert_eq!(filled(&text), Ok(text));
    }

    #[test]
    fn doubled_dollars_give_every_text_back(text in "\\PC{0,60}") {
        prop_assert_eq!(filled(&text.replace('$', "$$")), Ok(text));
    }

    #[test]
    fn a_default_counts_exactly_where_the_variable_does_not(value in "[a-z]{0,8}", default in "[a-z]{0,8}") {
        let variables = Variables::from([(String::from("V"), value.clone())]);
        let strict = interpolate(&format!("${{V:-{default}}}"), &variables, &mut BTreeSet::new());
        let expected = if value.is_empty() { default.clone() } else { value.clone() };
        prop_assert_eq!(strict, Ok(expected));
        let loose = interpolate(&format!("${{V-{default}}}"), &variables, &mut BTreeSet::new());
        prop_assert_eq!(loose, Ok(value));
    }
}
