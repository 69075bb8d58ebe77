// Takes invocations from Lambda's Runtime API, one after the other: what the managed runtime does, and no more.
import http from "node:http";

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function request(method, path, body) {
  return new Promise((resolve, reject) => {
    const sent = http.request({ host, port, agent, method, path: `/2018-06-01/runtime${path}` }, (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part));
      answer.on("end", () => resolve({ headers: answer.headers, body: Buffer.concat(parts) }));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

export async function run(handler) {
  for (;;) {
    const { headers, body } = await request("GET", "/invocation/next");
    const id = headers["lambda-runtime-aws-request-id"];
    const deadline = Number(headers["lambda-runtime-deadline-ms"]);
    try {
      const answer = await handler(JSON.parse(body), { id, deadline });
      await request("POST", `/invocation/${id}/response`, JSON.stringify(answer));
    } catch (error) {
      const words = { errorType: error.name, errorMessage: error.message, stackTrace: [] };
      await request("POST", `/invocation/${id}/error`, JSON.stringify(words));
    }
  }
}
