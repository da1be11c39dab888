//! What happens when memory is short. What is used is that of the whole test process, so the limits here are far below it.

use crate::harness::{Client, both};
use larder::call::spec::{CommandSpec, Flags};
use larder::command::GROUPS;
use larder::protocol::reply::Resp;

const OOM: &str = "-OOM command not allowed when used memory > 'maxmemory'.";

/// Writes until that is refused, which it is once nothing is left to evict.
fn squeeze(client: &mut Client) {
    // As long as it takes: what time does not suffice for is left for later, and the request is served.
    client.check("config set maxmemory-eviction-tenacity 100", "+OK");
    client.check("config set maxmemory 1", "+OK");
    let refused = (0..10_000).any(|_| client.ask("append filler x") == OOM);
    assert!(refused, "with one byte for everything, writes are refused");
    client.check("config set maxmemory 0", "+OK");
}

fn left(policy: &str) -> String {
    let mut client = Client::new(Resp::V2);
    client.check(&format!("config set maxmemory-policy {policy}"), "+OK");
    client.check("mset a 1 b 2", "+OK");
    client.check("set t 3 ex 100", "+OK");
    client.check("set u 4 ex 1000", "+OK");
    client.check("rpush list 1 2 3", ":3");
    squeeze(&mut client);
    client.ask("exists a b t u list")
}

#[test]
fn without_eviction_nothing_goes() {
    assert_eq!(left("noeviction"), ":5");
}

#[test]
fn volatile_policies_take_only_keys_that_expire() {
    for policy in ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"] {
        assert_eq!(left(policy), ":3", "{policy}");
    }
}

#[test]
fn allkeys_policies_take_everything() {
    for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
        assert_eq!(left(policy), ":0", "{policy}");
    }
}

#[test]
fn the_policy_and_the_algorithm_change_while_keys_are_there() {
    let mut client = Client::new(Resp::V2);
    for (policy, algorithm) in
        [("allkeys-lru", "sampled"), ("volatile-ttl", "duo"), ("volatile-lfu", "duo"), ("allkeys-lfu", "duo")]
    {
        for number in 0..500 {
            client.check(&format!("set key:{number} value ex 1000"), "+OK");
        }
        client.check(&format!("config set maxmemory-policy {policy} eviction-algorithm {algorithm}"), "+OK");
        squeeze(&mut client);
        client.check("dbsize", ":0"); // and the filler was refused
        client.check("flushall", "+OK");
    }
}

#[test]
fn other_databases_are_evicted_too() {
    let mut client = Client::new(Resp::V2);
    client.check("config set maxmemory-policy allkeys-lru", "+OK");
    client.check("select 3", "+OK");
    client.check("set a 1", "+OK");
    client.check("select 0", "+OK");
    client.check("set a 2", "+OK");
    squeeze(&mut client);
    client.check("dbsize", ":0");
    client.check("select 3", "+OK");
    client.check("dbsize", ":0");
}

#[test]
fn what_was_evicted_is_counted() {
    let mut client = Client::new(Resp::V2);
    client.check("config set maxmemory-policy allkeys-random", "+OK");
    client.check("mset a 1 b 2 c 3", "+OK");
    squeeze(&mut client);
    let stats = client.ask("info stats");
    let evicted =
        stats.split("evicted_keys:").nth(1).and_then(|rest| rest.split(['\r', '\\']).next()).map(str::to_owned);
    let evicted: u64 = evicted.expect("a field").parse().expect("a number");
    assert!(evicted >= 3, "{evicted}");
}

fn refused_rows() -> Vec<&'static CommandSpec> {
    let rows = GROUPS.iter().flat_map(|group| group.iter());
    rows.filter(|row| row.subcommands.is_empty() && row.flags.has(Flags::DENYOOM)).collect()
}

#[test]
fn every_command_that_takes_memory_is_refused_and_changes_nothing() {
    let mut client = Client::new(Resp::V2);
    client.check("set a 1", "+OK");
    client.check("rpush list 1 2 3", ":3");
    client.check("zadd zset 1 a 2 b", ":2");
    let digest = client.ask("debug digest");
    client.check("config set maxmemory 1", "+OK");
    let rows = refused_rows();
    for row in &rows {
        let words = usize::try_from(row.arity.unsigned_abs()).unwrap_or(1);
        let line = std::iter::once(row.name).chain((1..words.max(2)).map(|_| "a")).collect::<Vec<_>>().join(" ");
        client.check(&line, OOM);
    }
    assert!(rows.len() > 40, "{} rows", rows.len());
    client.check("config set maxmemory 0", "+OK");
    assert_eq!(client.ask("debug digest"), digest);
}

#[test]
fn what_frees_memory_is_allowed() {
    both(|client| {
        client.check("set a 1", "+OK");
        client.check("config set maxmemory 1", "+OK");
        client.check("get a", "$1");
        client.check("expire a 100", ":1");
        client.check("del a", ":1");
        client.check("set a 1", OOM);
        client.check("config set maxmemory 0", "+OK");
    });
}

#[test]
fn uses_are_counted_under_lfu_policies_alone() {
    let mut client = Client::new(Resp::V2);
    client.check("set a 1", "+OK");
    assert!(client.ask("object freq a").starts_with("-ERR An LFU maxmemory policy is not selected"));
    client.check("object idletime a", ":0");
    client.check("config set maxmemory-policy allkeys-lfu lfu-log-factor 0", "+OK");
    client.check("set b 1", "+OK");
    client.check("object freq b", ":5");
    for _ in 0..10 {
        client.check("get b", "$1");
    }
    client.check("object freq b", ":15");
    client.check("client no-touch on", "+OK");
    client.check("get b", "$1");
    client.check("object freq b", ":15");
    assert!(client.ask("object idletime b").starts_with("-ERR An LFU maxmemory policy is selected"));
}
