// The producer as a competent programmer would write it in a day: batches, every entry's result read, failed ones again.
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { KinesisClient, PutRecordsCommand } from "@aws-sdk/client-kinesis";
import { run } from "./runtime.mjs";

const stream = process.env.STREAM_ARN ? { StreamARN: process.env.STREAM_ARN } : { StreamName: process.env.STREAM_NAME };
const kinesis = new KinesisClient({ maxAttempts: 1 });
const utf8 = new TextEncoder();

function record(packet) {
  const payload = Buffer.from(packet.Data ?? "", "base64");
  const key = payload.length >= 4 ? payload.subarray(0, 4).toString("hex").toUpperCase() : randomUUID();
  return { PartitionKey: key, Data: utf8.encode(JSON.stringify(packet)) };
}

/** Sends these, and what failed again until the time is over; gives back what was never taken. */
async function put(records, deadline) {
  for (let attempt = 0; records.length > 0 && Date.now() < deadline - 2000; attempt += 1) {
    if (attempt > 0) await sleep(Math.random() * Math.min(1000, 25 * 2 ** attempt));
    try {
      const answer = await kinesis.send(new PutRecordsCommand({ ...stream, Records: records }));
      records = records.filter((_, place) => answer.Records[place].ErrorCode !== undefined);
    } catch (error) {
      if (error.$fault === "client" && error.name !== "ProvisionedThroughputExceededException") break;
    }
  }
  return records;
}

await run(async (event, { id, deadline }) => {
  const records = (event.Messages ?? []).map(record);
  const requests = [];
  for (let start = 0; start < records.length; start += 500) {
    requests.push(put(records.slice(start, start + 500), deadline));
  }
  const undelivered = (await Promise.all(requests)).flat();
  const now = new Date().toISOString();
  const lines = undelivered.map((left) =>
    JSON.stringify({ timestamp: now, level: "ERROR", message: "undelivered", packet: Buffer.from(left.Data).toString() }),
  );
  const [packets, acknowledged] = [records.length, records.length - undelivered.length];
  lines.push(JSON.stringify({ timestamp: now, level: "INFO", message: "summary", requestId: id, packets, acknowledged }));
  process.stdout.write(`${lines.join("\n")}\n`);
  return { Replies: [] };
});
