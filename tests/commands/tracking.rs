//! Client-side caching. Expected replies and messages are those of Valkey 9.1.

use crate::harness::{Client, both};
use larder::protocol::reply::Resp;

fn tracking(options: &str) -> (Client, Client) {
    let other = Client::new(Resp::V3);
    let mut caching = other.beside();
    caching.ask("HELLO 3");
    caching.check(&format!("CLIENT TRACKING ON{options}"), "+OK");
    (caching, other)
}

fn info(c: &mut Client, name: &str) -> String {
    let page = c.ask("INFO");
    let value = page.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.expect("a field").to_owned()
}

#[test]
fn a_read_key_is_told_once() {
    let (mut caching, mut other) = tracking("");
    caching.check("GET k", "nil");
    other.check("SET k 1", "+OK");
    assert_eq!(caching.mail(), "[$invalidate, [$k]]");
    other.check("SET k 2", "+OK");
    assert_eq!(caching.mail(), "", "it is not in the cache any more");
    caching.check("MGET k l m", "[$2, nil, nil]");
    assert_eq!(
        (info(&mut other, "tracking_total_keys"), info(&mut other, "tracking_clients")),
        ("3".into(), "1".into())
    );
    other.check("MSET k 1 m 1", "+OK");
    assert_eq!(caching.mail(), "[$invalidate, [$k]] [$invalidate, [$m]]");
    assert_eq!(info(&mut other, "tracking_total_items"), "1");
}

#[test]
fn only_commands_that_read_enter_keys() {
    let (mut caching, mut other) = tracking("");
    for line in
        ["EXISTS a", "TYPE b", "TTL c", "SUNION d e", "XREAD STREAMS f 0", "TOUCH g", "LCS h i", "OBJECT ENCODING j"]
    {
        caching.ask(line);
    }
    for line in ["GETEX n1", "SINTERSTORE n2 n3 n4", "GETDEL n5", "SORT n6", "BITFIELD n7 GET u8 0", "KEYS *", "SCAN 0"]
    {
        caching.ask(line);
    }
    for key in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] {
        other.check(&format!("SET {key} 1"), "+OK");
        assert_eq!(caching.mail(), format!("[$invalidate, [${key}]]"));
    }
    for key in ["n1", "n2", "n3", "n4", "n5", "n6", "n7"] {
        other.check(&format!("SET {key} 1"), "+OK");
        assert_eq!(caching.mail(), "", "{key}");
    }
}

#[test]
fn all_ways_to_change_a_key_are_told() {
    let (mut caching, mut other) = tracking("");
    for (setup, change) in [
        ("SET k 1", "DEL k"),
        ("SET k 1", "EXPIRE k 100"),
        ("SET k 1", "RENAME k x"),
        ("SET k 1", "RENAME x k"),
        ("SET k 1", "MOVE k 1"),
        ("SET x 1", "COPY x k"),
        ("SET k 1", "GETEX k EX 10"),
        ("DEL k", "RPUSH k a"),
        ("SET l 1", "LPOP k"),
        ("DEL k", "HSET k f v"),
        ("DEL k", "ZADD k 1 a"),
        ("DEL k", "SADD k 1 a"),
        ("DEL k", "XADD k * a b"),
    ] {
        other.ask(setup);
        caching.ask("EXISTS k");
        caching.mail();
        other.ask(change);
        assert_eq!(caching.mail(), "[$invalidate, [$k]]", "{change}");
    }
    for line in ["DEL nosuch", "SET k 1 NX", "LREM nosuch 0 a", "EXPIRE nosuch 1", "SWAPDB 0 1"] {
        other.ask("SADD k a");
        caching.ask("EXISTS k nosuch");
        caching.mail();
        other.ask(line);
        assert_eq!(caching.mail(), "", "{line}");
    }
}

#[test]
fn own_changes_come_after_the_reply() {
    let (mut caching, _) = tracking("");
    caching.check("GET k", "nil");
    assert_eq!(caching.ask_all("SET k 1"), "+OK [$invalidate, [$k]]");
    caching.check("CLIENT TRACKING ON NOLOOP", "+OK");
    caching.check("GET k", "$1");
    assert_eq!(caching.ask_all("SET k 1"), "+OK");
    caching.check("GET k", "$1");
    assert_eq!(caching.ask_all("FLUSHALL"), "+OK [$invalidate, nil]");
}

#[test]
fn expiry_and_flush_are_told() {
    let (mut caching, mut other) = tracking("");
    for key in ["a", "b"] {
        other.check(&format!("SET {key} 1 PX 1"), "+OK");
    }
    caching.ask_all("MGET a b");
    caching.mail();
    std::thread::sleep(std::time::Duration::from_millis(5));
    // Whether the reads came before the deadline or not.
    caching.ask_all("EXISTS b");
    caching.mail();
    assert!(caching.ask_all("EXISTS a").starts_with(":0"));
    other.check("SET a 1", "+OK");
    assert_eq!(caching.mail(), "[$invalidate, [$a]]");
    caching.check("GET a", "$1");
    other.check("FLUSHDB", "+OK");
    assert_eq!(caching.mail(), "[$invalidate, nil]");
    assert_eq!(info(&mut other, "tracking_total_keys"), "0");
    other.check("SET a 1", "+OK");
    assert_eq!(caching.mail(), "");
}

