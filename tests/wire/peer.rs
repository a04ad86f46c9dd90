//! The frames between replicas: what is encoded comes back, what is cut is waited for, and what is
//! anything else is refused without a panic.

use std::path::Path;

use consistency_lab::base::{Arithmetic, End, Op, ReplicaId, StoreRule, Timestamp, Value, limits};
use consistency_lab::wire::codec::CodecError;
use consistency_lab::wire::peer::{
    Chunk, Fetch, Frame, FrameError, Greeting, Hello, MAX_FRAME, Message, StreamPlace, Synced,
    put_write,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::frames::between_replicas;

fn bytes(most: usize) -> impl Strategy<Value = Box<[u8]>> {
    vec(any::<u8>(), 0..=most).prop_map(Box::from)
}

fn key() -> impl Strategy<Value = Box<[u8]>> {
    prop_oneof![4 => bytes(8), 1 => bytes(limits::MAX_KEY)]
}

fn value() -> impl Strategy<Value = Value> {
    (bytes(300), any::<u32>(), any::<u64>()).prop_map(|(data, flags, expires)| Value {
        data,
        flags,
        expires,
    })
}

fn op() -> impl Strategy<Value = Op> {
    let once = (any::<(u64, u64)>(), plain_op());
    prop_oneof![
        8 => plain_op(),
        1 => Just(Op::OpenSession),
        1 => once.prop_map(|((session, sequence), op)| Op::Once {
            session,
            sequence,
            op: Box::new(op)
        }),
    ]
}

fn plain_op() -> impl Strategy<Value = Op> {
    let rule = prop_oneof![
        Just(StoreRule::Always),
        Just(StoreRule::IfAbsent),
        Just(StoreRule::IfPresent),
        any::<u64>().prop_map(StoreRule::IfUnique),
    ];
    let by = prop_oneof![
        any::<u64>().prop_map(Arithmetic::WrappingAdd),
        any::<u64>().prop_map(Arithmetic::SaturatingSub),
        any::<i64>().prop_map(Arithmetic::Signed),
    ];
    let end = prop_oneof![Just(End::Back), Just(End::Front)];
    let max_value = 0..=limits::HIGHEST_MAX_VALUE;
    prop_oneof![
        (key(), value(), rule).prop_map(|(key, value, rule)| Op::Store { key, value, rule }),
        vec((key(), value()), 0..4).prop_map(Op::StoreMany),
        (key(), bytes(300), end, any::<bool>(), max_value).prop_map(
            |(key, data, end, create, max_value)| Op::Concat { key, data, end, create, max_value }
        ),
        (key(), by).prop_map(|(key, by)| Op::Count { key, by }),
        (vec(key(), 0..4), any::<u64>()).prop_map(|(keys, expires)| Op::Touch { keys, expires }),
        vec(key(), 0..4).prop_map(|keys| Op::Delete { keys }),
        any::<u64>().prop_map(|at| Op::FlushAll { at }),
    ]
}

fn replica() -> impl Strategy<Value = ReplicaId> {
    any::<u16>().prop_map(ReplicaId)
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    (any::<u64>(), replica()).prop_map(|(time, replica)| Timestamp::new(time, replica))
}

fn place() -> impl Strategy<Value = StreamPlace> {
    any::<(u64, u64)>().prop_map(|(incarnation, time)| StreamPlace { incarnation, time })
}

fn message() -> impl Strategy<Value = Message> {
    (timestamp(), place(), any::<(u64, u64, bool)>(), op()).prop_map(
        |(ts, prev, (incarnation, at, prompt), op)| Message {
            ts,
            incarnation,
            prev,
            at,
            prompt,
            op,
        },
    )
}

fn frame() -> impl Strategy<Value = Frame> {
    let greeting = (replica(), replica(), any::<u16>(), "\\PC{0,64}").prop_map(
        |(from, to, replicas, mode)| Frame::Greeting(Greeting { from, to, replicas, mode }),
    );
    let hello = (any::<(u64, u64, u64)>(), timestamp(), vec(place(), 0..5)).prop_map(
        |((life, position, clock), delivered, have)| {
            Frame::Hello(Hello { life, position, delivered, clock, have })
        },
    );
    let chunk = (any::<(u64, u64)>(), any::<(bool, bool, bool)>(), vec(any::<u8>(), 0..300));
    prop_oneof![
        1 => greeting,
        1 => hello,
        4 => message().prop_map(Frame::Write),
        1 => (replica(), place()).prop_map(|(origin, through)| Frame::Ack { origin, through }),
        1 => timestamp().prop_map(Frame::Delivered),
        1 => (any::<u64>(), vec(any::<u64>(), 0..5))
            .prop_map(|(position, view)| Frame::Synced(Synced { position, view })),
        1 => any::<(u64, u64, u64)>()
            .prop_map(|(generation, offset, after)| Frame::Fetch(Fetch { generation, offset, after })),
        1 => chunk.prop_map(|((generation, next), (first, full, end), lines)| {
            Frame::Chunk(Chunk { generation, next, first, full, end, lines })
        }),
        1 => Just(Frame::Heartbeat),
    ]
}

proptest! {
    #[test]
    fn every_frame_comes_back(list in vec(frame(), 0..5)) {
        let mut bytes = Vec::new();
        list.iter().for_each(|frame| frame.encode(&mut bytes));
        // Decoded one after the other; each cut anywhere is incomplete, and says no more.
        prop_assert_eq!(between_replicas(&bytes), list);
    }

    #[test]
    fn a_message_comes_back_and_its_parts_are_none(message in message()) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        prop_assert_eq!(Message::decode(&bytes), Ok(message.clone()));
        for cut in 0..bytes.len() {
            prop_assert!(Message::decode(&bytes[..cut]).is_err());
        }
        bytes.push(0);
        prop_assert_eq!(Message::decode(&bytes), Err(CodecError::Trailing(1)));
        let (mut borrowed, mut owned) = (Vec::new(), Vec::new());
        put_write(&mut borrowed, &message);
        Frame::Write(message).encode(&mut owned);
        prop_assert_eq!(borrowed, owned);
    }

    #[test]
    fn any_bytes_are_frames_or_refused(bytes: Vec<u8>) {
        between_replicas(&bytes);
        let _ = Message::decode(&bytes);
    }

    #[test]
    fn frames_with_wrong_bytes_are_frames_or_refused(
        list in vec(frame(), 1..4),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = Vec::new();
        list.iter().for_each(|frame| frame.encode(&mut bytes));
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        between_replicas(&bytes);
    }

    #[test]
    fn a_body_of_random_bytes_is_a_frame_or_refused(kind in 0..12u8, body in vec(any::<u8>(), 0..120)) {
        let length = (body.len() + 1) as u32;
        between_replicas(&[&length.to_le_bytes()[..], &[kind], &body].concat());
    }
}

