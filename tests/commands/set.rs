//! Sets. Expected replies are those of Valkey 9.1.

use crate::harness::{Client, both};

const SYNTAX: &str = "-ERR syntax error";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

/// Runs `body` in both protocols with the usual sizes, with tiny ones, and with none: as an intset or a listpack, as one
/// that soon becomes a table, and as a table at once.
fn each_form(body: impl Fn(&mut Client)) {
    for (intset, listpack, value) in [(512, 128, 64), (3, 3, 3), (0, 0, 0), (512, 0, 64)] {
        both(|c| {
            c.check(&format!("CONFIG SET set-max-intset-entries {intset}"), "+OK");
            c.check(&format!("CONFIG SET set-max-listpack-entries {listpack}"), "+OK");
            c.check(&format!("CONFIG SET set-max-listpack-value {value}"), "+OK");
            body(c);
        });
    }
}

/// Asks, and compares the elements of the reply in the order of their texts.
#[track_caller]
fn check_sorted(c: &mut Client, line: &str, expected: &str) {
    assert_eq!(sorted(&c.ask(line)), expected, "{line}");
}

fn sorted(reply: &str) -> String {
    let Some(inner) = reply.strip_prefix('[').and_then(|reply| reply.strip_suffix(']')) else { return reply.into() };
    let mut elements: Vec<&str> = inner.split(", ").collect();
    elements.sort_unstable();
    format!("[{}]", elements.join(", "))
}

#[test]
fn members_are_added_asked_for_and_removed() {
    each_form(|c| {
        c.check("SADD s a b 1 2", ":4");
        c.check("SADD s a 1 3 3 long-member", ":2");
        c.check("SCARD s", ":6");
        c.check("SISMEMBER s 3", ":1");
        c.check("SISMEMBER s 03", ":0");
        c.check("SISMEMBER s long-member", ":1");
        c.check("SMISMEMBER s a z 2 2", "[:1, :0, :1, :1]");
        check_sorted(c, "SMEMBERS s", "[$1, $2, $3, $a, $b, $long-member]");
        c.check("SREM s a z 1 a", ":2");
        c.check("SREM s b 2 3 long-member more", ":4");
        c.check("EXISTS s", ":0");
    });
}

#[test]
fn missing_sets_are_empty() {
    both(|c| {
        c.check("SCARD no", ":0");
        c.check("SISMEMBER no a", ":0");
        c.check("SMISMEMBER no a b", "[:0, :0]");
        c.check("SMEMBERS no", "[]");
        c.check("SREM no a", ":0");
        c.check("SMOVE no other a", ":0");
        c.check("SPOP no", "nil");
        c.check("SPOP no 2", "[]");
        c.check("SRANDMEMBER no", "nil");
        c.check("SRANDMEMBER no -2", "[]");
        c.check("SSCAN no 0 COUNT nonsense", "[$0, []]");
        c.check("SINTER no", "[]");
        c.check("SINTERCARD 1 no", ":0");
        c.check("SUNIONSTORE d no no", ":0");
        c.check("DBSIZE", ":0");
    });
}

#[test]
fn encodings_follow_size_and_members() {
    both(|c| {
        c.check("CONFIG SET set-max-intset-entries 4 set-max-listpack-entries 5 set-max-listpack-value 6", "+OK");
        for (line, encoding) in [
            ("SADD s 1 2 3", "intset"),
            ("SADD s 4", "intset"),
            ("SADD s 5", "hashtable"),
            ("SREM s 1 2 3 4", "hashtable"),
            ("DEL s", ""),
            ("SADD s 1 1 1 1 1", "listpack"),
            ("DEL s", ""),
            ("SADD s 1 1 1 1 1 1", "hashtable"),
            ("DEL s", ""),
            ("SADD s 1 2 3 four", "listpack"),
            ("SADD s five", "listpack"),
            ("SADD s six", "hashtable"),
            ("DEL s", ""),
            ("SADD s 1 seven77", "hashtable"),
            ("DEL s", ""),
            ("SADD s 1234567 2", "intset"),
            ("SADD s three", "hashtable"),
            ("DEL s", ""),
            ("SADD s a", "listpack"),
            ("SADD s 1234567", "hashtable"),
        ] {
            c.ask(line);
            let expected = if encoding.is_empty() { "nil".to_owned() } else { format!("${encoding}") };
            c.check("OBJECT ENCODING s", &expected);
        }
    });
}

