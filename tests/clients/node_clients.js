// Drives a server with ioredis and node-redis. usage: node node_clients.js PORT   prints one line a check, ends with status 0 or 1
'use strict';
const assert = require('assert');
const Redis = require('ioredis');
const { createClient } = require('redis');

const port = Number(process.argv[2]);
let failed = 0;

async function check(name, body) {
  try {
    await body();
    console.log('ok   ' + name);
  } catch (problem) {
    failed++;
    console.log('FAIL ' + name + ': ' + (problem && problem.message || problem));
  }
}

async function withIoredis(options, body) {
  const client = new Redis({ port, host: '127.0.0.1', maxRetriesPerRequest: 2, ...options });
  try {
    await client.flushall();
    await body(client);
  } finally {
    client.disconnect();
  }
}

async function withNodeRedis(options, body) {
  const client = createClient({ socket: { port, host: '127.0.0.1', reconnectStrategy: false }, ...options });
  client.on('error', () => {});
  await client.connect();
  try {
    await client.flushAll();
    await body(client);
  } finally {
    client.destroy();
  }
}

async function ioredis() {
  await check('ioredis: set, get, options', () => withIoredis({}, async r => {
    assert.strictEqual(await r.set('k', 'v', 'EX', 100), 'OK');
    assert.strictEqual(await r.set('k', 'w', 'NX'), null);
    assert.strictEqual(await r.get('k'), 'v');
    assert.ok(await r.ttl('k') > 90);
    assert.deepStrictEqual(await r.getBuffer('k'), Buffer.from('v'));
    assert.strictEqual(await r.incrby('n', 5), 5);
    assert.deepStrictEqual(await r.mget('k', 'n', 'x'), ['v', '5', null]);
  }));
  await check('ioredis: pipeline and automatic pipelining', () => withIoredis({ enableAutoPipelining: true }, async r => {
    const pipeline = r.pipeline();
    for (let i = 0; i < 1000; i++) pipeline.set('p' + i, i).get('p' + i);
    const replies = await pipeline.exec();
    assert.strictEqual(replies.length, 2000);
    assert.ok(replies.every(([error]) => error === null));
    assert.strictEqual(replies[1999][1], '999');
    const values = await Promise.all(Array.from({ length: 500 }, (_, i) => r.get('p' + i)));
    assert.deepStrictEqual(values, Array.from({ length: 500 }, (_, i) => String(i)));
  }));
  await check('ioredis: scan stream, database, prefix, name', () => withIoredis({ db: 4, keyPrefix: 'app:', connectionName: 'node' }, async r => {
    await r.mset('a', 1, 'b', 2);
    const found = [];
    for await (const keys of r.scanStream({ match: 'app:*' })) found.push(...keys);
    assert.deepStrictEqual(found.sort(), ['app:a', 'app:b']);
    assert.match(await r.client('LIST'), /name=node /);
  }));
  await check('ioredis: errors', () => withIoredis({}, async r => {
    await r.set('k', 'abc');
    await assert.rejects(r.incr('k'), /ERR value is not an integer or out of range/);
    await assert.rejects(r.call('NOSUCH', 'a'), /ERR unknown command 'NOSUCH'/);
  }));
  await check('ioredis: reconnects after being killed', () => withIoredis({ retryStrategy: () => 20 }, async r => {
    await r.set('k', 'v');
    const id = await r.client('ID');
    const other = new Redis({ port, host: '127.0.0.1' });
    await other.client('KILL', 'ID', id);
    other.disconnect();
    assert.strictEqual(await r.get('k'), 'v');
  }));
}

async function nodeRedis() {
  for (const RESP of [2, 3]) {
    await check(`node-redis RESP${RESP}: set, get, options`, () => withNodeRedis({ RESP, name: 'node' }, async r => {
      assert.strictEqual(await r.set('k', 'v', { expiration: { type: 'EX', value: 100 } }), 'OK');
      assert.strictEqual(await r.get('k'), 'v');
      assert.strictEqual(await r.set('k', 'w', { condition: 'NX' }), null);
      assert.strictEqual(await r.incr('n'), 1);
      assert.strictEqual(Number(await r.incrByFloat('f', 1.5)), 1.5);
      assert.deepStrictEqual(await r.mGet(['k', 'x']), ['v', null]);
      assert.ok(await r.ttl('k') > 90 && await r.expire('k', 200) === 1);
      assert.strictEqual((await r.configGet('maxmemory')).maxmemory, '0');
      assert.strictEqual(await r.clientGetName(), 'node');
    }));
    await check(`node-redis RESP${RESP}: many requests at once`, () => withNodeRedis({ RESP }, async r => {
      await Promise.all(Array.from({ length: 2000 }, (_, i) => r.set('k' + i, String(i))));
      const values = await Promise.all(Array.from({ length: 2000 }, (_, i) => r.get('k' + i)));
      assert.deepStrictEqual(values, Array.from({ length: 2000 }, (_, i) => String(i)));
      let count = 0;
      for await (const keys of r.scanIterator({ MATCH: 'k*', COUNT: 100 })) count += keys.length;
      assert.ok(count >= 2000);
    }));
    await check(`node-redis RESP${RESP}: errors`, () => withNodeRedis({ RESP }, async r => {
      await assert.rejects(r.sendCommand(['GET']), /wrong number of arguments for 'get' command/);
    }));
  }
}

ioredis().then(nodeRedis).then(() => process.exit(failed ? 1 : 0));
