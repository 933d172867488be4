use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

use super::*;
use crate::sinks::{OutputError, ROOM};

const A: ContainerSlot = ContainerSlot(1);
const B: ContainerSlot = ContainerSlot(2);

/// Takes what is written, once it is let.
struct Gated {
    gate: Receiver<Result<(), OutputError>>,
    /// Told each time that something is to be written.
    asked: mpsc::Sender<()>,
    taken: Arc<Mutex<Vec<u8>>>,
}

impl Output for Gated {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, OutputError> {
        // Most tests do not listen.
        let _ = self.asked.send(());
        // Without anybody at the gate it stands open.
        self.gate.recv().unwrap_or(Ok(()))?;
        self.taken.lock().expect("no test panics with it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn take_back(&mut self, _length: u64) -> bool {
        false
    }

    fn reopen(&mut self) -> Result<(), OutputError> {
        Ok(())
    }
}

const SLOTS: u32 = 16;

type Gate = SyncSender<Result<(), OutputError>>;

fn queue() -> (Queue, Gate, Arc<Mutex<Vec<u8>>>) {
    queue_with_room(HELD_BYTES)
}

fn queue_with_room(room_bytes: usize) -> (Queue, Gate, Arc<Mutex<Vec<u8>>>) {
    let (queue, gate, taken, _asked) = queue_that_tells(room_bytes);
    (queue, gate, taken)
}

/// The last of them hears each time that the writer stands at the gate.
fn queue_that_tells(room_bytes: usize) -> (Queue, Gate, Arc<Mutex<Vec<u8>>>, Receiver<()>) {
    let ((sender, gate), (asked, is_asked)) = (mpsc::sync_channel(1), mpsc::channel());
    let taken = Arc::new(Mutex::new(Vec::new()));
    let output = Gated { gate, asked, taken: Arc::clone(&taken) };
    (Queue::with_room(Box::new(output), SLOTS, room_bytes).expect("a thread starts"), sender, taken, is_asked)
}

fn line(queue: &mut Queue, text: &str) {
    line_of(queue, A, text);
}

fn line_of(queue: &mut Queue, slot: ContainerSlot, text: &str) {
    queue.line(Some(slot), &mut |out| out.extend_from_slice(text.as_bytes()));
}

#[test]
fn settled_queue_has_written_everything_in_order() {
    let (mut queue, gate, taken) = queue();
    drop(gate);
    for number in 0..1000 {
        line(&mut queue, &format!("line {number}\n"));
        queue.flush();
        // The writer keeps up or not; what is refused is counted.
    }
    queue.settle();
    let lost = queue.take_losses().get(&A).copied().unwrap_or(0);
    let taken = taken.lock().expect("no test panics with it");
    let written = taken.iter().filter(|&&byte| byte == b'\n').count() as u64;
    assert_eq!(written + lost, 1000);
    assert!(taken.starts_with(b"line 0\nline 1\n"));
}

#[test]
fn stalled_output_loses_nothing_while_there_is_room() {
    let (mut queue, gate, taken) = queue();
    let lines = BATCHES_WAITING + 500;
    for number in 0..lines {
        line(&mut queue, &format!("line {number}\n"));
        queue.flush();
    }
    assert_eq!(queue.take_losses(), Losses::new());
    drop(gate);
    queue.settle();
    let expected: String = (0..lines).map(|number| format!("line {number}\n")).collect();
    assert_eq!(*taken.lock().expect("no test panics with it"), expected.as_bytes());
    assert_eq!(queue.take_losses(), Losses::new());
}

#[test]
fn full_queue_drops_events_counts_them_and_keeps_other_lines() {
    let (mut queue, gate, taken) = queue_with_room(1000);
    for _ in 0..150 {
        line(&mut queue, "an event.\n");
        queue.flush();
    }
    queue.line(None, &mut |out| out.extend_from_slice(b"the account\n"));
    let lost = queue.take_losses().get(&A).copied().unwrap_or(0);
    // One container alone has half of the room, what the writer has in its hands included.
    assert_eq!(lost, 100);
    drop(gate);
    queue.settle();
    let taken = taken.lock().expect("no test panics with it");
    assert_eq!(taken.len() as u64, (150 - lost) * 10 + "the account\n".len() as u64);
    assert!(taken.ends_with(b"the account\n"));
    assert_eq!(queue.writer.handed_bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn what_a_failing_output_never_took_is_lost() {
    let (mut queue, gate, _taken) = queue();
    line(&mut queue, "one\n");
    line(&mut queue, "two\n");
    let refuse = || Err(OutputError::Gone { name: "a test's output".to_owned() });
    let refusing = thread::spawn(move || while gate.send(refuse()).is_ok() {});
    queue.settle();
    assert_eq!(queue.take_losses().get(&A), Some(&2));
    drop(queue);
    refusing.join().expect("it does not panic");
}

#[test]
fn mark_is_reached_when_everything_before_it_is_written() {
    let (mut queue, gate, taken) = queue();
    line(&mut queue, "one\n");
    queue.mark(7);
    queue.flush();
    line(&mut queue, "two\n");
    queue.flush();
    assert_eq!(queue.written_until(), 0, "the output takes nothing yet");
    drop(gate);
    queue.settle();
    assert_eq!((queue.written_until(), taken.lock().expect("no test panics with it").len()), (7, 8));
    queue.mark(9);
    queue.settle();
    assert_eq!(queue.written_until(), 9, "also without a line before it");
}

#[test]
fn mark_waits_while_the_output_fails() {
    let (mut queue, gate, _taken) = queue();
    line(&mut queue, "one\n");
    queue.mark(7);
    let refuse = || Err(OutputError::Gone { name: "a test's output".to_owned() });
    let refusing = thread::spawn(move || while gate.send(refuse()).is_ok() {});
    queue.settle();
    assert_eq!(queue.written_until(), 0);
    drop(queue);
    refusing.join().expect("it does not panic");
}

#[test]
fn quiet_container_loses_nothing_beside_one_that_fills_the_queue() {
    let (mut queue, gate, taken, is_asked) = queue_that_tells(1000);
    for round in 0..20 {
        (0..100).for_each(|_| line_of(&mut queue, A, "a lot of.\n"));
        line_of(&mut queue, B, "one event\n");
        queue.flush();
        // The first batch is in the writer's hands from here on: what it has not written takes room all the same.
        if round == 0 {
            is_asked.recv().expect("the writer is there");
        }
    }
    assert_eq!(queue.take_losses(), [(A, 2000 - 50)].into());
    drop(gate);
    queue.settle();
    let taken = taken.lock().expect("no test panics with it");
    let written = taken.split(|byte| *byte == b'\n').filter(|line| *line == b"one event").count();
    assert_eq!(written, 20);
    for slot in [A, B] {
        let slot = slot.0 as usize;
        assert_eq!(queue.taken[slot], queue.writer.done[slot].load(Ordering::Relaxed), "all of it is given back");
    }
}

#[test]
fn quiet_container_loses_nothing_beside_one_that_fills_what_a_failing_output_leaves() {
    let (mut queue, gate, _taken) = queue();
    let long = format!("{}\n", "x".repeat(999));
    let refuse = || Err(OutputError::Gone { name: "a test's output".to_owned() });
    let refusing = thread::spawn(move || while gate.send(refuse()).is_ok() {});
    for _ in 0..100 {
        (0..30).for_each(|_| line_of(&mut queue, A, &long));
        line_of(&mut queue, B, "one event\n");
        queue.flush();
    }
    // Once the writer has had them all it keeps what it has room for, until it is asked to settle.
    while !queue.batch.lines.is_empty() || queue.writer.handed_bytes.load(Ordering::Relaxed) > 0 {
        queue.flush();
        thread::yield_now();
    }
    let losses = queue.take_losses();
    let kept_of_a = 3000 - losses[&A] as usize;
    assert!(kept_of_a * long.len() <= ROOM / 2 + long.len() && !losses.contains_key(&B), "{losses:?}");
    queue.settle();
    assert_eq!(queue.take_losses(), [(A, kept_of_a as u64), (B, 100)].into());
    drop(queue);
    refusing.join().expect("it does not panic");
}
