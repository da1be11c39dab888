//! Geospatial indices. Expected replies are those of Valkey 9.1.

use crate::harness::{Client, both};
use larder::protocol::reply::Resp;

const SYNTAX: &str = "-ERR syntax error";
const NO_UNIT: &str = "-ERR unsupported unit provided. please use M, KM, FT, MI";

fn sicily(c: &mut Client) {
    c.check("GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania", ":2");
}

#[test]
fn geoadd_stores_scores() {
    both(|c| {
        sicily(c);
        c.check("ZRANGE g 3479099956230698 3479447370796909 BYSCORE", "[$Palermo, $Catania]");
        c.check("GEOADD g CH 13.361389 38.115557 Palermo", ":0");
        c.check("GEOADD g CH XX 14 38 Palermo 1 1 Nowhere", ":1");
        c.check("GEOADD g NX 15 38 Palermo", ":0");
        c.check("GEOADD g 200 38 x", "-ERR invalid longitude,latitude pair 200.000000,38.000000");
        c.check("GEOADD g 13 86 x", "-ERR invalid longitude,latitude pair 13.000000,86.000000");
        c.check("GEOADD g a 38 x", "-ERR value is not a valid float");
        c.check("GEOADD g NX XX 13 38 x", SYNTAX);
        c.check("GEOADD g 1 2 m 3", SYNTAX);
    });
}

#[test]
fn places_and_distances() {
    both(|c| {
        sicily(c);
        c.check("GEODIST g Palermo Catania", "$166274.1516");
        c.check("GEODIST g Palermo Catania km", "$166.2742");
        c.check("GEODIST g Palermo Catania FT", "$545518.8700");
        c.check("GEODIST g Palermo none", "nil");
        c.check("GEODIST g Palermo none x", NO_UNIT);
        c.check("GEODIST g Palermo Catania km x", SYNTAX);
        c.check("GEOHASH g Palermo none", "[$sqc8b49rny0, nil]");
        c.check("GEOHASH g", "[]");
        c.check("GEOPOS none a b", "[nil, nil]");
    });
    let mut c = Client::new(Resp::V2);
    sicily(&mut c);
    c.check("GEOPOS g Palermo", "[[$13.36138933897018433, $38.11555639549629859]]");
    let mut c = Client::new(Resp::V3);
    sicily(&mut c);
    c.check("GEOPOS g Palermo", "[[,13.36138933897018433, ,38.11555639549629859]]");
}

#[test]
fn searches() {
    both(|c| {
        sicily(c);
        c.check("GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km ASC", "[$Catania, $Palermo]");
        c.check("GEOSEARCH g FROMMEMBER Palermo BYBOX 400 400 km DESC COUNT 1", "[$Catania]");
        c.check("GEOSEARCH g BYPOLYGON 3 12 36 16 36 13 40 WITHDIST", "[[$Palermo, $90086.8554]]");
        c.check("GEORADIUS g 15 37 200 km COUNT 1 WITHDIST WITHHASH", "[[$Catania, $56.4413, :3479447370796909]]");
        c.check("GEORADIUSBYMEMBER_RO g Palermo 200 km WITHDIST", "[[$Palermo, $0.0000], [$Catania, $166.2742]]");
        c.check("GEORADIUS_RO none 15 37 1 km", "[]");
        for (words, error) in [
            ("GEORADIUS g 15 37 -1 km", "-ERR radius cannot be negative"),
            ("GEORADIUS g 15 37 a km", "-ERR need numeric radius"),
            ("GEORADIUS g 15 37 1 x", NO_UNIT),
            ("GEORADIUS g 15 37 1 km COUNT 0", "-ERR COUNT must be > 0"),
            ("GEORADIUS g 15 37 1 km ANY", "-ERR the ANY argument requires COUNT argument"),
            ("GEORADIUS_RO g 15 37 1 km STORE d", SYNTAX),
            ("GEORADIUSBYMEMBER g none 1 km", "-ERR member none does not exist"),
            ("GEOSEARCH g FROMLONLAT 15 37 BYBOX -1 1 km", "-ERR height or width cannot be negative"),
            ("GEOSEARCH g FROMMEMBER Palermo FROMLONLAT 1 1 BYRADIUS 1 km", SYNTAX),
            ("GEOSEARCH g BYPOLYGON 2 12 36 16 36", "-ERR GEOSEARCH BYPOLYGON must have at least 3 vertices"),
            (
                "GEOSEARCH g BYRADIUS 1 km ASC WITHDIST",
                "-ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GEOSEARCH",
            ),
        ] {
            c.check(words, error);
        }
    });
}

#[test]
fn results_are_stored() {
    both(|c| {
        sicily(c);
        c.check("GEORADIUS g 15 37 200 km STORE d", ":2");
        c.check("GEODIST d Palermo Catania km", "$166.2742");
        c.check("GEORADIUS g 15 37 200 km STOREDIST d", ":2");
        c.check("ZRANGE d 56 57 BYSCORE", "[$Catania]");
        c.check("GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 200 km COUNT 1 STOREDIST", ":1");
        c.check("GEORADIUS g 15 37 1 m STORE d", ":0");
        c.check("EXISTS d", ":0");
        c.check(
            "GEORADIUS g 15 37 200 km STORE d WITHDIST",
            "-ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
        );
        c.check(
            "GEOSEARCHSTORE d g FROMLONLAT 15 37 BYRADIUS 1 m WITHDIST",
            "-ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
        );
    });
}

/// The last of several destinations is written. Key specifications alone do not find it: they name the first STORE and the
/// first STOREDIST, so that a key was written that dispatch had not locked, or the command had to be refused.
#[test]
fn the_last_destination_is_written() {
    both(|c| {
        sicily(c);
        for (options, key) in [
            ("STORE a STORE b", "b"),
            ("STORE b STORE a", "a"),
            ("STORE STOREDIST STOREDIST x", "x"),
            ("STORE STORE", "STORE"),
            ("STORE a STOREDIST b", "b"),
            ("STOREDIST b STORE a STORE c ASC", "c"),
        ] {
            for query in ["GEORADIUS g 15 37 200 km", "GEORADIUSBYMEMBER g Palermo 200 km"] {
                c.check(&format!("{query} {options}"), ":2");
                c.check("EXISTS a b c x STORE STOREDIST", ":1");
                c.check(&format!("DEL {key}"), ":1");
                c.check(&format!("COMMAND GETKEYS {query} {options}"), &format!("[$g, ${key}]"));
            }
        }
        c.check("GEORADIUS g 15 37 200 km STORE STORE STORE", SYNTAX);
        c.check(
            "COMMAND GETKEYSANDFLAGS GEORADIUS g 15 37 200 km STORE a STORE b",
            "[[$g, [+RO, +access]], [$b, [+OW, +update]]]",
        );
    });
}

#[test]
fn scores_that_are_no_places_show_what_they_show_elsewhere() {
    both(|c| {
        c.check("ZADD g -5 m 1 b 1e300 w", ":3");
        c.check("GEOHASH g m w", "[$bp05b5048p0, $00bh0hbj200]");
        c.check("GEODIST g m b", "$18919844.3072");
        c.check("GEOSEARCH g FROMMEMBER m BYRADIUS 10 m", "[]");
    });
}
