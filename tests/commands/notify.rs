//! Keyspace notifications. Expected messages are those of Valkey 9.1.

use crate::harness::{Client, both};
use larder::protocol::reply::Resp;

/// A client that hears of every event as `key:event`, beside `c`.
fn listener(c: &mut Client, classes: &str) -> Client {
    c.check(&format!("CONFIG SET notify-keyspace-events {classes}"), "+OK");
    let mut listener = c.beside();
    listener.ask_all("PSUBSCRIBE __keyspace@*__:*");
    listener
}

/// What it heard: events with their keys.
fn heard(listener: &mut Client) -> String {
    let mail = listener.mail();
    let messages = mail.split("[$pmessage, $__keyspace@*__:*, $__keyspace@").filter(|message| !message.is_empty());
    let mut events = Vec::new();
    for message in messages {
        let (place, event) = message.trim_end().trim_end_matches(']').split_once(", $").expect("two words");
        let (db, key) = place.split_once("__:").expect("a channel");
        events.push(if db == "0" { format!("{event} {key}") } else { format!("{event} {db}:{key}") });
    }
    events.join(", ")
}

#[track_caller]
fn check(c: &mut Client, listener: &mut Client, line: &str, events: &str) {
    c.ask(line);
    assert_eq!(heard(listener), events, "{line}");
}

#[test]
fn both_channels_carry_the_event() {
    both(|c| {
        c.check("CONFIG SET notify-keyspace-events KEA", "+OK");
        let (mut keys, mut events) = (c.beside(), c.beside());
        keys.ask_all("SUBSCRIBE __keyspace@0__:k __keyspace@1__:k");
        events.ask_all("SUBSCRIBE __keyevent@0__:set __keyevent@1__:del");
        c.check("SET k v", "+OK");
        c.check("SET other v", "+OK");
        assert_eq!(keys.mail(), "[$message, $__keyspace@0__:k, $set]");
        assert_eq!(events.mail(), "[$message, $__keyevent@0__:set, $k] [$message, $__keyevent@0__:set, $other]");
        c.check("MOVE k 1", ":1");
        c.check("SELECT 1", "+OK");
        c.check("DEL k nosuch", ":1");
        assert_eq!(
            keys.mail(),
            "[$message, $__keyspace@0__:k, $move_from] [$message, $__keyspace@1__:k, $move_to] [$message, $__keyspace@1__:k, $del]"
        );
        assert_eq!(events.mail(), "[$message, $__keyevent@1__:del, $k]");
        c.check("CONFIG SET notify-keyspace-events E$", "+OK");
        c.check("SET k v", "+OK");
        c.check("LPUSH l v", ":1");
        assert_eq!((keys.mail().as_str(), events.mail().as_str()), ("", ""));
        c.check("CONFIG SET notify-keyspace-events \"\"", "+OK");
        c.check("DEL k", ":1");
        assert_eq!(events.mail(), "");
    });
}

#[test]
fn events_of_each_type() {
    both(|c| {
        let l = &mut listener(c, "KEA");
        for (line, events) in [
            ("SET s 1 EX 100", "set s, expire s"),
            ("APPEND s 1", "append s"),
            ("INCRBYFLOAT s 1.5", "incrbyfloat s"),
            ("GETEX s PERSIST", "persist s"),
            ("SETRANGE s 0 xy", "setrange s"),
            ("GETDEL s", "del s"),
            ("RPUSH l a b c", "rpush l"),
            ("LMOVE l m LEFT RIGHT", "rpush m, lpop l"),
            ("LTRIM l 1 0", "ltrim l, del l"),
            ("HSET h f 1 g 2", "hset h"),
            ("HINCRBY h f 1", "hincrby h"),
            ("HDEL h f g", "hdel h, del h"),
            ("SADD x a b", "sadd x"),
            ("SMOVE x y a", "srem x, sadd y"),
            ("SUNIONSTORE z x y", "sunionstore z"),
            ("SPOP x", "spop x, del x"),
            ("SINTERSTORE z x y", "del z"),
            ("ZADD z 1 a 2 b", "zadd z"),
            ("ZINCRBY z 1 a", "zincr z"),
            ("ZREMRANGEBYRANK z 0 -1", "zremrangebyrank z, del z"),
            ("XADD st 1-1 f v", "xadd st"),
            ("XGROUP CREATE st g 0", "xgroup-create st"),
            ("XDEL st 1-1", "xdel st"),
            ("RENAME st su", "rename_from st, rename_to su"),
            ("COPY su sv", "copy_to sv"),
            ("EXPIRE su 100", "expire su"),
            ("PEXPIREAT su 1", "expired su"),
            ("UNLINK sv nosuch", "del sv"),
            ("GET nosuch", ""),
        ] {
            check(c, l, line, events);
        }
    });
}

#[test]
fn keys_that_expire_are_announced_when_they_go() {
    both(|c| {
        let l = &mut listener(c, "KEx");
        c.check("SET k v PX 1", "+OK");
        c.check("SET l v PX 1", "+OK");
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert_eq!(heard(l), "");
        check(c, l, "GET k", "expired k");
        check(c, l, "GET k", "");
        c.expire();
        assert_eq!(heard(l), "expired l");
    });
}

#[test]
fn misses_and_new_keys_are_announced_on_demand() {
    both(|c| {
        let l = &mut listener(c, "KEmn");
        check(c, l, "GET k", "keymiss k");
        check(c, l, "SET k v", "new k");
        check(c, l, "SET k v", "");
        check(c, l, "RPUSH l a", "new l");
        let l = &mut listener(c, "KEAmn");
        check(c, l, "SET m v", "new m, set m");
        check(c, l, "DEBUG POPULATE 2 p", "new p:0, new p:1");
        check(c, l, "FLUSHALL", "");
    });
}

#[test]
fn who_listens_to_its_own_events_hears_after_the_reply() {
    let c = &mut Client::new(Resp::V3);
    c.check("CONFIG SET notify-keyspace-events KA", "+OK");
    c.ask_all("PSUBSCRIBE *");
    assert_eq!(c.ask_all("SET k v"), "+OK [$pmessage, $*, $__keyspace@0__:k, $set]");
}
