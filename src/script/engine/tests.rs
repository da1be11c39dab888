//! Scripts against a host that knows a few commands.

use super::*;
use crate::protocol::batch::OwnedRequest;
use crate::protocol::reply::Reply;
use crate::script::host::LogLevel;
use std::collections::HashMap;

/// A host with a map of strings.
#[derive(Default)]
struct Fake {
    map: HashMap<Vec<u8>, Vec<u8>>,
    out: Output,
    resp3: bool,
    logged: Vec<(LogLevel, Vec<u8>)>,
}

impl Fake {
    fn resp(&self) -> Resp {
        if self.resp3 { Resp::V3 } else { Resp::V2 }
    }
}

impl Host for Fake {
    fn call(&mut self, request: RequestView<'_>, resp: Resp, out: &mut Output) {
        let mut reply = Reply::new(out, resp);
        match request.arg(0) {
            b"set" => {
                self.map.insert(request.arg(1).to_vec(), request.arg(2).to_vec());
                reply.ok();
            }
            b"get" => match self.map.get(request.arg(1)) {
                Some(value) => reply.bulk(value),
                None => reply.null(),
            },
            b"all" => {
                reply.map(1);
                reply.bulk(b"k");
                reply.double(2.5);
            }
            b"both" => {
                reply.array(2);
                reply.integer(7);
                reply.null();
            }
            _ => reply.error("ERR Unknown command called from script"),
        }
    }

    fn may_run(&mut self, request: RequestView<'_>) -> Option<bool> {
        (request.arg(0) != b"nosuch").then_some(true)
    }

    fn log(&mut self, level: LogLevel, text: &[u8]) {
        self.logged.push((level, text.to_vec()));
    }

    fn set_propagation(&mut self, _: u8) {}

    fn count_error(&mut self, _: Vec<u8>, _: bool) {}

    fn reply(&mut self) -> Reply<'_> {
        let resp = self.resp();
        Reply::new(&mut self.out, resp)
    }
}

fn show(result: Result<(), ScriptError>, out: &Output) -> String {
    let text = match result {
        Ok(()) => out.to_vec(),
        Err(error) => [b"-", &error.text[..]].concat(),
    };
    text.escape_ascii()
        .to_string()
        .replace("\\r\\n", " ")
        .replace("\\'", "'")
        .replace("\\\"", "\"")
        .trim_end()
        .to_owned()
}

/// The reply to a script, with line ends as spaces.
fn eval_on(vm: &mut Vm, host: &mut Fake, script: &str, args: &[&str]) -> String {
    host.out = Output::new();
    let chunk = match vm.compile(script.as_bytes()) {
        Ok(chunk) => chunk,
        Err(text) => return show(Err(ScriptError { text, counted: false }), &host.out),
    };
    let request = OwnedRequest::from_args(args.iter().map(|arg| arg.as_bytes()));
    let result = match vm.run(chunk, request.view(), 0, args.len().min(1), host, u64::MAX) {
        Progress::Done(result) => result,
        Progress::Paused => panic!("no pause was allowed"),
    };
    vm.forget(chunk);
    show(result, &host.out)
}

/// Beside scripts that take more than an interpreter may keep unused, all of them were gone over after each that ran.
#[test]
fn scripts_in_use_are_not_taken_for_what_is_unused() {
    let (mut vm, mut host) = (Vm::new(Kind::Scripts).expect("memory"), Fake::default());
    let text = format!("return {{{}}}", "{1,2,3},".repeat(5_000));
    while vm.used_bytes() <= KEPT_BYTES {
        vm.compile(text.as_bytes()).expect("it is right");
    }
    eval_on(&mut vm, &mut host, "return 1", &[]);
    assert!(vm.full_at >= 2 * (vm.used_bytes() - 4096), "{} of {}", vm.used_bytes(), vm.full_at);
    let (kept, most) = (vm.used_bytes(), vm.full_at);
    eval_on(&mut vm, &mut host, "local t = {} for i = 1, 3e6 do t[i] = {} end", &[]);
    assert!(vm.used_bytes() < kept + 100_000 && vm.full_at <= most + 200_000, "what it has left is freed at once");
}

fn eval(script: &str) -> String {
    eval_on(&mut Vm::new(Kind::Scripts).expect("memory"), &mut Fake::default(), script, &[])
}

fn check(script: &str, expected: &str) {
    assert_eq!(eval(script), expected, "{script}");
}

