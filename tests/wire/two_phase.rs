//! The frames between coordinator and participants: what is encoded comes back, what is cut is waited for, and
//! what is anything else is refused without a panic.

use std::sync::Arc;

use consistency_lab::wire::two_phase::{
    Change, Frame, FrameError, Greeting, Key, MAX_FRAME, Members, No, Report, TxnId, View, ViewId,
};
use proptest::prelude::*;

use crate::frames::of_two_phase_commit;

fn key(name: &str) -> Key {
    name.as_bytes().into()
}

/// One of each kind, and more where a kind has forms.
fn samples() -> Vec<Frame> {
    let txn = TxnId { incarnation: 7, sequence: 9 };
    let id = ViewId { epoch: 3, maker: 7 };
    let view = View { id, members: Members(u128::MAX - 5) };
    let value = Arc::new(b"value".to_vec());
    let entries = vec![(key("a"), value.clone()), (key(""), Arc::default())];
    let change = Change::Set { key: key("k"), value: value.clone() };
    let delete = Change::Delete { keys: vec![key("a"), key("b")] };
    let report = Report {
        to: 1,
        life: 2,
        seen: 3,
        witness: true,
        view,
        me: 4,
        prepared: vec![txn],
        committed: vec![txn, TxnId::default()],
    };
    vec![
        Frame::Greeting(Greeting { incarnation: 5, you: 1, participants: 3 }),
        Frame::Report(report),
        Frame::Refused { newest: 8 },
        Frame::Prepare { txn, view: id, change },
        Frame::Prepare { txn, view: id, change: delete },
        Frame::Prepared { txn, held: 2 },
        Frame::No { txn, why: No::Full },
        Frame::No { txn, why: No::View },
        Frame::No { txn, why: No::Refuses },
        Frame::Commit(txn),
        Frame::Abort(txn),
        Frame::Done(txn),
        Frame::Read { id: 1, key: key("k") },
        Frame::Value { id: 1, value: Some(value) },
        Frame::Value { id: 1, value: Some(Arc::default()) },
        Frame::Value { id: 1, value: None },
        Frame::Heartbeat { number: 1, heard: 2, finished: txn },
        Frame::Alive { number: 1 },
        Frame::Install { view, fresh: true, resolve: None },
        Frame::Install { view, fresh: false, resolve: Some(vec![txn]) },
        Frame::Installed(id),
        Frame::Join { copy: 1 },
        Frame::Joined { copy: 1 },
        Frame::Fetch { copy: 1, after: None, bytes: 9 },
        Frame::Fetch { copy: 1, after: Some(key("")), bytes: 9 },
        Frame::Chunk { copy: 1, end: true, entries: entries.clone() },
        Frame::Store { copy: 1, entries },
        Frame::Stored { copy: 1 },
    ]
}

#[test]
fn what_is_encoded_comes_back_and_what_is_cut_is_waited_for() {
    for frame in samples() {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        let length = bytes.len();
        bytes.extend_from_slice(b"the next");
        assert_eq!(Frame::decode(&bytes), Ok(Some((frame, length))));
        for cut in 0..length {
            assert_eq!(Frame::decode(&bytes[..cut]), Ok(None));
        }
    }
}

#[test]
fn a_body_that_is_too_short_or_too_long_is_refused() {
    for frame in samples() {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        // A key or value that ends a frame without a length of its own may be of any length.
        let open = matches!(
            frame,
            Frame::Value { value: Some(_), .. } | Frame::Fetch { after: Some(_), .. }
        );
        bytes.push(0);
        let longer = (bytes.len() - 4) as u32;
        bytes[..4].copy_from_slice(&longer.to_le_bytes());
        assert_eq!(Frame::decode(&bytes).is_err(), !open, "{frame:?}");
    }
}

#[test]
fn announced_counts_and_lengths_are_not_believed() {
    let mut bytes = Vec::new();
    Frame::Store { copy: 1, entries: Vec::new() }.encode(&mut bytes);
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(Frame::decode(&bytes), Err(FrameError::Body(_))));
    let found = MAX_FRAME + 1;
    let refused = Err(FrameError::Length { found, max: MAX_FRAME });
    assert_eq!(Frame::decode(&(found as u32).to_le_bytes()), refused);
}

proptest! {
    #[test]
    fn nothing_panics(which in 0..28usize, at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = Vec::new();
        samples()[which].encode(&mut bytes);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(Some((frame, length))) = Frame::decode(&bytes) {
            let mut again = Vec::new();
            frame.encode(&mut again);
            prop_assert_eq!(&bytes[..length], &again[..]);
        }
    }

    #[test]
    fn several_come_back_in_their_order(which in prop::collection::vec(0..28usize, 0..8)) {
        let all = samples();
        let list: Vec<Frame> = which.iter().map(|at| all[*at].clone()).collect();
        let mut bytes = Vec::new();
        list.iter().for_each(|frame| frame.encode(&mut bytes));
        prop_assert_eq!(of_two_phase_commit(&bytes), list);
    }

    #[test]
    fn what_is_no_frame_is_refused_without_a_panic(
        kind in any::<u8>(),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let length = (body.len() + 1) as u32;
        of_two_phase_commit(&[&length.to_le_bytes()[..], &[kind], &body].concat());
    }
}