#[test]
fn opting_in_and_out_is_for_one_command() {
    let (mut caching, mut other) = tracking(" OPTIN");
    let told = |caching: &mut Client, other: &mut Client| {
        other.check("SET k 1", "+OK");
        caching.mail()
    };
    caching.ask("GET k");
    assert_eq!(told(&mut caching, &mut other), "");
    caching.check("CLIENT CACHING YES", "+OK");
    caching.check("CLIENT TRACKINGINFO", "[$flags, [$on, $optin, $caching-yes], $redirect, :0, $prefixes, []]");
    caching.ask("GET k");
    caching.check("CLIENT TRACKINGINFO", "[$flags, [$on, $optin], $redirect, :0, $prefixes, []]");
    assert_eq!(told(&mut caching, &mut other), "[$invalidate, [$k]]");
    caching.check("CLIENT CACHING YES", "+OK");
    caching.check("PING", "+PONG");
    caching.ask("GET k");
    assert_eq!(told(&mut caching, &mut other), "");
    caching.check("CLIENT CACHING NO", "-ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.");

    let (mut caching, mut other) = tracking(" OPTOUT");
    caching.check("CLIENT CACHING NO", "+OK");
    caching.ask("GET k");
    assert_eq!(told(&mut caching, &mut other), "");
    caching.ask("GET k");
    assert_eq!(told(&mut caching, &mut other), "[$invalidate, [$k]]");
}

#[test]
fn broadcasting_needs_no_read() {
    let (mut caching, mut other) = tracking(" BCAST PREFIX a: PREFIX b:");
    other.check("MSET a:1 1 x 1 b:1 1", "+OK");
    assert_eq!(caching.mail(), "[$invalidate, [$a:1]] [$invalidate, [$b:1]]");
    assert_eq!(caching.ask_all("SET a:1 2"), "+OK [$invalidate, [$a:1]]");
    let overlap = "overlaps with an existing prefix 'a:'. Prefixes for a single client must not overlap.";
    caching.check("CLIENT TRACKING ON BCAST PREFIX a:x", &format!("-ERR Prefix 'a:x' {overlap}"));
    caching.check("CLIENT TRACKING ON BCAST NOLOOP PREFIX c", "+OK");
    caching.check("CLIENT TRACKINGINFO", "[$flags, [$on, $bcast, $noloop], $redirect, :0, $prefixes, [$a:, $b:, $c]]");
    assert_eq!(info(&mut other, "tracking_total_prefixes"), "3");
    assert_eq!(caching.ask_all("SET a:1 2"), "+OK");
    caching.check("CLIENT TRACKING OFF", "+OK");
    other.check("SET a:1 1", "+OK");
    assert_eq!((caching.mail(), info(&mut other, "tracking_total_prefixes")), (String::new(), "0".into()));
    caching.check("CLIENT TRACKING ON BCAST", "+OK");
    other.check("SET z 1", "+OK");
    assert_eq!(caching.mail(), "[$invalidate, [$z]]");
}

/// A message for each key of an MSET, and of a transaction, where Valkey and Redis send one for each prefix.
#[test]
fn keys_changed_together_are_broadcast_together() {
    let (mut caching, mut other) = tracking(" BCAST PREFIX a: PREFIX b");
    other.check("MSET a:2 1 b1 1 a:1 1 c 1 a:1 2", "+OK");
    assert_eq!(caching.mail(), "[$invalidate, [$a:1, $a:2]] [$invalidate, [$b1]]");
    for line in ["MULTI", "INCR a:1", "SET b2 1 PX 1", "INCR a:1", "DEL a:2 b1"] {
        other.ask(line);
    }
    assert_eq!(caching.mail(), "");
    other.check("EXEC", "[:3, +OK, :4, :2]");
    assert_eq!(caching.mail(), "[$invalidate, [$a:1, $a:2]] [$invalidate, [$b1, $b2]]");
    std::thread::sleep(std::time::Duration::from_millis(5));
    other.check("MGET b2 a:1", "[nil, $4]");
    assert_eq!(caching.mail(), "[$invalidate, [$b2]]", "what expires is told too");
    let script = "for key = 1, 1500 do redis.call('SET', 'b' .. key, '') end return redis.call('INCR', 'a:1')";
    assert_eq!(other.bytes(&[b"EVAL", script.as_bytes(), b"0"]), b":5\r\n");
    let told = caching.mail();
    assert_eq!((told.matches("$invalidate").count(), told.matches("$b").count()), (3, 1500));
    assert!(told.contains("[$invalidate, [$a:1]]"));
}