/// Replies are those of Valkey 9.1.
#[test]
fn values_become_replies() {
    check("return 1", ":1");
    check("return {1, 2.9, -2.9, 'x', true, false, 'after'}", "*7 :1 :2 :-2 $1 x :1 $-1 $5 after");
    check("return {1, nil, 3}", "*1 :1");
    check("return {ok='fine\\r\\nx'}", "+fine  x");
    check("return {err='bad'}", "-bad");
    check("return {1, {err='inner'}}", "*2 :1 -inner");
    check("return {double=3.5}", "$3 3.5");
    check("return {map={a=1}}", "*2 $1 a :1");
    check("return {set={a=true}}", "*1 $1 a");
    check("return {big_number='1\\r\\n2'}", "$4 1  2");
    check("return {verbatim_string={format='txt',string='hello'}}", "$5 hello");
    check("return {verbatim_string='x'}", "*0");
    check("return 1e300", ":-9223372036854775808");
    check("return function() end", "$-1");
    check("return {err='x', ok='y'}", "-x");
    check("return", "$-1");
}

#[test]
fn resp3_replies() {
    let mut vm = Vm::new(Kind::Scripts).expect("memory");
    let mut host = Fake { resp3: true, ..Fake::default() };
    for (script, expected) in [
        ("return {double=1/0}", ",inf"),
        ("return {map={a=1}}", "%1 $1 a :1"),
        ("return {set={a=true}}", "~1 $1 a"),
        ("return {big_number='123'}", "(123"),
        ("return {verbatim_string={format='toolong',string='hello'}}", "=9 too:hello"),
        ("return false", "_"),
        ("redis.setresp(3) return {true,false}", "*2 #t #f"),
        ("redis.setresp(3) return redis.call('all')", "%1 $1 k ,2.5"),
        ("redis.setresp(3) return tostring(redis.call('get', 'x'))", "$3 nil"),
    ] {
        assert_eq!(eval_on(&mut vm, &mut host, script, &[]), expected, "{script}");
    }
}

#[test]
fn errors_say_where() {
    check("return redis.call('nosuch')", "-ERR Unknown command called from script script: on @user_script:1.");
    check("\n\nlocal x = redis.call('nosuch')", "-ERR Unknown command called from script script: on @user_script:3.");
    check("return redis.pcall('nosuch')", "-ERR Unknown command called from script");
    check("local a, e = pcall(redis.call, 'nosuch') return e", "$38 ERR Unknown command called from script");
    check("error('x')", "-ERR user_script:1: x script: on @user_script:1.");
    check("error('x', 2)", "-ERR x script: on @user_script:1.");
    check("error({err='E x'})", "-E x script: on @user_script:1.");
    check("error({})", "-ERR unknown error script: on @user_script:1.");
    check("error(nil)", "-ERR nil script: on @user_script:1.");
    check("return error('x')", "-ERR user_script:1: x script: on @user_script:1.");
    check("x = = 1", "-ERR Error compiling script (new function): user_script:1: unexpected symbol near '='");
    check("loadstring('y=1')()", "-ERR [string \"y=1\"]:1: Attempt to modify a readonly table script: on y=1:1.");
    check("return redis.call()", "-ERR Please specify at least one argument for this call script: on @user_script:1.");
    check(
        "return redis.call('get', {})",
        "-ERR Command arguments must be strings or integers script: on @user_script:1.",
    );
    check("return redis.sha1hex()", "-ERR wrong number of arguments script: on @user_script:1.");
    check("return redis.error_reply()", "-ERR wrong number or type of arguments");
    check("return redis.error_reply('My Err')", "-My Err");
    check("return redis.error_reply('err')", "-ERR err");
}

#[test]
fn protected_tables() {
    let read_only = "-ERR Attempt to modify a readonly table script: on @user_script:1.";
    for script in ["rawset(_G, 'x', 1)", "rawset(redis, 'x', 1)", "setmetatable(string, {})", "table.insert(redis, 1)"]
    {
        check(script, read_only);
    }
    let read_only = "-ERR user_script:1: Attempt to modify a readonly table script: on @user_script:1.";
    for script in [
        "x = 1",
        "_G.x = 1",
        "redis.call = nil",
        "string.rep = nil",
        "getmetatable(_G).__index = nil",
        "getmetatable('').__index = nil",
        "getmetatable('').__index.rep = nil",
        "function f() end",
        "cjson.x = 1",
    ] {
        check(script, read_only);
    }
    let missing =
        "-ERR user_script:1: Script attempted to access nonexistent global variable 'zzz' script: on @user_script:1.";
    check("return zzz", missing);
    check("return _G.zzz", missing);
    check("return rawget(_G, 'zzz')", "$-1");
    check("return redis.zzz", "$-1");
    check("return _G._G == _G", ":1");
    check("return getmetatable('').__index == string", ":1");
    check("return tostring(getmetatable(redis))", "$3 nil");
    check("local n = 0 for k, v in pairs(redis) do n = n + 1 end return n > 20", ":1");
    check("local _, t = pairs(string) return t == string", ":1");
    check("return ('x'):rep(3)", "$3 xxx");
}

