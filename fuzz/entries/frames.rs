//! What the fuzz targets of frames between servers do with their input. The tests include this file too.

use std::fmt::Debug;

use consistency_lab::wire::{peer, two_phase};

/// The frames between replicas at the front of `data`; see [`frames`].
pub fn between_replicas(data: &[u8]) -> Vec<peer::Frame> {
    use peer::Frame;
    frames(data, 4 + peer::MAX_FRAME, Frame::decode, Frame::encode)
}

/// The frames between coordinator and participants at the front of `data`; see [`frames`].
pub fn of_two_phase_commit(data: &[u8]) -> Vec<two_phase::Frame> {
    use two_phase::Frame;
    frames(data, 4 + two_phase::MAX_FRAME, Frame::decode, Frame::encode)
}

/// Takes frames off the front of `data` until there is none, and checks each: it comes back from its own
/// encoding, and no part of it is a frame.
fn frames<F: PartialEq + Debug, E: PartialEq + Debug>(
    data: &[u8],
    longest: usize,
    decode: impl Fn(&[u8]) -> Result<Option<(F, usize)>, E>,
    encode: impl Fn(&F, &mut Vec<u8>),
) -> Vec<F> {
    let mut list = Vec::new();
    let mut rest = data;
    // What is wrong is refused at once, and what is incomplete is waited for.
    while let Ok(Some((frame, length))) = decode(rest) {
        assert!((5..=longest).contains(&length) && length <= rest.len());
        for cut in (0..length).filter(|cut| length < 200 || cut % 101 == 0) {
            assert_eq!(decode(&rest[..cut]), Ok(None), "cut at {cut} of {length}");
        }
        let mut encoded = Vec::new();
        encode(&frame, &mut encoded);
        let (again, all) = decode(&encoded).expect("an encoded frame decodes").expect("whole");
        assert_eq!((&again, all), (&frame, encoded.len()));
        list.push(frame);
        rest = &rest[length..];
    }
    list
}