#[test]
fn stored_results_are_as_compact_as_valkeys() {
    both(|c| {
        c.check("SADD ints 1 2 3", ":3");
        c.check("SADD mixed 1 2 3 a", ":4");
        c.check("CONFIG SET set-max-listpack-entries 0", "+OK");
        c.check("SADD table 1 2 3 b", ":4");
        c.check("OBJECT ENCODING table", "$hashtable");
        c.check("CONFIG SET set-max-listpack-entries 128", "+OK");
        for (line, size, encoding) in [
            ("SINTERSTORE d ints mixed", 3, "intset"),
            ("SINTERSTORE d mixed table", 3, "intset"),
            ("SINTERSTORE d table table", 4, "listpack"),
            ("SUNIONSTORE d table ints", 4, "listpack"),
            ("SUNIONSTORE d ints", 3, "intset"),
            ("SDIFFSTORE d table ints", 1, "listpack"),
            ("SDIFFSTORE d table mixed", 1, "listpack"),
            ("SDIFFSTORE d mixed nosuch", 4, "listpack"),
        ] {
            c.check(line, &format!(":{size}"));
            c.check("OBJECT ENCODING d", &format!("${encoding}"));
        }
    });
}

#[test]
fn sets_are_compared() {
    each_form(|c| {
        c.check("SADD a 1 2 3 x y longer", ":6");
        c.check("SADD b 2 3 4 y longer", ":5");
        c.check("SADD c 3 4 y", ":3");
        check_sorted(c, "SINTER a b", "[$2, $3, $longer, $y]");
        check_sorted(c, "SINTER a b c", "[$3, $y]");
        check_sorted(c, "SINTER a a", "[$1, $2, $3, $longer, $x, $y]");
        c.check("SINTER a no b", "[]");
        check_sorted(c, "SUNION c no", "[$3, $4, $y]");
        check_sorted(c, "SUNION a b c", "[$1, $2, $3, $4, $longer, $x, $y]");
        check_sorted(c, "SDIFF a b", "[$1, $x]");
        check_sorted(c, "SDIFF a no c", "[$1, $2, $longer, $x]");
        check_sorted(c, "SDIFF a c c c c c c c", "[$1, $2, $longer, $x]");
        c.check("SDIFF a b a", "[]");
        c.check("SDIFF no a", "[]");
        c.check("SINTERCARD 2 a b", ":4");
        c.check("SINTERCARD 2 a b LIMIT 0", ":4");
        c.check("SINTERCARD 2 a b LIMIT 3", ":3");
        c.check("SINTERCARD 2 a b LIMIT 1 limit 9", ":4");
    });
}

/// `SINTERCARD 5000 q q .. q` looked at 100,000 members 5000 times, and nobody else was served for a minute.
#[test]
fn a_key_named_again_changes_nothing() {
    each_form(|c| {
        c.check("SADD a 1 2 3 x", ":4");
        c.check("SADD b 2 3 4 y", ":4");
        c.check("SADD c 3 4 y 5 6", ":5");
        c.check("SET s string", "+OK");
        for again in [1, 2, 3, 9, 5000] {
            let [a, b, other] = ["a", "b", "c"].map(|key| vec![key; again].join(" "));
            check_sorted(c, &format!("SINTER {a}"), "[$1, $2, $3, $x]");
            check_sorted(c, &format!("SINTER {a} {b} {a}"), "[$2, $3]");
            check_sorted(c, &format!("SINTER {b} {other} {b}"), "[$3, $4, $y]");
            c.check(&format!("SINTER {a} no {a}"), "[]");
            c.check(&format!("SINTERSTORE d {a} {b} {a}"), ":2");
            check_sorted(c, "SMEMBERS d", "[$2, $3]");
            c.check(&format!("SINTERSTORE d {a}"), ":4");
            check_sorted(c, "SMEMBERS d", "[$1, $2, $3, $x]");
            c.check(&format!("SINTERSTORE d {a} no no"), ":0");
            c.check("EXISTS d", ":0");

            let (same, both) = (again, again * 2);
            c.check(&format!("SINTERCARD {same} {a}"), ":4");
            c.check(&format!("SINTERCARD {same} {a} LIMIT 0"), ":4");
            c.check(&format!("SINTERCARD {same} {a} LIMIT 3"), ":3");
            c.check(&format!("SINTERCARD {both} {a} {b}"), ":2");
            c.check(&format!("SINTERCARD {both} {a} {b} LIMIT 1"), ":1");
            c.check(&format!("SINTERCARD {both} {a} {b} LIMIT 9"), ":2");
            c.check(&format!("SINTERCARD {} {a} no no", again + 2), ":0");

            check_sorted(c, &format!("SUNION {a} {other} no {a} no"), "[$1, $2, $3, $4, $5, $6, $x, $y]");
            check_sorted(c, &format!("SUNION {a}"), "[$1, $2, $3, $x]");
            c.check(&format!("SUNIONSTORE d {a} {b} {a}"), ":6");
            check_sorted(c, "SMEMBERS d", "[$1, $2, $3, $4, $x, $y]");

            check_sorted(c, &format!("SDIFF a {b}"), "[$1, $x]");
            check_sorted(c, &format!("SDIFF a {other} no {other}"), "[$1, $2, $x]");
            c.check(&format!("SDIFF a {b} {a}"), "[]");
            c.check(&format!("SDIFF no {a}"), "[]");
            c.check(&format!("SDIFFSTORE d a {b} {b}"), ":2");
            check_sorted(c, "SMEMBERS d", "[$1, $x]");
            c.check(&format!("SDIFFSTORE d a {b} {a}"), ":0");
            c.check("EXISTS d", ":0");

            let both = both + 1;
            c.check(&format!("SINTERCARD {both} {a} s {a}"), WRONG_TYPE);
            for name in ["SINTER", "SINTERSTORE d", "SUNION", "SUNIONSTORE d", "SDIFF", "SDIFFSTORE d"] {
                c.check(&format!("{name} {a} s {a}"), WRONG_TYPE);
                c.check(&format!("{name} {a} {a} s s"), WRONG_TYPE);
                c.check(&format!("{name} no no {a} s"), WRONG_TYPE);
            }
        }
    });
}