#[test]
fn commands() {
    let (mut vm, mut host) = (Vm::new(Kind::Scripts).expect("memory"), Fake::default());
    let mut check = |script: &str, expected: &str| {
        assert_eq!(eval_on(&mut vm, &mut host, script, &["k", "a"]), expected, "{script}");
    };
    check("return redis.call('set', KEYS[1], ARGV[1])", "+OK");
    check("return redis.call('get', KEYS[1]) .. #KEYS .. #ARGV", "$3 a11");
    check("return redis.call('get', 'none')", "$-1");
    check("return tostring(redis.call('get', 'none'))", "$5 false");
    check("return redis.call('both')", "*2 :7 $-1");
    for (number, text) in [
        ("3", "3"),
        ("0.1", "0.1"),
        ("1e20", "1e+20"),
        ("2^53", "9007199254740992"),
        ("-0.0", "0"),
        ("1/0", "inf"),
        ("0/0", "-nan"),
        ("12345678901234567890", "12345678901234567000"),
    ] {
        let script = format!("redis.call('set', 'n', {number}) return redis.call('get', 'n')");
        check(&script, &format!("${} {text}", text.len()));
    }
    check("redis.log(redis.LOG_WARNING, 'a', 1, {}) return redis.log(0, 'b')", "$-1");
    check("return redis.acl_check_cmd('get', 'x')", ":1");
    let expected = [(LogLevel::Warning, b"a 1".to_vec()), (LogLevel::Debug, b"b".to_vec())];
    assert_eq!(host.logged, expected);
}

#[test]
fn hostile_scripts_end_with_an_error() {
    check(
        "return unpack({}, 0, 2147483647)",
        "-ERR user_script:1: too many results to unpack script: on @user_script:1.",
    );
    check("return select('#', unpack({}, 1, 7000))", ":7000");
    check(
        "return string.find(('a'):rep(300000), ('a?'):rep(300000))",
        "-ERR user_script:1: pattern too complex script: on @user_script:1.",
    );
    check("return string.find(('a'):rep(4000), ('a?'):rep(4000))", ":1");
    check("return loadstring('\\27Lua')", "$-1");
    check(
        "local f, e = loadstring('\\27LuaQ') return e",
        "$53 [string \"\\x1bLuaQ\"]:1: unexpected symbol near 'char(27)'",
    );
    check(
        "local f f = function(n) return 1 + f(n + 1) end return f(1)",
        "-ERR user_script:1: stack overflow script: on @user_script:1.",
    );
    assert!(eval("return ('x'):rep(1e9)").contains("not enough memory"));
    assert!(eval("local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end").contains("not enough memory"));
    assert!(eval("local t = {} t[1] = t return t").contains("reached lua stack limit"));
    check("return collectgarbage('stop')", ":0");
    assert!(eval(&format!("return {}1{}", "(".repeat(1000), ")".repeat(1000))).contains("too many syntax levels"));
}

