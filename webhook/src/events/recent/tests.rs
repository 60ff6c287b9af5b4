use k8s_openapi::api::core::v1::ObjectReference;

use super::*;
use crate::events::message::Reason;

fn tell(recent: &mut Recent, message: &Message, now: Instant) -> Option<Turn> {
    match recent.turn(message, now) {
        Answer::Tell(turn) => Some(turn),
        Answer::Known | Answer::NoRoom => None,
    }
}

fn message(name: &str, note: &str) -> Message {
    let regarding = ObjectReference {
        name: Some(name.to_owned()),
        ..ObjectReference::default()
    };
    Message::new(regarding, Reason::Injected, note.to_owned())
}

#[test]
fn what_is_told_again_is_counted_and_told_after_a_while() {
    let mut recent = Recent::new("webhook-0");
    let start = Instant::now();
    let cart = message("cart-5d", "injected");
    let first = tell(&mut recent, &cart, start).unwrap();
    assert_eq!(first.count, 1);
    assert!(first.name.starts_with("cart-5d."), "{}", first.name);
    for _ in 0..9 {
        assert_eq!(recent.turn(&cart, start), Answer::Known);
    }
    let again = tell(&mut recent, &cart, start + WINDOW).unwrap();
    assert_eq!((again.count, &again.name), (11, &first.name));
    // The first Event is gone by now.
    let anew = tell(&mut recent, &cart, start + FORGOTTEN).unwrap();
    assert_eq!(anew.count, 1);
}

#[test]
fn other_objects_other_words_and_other_processes_have_events_of_their_own() {
    let start = Instant::now();
    let mut recent = Recent::new("webhook-0");
    let mut names: Vec<_> = [("a", "x"), ("b", "x"), ("a", "y")]
        .into_iter()
        .filter_map(|(name, note)| tell(&mut recent, &message(name, note), start))
        .map(|turn| turn.name)
        .collect();
    let mut other = Recent::new("webhook-1");
    names.extend(tell(&mut other, &message("a", "x"), start).map(|turn| turn.name));
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 4);
}

#[test]
fn a_flood_takes_no_more_room_than_there_is() {
    let mut recent = Recent::new("webhook-0");
    let start = Instant::now();
    let turns =
        (0..2 * ROOM).filter_map(|n| tell(&mut recent, &message(&n.to_string(), "x"), start));
    assert_eq!(turns.count(), ROOM);
    assert_eq!(recent.told.len(), ROOM);
    assert_eq!(recent.turn(&message("later", "x"), start), Answer::NoRoom);
    let later = tell(&mut recent, &message("later", "x"), start + WINDOW);
    assert!(later.is_some());
    assert_eq!(recent.told.len(), 1);
}

#[test]
fn names_are_those_of_kubernetes() {
    let mut recent = Recent::new("webhook-0");
    let long = format!("{}.b", "a".repeat(234));
    for name in [long.as_str(), "é", ""] {
        let turn = tell(&mut recent, &message(name, "x"), Instant::now()).unwrap();
        assert!(turn.name.len() <= 253, "{}", turn.name);
        assert!(!turn.name.contains(".."), "{}", turn.name);
    }
}
