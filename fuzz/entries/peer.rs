//! What the fuzz target of the peer frames does with its input. The tests include this file too.

use consistency_lab::wire::peer::{Frame, MAX_FRAME};

/// Takes frames off the front of `data` until there is none, and checks each: it comes back from its own
/// encoding, and no part of it is a frame.
pub fn frames(data: &[u8]) -> Vec<Frame> {
    let mut list = Vec::new();
    let mut rest = data;
    // What is wrong is refused at once, and what is incomplete is waited for.
    while let Ok(Some((frame, length))) = Frame::decode(rest) {
        assert!((5..=4 + MAX_FRAME).contains(&length) && length <= rest.len());
        for cut in (0..length).filter(|cut| length < 200 || cut % 101 == 0) {
            assert_eq!(Frame::decode(&rest[..cut]), Ok(None), "cut at {cut} of {length}");
        }
        let mut encoded = Vec::new();
        frame.encode(&mut encoded);
        let again = Frame::decode(&encoded).expect("an encoded frame decodes");
        assert_eq!(again.as_ref(), Some(&(frame.clone(), encoded.len())));
        list.push(frame);
        rest = &rest[length..];
    }
    list
}