#[test]
fn strings() {
    for (script, expected) in [
        ("return {string.find('hello world', 'o w')}", "*2 :5 :7"),
        ("return {string.find('THE (quick) fox', '%((%a+)%)')}", "*3 :5 :11 $5 quick"),
        ("return {string.find('a.b', '.', 1, true)}", "*2 :2 :2"),
        ("return {string.find('abc', '')}", "*2 :1 :0"),
        ("return {string.find('abc', 'b', -1)}", "*0"),
        ("return {string.match('2024-01-02', '(%d+)-(%d+)-(%d+)')}", "*3 $4 2024 $2 01 $2 02"),
        ("return string.match('  x  ', '^%s*(.-)%s*$') .. '|'", "$2 x|"),
        ("return {string.match('abc', '()b()')}", "*2 :2 :3"),
        (
            "local r = {} for k, v in string.gmatch('a=1, b=2', '(%w+)=(%w+)') do r[#r+1] = k .. v end return r",
            "*2 $2 a1 $2 b2",
        ),
        ("local n = 0 for w in string.gfind('one two', '%a+') do n = n + 1 end return n", ":2"),
        ("return {string.gsub('hello', 'l', {l='L'})}", "*2 $5 heLLo :2"),
        ("return {string.gsub('hello', '', '-')}", "*2 $11 -h-e-l-l-o- :6"),
        ("return {string.gsub('abc', '%w', '%0%0')}", "*2 $6 aabbcc :3"),
        ("return {string.gsub('hello world', '(%w+) (%w+)', '%2 %1')}", "*2 $11 world hello :1"),
        ("return {string.gsub('abc', '%w', function(c) if c == 'b' then return 1 end end)}", "*2 $3 a1c :3"),
        ("return {string.gsub('aaa', 'a', 'b', 2)}", "*2 $3 bba :2"),
        ("return {string.gsub('aaa', '^a', 'b')}", "*2 $3 baa :1"),
        ("return {('x'):gsub('x', '%%')}", "*2 $1 % :1"),
    ] {
        check(script, expected);
    }
    for (script, expected) in [
        ("return ('hello'):gsub('l', '%2')", "invalid capture index"),
        ("return string.find('a', '[')", "malformed pattern (missing ']')"),
        ("return string.find('a', '%')", "malformed pattern (ends with '%')"),
        ("return string.find('a', '(')", "unfinished capture"),
        ("return string.find('a', nil)", "bad argument #2 to 'find' (string expected, got nil)"),
        ("return string.gsub('a', 'a', true)", "bad argument #3 to 'gsub' (string/function/table expected)"),
        ("return string.gsub('a', 'a', function() return {} end)", "invalid replacement value (a table)"),
    ] {
        check(script, &format!("-ERR user_script:1: {expected} script: on @user_script:1."));
    }
}

#[test]
fn errors_of_our_libraries_name_the_caller() {
    check(
        "return cjson.decode('x')",
        "-ERR user_script:1: Expected value but found invalid token at character 1 script: on @user_script:1.",
    );
    check(
        "return struct.unpack('i4', 'x')",
        "-ERR user_script:1: bad argument #2 to 'unpack' (data string too short) script: on @user_script:1.",
    );
    check(
        "local ok, e = pcall(cjson.decode, 'x') return {tostring(ok), e}",
        "*2 $5 false $53 Expected value but found invalid token at character 1",
    );
    check("return cjson.encode({1, 2})", "$5 [1,2]");
    check("return cjson.encode(cjson.decode('{\"a\":[1,null]}'))", "$14 {\"a\":[1,null]}");
}

#[test]
fn numbers_of_the_generator_follow_the_seed() {
    check(
        "math.randomseed(1) return {math.random(1,100), math.random(1,100), tostring(math.random())}",
        "*3 :5 :46 $16 0.83481721851733",
    );
    check("math.randomseed(42) return tostring(math.random())", "$16 0.74452500033403");
    check(
        "return math.random(0)",
        "-ERR user_script:1: bad argument #1 to 'random' (interval is empty) script: on @user_script:1.",
    );
}

#[test]
fn a_long_script_makes_way_and_goes_on() {
    let (mut vm, mut host) = (Vm::new(Kind::Scripts).expect("memory"), Fake::default());
    let script = "local n = 0 for i = 1, 5000000 do n = n + 1 end redis.call('set', 'n', n) return {ARGV[1], n}";
    let chunk = vm.compile(script.as_bytes()).expect("compiles");
    let mut progress = {
        let request = OwnedRequest::from_args([&b"arg"[..]]);
        vm.run(chunk, request.view(), 0, 0, &mut host, 1_000_000)
    };
    let mut pauses = 0;
    let result = loop {
        match progress {
            Progress::Done(result) => break result,
            Progress::Paused => pauses += 1,
        }
        progress = vm.resume(&mut host, 1_000_000);
    };
    assert!(pauses > 2, "{pauses}");
    assert_eq!(show(result, &host.out), "*2 $3 arg :5000000");
    assert_eq!(eval_on(&mut vm, &mut host, "return redis.call('get', 'n')", &[]), "$7 5000000");
}