#[test]
fn another_client_can_be_told() {
    let (mut caching, mut other) = tracking("");
    let mut old = Client::beside(&other);
    old.ask("HELLO 2");
    let id = old.ask("CLIENT ID").trim_start_matches(':').to_owned();
    caching.check(&format!("CLIENT TRACKING ON REDIRECT {id}"), "+OK");
    caching.check("CLIENT GETREDIR", &format!(":{id}"));
    let change = |caching: &mut Client, other: &mut Client| {
        caching.ask("GET k");
        other.check("SET k 1", "+OK");
    };
    change(&mut caching, &mut other);
    assert_eq!(old.mail(), "", "it does not listen");
    old.ask_all("SUBSCRIBE __redis__:invalidate");
    change(&mut caching, &mut other);
    assert_eq!(old.raw_mail(), b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\nk\r\n");
    other.check("FLUSHALL", "+OK");
    assert_eq!(old.raw_mail(), b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n$-1\r\n");
    old.leave();
    change(&mut caching, &mut other);
    assert_eq!(caching.mail(), format!("[$tracking-redir-broken, :{id}]"));
    let flags = format!("[$flags, [$on, $broken_redirect], $redirect, :{id}, $prefixes, []]");
    caching.check("CLIENT TRACKINGINFO", &flags);
    assert!(caching.ask("CLIENT INFO").contains(" flags=tR "));
    assert!(caching.ask("CLIENT INFO").contains(&format!(" redir={id} ")));
}

#[test]
fn wishes_that_make_no_sense_are_refused() {
    both(|c| {
        c.check("CLIENT TRACKING foo", "-ERR syntax error");
        c.check("CLIENT TRACKING ON REDIRECT 999", "-ERR The client ID you want redirect to does not exist");
        c.check("CLIENT TRACKING ON REDIRECT x", "-ERR value is not an integer or out of range");
        c.check("CLIENT TRACKING ON REDIRECT 1 REDIRECT 1", "-ERR A client can only redirect to a single other client");
        c.check("CLIENT TRACKING ON PREFIX a", "-ERR PREFIX option requires BCAST mode to be enabled");
        c.check("CLIENT TRACKING ON BCAST OPTIN", "-ERR OPTIN and OPTOUT are not compatible with BCAST");
        c.check("CLIENT TRACKING ON OPTIN OPTOUT", "-ERR You can't specify both OPTIN mode and OPTOUT mode");
        let overlap = "overlaps with another provided prefix 'ab'. Prefixes for a single client must not overlap.";
        c.check("CLIENT TRACKING ON BCAST PREFIX a PREFIX ab", &format!("-ERR Prefix 'a' {overlap}"));
        c.check("CLIENT TRACKINGINFO", "[$flags, [$off], $redirect, :-1, $prefixes, []]");
        c.check("CLIENT GETREDIR", ":-1");
        c.check("CLIENT TRACKING ON OPTIN", "+OK");
        let switch = "before disabling tracking for this client, and then re-enabling it with a different mode.";
        c.check("CLIENT TRACKING ON BCAST", &format!("-ERR You can't switch BCAST mode on/off {switch}"));
        c.check("CLIENT TRACKING ON OPTOUT", &format!("-ERR You can't switch OPTIN/OPTOUT mode {switch}"));
        c.check("CLIENT CACHING foo", "-ERR syntax error");
        c.check("RESET", "+RESET");
        c.check("CLIENT GETREDIR", ":-1");
    });
}

#[test]
fn reads_are_forgotten_when_nobody_is_left() {
    let (mut caching, mut other) = tracking("");
    caching.ask("GET k");
    caching.check("CLIENT TRACKING OFF", "+OK");
    assert_eq!(info(&mut other, "tracking_total_keys"), "1");
    caching.check("CLIENT TRACKING ON", "+OK");
    other.check("SET k 1", "+OK");
    assert_eq!(caching.mail(), "[$invalidate, [$k]]", "as in Valkey, which keeps what was read");
    caching.ask("GET k");
    caching.shared.forget_reads();
    assert_eq!(info(&mut other, "tracking_total_keys"), "1");
    caching.check("CLIENT TRACKING OFF", "+OK");
    caching.shared.forget_reads();
    assert_eq!(
        (info(&mut other, "tracking_total_keys"), info(&mut other, "tracking_total_items")),
        ("0".into(), "0".into())
    );
    assert!(!caching.shared.keyspace.attention().any());
}

#[test]
fn the_table_is_bounded() {
    let (mut caching, mut other) = tracking("");
    other.check("CONFIG SET tracking-table-max-keys 100", "+OK");
    for key in 0..1000 {
        caching.ask_all(&format!("GET key:{key}"));
    }
    assert_eq!(info(&mut other, "tracking_total_keys"), "100");
    assert_eq!(info(&mut other, "tracking_total_items"), "100");
    assert!(caching.ask_all("GET another").starts_with("nil [$invalidate, [$key:"), "an old key is told as changed");
    caching.leave();
    assert_eq!(info(&mut other, "tracking_clients"), "0");
}
