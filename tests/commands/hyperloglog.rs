//! HyperLogLogs. Expected replies are those of Valkey 9.1.

use crate::harness::{Client, both};
use larder::protocol::reply::Resp;

const NOT_ONE: &str = "-WRONGTYPE Key is not a valid HyperLogLog string value.";

#[test]
fn elements_are_counted() {
    both(|c| {
        c.check("PFCOUNT h", ":0");
        c.check("PFADD h", ":1");
        c.check("PFADD h", ":0");
        c.check("PFCOUNT h", ":0");
        c.check("PFADD h a b c", ":1");
        c.check("PFADD h a b", ":0");
        c.check("PFDEBUG DECODE h", "$Z:8436 v:1,1 Z:4274 v:2,1 Z:3068 v:1,1 Z:603");
        c.check("PFCOUNT h", ":3");
        c.check("PFCOUNT h", ":3");
        c.check("PFADD g c d", ":1");
        c.check("PFCOUNT h g none", ":4");
        c.check("OBJECT ENCODING h", "$raw");
        c.check("TYPE h", "+string");
    });
}

#[test]
fn many_elements_are_counted_as_redis_does() {
    let mut c = Client::new(Resp::V2);
    for start in (0..10_000).step_by(100) {
        let elements: Vec<String> = (start..start + 100).map(|n| format!("e{n}")).collect();
        c.ask(&format!("PFADD h {}", elements.join(" ")));
    }
    c.check("PFDEBUG ENCODING h", "+dense");
    c.check("PFCOUNT h", ":9973");
    c.check("EXPIRE h 100", ":1");
    c.check("PFADD h e0 e10000001", ":0");
    c.check("TTL h", ":100");
}

#[test]
fn values_are_merged() {
    both(|c| {
        c.check("PFMERGE d", "+OK");
        c.check("PFCOUNT d", ":0");
        c.check("PFADD a 1 2 3", ":1");
        c.check("PFADD b 3 4", ":1");
        c.check("PFMERGE d a none b", "+OK");
        c.check("PFCOUNT d", ":4");
        c.check("PFDEBUG ENCODING d", "+sparse");
        c.check("PFDEBUG TODENSE b", ":1");
        c.check("PFDEBUG TODENSE b", ":0");
        c.check("PFMERGE d b", "+OK");
        c.check("PFDEBUG ENCODING d", "+dense");
        c.check("PFCOUNT d", ":4");
        c.check("PFDEBUG DECODE d", "-ERR HLL encoding is not sparse");
    });
}

#[test]
fn the_limit_of_sparse_values_is_an_option() {
    let mut c = Client::new(Resp::V2);
    c.check("CONFIG SET hll-sparse-max-bytes 22", "+OK");
    c.check("PFADD h a", ":1");
    c.check("PFDEBUG ENCODING h", "+sparse");
    c.check("PFADD h b", ":1");
    c.check("PFDEBUG ENCODING h", "+dense");
    c.check("PFCOUNT h", ":2");
}

#[test]
fn other_values_are_refused() {
    both(|c| {
        for value in ["text", "\"\"", "17", "HYLL", "HYLL0000000000000000"] {
            c.check(&format!("SET k {value}"), "+OK");
            for request in
                ["PFADD k a", "PFADD k", "PFCOUNT k", "PFCOUNT k k", "PFMERGE k", "PFMERGE d k", "PFDEBUG FOO k"]
            {
                c.check(request, NOT_ONE);
            }
        }
        c.check("EXISTS d", ":0");
        c.check("SET k HYLL\u{1}\0\0\0\0\0\0\0\0\0\0\0\0", "+OK");
        for request in ["PFADD k a", "PFMERGE k", "PFMERGE d k", "PFDEBUG GETREG k"] {
            c.check(request, "-INVALIDOBJ Corrupted HLL object detected");
        }
        c.check("PFCOUNT k", ":0");
        c.check("EXISTS d", ":0");
    });
}

#[test]
fn debugging() {
    both(|c| {
        c.check("PFDEBUG FOO none", "-ERR The specified key does not exist");
        c.check("PFADD h a", ":1");
        c.check("PFDEBUG FOO h", "-ERR Unknown PFDEBUG subcommand 'FOO'");
        c.check("PFDEBUG SIMD on", "+enabled");
        c.check("PFDEBUG SIMD h", "-ERR Argument must be ON or OFF");
        let registers = c.ask("PFDEBUG getreg h");
        assert_eq!(registers.matches(':').count(), 16384);
        assert_eq!(registers.matches(":0").count(), 16383);
        c.check("PFDEBUG ENCODING h", "+dense");
        c.check("PFSELFTEST", "+OK");
    });
}
