// Calls the API from this browser. The key lives in sessionStorage: in this tab, until it is closed.
const root = document.getElementById("playground");
const find = (id) => document.getElementById(id);
const { api, working, failed, done, cost, away, language } = root.dataset;
const KEPT = "onysoft-playground-key";
const POLL_MS = 1500;
let stopper = null;

const say = (text) => { find("status").textContent = text; };

async function call(path, body, signal) {
  const headers = { authorization: `Bearer ${find("api-key").value.trim()}`, "accept-language": language };
  if (body) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(`${api}${path}`, { method: body ? "POST" : "GET", headers, signal, body: body && JSON.stringify(body) });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Error(away);
  }
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Error(problem.error?.message ?? `${failed} (${answer.status})`);
  }
  return answer;
}

function showCost(place, amount) {
  if (!amount) return;
  const money = new Intl.NumberFormat(language === "tr" ? "tr-TR" : "en-GB", { style: "currency", currency: amount.currency, currencyDisplay: "narrowSymbol", maximumFractionDigits: 6 });
  place.textContent = `${cost}: ${money.format(amount.amount)}`;
}

function fill(select, models, preferred) {
  select.replaceChildren(...models.map((model) => new Option(model.id, model.id, false, model.id === preferred)));
}

async function loadModels() {
  say(working);
  const { data } = await (await call("/models")).json();
  sessionStorage.setItem(KEPT, find("api-key").value.trim());
  fill(find("chat-model"), data.filter((model) => model.type === "chat"), "openai/gpt-4o-mini");
  fill(find("image-model"), data.filter((model) => model.type === "image"), "google/nano-banana");
  say(done);
}

async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done: over } = await reader.read();
    if (over) return;
    rest += value;
    const lines = rest.split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ")) continue;
      const text = line.slice(6).trim();
      if (text === "[DONE]") return;
      yield JSON.parse(text);
    }
  }
}

async function chat() {
  const place = find("answer");
  place.textContent = "";
  find("chat-cost").textContent = "";
  stopper = new AbortController();
  find("stop").hidden = false;
  try {
    const body = { model: find("chat-model").value, messages: [{ role: "user", content: find("prompt").value }], stream: true };
    for await (const chunk of events(await call("/chat/completions", body, stopper.signal))) {
      if (chunk.error) throw new Error(chunk.error.message);
      place.textContent += chunk.choices?.[0]?.delta?.content ?? "";
      showCost(find("chat-cost"), chunk.cost);
    }
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  } finally {
    find("stop").hidden = true;
  }
}

async function image() {
  find("pictures").replaceChildren();
  find("image-cost").textContent = "";
  const body = { model: find("image-model").value, prompt: find("image-prompt").value };
  const begun = await (await call("/image/generate", body)).json();
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    const task = await (await call(`/image/status/${begun.task_id}`)).json();
    if (task.status === "failed") throw new Error(task.error?.message ?? failed);
    if (task.status !== "completed") continue;
    find("pictures").replaceChildren(...task.urls.map((url) => {
      const picture = new Image();
      picture.src = url;
      picture.alt = find("image-prompt").value;
      return picture;
    }));
    showCost(find("image-cost"), task.cost);
    return;
  }
}

async function run(what, button) {
  button.disabled = true;
  say(working);
  try {
    await what();
    say(done);
  } catch (error) {
    say(error.message);
  } finally {
    button.disabled = false;
  }
}

for (const [id, what] of [["chat", chat], ["image", image]]) {
  find(id).addEventListener("submit", (event) => {
    event.preventDefault();
    run(what, event.submitter ?? find(id).querySelector("button"));
  });
}
find("load").addEventListener("click", () => run(loadModels, find("load")));
find("stop").addEventListener("click", () => stopper?.abort());
find("forget").addEventListener("click", () => {
  sessionStorage.removeItem(KEPT);
  find("api-key").value = "";
  for (const id of ["chat-model", "image-model"]) find(id).replaceChildren();
  say("");
});
const kept = sessionStorage.getItem(KEPT);
if (kept) {
  find("api-key").value = kept;
  run(loadModels, find("load"));
}
