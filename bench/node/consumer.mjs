// The consumer likewise: each record decoded, a line for each packet, one write for a batch.
import { run } from "./runtime.mjs";

const printable = /^[\t\n\r\x20-\x7e]*$/;

function line(record, now) {
  const { kinesis } = record;
  const head = {
    timestamp: now.toISOString(),
    level: "INFO",
    message: "packet",
    shard: record.eventID.slice(0, record.eventID.indexOf(":")),
    sequenceNumber: kinesis.sequenceNumber,
    partitionKey: kinesis.partitionKey,
    arrival: new Date(kinesis.approximateArrivalTimestamp * 1000).toISOString(),
    age: Math.round(now - kinesis.approximateArrivalTimestamp * 1000),
  };
  const data = Buffer.from(kinesis.data, "base64");
  try {
    const packet = JSON.parse(data);
    const payload = Buffer.from(packet.Data, "base64");
    const remote = packet.Remote && `${packet.Remote.IpAddress}:${packet.Remote.Port}`;
    const text = payload.toString("latin1");
    const content = printable.test(text)
      ? { text }
      : { base64: packet.Data, ascii: text.slice(0, 64).replace(/[^\x20-\x7e]/g, ".") };
    return JSON.stringify({ ...head, size: payload.length, remote, tag: packet.Tag, ...content });
  } catch {
    return JSON.stringify({ ...head, message: "record", base64: kinesis.data });
  }
}

await run(async (event, { id }) => {
  const now = new Date();
  const lines = event.Records.map((record) => line(record, now));
  lines.push(JSON.stringify({ timestamp: now, level: "INFO", message: "summary", requestId: id, records: lines.length }));
  process.stdout.write(`${lines.join("\n")}\n`);
  return { batchItemFailures: [] };
});
