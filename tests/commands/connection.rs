//! Connections. Expected replies are those of Valkey 9.1.

use crate::harness::{Client, both};
use larder::protocol::reply::Resp;
use larder::util::clock::UnixMs;

const SYNTAX: &str = "-ERR syntax error";
const BAD_NAME: &str = "-ERR Client names cannot contain spaces, newlines or special characters.";
const WRONG: &str = "-WRONGPASS invalid username-password pair or user is disabled.";

/// The value of a field of CLIENT INFO.
fn field(client: &mut Client, name: &str) -> String {
    let line = client.ask("CLIENT INFO");
    let value = line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    value.expect("a field of the line").to_owned()
}

#[test]
fn small_talk() {
    both(|c| {
        c.check("PING", "+PONG");
        c.check("PING hello", "$hello");
        c.check("PING a b", "-ERR wrong number of arguments for 'ping' command");
        c.check("ECHO hello", "$hello");
        c.check("QUIT now", "+OK");
    });
}

#[test]
fn select_checks_its_range() {
    both(|c| {
        c.check("SET k v", "+OK");
        c.check("SELECT 3", "+OK");
        c.check("GET k", "nil");
        assert_eq!(field(c, "db"), "3");
        c.check("SELECT 16", "-ERR DB index is out of range");
        c.check("SELECT -1", "-ERR DB index is out of range");
        c.check("SELECT x", "-ERR value is not an integer or out of range");
        c.check("SELECT 4294967296", "-ERR value is out of range, value must between -2147483648 and 2147483647");
        assert_eq!(field(c, "db"), "3");
    });
}

#[test]
fn hello_sets_nothing_unless_all_is_right() {
    let c = &mut Client::new(Resp::V2);
    c.check("HELLO 4", "-NOPROTO unsupported protocol version");
    c.check("HELLO x", "-ERR Protocol version is not an integer or out of range");
    c.check("HELLO 3 SETNAME a NOSUCH", "-ERR Syntax error in HELLO option 'NOSUCH'");
    c.check("HELLO 3 AUTH default", "-ERR Syntax error in HELLO option 'AUTH'");
    c.check("HELLO 3 SETNAME a AUTH nosuch x", WRONG);
    c.check("HELLO 3 SETNAME \u{e9}", BAD_NAME);
    c.check("CLIENT GETNAME", "nil");
    assert_eq!(field(c, "resp"), "2");
    let greeting = c.ask("HELLO 3 SETNAME me AUTH default any");
    assert!(greeting.starts_with("[$server, $redis, $version, $7."), "{greeting}");
    assert!(greeting.ends_with("$mode, $standalone, $role, $master, $modules, []]"), "{greeting}");
    assert!(greeting.contains("$proto, :3, $id, :1, "), "{greeting}");
    c.check("CLIENT GETNAME", "$me");
    assert_eq!(field(c, "resp"), "3");
}

#[test]
fn hello_tells_the_zone_when_there_is_one() {
    both(|c| {
        c.check("CONFIG SET availability-zone eu-1", "+OK");
        assert!(c.ask("HELLO").ends_with("$modules, [], $availability_zone, $eu-1]"));
    });
}

#[test]
fn auth_wants_the_password() {
    both(|c| {
        let none = "-ERR AUTH <password> called without any password configured for the default user. Are you sure your \
                    configuration is correct?";
        c.check("AUTH x", none);
        c.check("AUTH default x", "+OK");
        c.check("AUTH nosuch x", WRONG);
        c.check("AUTH a b c", SYNTAX);
        c.check("CONFIG SET requirepass sesame", "+OK");
        c.check("AUTH bad", WRONG);
        c.check("PING", "+PONG");
        c.check("RESET", "+RESET");
        c.check("PING", "-NOAUTH Authentication required.");
        assert!(c.ask("HELLO 2").starts_with("-NOAUTH HELLO must be called"));
        c.check("AUTH nosuch sesame", WRONG);
        c.check("AUTH sesame", "+OK");
        c.check("PING", "+PONG");
        c.check("RESET", "+RESET");
        assert!(c.ask("HELLO 2 AUTH default sesame").contains("$role"));
        c.check("PING", "+PONG");
    });
}

#[test]
fn labels_hold_no_spaces() {
    both(|c| {
        c.check("CLIENT GETNAME", "nil");
        c.check("CLIENT SETNAME me", "+OK");
        c.check("CLIENT GETNAME", "$me");
        c.check("CLIENT SETNAME a\nb", BAD_NAME);
        c.check("CLIENT SETNAME \"\"", "+OK");
        c.check("CLIENT GETNAME", "nil");
        c.check("CLIENT SETINFO lib-name redis-py", "+OK");
        c.check("CLIENT SETINFO LIB-VER 1.2", "+OK");
        c.check("CLIENT SETINFO lib-ver a\tb", "-ERR lib-ver cannot contain spaces, newlines or special characters.");
        c.check("CLIENT SETINFO nosuch x", "-ERR Unrecognized option 'nosuch'");
        assert_eq!((field(c, "lib-name"), field(c, "lib-ver")), ("redis-py".to_owned(), "1.2".to_owned()));
    });
}