#[test]
fn a_script_can_be_ended() {
    let mut vm = Vm::new(Kind::Scripts).expect("memory");
    for script in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local f f = function() return pcall(f) end while true do f() end",
        "while true do coroutine.wrap(function() while true do end end)() end",
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
        "while true do xpcall(function() while true do end end, function() while true do end end) end",
        "return string.find(('a'):rep(200), ('.-'):rep(30) .. 'b')",
        "while true do table.sort({3, 2, 1}, function() while true do end end) end",
    ] {
        let mut host = Fake::default();
        let chunk = vm.compile(script.as_bytes()).expect("compiles");
        let request = OwnedRequest::new();
        assert!(matches!(vm.run(chunk, request.view(), 0, 0, &mut host, 1_000_000), Progress::Paused), "{script}");
        vm.stop("Script killed by user with SCRIPT KILL.");
        let Progress::Done(Err(error)) = vm.resume(&mut host, u64::MAX) else { panic!("{script}") };
        let text = String::from_utf8_lossy(&error.text).into_owned();
        assert!(text.contains("Script killed by user with SCRIPT KILL."), "{script}: {text}");
    }
    // Left in the middle and dropped.
    let chunk = vm.compile(b"while true do end").expect("compiles");
    let request = OwnedRequest::new();
    assert!(matches!(vm.run(chunk, request.view(), 0, 0, &mut Fake::default(), 1000), Progress::Paused));
    drop(vm);
}

#[test]
fn libraries() {
    let mut vm = Vm::new(Kind::Functions).expect("memory");
    let mut host = Fake::default();
    let mut load = |code: &str| {
        let loaded = vm.load(code.as_bytes(), &mut host);
        loaded.map_err(|text| String::from_utf8_lossy(&text).into_owned())
    };
    let text = |code: Result<Vec<Registered>, String>| code.err().unwrap_or_default();
    assert_eq!(
        text(load("#!lua name=x\nlocal a = nosuch")),
        "ERR Error registering functions: ERR user_function:2: Script attempted to access nonexistent global variable 'nosuch'"
    );
    assert_eq!(
        text(load("#!lua name=x\nx = = 1")),
        "ERR Error compiling function: user_function:2: unexpected symbol near '='"
    );
    assert_eq!(
        text(load("#!lua name=x\nredis.call('ping')")),
        "ERR Error registering functions: ERR user_function:2: Script attempted to access nonexistent global variable 'call'"
    );
    assert_eq!(
        text(load("#!lua name=x\nwhile true do end")),
        "ERR Error registering functions: ERR FUNCTION LOAD timeout"
    );
    assert_eq!(
        text(load("#!lua name=x\nredis.register_function{1, 2}")),
        "ERR Error registering functions: ERR unknown argument given to server.register_function"
    );
    let loaded = load(
        "#!lua name=x\nlocal n = 0 redis.register_function('count', function() n = n + 1 return n end)
        server.register_function{function_name='f', callback=function(keys, args) return {keys[1], args[1]} end,
            flags={'no-writes'}, description='desc'}
        redis.register_function('gl', function() y = 1 end) redis.register_function('s', function() return string.rep('x', 2) end)
        local kept = server
        server.register_function('late', function() kept.register_function('later', function() end) end)",
    )
    .unwrap_or_else(|text| panic!("{text}"));
    let names: Vec<_> = loaded.iter().map(|function| String::from_utf8_lossy(&function.name).into_owned()).collect();
    assert_eq!(names, ["count", "f", "gl", "s", "late"]);
    assert_eq!((loaded[1].flags, loaded[1].description.as_deref()), (ScriptFlags::NO_WRITES, Some(&b"desc"[..])));
    let request = OwnedRequest::from_args([&b"k"[..], b"a"]);
    let mut call = |chunk: Chunk| {
        host.out = Output::new();
        let Progress::Done(result) = vm.run(chunk, request.view(), 0, 1, &mut host, u64::MAX) else { panic!("paused") };
        show(result, &host.out)
    };
    assert_eq!(call(loaded[0].chunk), ":1");
    assert_eq!(call(loaded[0].chunk), ":2");
    assert_eq!(call(loaded[1].chunk), "*2 $1 k $1 a");
    assert_eq!(
        call(loaded[2].chunk),
        "-ERR user_function:5: Attempt to modify a readonly table script: on @user_function:5."
    );
    assert_eq!(call(loaded[3].chunk), "$2 xx");
    assert_eq!(
        call(loaded[4].chunk),
        "-ERR server.register_function can only be called on FUNCTION LOAD command script: on @user_function:7."
    );
}