#[test]
fn lengths_out_of_bounds_are_refused_before_a_byte_of_the_body() {
    for length in [0, MAX_FRAME as u32 + 1, u32::MAX] {
        let refused = Err(FrameError::Length { found: length as usize, max: MAX_FRAME });
        assert_eq!(Frame::decode(&length.to_le_bytes()), refused);
    }
    assert_eq!(Frame::decode(&(MAX_FRAME as u32).to_le_bytes()), Ok(None));
}

/// A message with this operation, without a frame around it.
fn encoded(op: Op) -> Vec<u8> {
    let (ts, prev) = (Timestamp::new(1, ReplicaId(0)), StreamPlace::default());
    let mut bytes = Vec::new();
    Message { ts, incarnation: 1, prev, at: 0, prompt: false, op }.encode(&mut bytes);
    bytes
}

#[test]
fn keys_are_as_long_as_clients_of_any_dialect_may_send_them() {
    let with_key =
        |n: usize| Message::decode(&encoded(Op::Delete { keys: vec![vec![b'k'; n].into()] }));
    // RESP knows the empty key.
    assert!(with_key(0).is_ok());
    assert!(with_key(limits::LONGEST_KEY).is_ok());
    assert_eq!(
        with_key(limits::LONGEST_KEY + 1),
        Err(CodecError::Key { found: limits::LONGEST_KEY + 1 })
    );
}

#[test]
fn counts_that_promise_more_than_there_is_take_no_memory() {
    for kind_and_count in [[2, 0xff, 0xff, 0xff, 0xff], [6, 0xff, 0xff, 0xff, 0xff]] {
        let mut bytes = encoded(Op::FlushAll { at: 0 });
        bytes.truncate(bytes.len() - 9);
        bytes.extend_from_slice(&kind_and_count);
        assert!(matches!(Message::decode(&bytes), Err(CodecError::Short { .. })));
    }
}

#[test]
fn the_corpus_is_decoded_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/peer");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).expect("the corpus is there") {
        let path = file.expect("it can be listed").path();
        let bytes = std::fs::read(&path).expect("it can be read");
        let whole = between_replicas(&bytes).iter().fold(Vec::new(), |mut all, frame| {
            frame.encode(&mut all);
            all
        });
        let wanted = path.file_name().expect("a name").to_string_lossy().starts_with("whole");
        assert_eq!(whole == bytes, wanted, "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 8, "only {seen} files");
}