#[test]
fn reset_undoes_all_but_what_the_library_said() {
    let c = &mut Client::new(Resp::V2);
    for line in ["CLIENT SETNAME me", "CLIENT SETINFO LIB-NAME lib", "CLIENT NO-EVICT on", "CLIENT NO-TOUCH on"] {
        c.check(line, "+OK");
    }
    c.check("CLIENT CAPA nosuch REDIRECT", "+OK");
    c.check("SELECT 2", "+OK");
    c.ask("HELLO 3");
    assert_eq!((field(c, "flags"), field(c, "capa")), ("eT".to_owned(), "r".to_owned()));
    c.check("RESET", "+RESET");
    let fields = ["name", "flags", "capa", "db", "resp", "lib-name"].map(|name| field(c, name));
    assert_eq!(fields, ["", "N", "r", "0", "2", "lib"]);
}

#[test]
fn list_has_the_fields_of_valkey_in_order() {
    both(|c| {
        let page = c.ask("CLIENT LIST");
        let names: Vec<&str> = page.split(' ').filter_map(|field| field.split('=').next()).collect();
        let expected = "addr laddr fd name age idle flags capa db sub psub ssub multi watch qbuf qbuf-free argv-mem multi-mem \
                        rbs rbp obl oll omem tot-mem events cmd user redir resp lib-name lib-ver tot-net-in tot-net-out \
                        tot-cmds";
        assert_eq!(names[1..].join(" "), expected);
    });
}

#[test]
fn filters_choose_clients() {
    let c = &mut Client::new(Resp::V2);
    c.check("CLIENT SETNAME me", "+OK");
    for line in [
        "ID 1",
        "ID 5 1",
        "ID 5 ID 1",
        "TYPE normal",
        "USER default",
        "ADDR test:1",
        "LADDR test:2",
        "IP test",
        "NAME me",
        "NAME you NAME me",
        "FLAGS N",
        "FLAGS \"\"",
        "CAPA \"\"",
        "DB 0",
        "SKIPME no",
        "NOT-ID 5",
        "NOT-ID DB 0",
        "DB 0 NOT-ID",
        "NOT-TYPE pubsub",
        "NOT-NAME you",
        "NOT-LIB-NAME x",
        "NOT-FLAGS Nx",
        "NOT-CAPA r",
        "NOT-DB 1",
        "NOT-IP 1.1.1.1",
        "not-addr x",
    ] {
        assert!(c.ask(&format!("CLIENT LIST {line}")).starts_with("$id=1 "), "{line}");
    }
    for line in [
        "ID 5",
        "ID DB 0",
        "DB 0 ID",
        "TYPE pubsub",
        "TYPE master",
        "TYPE SLAVE",
        "ADDR x",
        "NAME you",
        "LIB-VER \"\"",
        "FLAGS Nx",
        "CAPA r",
        "DB 1",
        "SKIPME yes",
        "IDLE 1",
        "MAXAGE 9",
        "NOT-ID 1",
        "NOT-USER default",
        "NOT-NAME me",
        "NOT-FLAGS \"\"",
        "NOT-CAPA \"\"",
        "NOT-DB 0",
        "NAME me NAME you",
    ] {
        c.check(&format!("CLIENT LIST {line}"), "$");
    }
}

#[test]
fn filters_refuse_what_they_do_not_know() {
    both(|c| {
        for line in ["ID", "ID x", "NOSUCH x", "TYPE", "SKIPME maybe", "NOT-SKIPME yes", "NOT-IDLE 1", "ID 1 x DB 0"] {
            c.check(&format!("CLIENT LIST {line}"), SYNTAX);
        }
        for (line, error) in [
            ("ID 0", "client-id should be greater than 0"),
            ("TYPE nosuch", "Unknown client type 'nosuch'"),
            ("USER nosuch", "No such user 'nosuch'"),
            ("FLAGS NZ", "Unknown flags found in the provided filter: NZ"),
            ("NOT-CAPA z", "Unknown capa found in the NOT-CAPA filter: z"),
            ("DB 16", "DB number should be between 0 and 15"),
            ("NOT-DB x", "NOT-DB is not an integer or out of range"),
            ("MAXAGE 0", "maxage should be greater than 0"),
            ("IDLE x", "idle is not an integer or out of range"),
        ] {
            c.check(&format!("CLIENT LIST {line}"), &format!("-ERR {error}"));
        }
    });
}