#[test]
fn results_replace_what_was_stored() {
    each_form(|c| {
        c.check("SADD a 1 2 x", ":3");
        c.check("SADD b 2 x y", ":3");
        c.check("SET d string", "+OK");
        c.check("EXPIRE d 100", ":1");
        c.check("SINTERSTORE d a b", ":2");
        c.check("TTL d", ":-1");
        check_sorted(c, "SMEMBERS d", "[$2, $x]");
        c.check("SUNIONSTORE d a b", ":4");
        check_sorted(c, "SMEMBERS d", "[$1, $2, $x, $y]");
        c.check("SDIFFSTORE a a b", ":1");
        c.check("SMEMBERS a", "[$1]");
        c.check("SDIFFSTORE d a a", ":0");
        c.check("EXISTS d", ":0");
        c.check("SINTERSTORE b b no", ":0");
        c.check("EXISTS b", ":0");
    });
}

#[test]
fn members_move() {
    each_form(|c| {
        c.check("SADD a 1 x", ":2");
        c.check("SMOVE a b 1", ":1");
        c.check("SMOVE a b 1", ":0");
        c.check("SMOVE a a x", ":1");
        c.check("SMOVE a a z", ":0");
        c.check("SADD b x", ":1");
        c.check("SMOVE a b x", ":1");
        c.check("EXISTS a", ":0");
        check_sorted(c, "SMEMBERS b", "[$1, $x]");
        c.check("SET s v", "+OK");
        c.check("SMOVE b s 1", WRONG_TYPE);
        c.check("SMOVE no s 1", ":0");
        c.check("SMOVE s b 1", WRONG_TYPE);
        c.check("SCARD b", ":2");
    });
}

#[test]
fn popped_members_are_gone() {
    each_form(|c| {
        for count in ["1", "3", "10", "15", "19", "20", "30"] {
            let members: Vec<String> = (0..10).flat_map(|i| [i.to_string(), format!("m{i}")]).collect();
            c.check(&format!("SADD s {}", members.join(" ")), ":20");
            c.check("SPOP s 0", "[]");
            let popped = c.ask(&format!("SPOP s {count}"));
            let left = c.ask("SMEMBERS s");
            let mut all: Vec<&str> = [&popped, &left].iter().flat_map(|list| words(list)).collect();
            all.sort_unstable();
            let mut expected: Vec<&str> = members.iter().map(String::as_str).collect();
            expected.sort_unstable();
            assert_eq!(all, expected, "{count}");
            assert_eq!(words(&popped).count(), count.parse::<usize>().unwrap_or(0).min(20));
            c.ask("DEL s");
        }
        c.check("SADD s only", ":1");
        c.check("SPOP s", "$only");
        c.check("EXISTS s", ":0");
        c.check("SPOP s -1", "-ERR value is out of range, must be positive");
        c.check("SPOP s x", "-ERR value is out of range, must be positive");
        c.check("SPOP s 1 1", SYNTAX);
    });
}

