//! Pub/sub. Expected replies are those of Valkey 9.1.

use crate::harness::{Client, both};
use larder::protocol::reply::Resp;

#[test]
fn confirmations_count_channels_and_patterns_together() {
    both(|c| {
        let confirmed = "[$subscribe, $a, :1] [$subscribe, $b, :2] [$subscribe, $a, :2]";
        assert_eq!(c.ask_all("SUBSCRIBE a b a"), confirmed);
        assert_eq!(c.ask_all("PSUBSCRIBE x*"), "[$psubscribe, $x*, :3]");
        assert_eq!(c.ask_all("SSUBSCRIBE s s"), "[$ssubscribe, $s, :1] [$ssubscribe, $s, :1]");
        assert_eq!(c.ask_all("UNSUBSCRIBE nosuch b"), "[$unsubscribe, $nosuch, :3] [$unsubscribe, $b, :2]");
        assert_eq!(c.ask_all("UNSUBSCRIBE"), "[$unsubscribe, $a, :1]");
        assert_eq!(c.ask_all("UNSUBSCRIBE"), "[$unsubscribe, nil, :1]");
        assert_eq!(c.ask_all("PUNSUBSCRIBE"), "[$punsubscribe, $x*, :0]");
        assert_eq!(c.ask_all("PUNSUBSCRIBE"), "[$punsubscribe, nil, :0]");
        assert_eq!(c.ask_all("SUNSUBSCRIBE"), "[$sunsubscribe, $s, :0]");
        assert_eq!(c.ask_all("SUNSUBSCRIBE"), "[$sunsubscribe, nil, :0]");
        c.check("SUBSCRIBE", "-ERR wrong number of arguments for 'subscribe' command");
    });
}

#[test]
fn messages_reach_channels_and_patterns() {
    both(|c| {
        let (mut one, mut two) = (c.beside(), c.beside());
        one.ask_all("SUBSCRIBE news");
        one.ask_all("PSUBSCRIBE n?ws ne*");
        two.ask_all("SUBSCRIBE other news");
        two.ask_all("SSUBSCRIBE news");
        c.check("PUBLISH news hello", ":4");
        c.check("PUBLISH nothing hello", ":0");
        c.check("SPUBLISH news sharded", ":1");
        c.check("SPUBLISH other sharded", ":0");
        let patterns = "[$pmessage, $n?ws, $news, $hello] [$pmessage, $ne*, $news, $hello]";
        assert_eq!(one.mail(), format!("[$message, $news, $hello] {patterns}"));
        assert_eq!(two.mail(), "[$message, $news, $hello] [$smessage, $news, $sharded]");
        assert_eq!(one.mail(), "");
    });
}