#[test]
fn kill_counts_or_says_ok() {
    both(|c| {
        c.check("CLIENT KILL 1.2.3.4:5", "-ERR No such client");
        c.check("CLIENT KILL ID", "-ERR No such client");
        c.check("CLIENT KILL a b c", SYNTAX);
        c.check("CLIENT KILL ID 1", ":0");
        c.check("CLIENT KILL ID 1 SKIPME no", ":1");
        c.check("CLIENT KILL test:1", "+OK");
    });
}

/// A client that was killed must not be listed by the next request, although its connection takes a moment to close.
#[test]
fn the_killed_are_gone_at_once() {
    let c = &mut Client::new(Resp::V2);
    let peer = larder::call::clients::Peer {
        addr: "other:1".to_owned(),
        laddr: String::new(),
        fd: -1,
        unix: false,
        worker: 0,
    };
    let other = c.shared.clients.add(peer, UnixMs::now());
    c.shared.clients.set_monitor(&other, true);
    c.check("CLIENT KILL ADDR other:1", ":1");
    c.check("CLIENT LIST SKIPME yes", "$");
    assert!(other.take_mail().killed);
    assert_eq!(c.shared.clients.monitors(), 0);
}

#[test]
fn a_pause_is_neither_shortened_nor_narrowed() {
    let c = &mut Client::new(Resp::V2);
    c.check("CLIENT PAUSE x NOSUCH", "-ERR CLIENT PAUSE mode must be WRITE or ALL");
    c.check("CLIENT PAUSE x", "-ERR timeout is not an integer or out of range");
    c.check("CLIENT PAUSE -1", "-ERR timeout is negative");
    c.check("CLIENT PAUSE 9223372036854775807", "-ERR timeout is out of range");
    let now = UnixMs::now();
    assert_eq!(c.shared.clients.pause(now), None);
    c.check("CLIENT PAUSE 100000 WRITE", "+OK");
    c.check("CLIENT PAUSE 10 WRITE", "+OK");
    let pause = c.shared.clients.pause(now).expect("a pause");
    assert!(!pause.all && pause.until.0 >= now.0 + 100_000);
    c.check("CLIENT PAUSE 10 ALL", "+OK");
    let wider = c.shared.clients.pause(now).expect("a pause");
    assert!(wider.all && wider.until == pause.until);
    c.shared.clients.set_pause(None);
    c.check("CLIENT UNPAUSE", "+OK");
}

#[test]
fn modes_are_on_or_off() {
    both(|c| {
        c.check("CLIENT NO-EVICT maybe", SYNTAX);
        c.check("CLIENT NO-TOUCH maybe", SYNTAX);
        c.check("CLIENT REPLY maybe", SYNTAX);
        c.check("CLIENT REPLY ON", "+OK");
        c.check("CLIENT IMPORT-SOURCE on", "-ERR Server is not in import mode");
        c.check("CLIENT IMPORT-SOURCE off", "+OK");
        c.check("CLIENT UNBLOCK 9", ":0");
        c.check("CLIENT UNBLOCK 9 nosuch", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    });
}

#[test]
fn shutdown_words_that_contradict_stop_nothing() {
    both(|c| {
        for line in ["nosuch", "SAVE NOSAVE", "ABORT NOW", "FORCE ABORT", "NOSAVE x"] {
            c.check(&format!("SHUTDOWN {line}"), SYNTAX);
        }
        c.check("SHUTDOWN ABORT", "-ERR No shutdown in progress.");
        assert!(!c.shared.shutdown.requested.load(std::sync::atomic::Ordering::Relaxed));
    });
}

#[test]
fn strangers_learn_nothing() {
    both(|c| {
        c.check("CONFIG SET requirepass sesame", "+OK");
        c.check("RESET", "+RESET");
        for line in ["GET", "NOSUCH", "CLIENT NOSUCH", "GET k"] {
            c.check(line, "-NOAUTH Authentication required.");
        }
        c.check("AUTH", "-ERR wrong number of arguments for 'auth' command");
        c.check("AUTH sesame", "+OK");
        c.check("CONFIG SET requirepass \"\"", "+OK");
    });
}

#[test]
fn monitors_keep_off_the_keyspace() {
    let c = &mut Client::new(Resp::V2);
    c.check("MONITOR", "+OK");
    for line in ["GET k", "SET k v", "FLUSHALL"] {
        c.check(line, "-ERR Replica can't interact with the keyspace");
    }
    c.check("PING", "+PONG");
    assert_eq!(field(c, "flags"), "O");
    let all = c.ask_all("RESET");
    assert!(all.contains("+RESET") && all.contains("PING"), "what was shown before is not lost: {all}");
    c.check("GET k", "nil");
    assert_eq!(c.shared.clients.monitors(), 0);
}