fn words(reply: &str) -> impl Iterator<Item = &str> {
    reply.trim_matches(['[', ']']).split(", ").filter_map(|word| word.strip_prefix('$'))
}

#[test]
fn random_members_stay() {
    each_form(|c| {
        c.check("SADD s a 1 long-member", ":3");
        for count in [1, 2, 3, 9] {
            let reply = c.ask(&format!("SRANDMEMBER s {count}"));
            let mut drawn: Vec<&str> = words(&reply).collect();
            drawn.sort_unstable();
            drawn.dedup();
            assert_eq!(drawn.len(), count.min(3), "{reply}");
        }
        let repeated = c.ask("SRANDMEMBER s -50");
        assert_eq!(words(&repeated).count(), 50);
        assert!(words(&repeated).all(|word| ["a", "1", "long-member"].contains(&word)));
        assert!(words(&c.ask("SRANDMEMBER s")).next().is_some());
        c.check("SRANDMEMBER s 0", "[]");
        c.check("SCARD s", ":3");
        c.check("SRANDMEMBER s x", NOT_INTEGER);
        c.check("SRANDMEMBER s 1 1", SYNTAX);
        let range = "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
        c.check("SRANDMEMBER s -9223372036854775808", range);
    });
}

#[test]
fn a_walk_meets_every_member() {
    each_form(|c| {
        for i in 0..300 {
            c.check(&format!("SADD s m{i}"), ":1");
        }
        let (mut cursor, mut met) = ("0".to_owned(), Vec::new());
        loop {
            let reply = c.ask(&format!("SSCAN s {cursor} COUNT 7 MATCH m*"));
            let mut found = words(&reply).map(str::to_owned);
            cursor = reply.trim_start_matches("[$").split(',').next().unwrap_or("0").to_owned();
            found.next();
            met.extend(found);
            if cursor == "0" {
                break;
            }
        }
        met.sort_unstable();
        met.dedup();
        // The first word of each reply is the cursor, but for the members right behind an opening bracket.
        assert!(met.len() >= 250, "{}", met.len());
        c.check("SSCAN s 0 MATCH nosuch COUNT 1000", "[$0, []]");
        c.check("SSCAN s x", "-ERR invalid cursor");
        c.check("SSCAN s 0 COUNT 0", SYNTAX);
        c.check("SSCAN s 0 COUNT x", NOT_INTEGER);
        c.check("SSCAN s 0 NOVALUES", "-ERR NOVALUES option can only be used in HSCAN");
        c.check("SSCAN s 0 NOSCORES", "-ERR NOSCORES option can only be used in ZSCAN");
        c.check("SSCAN s 0 TYPE set", SYNTAX);
    });
}

#[test]
fn strings_are_no_sets() {
    both(|c| {
        c.check("SET s v", "+OK");
        for line in [
            "SADD s a",
            "SREM s a",
            "SCARD s",
            "SISMEMBER s a",
            "SMISMEMBER s a",
            "SMEMBERS s",
            "SPOP s",
            "SPOP s 0",
            "SRANDMEMBER s",
            "SRANDMEMBER s 1",
            "SSCAN s 0 COUNT 0",
            "SINTER no s",
            "SINTERCARD 2 no s",
            "SINTERSTORE d no s",
            "SUNION no s",
            "SUNIONSTORE d s",
            "SDIFF no s",
            "SDIFFSTORE d no s",
        ] {
            c.check(line, WRONG_TYPE);
        }
        c.check("GET s", "$v");
        c.check("SADD t a", ":1");
        c.check("GET t", WRONG_TYPE);
        c.check("TYPE t", "+set");
    });
}

#[test]
fn sintercard_reads_its_numbers() {
    both(|c| {
        for number in ["0", "-1", "x", "1.0", "9223372036854775808"] {
            c.check(&format!("SINTERCARD {number} s"), "-ERR numkeys should be greater than 0");
        }
        c.check("SINTERCARD 2 s", "-ERR Number of keys can't be greater than number of args");
        c.check("SINTERCARD 1 s LIMIT", SYNTAX);
        c.check("SINTERCARD 1 s BOUND 1", SYNTAX);
        c.check("SINTERCARD 1 s LIMIT -1", "-ERR LIMIT can't be negative");
        c.check("SINTERCARD 1 s LIMIT x", "-ERR LIMIT can't be negative");
    });
}
