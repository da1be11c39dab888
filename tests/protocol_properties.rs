//! Properties of the protocol room, with the `redis-protocol` crate as the oracle: requests that it encodes must come
//! out of our parser however the bytes are split, and it must read back every reply that we write.

use bytes::Bytes;
use larder::protocol::batch::encode;
use larder::protocol::reply::LARGE_REPLY;
use larder::protocol::request::LARGE_ARG;
use larder::protocol::{Batch, Limits, Need, Output, OwnedRequest, Parser, Reply, Resp};
use proptest::prelude::*;
use redis_protocol::resp2::types::{OwnedFrame as Frame2, Resp2Frame};
use redis_protocol::resp3::types::{FrameMap, OwnedFrame as Frame3};

type Request = Vec<Vec<u8>>;

/// Parses `input` as a connection would: `cuts` are the lengths of the reads, the rest comes as one.
fn parse(input: &[u8], cuts: &[usize]) -> (Vec<Request>, Need) {
    let (mut connection, mut left) = (Connection::default(), input);
    for cut in cuts {
        let (read, rest) = left.split_at((*cut).min(left.len()));
        connection.read(read);
        left = rest;
    }
    let need = connection.read(left);
    (connection.requests, need)
}

/// The reading half of a connection.
#[derive(Default)]
struct Connection {
    parser: Parser,
    batch: Batch,
    kept: Vec<u8>,
    large: Option<(usize, Vec<u8>)>,
    requests: Vec<Request>,
}

impl Connection {
    fn read(&mut self, mut bytes: &[u8]) -> Need {
        loop {
            if let Some((len, payload)) = &mut self.large {
                let (taken, rest) = bytes.split_at(bytes.len().min(*len + 2 - payload.len()));
                payload.extend_from_slice(taken);
                bytes = rest;
                if payload.len() < *len + 2 {
                    return Need::More;
                }
                if let Err(error) = self.parser.supply_large(Bytes::from(std::mem::take(payload))) {
                    return Need::Error(error);
                }
                self.large = None;
            }
            self.kept.extend_from_slice(std::mem::take(&mut bytes));
            self.batch.clear();
            let progress = self.parser.parse(&self.kept, &mut self.batch, &Limits::default());
            self.requests
                .extend(self.batch.requests(&self.kept).map(|request| request.iter().map(<[u8]>::to_vec).collect()));
            match progress.need {
                Need::Again => {}
                Need::Large { len, payload_at } => self.large = Some((len, self.kept.split_off(payload_at))),
                need => {
                    self.kept.drain(..progress.consumed);
                    return need;
                }
            }
            self.kept.drain(..progress.consumed);
        }
    }
}

fn requests() -> impl Strategy<Value = Vec<Request>> {
    let length = prop_oneof![8 => 0..20usize, 2 => 90..110usize, 1 => 990..1010usize];
    let arg = length.prop_flat_map(|length| proptest::collection::vec(any::<u8>(), length));
    let request = proptest::collection::vec(arg, 1..14);
    proptest::collection::vec(request, 1..8)
}

/// The requests as the oracle writes them.
fn encoded(requests: &[Request]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for request in requests {
        let frame = Frame2::Array(request.iter().map(|arg| Frame2::BulkString(arg.clone())).collect());
        let mut one = vec![0; frame.encode_len(false)];
        redis_protocol::resp2::encode::encode(&mut one, &frame, false).expect("the buffer has the length it asked for");
        bytes.extend_from_slice(&one);
    }
    bytes
}

proptest! {
    #[test]
    fn requests_come_through_whole(requests in requests()) {
        prop_assert_eq!(parse(&encoded(&requests), &[]), (requests, Need::Nothing));
    }

    #[test]
    fn requests_come_through_split_anywhere(requests in requests()) {
        let input = encoded(&requests);
        for at in 0..input.len().min(600) {
            prop_assert_eq!(parse(&input, &[at]), (requests.clone(), Need::Nothing), "split at {}", at);
        }
        let bytes = vec![1; input.len()];
        prop_assert_eq!(parse(&input, &bytes), (requests, Need::Nothing));
    }

    #[test]
    fn large_arguments_come_through(sizes in proptest::collection::vec(LARGE_ARG - 2..LARGE_ARG * 2, 1..4), cuts in proptest::collection::vec(1..40_000usize, 0..12)) {
        let requests: Vec<Request> = sizes
            .iter()
            .map(|size| [b"SET".to_vec(), b"key".to_vec(), vec![7; *size], b"tail".to_vec()][..3 + size % 2].to_vec())
            .collect();
        prop_assert_eq!(parse(&encoded(&requests), &cuts), (requests, Need::Nothing));
    }

    #[test]
    fn any_bytes_mean_the_same_however_they_are_split(
        input in proptest::collection::vec(prop_oneof![any::<u8>(), proptest::sample::select(b"*$\r\n0123-\"'\\x ".to_vec())], 0..80),
        cuts in proptest::collection::vec(1..9usize, 0..20),
    ) {
        prop_assert_eq!(parse(&input, &[]), parse(&input, &cuts));
    }

    #[test]
    fn our_requests_are_read_by_the_oracle(requests in requests()) {
        for request in &requests {
            let owned = OwnedRequest::from_args(request.iter().map(Vec::as_slice));
            let (mut first, mut second) = (Vec::new(), Vec::new());
            owned.view().encode(&mut first);
            encode(request.iter().map(Vec::as_slice), &mut second);
            prop_assert_eq!(&first, &encoded(std::slice::from_ref(request)));
            prop_assert_eq!(first, second);
        }
    }

    #[test]
    fn replies_are_read_by_the_oracle_in_resp2(value in values()) {
        let bytes = written(&value, Resp::V2);
        let (frame, used) = redis_protocol::resp2::decode::decode(&bytes).unwrap().unwrap();
        prop_assert_eq!(used, bytes.len());
        prop_assert_eq!(frame, value.in_resp2());
    }

    #[test]
    fn replies_are_read_by_the_oracle_in_resp3(value in values()) {
        let bytes = written(&value, Resp::V3);
        let (frame, used) = redis_protocol::resp3::decode::complete::decode(&bytes).unwrap().unwrap();
        prop_assert_eq!(used, bytes.len());
        prop_assert_eq!(frame, value.in_resp3());
    }
}

