// ioredis, node-redis, redlock, rate-limiter-flexible, bee-queue.
const Redis = require("ioredis");
const { createClient } = require("redis");
const Redlock = require("redlock");
const { RateLimiterRedis, BurstyRateLimiter } = require("rate-limiter-flexible");
const BeeQueue = require("bee-queue");
const { PORT, step, equal, sleep, until, done } = require("./steps.js");

(async () => {
  const io = new Redis(PORT);
  await io.flushall();
  const node = await createClient({ url: `redis://127.0.0.1:${PORT}` }).on("error", () => {}).connect();

  await step("ioredis: MULTI, its replies and its errors", async () => {
    equal(await io.multi().set("a", 1).incr("a").get("a").exec(), [[null, "OK"], [null, 2], [null, "2"]]);
    const [, [error]] = await io.multi().set("s", "x").lpush("s", 1).exec();
    equal(/^WRONGTYPE/.test(error.message), true);
  });
  await step("ioredis: WATCH", async () => {
    const other = new Redis(PORT);
    await io.watch("a");
    await other.set("a", 10);
    equal(await io.multi().set("a", 11).exec(), null);
    equal(await io.get("a"), "10");
    other.disconnect();
  });
  await step("ioredis: a command of its own, from a script", async () => {
    io.defineCommand("addall", { numberOfKeys: 2, lua: "return redis.call('GET', KEYS[1]) + redis.call('INCRBY', KEYS[2], ARGV[1])" });
    await io.script("FLUSH");
    equal([await io.addall("a", "b", 5), await io.addall("a", "b", 5)], [15, 20]);
    equal(await io.pipeline().addall("a", "b", 1).get("b").exec(), [[null, 21], [null, "11"]]);
  });
  await step("ioredis: 5000 commands pipelined by itself", async () => {
    const auto = new Redis(PORT, { enableAutoPipelining: true });
    equal((await Promise.all(Array.from({ length: 5000 }, (_, n) => auto.set(`k:${n}`, n).then(() => auto.get(`k:${n}`))))).map(Number), Array.from({ length: 5000 }, (_, n) => n));
    auto.disconnect();
  });
  await step("ioredis: subscribers and blocked clients", async () => {
    const listener = new Redis(PORT);
    const heard = [];
    listener.on("message", (_, message) => heard.push(message));
    listener.on("pmessage", (_, __, message) => heard.push(message));
    await listener.subscribe("news");
    await listener.psubscribe("n*");
    equal(await io.publish("news", "hello"), 2);
    equal(await until(() => heard.length === 2), true);
    const blocked = new Redis(PORT);
    const popped = blocked.blpop("later", 5);
    await sleep(50);
    await io.rpush("later", "x");
    equal(await popped, ["later", "x"]);
    listener.disconnect();
    blocked.disconnect();
  });
  await step("ioredis: scanning finds every key", async () => {
    const found = new Set();
    for await (const keys of io.scanStream({ match: "k:*", count: 100 })) keys.forEach((key) => found.add(key));
    equal(found.size, 5000);
  });
  await step("node-redis: MULTI with types, and WATCH on a connection of its own", async () => {
    equal(await node.multi().set("n", "1").incr("n").hSet("h", { f: "v" }).hGetAll("h").exec(), ["OK", 2, 1, { f: "v" }]);
    const watcher = await node.duplicate().connect();
    await watcher.watch("n");
    await node.set("n", "9");
    let aborted = false;
    await watcher.multi().set("n", "10").exec().catch((error) => { aborted = error.constructor.name === "WatchError"; });
    equal([aborted, await node.get("n")], [true, "9"]);
    await watcher.close();
  });
  await step("node-redis: EVAL, EVALSHA and functions", async () => {
    equal(await node.eval("return {KEYS[1], ARGV[1]}", { keys: ["k"], arguments: ["v"] }), ["k", "v"]);
    const sha = await node.scriptLoad("return 7");
    equal(await node.evalSha(sha), 7);
    await node.functionLoad("#!lua name=lib\nredis.register_function('seven', function() return 7 end)", { REPLACE: true });
    equal(await node.fCall("seven", { keys: [], arguments: [] }), 7);
  });
  await step("node-redis: RESP3 and client-side caching", async () => {
    const three = await createClient({ url: `redis://127.0.0.1:${PORT}`, RESP: 3, clientSideCache: { ttl: 0, maxEntries: 100, evictPolicy: "LRU" } }).on("error", () => {}).connect();
    await node.set("cached", "1");
    equal([await three.get("cached"), await three.get("cached")], ["1", "1"]);
    await node.set("cached", "2");
    equal(await until(async () => (await three.get("cached")) === "2"), true);
    equal(await three.hGetAll("h"), { f: "v" });
    await three.close();
  });
  await step("redlock: excludes, extends, releases", async () => {
    const redlock = new Redlock([io], { retryCount: 0 });
    const lock = await redlock.lock("lock", 2000);
    let refused = false;
    await redlock.lock("lock", 2000).catch(() => { refused = true; });
    equal(refused, true);
    const longer = await lock.extend(5000);
    equal((await io.pttl("lock")) > 2000, true);
    await longer.unlock();
    equal(await io.exists("lock"), 0);
    const patient = new Redlock([io], { retryCount: 200, retryDelay: 5, retryJitter: 5 });
    let inside = 0;
    let worst = 0;
    await Promise.all(Array.from({ length: 20 }, async () => {
      const held = await patient.lock("busy", 5000);
      worst = Math.max(worst, ++inside);
      await sleep(2);
      inside -= 1;
      await held.unlock();
    }));
    equal(worst, 1);
  });
  await step("rate-limiter-flexible: points, blocks, bursts", async () => {
    for (const storeClient of [io, node]) {
      const limiter = new RateLimiterRedis({ storeClient, useRedisPackage: storeClient === node, keyPrefix: storeClient === io ? "io" : "node", points: 5, duration: 60, blockDuration: 60 });
      const granted = await Promise.all(Array.from({ length: 8 }, () => limiter.consume("user").then(() => true, () => false)));
      equal(granted.filter(Boolean).length, 5);
      equal((await limiter.get("user")).remainingPoints, 0);
      await limiter.delete("user");
      equal((await limiter.consume("user", 2)).remainingPoints, 3);
      await limiter.reward("user", 1);
      equal((await limiter.get("user")).remainingPoints, 4);
    }
    const burst = new BurstyRateLimiter(
      new RateLimiterRedis({ storeClient: io, keyPrefix: "steady", points: 2, duration: 60 }),
      new RateLimiterRedis({ storeClient: io, keyPrefix: "burst", points: 3, duration: 60 }),
    );
    const granted = [];
    for (let n = 0; n < 7; n += 1) granted.push(await burst.consume("user").then(() => true, () => false));
    equal(granted, [true, true, true, true, true, false, false]);
  });
  await step("bee-queue: jobs, failures with retries, delays, stalled jobs", async () => {
    const queue = new BeeQueue("bees", { redis: { host: "127.0.0.1", port: PORT }, activateDelayedJobs: true, removeOnSuccess: true });
    let tries = 0;
    queue.process(4, async (job) => {
      if (job.data.flaky && ++tries < 3) throw new Error("not yet");
      return job.data.n * 2;
    });
    const ended = (job) => new Promise((resolve, reject) => { job.on("succeeded", resolve); job.on("failed", reject); });
    const jobs = await Promise.all(Array.from({ length: 50 }, async (_, n) => {
      const job = queue.createJob({ n });
      const end = ended(job);
      await job.save();
      return end;
    }));
    equal(jobs, Array.from({ length: 50 }, (_, n) => n * 2));
    const flaky = queue.createJob({ n: 1, flaky: true }).retries(3).backoff("immediate");
    const end = ended(flaky);
    await flaky.save();
    equal(await end, 2);
    const delayed = queue.createJob({ n: 5 }).delayUntil(Date.now() + 300);
    const later = ended(delayed);
    await delayed.save();
    equal(await later, 10);
    await queue.checkStalledJobs();
    await queue.close(1000);
  });
  done();
})();
