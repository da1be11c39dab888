// Steps of an application's check: named, counted, never stopping those after them.
const PORT = Number(process.argv[2] || 6379);
let passed = 0;
let failed = 0;

async function step(name, act, limitMs = 30000) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`no end after ${limitMs} ms`)), limitMs); });
  try {
    await Promise.race([act(), late]);
    passed += 1;
    console.log(`ok   ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}: ${String(error && error.message || error).slice(0, 300).replace(/\n/g, " ")}`);
  } finally {
    clearTimeout(timer);
  }
}

function equal(left, right) {
  const [one, other] = [JSON.stringify(left), JSON.stringify(right)];
  if (one !== other) throw new Error(`${one} != ${other}`);
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(condition, ms = 10000) {
  const end = Date.now() + ms;
  let value;
  while (!(value = await condition()) && Date.now() < end) await sleep(20);
  return value;
}

function done() {
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
}

process.on("unhandledRejection", (error) => console.log(`(unhandled: ${String(error).slice(0, 200)})`));
module.exports = { PORT, step, equal, sleep, until, done };