/// What a handler may say.
#[derive(Clone, Debug)]
enum Value {
    Ok,
    Null,
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Large(usize),
    Double(f64),
    Boolean(bool),
    Array(Vec<Value>),
    /// An array whose length is told at the end.
    Deferred(Vec<Value>),
    /// A map from its indexes.
    Map(Vec<Value>),
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Ok),
        Just(Value::Null),
        "[a-zA-Z ]{1,20}".prop_map(|text| Value::Error(format!("ERR {text}"))),
        any::<i64>().prop_map(Value::Integer),
        (-300..300i64).prop_map(Value::Integer),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(Value::Bulk),
        (LARGE_REPLY - 1..LARGE_REPLY * 3).prop_map(Value::Large),
        any::<f64>().prop_filter("NaN equals nothing", |value| !value.is_nan()).prop_map(Value::Double),
        any::<bool>().prop_map(Value::Boolean),
    ];
    leaf.prop_recursive(3, 40, 8, |inner| {
        let some = proptest::collection::vec(inner, 0..8);
        prop_oneof![
            some.clone().prop_map(Value::Array),
            some.clone().prop_map(Value::Deferred),
            some.prop_map(Value::Map)
        ]
    })
}

fn written(value: &Value, resp: Resp) -> Vec<u8> {
    let mut out = Output::new();
    value.write(&mut Reply::new(&mut out, resp));
    assert_eq!(out.len(), out.to_vec().len());
    out.to_vec()
}

impl Value {
    fn write(&self, reply: &mut Reply<'_>) {
        match self {
            Self::Ok => reply.ok(),
            Self::Null => reply.null(),
            Self::Error(text) => reply.error(text),
            Self::Integer(value) => reply.integer(*value),
            Self::Bulk(data) => reply.bulk(data),
            Self::Large(len) => reply.bulk_large(Bytes::from(vec![b'x'; *len])),
            Self::Double(value) => reply.double(*value),
            Self::Boolean(value) => reply.boolean(*value),
            Self::Array(values) => {
                reply.array(values.len());
                values.iter().for_each(|value| value.write(reply));
            }
            Self::Deferred(values) => {
                let place = reply.deferred();
                values.iter().for_each(|value| value.write(reply));
                reply.finish_array(place, values.len());
            }
            Self::Map(values) => {
                let place = reply.deferred();
                for (value, key) in values.iter().zip(0..) {
                    reply.integer(key);
                    value.write(reply);
                }
                reply.finish_map(place, values.len());
            }
        }
    }

    fn in_resp2(&self) -> Frame2 {
        match self {
            Self::Ok => Frame2::SimpleString(b"OK".to_vec()),
            Self::Null => Frame2::Null,
            Self::Error(text) => Frame2::Error(text.clone()),
            Self::Integer(value) => Frame2::Integer(*value),
            Self::Bulk(data) => Frame2::BulkString(data.clone()),
            Self::Large(len) => Frame2::BulkString(vec![b'x'; *len]),
            Self::Double(value) => Frame2::BulkString(larder::util::number::format_f64(*value).to_vec()),
            Self::Boolean(value) => Frame2::Integer(i64::from(*value)),
            Self::Array(values) | Self::Deferred(values) => Frame2::Array(values.iter().map(Self::in_resp2).collect()),
            Self::Map(values) => {
                let pairs = values.iter().zip(0..).flat_map(|(value, key)| [Frame2::Integer(key), value.in_resp2()]);
                Frame2::Array(pairs.collect())
            }
        }
    }

    fn in_resp3(&self) -> Frame3 {
        let attributes = None;
        match self {
            Self::Ok => Frame3::SimpleString { data: b"OK".to_vec(), attributes },
            Self::Null => Frame3::Null,
            Self::Error(text) => Frame3::SimpleError { data: text.clone(), attributes },
            Self::Integer(data) => Frame3::Number { data: *data, attributes },
            Self::Bulk(data) => Frame3::BlobString { data: data.clone(), attributes },
            Self::Large(len) => Frame3::BlobString { data: vec![b'x'; *len], attributes },
            Self::Double(data) => Frame3::Double { data: *data, attributes },
            Self::Boolean(data) => Frame3::Boolean { data: *data, attributes },
            Self::Array(values) | Self::Deferred(values) => {
                Frame3::Array { data: values.iter().map(Self::in_resp3).collect(), attributes }
            }
            Self::Map(values) => {
                let pair =
                    |(value, key): (&Self, i64)| (Frame3::Number { data: key, attributes: None }, value.in_resp3());
                Frame3::Map { data: values.iter().zip(0..).map(pair).collect::<FrameMap<_, _>>(), attributes }
            }
        }
    }
}
