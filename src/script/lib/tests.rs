//! The libraries against the recorded answers of Valkey, round trips, and hostile input.

use mlua::{Lua, Table, Value};
use proptest::prelude::*;
use std::fmt::Write;

/// A bare interpreter with the four libraries.
fn interpreter() -> Lua {
    let lua = Lua::new();
    for (name, table) in libraries(&lua) {
        lua.globals().set(name, table).expect("a global");
    }
    lua
}

fn libraries(lua: &Lua) -> [(&'static str, Table); 4] {
    [
        ("cjson", super::json::open(lua).expect("cjson")),
        ("cmsgpack", super::msgpack::open(lua).expect("cmsgpack")),
        ("struct", super::pack::open(lua).expect("struct")),
        ("bit", super::bit::open(lua).expect("bit")),
    ]
}

const REPORT: &str = include_str!("../../../tests/data/lua/report.lua");

/// The script that `tests/data/lua/record.py` sends for a snippet.
fn script(snippet: &str) -> String {
    let head = "local function all(...) return select('#', ...), {...} end local function case() ";
    format!("{head}{snippet}\nend\n{REPORT}")
}

/// Bytes as the recorder writes them: what is not ASCII as `\xNN`.
fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            0x80.. => write!(text, "\\x{byte:02x}").expect("a string takes it"),
            b'\n' => text.push_str("\\010"),
            _ => text.push(char::from(*byte)),
        }
    }
    text
}

fn answer(lua: &Lua, snippet: &str) -> String {
    match lua.load(script(snippet)).set_name("@user_script").call::<mlua::LuaString>(()) {
        Ok(text) => printable(&text.as_bytes()),
        Err(error) => format!("refused {error}"),
    }
}

fn corpus(name: &str, text: &str) {
    let lua = interpreter();
    let (mut cases, mut failures) = (0, String::new());
    let mut snippet = "";
    for line in text.lines() {
        if let Some(next) = line.strip_prefix("> ") {
            snippet = next;
        } else if let Some(wanted) = line.strip_prefix("= ") {
            cases += 1;
            let found = answer(&lua, snippet);
            if found != wanted {
                write!(failures, "> {snippet}\n= {wanted}\n! {found}\n").expect("a string takes it");
            }
        }
    }
    assert!(cases > 300, "{name}: {cases} cases");
    assert!(failures.is_empty(), "{name}:\n{failures}");
}

#[test]
fn cjson_answers_as_valkey_does() {
    corpus("json", include_str!("../../../tests/data/lua/json.txt"));
}

#[test]
fn cmsgpack_answers_as_valkey_does() {
    corpus("msgpack", include_str!("../../../tests/data/lua/msgpack.txt"));
}

#[test]
fn struct_answers_as_valkey_does() {
    corpus("struct", include_str!("../../../tests/data/lua/struct.txt"));
}

#[test]
fn bit_answers_as_valkey_does() {
    corpus("bit", include_str!("../../../tests/data/lua/bit.txt"));
}

/// Whether the expression `call` of `text` gives a result; if not, the error must be a string.
///
/// The results stay inside: the interpreter's debug build finds fault with its own `pcall` when there are many.
fn outcome(lua: &Lua, call: &str, text: &[u8]) -> bool {
    let protected = format!("function(text) return pcall(function() local first = {call} end) end");
    let function: mlua::Function = lua.load(protected).eval().expect("a function");
    let text = lua.create_string(text).expect("a string");
    let (ok, result): (bool, Value) = function.call(text).expect("a protected call returns");
    assert!(ok || matches!(result, Value::String(_)), "an error is a string: {result:?}");
    ok
}

/// JSON-like soup: random bytes seldom come past the first token.
fn json_soup() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"", "\"a\":", "null", "true", "1", "-", "1e", "0x", "\\u", "\\ud800", "nan",
        " ", "\0",
    ]);
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat().into_bytes())
}

