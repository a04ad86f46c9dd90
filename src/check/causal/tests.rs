//! The histories of figure 3 of Bouajjani et al. 2017, and what stands between the models.

use super::{check_cc, check_ccv, check_cm};
use crate::check::order::generate::{history, problem};
use crate::check::{Answer, Budget, Problem};
use crate::history::OpId;

/// Whether CC, CM and CCv hold.
fn holds(text: &str) -> [bool; 3] {
    let history = history(text);
    [check_cc, check_cm, check_ccv].map(|check| match check(&problem(&history)) {
        Answer::Valid => true,
        Answer::Violation(_) => false,
        Answer::Unknown(why) => panic!("{why}"),
    })
}

const CM_NOT_CCV: &str = "
    a: w(x,1) r(x,2)
    b: w(x,2) r(x,1)";

const CCV_NOT_CM: &str = "
    a: w(z,1) w(x,1) w(y,1)
    b: w(x,2) r(z,0) r(y,1) r(x,2)";

const CC_ONLY: &str = "
    a: w(x,1)
    b: w(x,2) r(x,1) r(x,2)";

const ALL_BUT_SEQUENTIAL: &str = "
    a: w(x,1) r(y,0) w(y,1) r(x,1)
    b: w(x,2) r(y,0) w(y,2) r(x,2)";

const NOT_CC: &str = "
    a: w(x,1) w(y,1)
    b: r(y,1) w(x,2)
    c: r(x,2) r(x,1)";

#[test]
fn figure_3() {
    assert_eq!(holds(CM_NOT_CCV), [true, true, false]);
    assert_eq!(holds(CCV_NOT_CM), [true, false, true]);
    assert_eq!(holds(CC_ONLY), [true, false, false]);
    assert_eq!(holds(ALL_BUT_SEQUENTIAL), [true, true, true]);
    assert_eq!(holds(NOT_CC), [false, false, false]);
}

#[test]
fn each_bad_pattern_by_itself() {
    let cyclic_co = "
        a: r(x,1) w(y,1)
        b: r(y,1) w(x,1)";
    assert_eq!(holds(cyclic_co), [false; 3]);
    let write_co_init_read = "
        a: w(x,1) w(y,1)
        b: r(y,1) r(x,0)";
    assert_eq!(holds(write_co_init_read), [false; 3]);
    let thin_air = "a: r(x,7)";
    assert_eq!(holds(thin_air), [false; 3]);
}

#[test]
fn a_witness_holds_what_it_needs_and_no_bystanders() {
    let text = "
        d: w(u,8) w(v,8) r(u,8)
        a: w(x,1) w(z,5) w(y,1)
        b: r(u,8) r(y,1) w(x,2) w(u,9)
        c: r(x,2) r(v,8) r(x,1)";
    let history = history(text);
    // w(x,1) … w(y,1), r(y,1) … w(x,2), r(x,2) … r(x,1)
    let core: Vec<OpId> = [3, 5, 7, 8, 10, 12].map(OpId).to_vec();
    for check in [check_cc, check_cm, check_ccv] {
        assert_eq!(check(&problem(&history)), Answer::Violation(core.clone()));
    }
}

#[test]
fn an_unknown_write_is_behind_what_came_before_it_and_before_nothing() {
    assert_eq!(holds("a: w(y,1) u(x,1) \n b: r(x,1) r(y,0)"), [false; 3]);
    assert_eq!(holds("a: u(x,1) w(y,1) \n b: r(y,1) r(x,0) \n c: r(x,1)"), [true; 3]);
    assert_eq!(holds("a: u(x,1) r(x,0)"), [true; 3], "nobody read it: it need not exist");
}

#[test]
fn a_compare_and_set_reads_and_writes() {
    assert_eq!(holds("a: c(x,0,1) \n b: c(x,0,2)"), [true; 3], "they do not know of each other");
    assert_eq!(holds("a: c(x,0,1) c(x,0,2)"), [false; 3]);
    assert_eq!(holds("a: c(x,0,1) \n b: c(x,1,2) r(x,1)"), [false; 3]);
}

#[test]
fn a_spent_budget_is_no_verdict() {
    let lines: String = (0..5000).map(|n| format!("a: w(x,{}) r(x,{})\n", n + 1, n + 1)).collect();
    let history = history(&lines);
    let spent = || true;
    let problem = Problem { budget: Budget::new(&spent), ..problem(&history) };
    for check in [check_cc, check_cm, check_ccv] {
        assert!(matches!(check(&problem), Answer::Unknown(_)));
    }
}
