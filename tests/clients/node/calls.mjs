// What a Node program does with the gateway, told as one JSON object on stdout.
// Arguments: base URL, key, key without balance, key of a suspended account.
import OpenAI from "openai";

const [baseURL, apiKey, poorKey, suspendedKey] = process.argv.slice(2);
const model = "openai/gpt-4o-mini";
const messages = [{ role: "user", content: "[[tokens=12]] Merhaba" }];
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const told = {};

async function refusal(make) {
  try {
    await make();
    return null;
  } catch (error) {
    return {
      class: error.constructor.name,
      status: error.status,
      code: error.code,
      message: error.error?.message,
      requestId: error.requestID,
    };
  }
}

async function whole() {
  const { data, response } = await client.chat.completions.create({ model, messages }).withResponse();
  told.whole = {
    id: data.id,
    requestId: response.headers.get("x-request-id"),
    remaining: response.headers.get("x-ratelimit-remaining"),
    content: data.choices[0].message.content,
    cost: data.cost,
    usage: data.usage,
  };
}

async function stream() {
  const chunks = [];
  for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
    chunks.push(chunk);
  }
  const last = chunks.at(-1);
  told.stream = {
    ids: [...new Set(chunks.map((chunk) => chunk.id))],
    content: chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join(""),
    choices: last.choices,
    cost: last.cost,
    usage: last.usage,
  };
}

async function helper() {
  const runner = client.chat.completions.stream({ model, messages });
  const completion = await runner.finalChatCompletion();
  told.helper = { content: completion.choices[0].message.content, finish: completion.choices[0].finish_reason };
}

async function tools() {
  const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
  const answer = await client.chat.completions.create({
    model,
    messages: [{ role: "user", content: "Ankara'da hava nasıl?" }],
    tools: [{ type: "function", function: { name: "weather", parameters } }],
  });
  const call = answer.choices[0].message.tool_calls[0];
  told.tools = { name: call.function.name, arguments: JSON.parse(call.function.arguments) };
}

async function abort() {
  const long = [{ role: "user", content: "[[tokens=4000]] Uzun bir öykü" }];
  const running = await client.chat.completions.create({ model, messages: long, stream: true });
  let chunks = 0;
  let id = "";
  for await (const chunk of running) {
    id = chunk.id;
    if (++chunks === 5) running.controller.abort();
  }
  told.abort = { chunks, id };
}

async function refusals() {
  const create = (key, more) =>
    new OpenAI({ baseURL, apiKey: key, maxRetries: 0 }).chat.completions.create({ model, messages, ...more });
  told.refusals = {
    badKey: await refusal(() => create("sk-ony-" + "0".repeat(48))),
    notAKey: await refusal(() => create("sk-other")),
    poor: await refusal(() => create(poorKey)),
    suspended: await refusal(() => create(suspendedKey)),
    model: await refusal(() => create(apiKey, { model: "no/such-model" })),
    temperature: await refusal(() => create(apiKey, { temperature: 3 })),
    streamed: await refusal(() => create(apiKey, { stream: true, messages: [] })),
  };
}

async function models() {
  const ids = [];
  for await (const each of client.models.list()) ids.push(each.id);
  told.models = { count: ids.length, one: (await client.models.retrieve(model)).id };
}

for (const step of [whole, stream, helper, tools, abort, refusals, models]) await step();
console.log(JSON.stringify(told));
