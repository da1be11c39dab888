// BullMQ: its queues are scripts over lists, sorted sets, streams and hashes, some of them with keys not declared.
const { Queue, Worker, QueueEvents, FlowProducer, UnrecoverableError } = require("bullmq");
const Redis = require("ioredis");
const { PORT, step, equal, sleep, until, done } = require("./steps.js");
const connection = { host: "127.0.0.1", port: PORT, maxRetriesPerRequest: null };

(async () => {
  await new Redis(PORT).flushall();
  const queue = new Queue("jobs", { connection });
  const events = new QueueEvents("jobs", { connection });
  await events.waitUntilReady();
  const order = [];
  const worker = new Worker("jobs", async (job) => {
    order.push(job.data.n);
    if (job.name === "boom") throw new Error("boom");
    if (job.name === "never") throw new UnrecoverableError("never");
    if (job.name === "flaky" && job.attemptsMade < 2) throw new Error("not yet");
    if (job.name === "slow") { await job.updateProgress(50); await sleep(50); }
    return (job.data.n || 0) * 2;
  }, { connection, concurrency: 4 });
  await worker.waitUntilReady();

  await step("a job and its result", async () => equal(await (await queue.add("double", { n: 21 })).waitUntilFinished(events, 20000), 42));
  await step("300 jobs in bulk, each done once", async () => {
    order.length = 0;
    const jobs = await queue.addBulk(Array.from({ length: 300 }, (_, n) => ({ name: "double", data: { n } })));
    const results = await Promise.all(jobs.map((job) => job.waitUntilFinished(events, 25000)));
    equal(results, jobs.map((_, n) => n * 2));
    equal([...order].sort((a, b) => a - b), jobs.map((_, n) => n));
  });
  await step("attempts with a delay between them", async () => {
    const job = await queue.add("flaky", { n: 3 }, { attempts: 3, backoff: { type: "fixed", delay: 50 } });
    equal(await job.waitUntilFinished(events, 20000), 6);
  });
  await step("a failure, and one without another attempt", async () => {
    for (const name of ["boom", "never"]) {
      const job = await queue.add(name, { n: 1 }, { attempts: name === "never" ? 5 : 1 });
      let message = "";
      await job.waitUntilFinished(events, 20000).catch((error) => { message = error.message; });
      equal([message, await job.getState()], [name, "failed"]);
    }
  });
  await step("a delayed job", async () => {
    const begun = Date.now();
    const job = await queue.add("double", { n: 4 }, { delay: 500 });
    equal(await job.getState(), "delayed");
    equal(await job.waitUntilFinished(events, 20000), 8);
    if (Date.now() - begun < 450) throw new Error("too early");
  });
  await step("progress is told", async () => {
    const progress = [];
    events.on("progress", ({ data }) => progress.push(data));
    await (await queue.add("slow", { n: 1 })).waitUntilFinished(events, 20000);
    equal(await until(() => progress.length > 0), true);
  });
  await step("the same job id is added once; a job is removed", async () => {
    await queue.pause();
    const [one, two] = [await queue.add("double", { n: 5 }, { jobId: "only" }), await queue.add("double", { n: 6 }, { jobId: "only" })];
    equal(one.id, two.id);
    equal((await queue.getJobCounts("paused", "waiting")).paused + (await queue.getJobCounts("waiting")).waiting, 1);
    await one.remove();
    equal(await queue.getJob("only"), undefined);
    await queue.resume();
  });
  await step("priorities", async () => {
    await queue.pause();
    await sleep(100);
    order.length = 0;
    const jobs = [];
    for (const [n, priority] of [[1, 30], [2, 20], [3, 10]]) jobs.push(await queue.add("double", { n }, { priority }));
    await queue.resume();
    await Promise.all(jobs.map((job) => job.waitUntilFinished(events, 20000)));
    equal([...order].sort(), [1, 2, 3]);
  });
  await step("a flow: parents wait for their children", async () => {
    const flow = new FlowProducer({ connection });
    const tree = await flow.add({ name: "double", queueName: "jobs", data: { n: 10 }, children: [1, 2, 3].map((n) => ({ name: "double", data: { n }, queueName: "jobs" })) });
    equal(await tree.job.waitUntilFinished(events, 20000), 20);
    equal(Object.values(await tree.job.getChildrenValues()).sort(), [2, 4, 6]);
    await flow.close();
  });
  await step("a scheduler repeats", async () => {
    const before = (await queue.getJobCounts("completed")).completed;
    await queue.upsertJobScheduler("often", { every: 100 }, { name: "double", data: { n: 1 } });
    equal(await until(async () => (await queue.getJobCounts("completed")).completed >= before + 3, 10000), true);
    await queue.removeJobScheduler("often");
  });
  await step("a limit of two jobs a second holds", async () => {
    const slow = new Queue("limited", { connection });
    const limited = new Worker("limited", async () => Date.now(), { connection, limiter: { max: 2, duration: 500 } });
    // From the first event on: waitUntilReady does not wait for the first XREAD, and a job may end before that is run on another worker.
    const slowEvents = new QueueEvents("limited", { connection, lastEventId: "0-0" });
    await slowEvents.waitUntilReady();
    const jobs = await slow.addBulk(Array.from({ length: 6 }, (_, n) => ({ name: "x", data: { n } })));
    const times = await Promise.all(jobs.map((job) => job.waitUntilFinished(slowEvents, 20000)));
    if (Math.max(...times) - Math.min(...times) < 900) throw new Error(`done in ${Math.max(...times) - Math.min(...times)} ms`);
    await Promise.all([limited.close(), slowEvents.close(), slow.close()]);
  });
  await step("counts, cleaning, obliteration", async () => {
    const counts = await queue.getJobCounts();
    equal([counts.waiting, counts.active, counts.delayed], [0, 0, 0]);
    if (!((await queue.clean(0, 1000, "completed")).length > 300)) throw new Error("nothing cleaned");
    await worker.close();
    await events.close();
    await queue.obliterate({ force: true });
    equal((await new Redis(PORT).keys("bull:jobs:*")).length, 0);
  });
  done();
})();
