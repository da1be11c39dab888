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

/// Clients that listen to `a` and whose sockets take nothing.
fn stalled(c: &Client, count: usize) -> Vec<Client> {
    let listen = |_| {
        let mut client = c.beside();
        client.ask_all("SUBSCRIBE a");
        client.stall();
        client
    };
    (0..count).map(listen).collect()
}

fn received(numbers: std::ops::Range<usize>) -> String {
    numbers.map(|number| format!("[$message, $a, ${number}]")).collect::<Vec<_>>().join(" ")
}

fn publish(c: &mut Client, numbers: std::ops::Range<usize>, receivers: usize) {
    numbers.for_each(|number| c.check(&format!("PUBLISH a {number}"), &format!(":{receivers}")));
}

#[test]
fn who_takes_nothing_gets_all_later_in_order() {
    both(|c| {
        let (mut lagging, mut reading) = (stalled(c, 3), c.beside());
        reading.ask_all("SUBSCRIBE a");
        publish(c, 0..100, 4);
        assert!(lagging.iter().all(Client::lags) && !reading.lags());
        assert_eq!(reading.mail(), received(0..100));
        assert!(lagging[0].waiting_bytes() >= 100 * 30, "{}", lagging[0].waiting_bytes());
        assert_eq!(lagging[0].catch_up(), received(0..100));
        assert!(!lagging[0].lags() && lagging[1].lags());
        publish(c, 100..200, 4);
        assert_eq!(lagging[0].mail(), received(100..200));
        lagging[0].stall();
        publish(c, 200..300, 4);
        assert_eq!(lagging[2].catch_up(), received(0..300));
        lagging.remove(1).leave();
        publish(c, 300..301, 3);
        assert_eq!(lagging[0].catch_up(), received(200..301));
        assert_eq!(lagging[1].mail(), received(300..301));
    });
}

#[test]
fn who_lags_is_told_in_its_own_protocol() {
    let c = &mut Client::new(Resp::V2);
    let mut lagging = stalled(c, 1);
    let mut new = c.beside();
    new.ask("HELLO 3");
    new.ask_all("SUBSCRIBE a");
    new.stall();
    lagging.push(new);
    publish(c, 0..1, 2);
    assert!(lagging[1].lags());
    assert_eq!(lagging[0].raw_mail(), b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\n0\r\n");
    assert_eq!(lagging[1].raw_mail(), b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\n0\r\n");
}

#[test]
fn other_messages_come_behind_those_that_wait() {
    both(|c| {
        let mut one = c.beside();
        one.ask("HELLO 3");
        one.ask("CLIENT TRACKING ON BCAST");
        one.ask_all("SUBSCRIBE a");
        one.stall();
        publish(c, 0..2, 1);
        assert!(one.lags());
        c.check("SET k v", "+OK");
        publish(c, 2..3, 1);
        assert_eq!(one.catch_up(), format!("{} [$invalidate, [$k]] {}", received(0..2), received(2..3)));
        one.stall();
        publish(c, 3..4, 1);
        let confirmed = "[$subscribe, $b, :2]";
        assert_eq!(one.ask_all("SUBSCRIBE b"), confirmed);
        assert!(!one.lags(), "who listens to several names gets them in one order");
        publish(c, 4..5, 1);
        c.check("PUBLISH b 5", ":1");
        assert!(!one.lags());
        assert_eq!(one.catch_up(), format!("{} [$message, $b, $5]", received(3..5)));
    });
}

#[test]
fn nothing_that_waits_is_lost_by_unsubscribe() {
    both(|c| {
        let one = &mut stalled(c, 1)[0];
        publish(c, 0..3, 1);
        assert_eq!(one.ask_all("UNSUBSCRIBE"), format!("{} [$unsubscribe, $a, :0]", received(0..3)));
        publish(c, 3..4, 0);
        one.ask_all("SUBSCRIBE a");
        publish(c, 4..5, 1);
        assert_eq!(one.ask_all("RESET"), format!("{} +RESET", received(4..5)));
    });
}

#[test]
fn those_for_whom_too_much_waits_are_closed_together() {
    both(|c| {
        c.check("CONFIG SET client-output-buffer-limit \"pubsub 1000 0 0\"", "+OK");
        let lagging = stalled(c, 10);
        let text = "x".repeat(100); // 132 bytes a message
        for _ in 0..7 {
            c.check(&format!("PUBLISH a {text}"), ":10");
        }
        let late = stalled(c, 1);
        assert!(lagging.iter().all(|one| one.lags() && one.waiting_bytes() == 7 * 132));
        c.check(&format!("PUBLISH a {text}"), ":11");
        assert!(lagging.iter().all(|one| !one.lags() && one.is_killed()));
        assert!(late[0].lags() && late[0].waiting_bytes() == 132);
    });
}

#[test]
fn sharded_channels_are_not_subscribed_to_in_a_transaction() {
    both(|c| {
        c.check("MULTI", "+OK");
        c.check("SSUBSCRIBE s", "+QUEUED");
        c.check("EXEC", "[-ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client]");
        c.check("PUBSUB SHARDNUMSUB s", "[$s, :0]");
    });
}
