//! DUMP, RESTORE and DEBUG DIGEST-VALUE.

use crate::harness::{Client, both};
use larder::protocol::reply::Resp;

/// Commands that make a value of each type and form.
const VALUES: &[&str] = &[
    "SET k hello",
    "SET k 12345",
    "RPUSH k a 2 c",
    "SADD k 1 2 300000",
    "SADD k a b 3",
    "HSET k field value other 2",
    "ZADD k 1 a 2.5 b -inf c",
    "XADD k 5-1 field value",
    "PFADD k a b c",
    "GEOADD k 13.361389 38.115556 Palermo",
];

#[test]
fn what_is_dumped_is_restored() {
    for line in VALUES {
        for tiny in [false, true] {
            let mut client = Client::new(Resp::V2);
            if tiny {
                for option in ["hash-max-listpack-entries", "zset-max-listpack-entries", "set-max-listpack-entries"] {
                    client.check(&format!("CONFIG SET {option} 1"), "+OK");
                }
            }
            client.ask(line);
            let dump = client.bytes(&[b"DUMP", b"k"]);
            assert_eq!(client.bytes(&[b"RESTORE", b"copy", b"0", &dump]), b"+OK\r\n", "{line}");
            // A string that a command has changed in place is `raw`, and `embstr` again when it is restored.
            let encoding = if line.starts_with("PFADD") { "TYPE" } else { "OBJECT ENCODING" };
            for question in ["TYPE", encoding, "DEBUG DIGEST-VALUE"] {
                assert_eq!(client.ask(&format!("{question} k")), client.ask(&format!("{question} copy")), "{line}");
            }
            assert_eq!(client.bytes(&[b"DUMP", b"copy"]), dump, "{line}");
        }
    }
}

#[test]
fn options_and_refusals() {
    let mut client = Client::new(Resp::V2);
    client.ask("SET k hello");
    let dump = client.bytes(&[b"DUMP", b"k"]);
    let mut ask = |words: &[&[u8]]| {
        let mut all: Vec<&[u8]> = vec![b"RESTORE"];
        all.extend_from_slice(words);
        String::from_utf8(client.bytes(&all)).expect("ASCII").trim_end().to_owned()
    };
    assert_eq!(ask(&[b"k", b"0", &dump]), "-BUSYKEY Target key name already exists.");
    assert_eq!(ask(&[b"n", b"-1", &dump]), "-ERR Invalid TTL value, must be >= 0");
    assert_eq!(ask(&[b"n", b"x", &dump]), "-ERR value is not an integer or out of range");
    assert_eq!(ask(&[b"n", b"0", b"rubbish"]), "-ERR DUMP payload version or checksum are wrong");
    assert_eq!(ask(&[b"n", b"0", &dump, b"IDLETIME", b"-1"]), "-ERR Invalid IDLETIME value, must be >= 0");
    assert_eq!(ask(&[b"n", b"0", &dump, b"FREQ", b"256"]), "-ERR Invalid FREQ value, must be >= 0 and <= 255");
    assert_eq!(ask(&[b"n", b"0", &dump, b"IDLETIME", b"1", b"FREQ", b"1"]), "-ERR syntax error");
    assert_eq!(ask(&[b"k", b"1", &dump, b"ABSTTL", b"REPLACE"]), "+OK");
    assert_eq!(ask(&[b"n", b"100000", &dump]), "+OK");
    assert_eq!(ask(&[b"idle", b"0", &dump, b"IDLETIME", b"50"]), "+OK");
    client.check("EXISTS k", ":0");
    client.check("GET n", "$hello");
    client.check("OBJECT IDLETIME idle", ":50");
    client.check("RENAME idle used", "+OK");
    client.check("OBJECT IDLETIME used", ":0");
    assert_ne!(client.ask("PTTL n"), ":-1");
}

/// FREQ was read and forgotten, and IDLETIME was taken for a counter of uses where those are counted.
#[test]
fn restore_takes_the_use_that_the_policy_counts() {
    let mut client = Client::new(Resp::V2);
    client.ask("SET k hello");
    let dump = client.bytes(&[b"DUMP", b"k"]);
    let restore = |client: &mut Client, words: &[&[u8]]| {
        let mut all: Vec<&[u8]> = vec![b"RESTORE", b"k", b"0", &dump, b"REPLACE"];
        all.extend_from_slice(words);
        assert_eq!(client.bytes(&all), b"+OK\r\n");
    };
    restore(&mut client, &[b"FREQ", b"100"]);
    client.check("OBJECT IDLETIME k", ":0");
    client.check("CONFIG SET maxmemory-policy allkeys-lfu", "+OK");
    for (words, frequency) in [
        (&[b"FREQ".as_slice(), b"100"][..], ":100"),
        (&[b"FREQ", b"0"], ":0"),
        (&[b"FREQ", b"255"], ":255"),
        (&[b"IDLETIME", b"50"], ":5"),
        (&[], ":5"),
    ] {
        restore(&mut client, words);
        client.check("OBJECT FREQ k", frequency);
    }
}

