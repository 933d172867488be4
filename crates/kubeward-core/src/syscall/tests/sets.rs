use crate::syscall::*;

fn names(sets: &[&str]) -> Vec<&'static str> {
    parse_set(sets).unwrap_or_else(|error| panic!("{error}")).iter().map(|call| call.name).collect()
}

fn refusal(set: &str) -> String {
    parse_set(&[set]).expect_err("the set is wrong").to_string()
}

#[test]
fn a_list_names_its_calls_in_any_form() {
    assert_eq!(names(&["openat,connect"]), ["connect", "openat"]);
    assert_eq!(names(&["sys_openat, __x64_sys_newstat"]), ["stat", "openat"]);
    assert_eq!(names(&["trace=openat"]), ["openat"]);
    assert_eq!(names(&["257"]), ["openat"]);
}

#[test]
fn a_category_stands_for_its_calls() {
    let network = parse_set(&["%network"]).expect("a category");
    assert_eq!(network, CallSet::category(Category::Network));
    assert_eq!(network.len(), in_category(Category::Network).count());
    assert_eq!(names(&["%fd,dup"]).len(), in_category(Category::Fd).count());
}

#[test]
fn negation_takes_the_whole_list_away_from_everything() {
    let set = parse_set(&["!futex,%network"]).expect("a set");
    assert_eq!(set.len(), all().len() - 1 - in_category(Category::Network).count());
    assert!(!set.iter().any(|call| call.name == "futex" || call.category == Category::Network));
}

#[test]
fn several_options_add_up_and_negated_ones_take_away_in_any_order() {
    assert_eq!(names(&["openat", "connect"]), ["connect", "openat"]);
    assert_eq!(names(&["!close", "openat,close"]), ["openat"]);
    assert_eq!(names(&["openat,close", "!close"]), ["openat"]);
    assert_eq!(names(&["!openat", "!close"]).len(), all().len() - 2);
}

#[test]
fn all_none_and_no_option() {
    assert_eq!(names(&["all"]).len(), all().len());
    assert_eq!(names(&["!all"]), [""; 0]);
    assert_eq!(names(&["none"]), [""; 0]);
    assert_eq!(names(&["!none"]).len(), all().len());
    assert_eq!(names(&["none", "openat"]), ["openat"]);
    assert!(parse_set(&[]).expect("no option is a set").is_empty());
}

#[test]
fn a_wrong_item_is_named_with_its_remedy() {
    assert_eq!(refusal("openat,conect"), r#"unknown call "conect" (did you mean "connect"?)"#);
    assert_eq!(refusal("%netwrok"), r#"unknown category "netwrok" (did you mean "network"?)"#);
    assert_eq!(refusal("network"), r#"unknown call "network" (the category is written "%network")"#);
    assert_eq!(refusal("99999"), r#"unknown call "99999" (`kubeward syscalls` lists them)"#);
    let empty = |set: &str| {
        format!("empty item in the set {set:?} (calls are separated by single commas, as in \"openat,%network\")")
    };
    assert_eq!(refusal(""), empty(""));
    assert_eq!(refusal("openat,,close"), empty("openat,,close"));
    assert_eq!(refusal("openat,"), empty("openat,"));
}

#[test]
fn a_call_is_one_bit_of_the_bitmap() {
    let set = parse_set(&["read,openat"]).expect("a set");
    assert_eq!(set.words(), [1, 0, 0, 0, 1 << 1, 0, 0, 0]);
    let mut set = CallSet::default();
    for call in all() {
        assert!(!set.contains(call));
        set.insert(call);
        assert!(set.contains(call));
    }
    assert_eq!(set, CallSet::all());
    set.remove(&all()[0]);
    assert_eq!(set.len(), all().len() - 1);
    assert_eq!(set.union(&CallSet::all()), CallSet::all());
}
