use super::*;

fn key(id: &str) -> Key {
    Key::new(&"default".into(), id.to_owned())
}

fn init(pid: u32, started: u64) -> InitTask {
    InitTask { pid, started: BootTicks(started) }
}

/// Learned at 100, before every list of these tests unless they say so.
fn known(tasks: &[(&str, InitTask)]) -> BTreeMap<Key, KnownTask> {
    tasks.iter().map(|&(id, init)| (key(id), KnownTask { init, learned: BootTicks(100) })).collect()
}

/// Asked at 200.
fn listing(tasks: &[(&str, u32)]) -> Listing {
    let running = |&(id, pid): &(&str, u32)| (key(id), ListedTask { pid, state: TaskState::Started });
    Listing { asked: BootTicks(200), tasks: tasks.iter().map(running).collect(), ..Listing::default() }
}

fn alive(tasks: &[InitTask]) -> impl Fn(u32) -> Option<InitTask> + '_ {
    |pid| tasks.iter().copied().find(|task| task.pid == pid)
}

#[test]
fn listed_task_begins() {
    let steps = reconcile(&known(&[]), Some(&listing(&[("a", 7)])), alive(&[init(7, 50)]));
    assert_eq!(steps, [Step::Began(key("a"), init(7, 50), Noticed::InList)]);
}

#[test]
fn nothing_follows_when_list_and_kernel_agree() {
    let steps = reconcile(&known(&[("a", init(7, 50))]), Some(&listing(&[("a", 7)])), alive(&[init(7, 50)]));
    assert_eq!(steps, []);
}

#[test]
fn dead_init_ends_the_container_also_without_an_answer() {
    assert_eq!(reconcile(&known(&[("a", init(7, 50))]), None, alive(&[])), [Step::Ended(key("a"))]);
}

#[test]
fn lost_connection_loses_nothing_that_lives() {
    assert_eq!(reconcile(&known(&[("a", init(7, 50))]), None, alive(&[init(7, 50)])), []);
}

#[test]
fn reused_number_is_not_the_same_task() {
    let steps = reconcile(&known(&[("a", init(7, 50))]), None, alive(&[init(7, 150)]));
    assert_eq!(steps, [Step::Ended(key("a"))]);
}

#[test]
fn restart_that_keeps_the_id_is_an_end_and_a_beginning() {
    let steps = reconcile(&known(&[("a", init(7, 50))]), Some(&listing(&[("a", 8)])), alive(&[init(8, 150)]));
    assert_eq!(steps, [Step::Ended(key("a")), Step::Began(key("a"), init(8, 150), Noticed::InList)]);
}

#[test]
fn new_task_wins_over_an_old_one_that_outlived_its_shim() {
    let both = [init(7, 50), init(8, 150)];
    let steps = reconcile(&known(&[("a", init(7, 50))]), Some(&listing(&[("a", 8)])), alive(&both));
    assert_eq!(steps, [Step::Ended(key("a")), Step::Began(key("a"), init(8, 150), Noticed::InList)]);
}

#[test]
fn empty_list_is_a_doubt_and_not_an_end() {
    let steps = reconcile(&known(&[("a", init(7, 50))]), Some(&listing(&[])), alive(&[init(7, 50)]));
    assert_eq!(steps, [Step::Doubtful(key("a"))]);
}

#[test]
fn failed_list_is_not_even_a_doubt() {
    let mut failed = listing(&[]);
    failed.unanswered.insert("default".into());
    assert_eq!(reconcile(&known(&[("a", init(7, 50))]), Some(&failed), alive(&[init(7, 50)])), []);
}

#[test]
fn list_asked_for_before_a_task_was_learned_says_nothing_about_it() {
    let mut stale = listing(&[("a", 6)]);
    stale.asked = BootTicks(100);
    let both = [init(6, 40), init(7, 50)];
    assert_eq!(reconcile(&known(&[("a", init(7, 50))]), Some(&stale), alive(&both)), []);
    stale.tasks.clear();
    assert_eq!(reconcile(&known(&[("a", init(7, 50))]), Some(&stale), alive(&both)), []);
}