/// What Valkey 9.1.2 says: a write that finds nothing to do has used the key.
#[test]
fn a_write_that_changes_nothing_is_a_use() {
    let mut client = Client::new(Resp::V2);
    client.ask("SET other hello");
    let dump = client.bytes(&[b"DUMP", b"other"]);
    for (line, reply) in [
        ("RENAMENX k other", ":0"),
        ("RENAMENX other k", ":0"),
        ("COPY other k", ":0"),
        ("EXPIRE k 100 XX", ":0"),
        ("PERSIST k", ":0"),
        ("SETNX k v", ":0"),
        ("SET k v NX", "nil"),
        ("SET k v IFEQ x", "nil"),
        ("DELIFEQ k x", ":0"),
        ("MSETNX k v new v", ":0"),
        ("MSETEX 1 k v NX", ":0"),
        ("SETRANGE k 0 \"\"", ":5"),
        ("INCR k", "-ERR value is not an integer or out of range"),
        ("RESTORE k 0 x", "-BUSYKEY Target key name already exists."),
    ] {
        client.bytes(&[b"RESTORE", b"k", b"0", &dump, b"IDLETIME", b"50", b"REPLACE"]);
        client.check("TTL k", ":-1");
        client.check("OBJECT IDLETIME k", ":50");
        client.check(line, reply);
        assert_eq!(client.ask("OBJECT IDLETIME k"), ":0", "{line}");
    }
}

#[test]
fn a_missing_key_is_null() {
    both(|client| client.check("DUMP none", "nil"));
}

/// The deadline overflowed to one in the past in Redis, and to one beyond all others here.
#[test]
fn a_time_to_live_that_overflows_is_refused() {
    both(|c| {
        c.check("SET k v", "+OK");
        let bytes = &c.bytes(&[b"DUMP", b"k"])[..];
        let refused = b"-ERR Invalid TTL value, must be >= 0\r\n";
        assert_eq!(c.bytes(&[b"RESTORE", b"r", b"9223372036854775807", bytes]), refused);
        c.check("EXISTS r", ":0");
        assert_eq!(c.bytes(&[b"RESTORE", b"r", b"9223372036854775807", bytes, b"ABSTTL"]), b"+OK\r\n");
    });
}

/// The digest is that of Valkey 9.1.2, which writes large whole scores with an exponent or with zeros at their end.
#[test]
fn digests_have_scores_in_their_shortest_form() {
    both(|c| {
        c.check("ZADD z 1e15 a 45228299430999176 b 4611686018427387904 c 123456789012345678 d 1e10 e -5 f", ":6");
        let digest = c.ask("DEBUG DIGEST-VALUE z");
        assert!(digest.contains("a51597e3db76b9cea644d870806cf74800343bb7"), "{digest}");
    });
}

/// FREQ was read and forgotten.
#[test]
fn the_frequency_of_a_restored_key_counts_where_frequencies_do() {
    let mut client = Client::new(Resp::V2);
    client.ask("SET k bar");
    let dump = client.bytes(&[b"DUMP", b"k"]);
    client.check("CONFIG SET maxmemory-policy allkeys-lfu", "+OK");
    assert_eq!(client.bytes(&[b"RESTORE", b"f", b"0", &dump, b"FREQ", b"100"]), b"+OK\r\n");
    client.check("OBJECT FREQ f", ":100");
    assert_eq!(client.bytes(&[b"RESTORE", b"i", b"0", &dump, b"IDLETIME", b"100"]), b"+OK\r\n");
    client.check("OBJECT FREQ i", ":5");
    client.check("CONFIG SET maxmemory-policy allkeys-lru", "+OK");
    assert_eq!(client.bytes(&[b"RESTORE", b"l", b"0", &dump, b"FREQ", b"100"]), b"+OK\r\n");
    client.check("OBJECT IDLETIME l", ":0");
}

#[test]
fn a_payload_of_a_later_version_is_restored_where_that_is_allowed() {
    let mut client = Client::new(Resp::V2);
    let later = b"\x00\x03bar\xde\x00\x0fYUza\xd3\xec\xe0";
    let refused = b"-ERR DUMP payload version or checksum are wrong\r\n";
    assert_eq!(client.bytes(&[b"RESTORE", b"k", b"0", later]), refused);
    client.check("CONFIG SET rdb-version-check relaxed", "+OK");
    assert_eq!(client.bytes(&[b"RESTORE", b"k", b"0", later]), b"+OK\r\n");
    client.check("GET k", "$bar");
}

/// A ziplist says where its last entry begins. Nobody looked.
#[test]
fn a_ziplist_with_a_wrong_tail_is_refused() {
    let mut client = Client::new(Resp::V2);
    client.ask("DEBUG SET-SKIP-CHECKSUM-VALIDATION 1");
    let mut payload =
        b"\x0c\x19\x19\x00\x00\x00\x16\x00\x00\x00\x06\x00\x00\xf1\x02\xf1\x02\x02_1\x04\xf2\x02\xf3\x02\xf3\xff"
            .to_vec();
    payload.extend_from_slice(b"\x09\x00\0\0\0\0\0\0\0\0");
    assert_eq!(client.bytes(&[b"RESTORE", b"z", b"0", &payload]), b"+OK\r\n");
    payload[6] = 2;
    assert_eq!(client.bytes(&[b"RESTORE", b"y", b"0", &payload]), b"-ERR Bad data format\r\n");
}