#[test]
fn each_receiver_gets_its_own_protocol() {
    let c = &mut Client::new(Resp::V2);
    let (mut old, mut new) = (c.beside(), c.beside());
    old.ask_all("SUBSCRIBE a");
    new.ask("HELLO 3");
    new.ask_all("SUBSCRIBE a");
    c.check("PUBLISH a \"\"", ":2");
    assert_eq!(old.raw_mail(), b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$0\r\n\r\n");
    assert_eq!(new.raw_mail(), b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$0\r\n\r\n");
}

#[test]
fn large_messages_arrive_whole_and_in_order() {
    both(|c| {
        let mut one = c.beside();
        one.ask_all("SUBSCRIBE a");
        let mut expected = Vec::new();
        for length in [1, 300, 20_000, 2, 255, 256, 40_000, 3] {
            let text = "x".repeat(length);
            c.check(&format!("PUBLISH a {text}"), ":1");
            expected.push(format!("[$message, $a, ${text}]"));
        }
        assert!(one.mail() == expected.join(" "));
    });
}

#[test]
fn nothing_follows_the_confirmation_of_unsubscribe() {
    both(|c| {
        let mut one = c.beside();
        one.ask_all("SUBSCRIBE a b");
        c.check("PUBLISH a 1", ":1");
        c.check("PUBLISH b 2", ":1");
        let received = "[$message, $a, $1] [$message, $b, $2]";
        assert_eq!(one.ask_all("UNSUBSCRIBE a"), format!("{received} [$unsubscribe, $a, :1]"));
        c.check("PUBLISH a 3", ":0");
        c.check("PUBLISH b 4", ":1");
        assert_eq!(one.mail(), "[$message, $b, $4]");
    });
}

#[test]
fn who_publishes_to_itself_gets_the_reply_first() {
    let c = &mut Client::new(Resp::V3);
    c.ask_all("SUBSCRIBE a");
    c.ask_all("PSUBSCRIBE a*");
    let messages = "[$message, $a, $1] [$pmessage, $a*, $a, $1]";
    assert_eq!(c.ask_all("PUBLISH a 1"), format!(":2 {messages}"));
    assert_eq!(c.ask_all("CLIENT REPLY OFF"), "");
    assert_eq!(c.ask_all("PUBLISH a 1"), messages, "messages are no replies");
    assert_eq!(c.ask_all("SUBSCRIBE b"), "[$subscribe, $b, :3]");
    assert_eq!(c.ask_all("UNSUBSCRIBE b"), "[$unsubscribe, $b, :2]");
    assert_eq!(c.ask_all("PUBLISH nothing 1"), "");
    assert_eq!(c.ask_all("CLIENT REPLY ON"), "+OK");
    assert_eq!(c.ask_all("CLIENT REPLY SKIP"), "");
    assert_eq!(c.ask_all("SUBSCRIBE b"), "[$subscribe, $b, :3]");
    assert_eq!(c.ask_all("PING"), "+PONG");
}

#[test]
fn resp2_listeners_may_do_little_else() {
    let c = &mut Client::new(Resp::V2);
    let refused = |name: &str| {
        let allowed = "(P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET";
        format!("-ERR Can't execute '{name}': only {allowed} are allowed in this context")
    };
    c.ask_all("SSUBSCRIBE s");
    c.check("GET k", &refused("get"));
    c.check("get", "-ERR wrong number of arguments for 'get' command");
    c.check("PUBLISH a 1", &refused("publish"));
    c.check("CLIENT ID", &refused("client|id"));
    c.check("HELLO 3", &refused("hello"));
    c.check("PING", "[$pong, $]");
    c.check("PING hi", "[$pong, $hi]");
    c.check("PING a b", "-ERR wrong number of arguments for 'ping' command");
    c.check("SUBSCRIBE a", "[$subscribe, $a, :1]");
    c.check("SUNSUBSCRIBE s", "[$sunsubscribe, $s, :0]");
    c.check("GET k", &refused("get"));
    c.check("RESET", "+RESET");
    c.check("GET k", "nil");
    c.check("PING", "+PONG");
    c.check("PUBSUB CHANNELS", "[]");

    let c = &mut Client::new(Resp::V3);
    c.ask_all("SUBSCRIBE a");
    c.check("GET k", "nil");
    c.check("PING", "+PONG");
}

#[test]
fn pubsub_tells_who_listens() {
    both(|c| {
        let (mut one, mut two) = (c.beside(), c.beside());
        one.ask_all("SUBSCRIBE a b");
        two.ask_all("SUBSCRIBE a");
        one.ask_all("PSUBSCRIBE p*");
        two.ask_all("PSUBSCRIBE p*");
        two.ask_all("SSUBSCRIBE s");
        c.check("PUBSUB NUMSUB a nosuch b a", "[$a, :2, $nosuch, :0, $b, :1, $a, :2]");
        c.check("PUBSUB NUMSUB", "[]");
        c.check("PUBSUB NUMPAT", ":1");
        c.check("PUBSUB CHANNELS b*", "[$b]");
        c.check("PUBSUB SHARDCHANNELS", "[$s]");
        c.check("PUBSUB SHARDCHANNELS x", "[]");
        c.check("PUBSUB SHARDNUMSUB s a", "[$s, :1, $a, :0]");
        let wrong = "-ERR unknown subcommand or wrong number of arguments for 'cHANNELS'. Try PUBSUB HELP.";
        c.check("PUBSUB cHANNELS a b", wrong);
        c.check("PUBSUB nosuch", "-ERR unknown subcommand 'nosuch'. Try PUBSUB HELP.");
        let info = c.ask("INFO");
        for line in ["pubsub_channels:2", "pubsub_patterns:1", "pubsubshard_channels:1", "pubsub_clients:2"] {
            assert!(info.contains(&format!("{line}\r\n")), "{line}");
        }
        two.leave();
        c.check("PUBSUB NUMSUB a b", "[$a, :1, $b, :1]");
        c.check("PUBSUB SHARDCHANNELS", "[]");
        c.check("PUBSUB NUMPAT", ":1");
        one.leave();
        c.check("PUBSUB NUMPAT", ":0");
        c.check("PUBSUB CHANNELS", "[]");
        assert!(c.ask("INFO").contains("pubsub_clients:0\r\n"));
    });
}

#[test]
fn client_list_shows_listeners() {
    both(|c| {
        let mut one = c.beside();
        one.ask_all("SUBSCRIBE a b");
        one.ask_all("PSUBSCRIBE p");
        one.ask_all("SSUBSCRIBE s");
        let line = c.ask("CLIENT LIST TYPE pubsub");
        assert!(line.starts_with("$id=2 ") && line.contains(" flags=P ") && line.contains(" sub=2 psub=1 ssub=1 "));
        assert!(c.ask("CLIENT LIST TYPE normal").starts_with("$id=1 "));
        c.check("CLIENT KILL TYPE pubsub", ":1");
        c.check("PUBSUB CHANNELS", "[]");
        c.check("PUBLISH a 1", ":0");
    });
}

#[test]
fn a_receiver_beyond_its_limit_is_closed_and_others_go_on() {
    let c = &mut Client::new(Resp::V2);
    let limit: [&[u8]; 4] = [b"CONFIG", b"SET", b"client-output-buffer-limit", b"pubsub 1000000 0 0"];
    assert_eq!(c.bytes(&limit), b"+OK\r\n");
    let (mut stalled, mut reading) = (c.beside(), c.beside());
    stalled.ask_all("SUBSCRIBE a");
    reading.ask_all("SUBSCRIBE a");
    for length in [100, 1000] {
        let text = "x".repeat(length);
        for _ in 0..900_000 / (length + 100) {
            c.check(&format!("PUBLISH a {text}"), ":2");
            reading.mail();
        }
        assert!(!stalled.is_killed(), "within the limit");
        stalled.mail();
    }
    for _ in 0..1100 {
        c.check(&format!("PUBLISH a {}", "x".repeat(1000)), ":2");
        reading.mail();
    }
    assert!(stalled.is_killed() && !reading.is_killed());
    assert_eq!(stalled.mail(), "", "its memory is free at once");
}