/// A value that both formats keep: no NaN, no null inside, no empty table (an array or an object?), keys of one kind.
fn document() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any::<i32>().prop_map(|number| number.to_string()),
        any::<bool>().prop_map(|value| value.to_string()),
        (-1_000_000i32..1_000_000).prop_map(|number| format!("{number} / 64")),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| {
            let escaped: String = bytes.iter().map(|byte| format!("\\{byte:03}")).collect();
            format!("'{escaped}'")
        }),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..6).prop_map(|items| format!("{{{}}}", items.join(","))),
            prop::collection::btree_map("[a-z]{1,8}", inner, 1..6).prop_map(|members| {
                let members: Vec<String> = members.iter().map(|(key, value)| format!("['{key}']={value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

const EQUAL: &str = "local function equal(a, b)
  if type(a) ~= 'table' or type(b) ~= 'table' then return a == b end
  for k, v in pairs(a) do if not equal(v, b[k]) then return false end end
  for k in pairs(b) do if a[k] == nil then return false end end
  return true
end ";

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), soup in json_soup()) {
        let lua = interpreter();
        for text in [&bytes, &soup] {
            outcome(&lua, "cjson.decode(text)", text);
            outcome(&lua, "cmsgpack.unpack(text)", text);
            outcome(&lua, "cmsgpack.unpack_limit(text, 3, 2)", text);
            outcome(&lua, "struct.unpack(text, text)", text);
            outcome(&lua, "struct.pack(text, 1, 2.5, 'x', -3)", text);
            outcome(&lua, "struct.size(text)", text);
        }
    }

    #[test]
    fn formats_are_obeyed_or_refused(format in "[<>! bBhHlLTiIfdxcs0-9]{0,12}", data in prop::collection::vec(any::<u8>(), 0..80)) {
        let lua = interpreter();
        lua.globals().set("data", lua.create_string(&data).expect("a string")).expect("a global");
        outcome(&lua, "struct.unpack(text, data)", format.as_bytes());
        outcome(&lua, "struct.unpack(text, data, #data)", format.as_bytes());
        outcome(&lua, "struct.pack(text, 1, 2, 3, 'abc', 4)", format.as_bytes());
        outcome(&lua, "struct.size(text)", format.as_bytes());
    }

    #[test]
    fn what_is_encoded_is_decoded(document in document()) {
        let lua = interpreter();
        let check = format!("{EQUAL} local v = {document}
            return equal(cjson.decode(cjson.encode({{v}}))[1], v), equal(cmsgpack.unpack(cmsgpack.pack(v)), v)");
        let (json, msgpack): (bool, bool) = lua.load(&check).eval().expect("a comparison");
        prop_assert!(json && msgpack, "json {json}, msgpack {msgpack}: {document}");
    }

    #[test]
    fn packed_integers_come_back(value in any::<i32>(), size in 4usize..=8, order in "[<>]") {
        let lua = interpreter();
        let check = format!("return struct.unpack('{order}i{size}', struct.pack('{order}i{size}', {value}))");
        prop_assert_eq!(lua.load(&check).eval::<i64>().expect("a number"), i64::from(value));
    }
}

/// A table that contains itself many times over would be written for ever: the length limit ends it.
#[test]
fn output_is_bounded() {
    let lua = interpreter();
    let grow = "local t = string.rep('x', 1000) for i = 1, 13 do local u = {} for j = 1, 9 do u[j] = t end t = u end";
    for call in ["cjson.encode", "cmsgpack.pack"] {
        let check = format!("{grow} local ok, why = pcall({call}, t) return ok, why");
        let (ok, why): (bool, String) = lua.load(&check).eval().expect("an answer");
        assert!(!ok && why == "not enough memory", "{call}: {why}");
    }
}

/// Lengths that a few bytes claim reserve nothing.
#[test]
fn claimed_lengths_reserve_nothing() {
    let lua = interpreter();
    lua.set_memory_limit(lua.used_memory() + 1_000_000).expect("a limit");
    for text in ["'\\221\\255\\255\\255\\255'", "'\\223\\255\\255\\255\\255'", "'\\219\\255\\255\\255\\255'"] {
        let check = format!("return pcall(cmsgpack.unpack, {text})");
        let (ok, why): (bool, String) = lua.load(&check).eval().expect("an answer");
        assert!(!ok && why == "Missing bytes in input.", "{why}");
    }
    let check = "return pcall(struct.unpack, 'c2147483647', 'abc')";
    let (ok, why): (bool, String) = lua.load(check).eval().expect("an answer");
    assert!(!ok && why.ends_with("(data string too short)"), "{why}");
}

/// Without memory a call fails as a script expects it: with a string.
#[test]
fn too_little_memory_is_an_error_of_the_script() {
    let lua = interpreter();
    lua.load("text = cjson.encode({string.rep('x', 200000)}) big = cmsgpack.pack(string.rep('x', 200000))")
        .exec()
        .expect("room");
    lua.gc_collect().expect("a collection");
    lua.set_memory_limit(lua.used_memory() + 60_000).expect("a limit");
    for call in ["cjson.decode, text", "cmsgpack.unpack, big"] {
        let (ok, why): (bool, Value) = lua.load(format!("return pcall({call})")).eval().expect("an answer");
        assert!(!ok && matches!(why, Value::String(_)), "{call}: {why:?}");
    }
}