#[test]
fn stranger_with_the_number_of_a_task_that_ended_meanwhile_is_not_taken() {
    let steps = reconcile(&known(&[]), Some(&listing(&[("a", 7)])), alive(&[init(7, 201)]));
    assert_eq!(steps, [Step::Unseen(key("a"), 7)]);
}

#[test]
fn task_without_a_number_is_waited_for() {
    let unmade = listing(&[("a", 0)]);
    assert_eq!(reconcile(&known(&[]), Some(&unmade), alive(&[init(0, 1)])), []);
}

#[test]
fn ended_task_in_the_list_does_not_begin() {
    let mut stopped = listing(&[("a", 7)]);
    stopped.tasks.insert(key("a"), ListedTask { pid: 7, state: TaskState::Ended });
    assert_eq!(reconcile(&known(&[]), Some(&stopped), alive(&[init(7, 50)])), []);
}

#[test]
fn same_id_in_two_namespaces_is_two_containers() {
    let mut two = listing(&[("a", 7)]);
    let other = Key::new(&"k8s.io".into(), "a".to_owned());
    two.tasks.insert(other.clone(), ListedTask { pid: 8, state: TaskState::Started });
    let steps = reconcile(&known(&[]), Some(&two), alive(&[init(7, 50), init(8, 60)]));
    assert_eq!(
        steps,
        [Step::Began(key("a"), init(7, 50), Noticed::InList), Step::Began(other, init(8, 60), Noticed::InList)]
    );
}

#[test]
fn task_that_is_listed_before_its_start_is_noticed_in_time() {
    let mut unstarted = listing(&[("a", 7)]);
    unstarted.tasks.insert(key("a"), ListedTask { pid: 7, state: TaskState::Created });
    let steps = reconcile(&known(&[]), Some(&unstarted), alive(&[init(7, 50)]));
    assert_eq!(steps, [Step::Began(key("a"), init(7, 50), Noticed::AtCreate)]);
}

#[test]
fn kernel_is_asked_about_each_that_containerd_vouches_for_once_in_four_lists() {
    let known = known(&[("a", init(7, 50)), ("b", init(8, 50)), ("gone", init(9, 50))]);
    let asked = std::cell::RefCell::new(Vec::new());
    let mut ends = Vec::new();
    for round in 0..4 {
        let listing = Listing { round: Some(round), ..listing(&[("a", 7), ("b", 8), ("gone", 9)]) };
        let living = |pid| {
            asked.borrow_mut().push(pid);
            alive(&[init(7, 50), init(8, 50)])(pid)
        };
        ends.extend(reconcile(&known, Some(&listing), living));
    }
    asked.borrow_mut().sort_unstable();
    // The list says that the last one runs, so that it is looked for anew once it is known to have ended.
    assert_eq!(asked.into_inner(), [7, 8, 9, 9]);
    assert_eq!(ends, [Step::Ended(key("gone")), Step::Unseen(key("gone"), 9)]);
}

#[test]
fn kernel_is_asked_at_once_about_what_a_list_does_not_vouch_for() {
    let known = known(&[("ended", init(7, 50)), ("absent", init(8, 50)), ("other", init(9, 50))]);
    let mut listing = Listing { round: Some(0), ..listing(&[("ended", 7), ("other", 10)]) };
    listing.tasks.get_mut(&key("ended")).expect("it is listed").state = TaskState::Ended;
    let ended = |id| Step::Ended(key(id));
    let mut steps = reconcile(&known, Some(&listing), alive(&[]));
    steps.retain(|step| matches!(step, Step::Ended(_)));
    assert_eq!(steps, [ended("absent"), ended("ended"), ended("other")]);
}
