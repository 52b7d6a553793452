// Brings the steps of an analysis up to date: by server-sent events, or else by asking.
// One stream for all windows of this site: browsers allow only six connections to a server.
const box = document.querySelector("[data-task]");
const POLL = [500, 1000, 1000, 1000, 2000, 2000, 2000, 5000, 10000, 30000];
let asked = 0;
let over = false;
let source = null;

async function refresh() {
  const answer = await fetch(`${box.dataset.task}/steps`, {
    headers: { accept: "application/json" },
    credentials: "same-origin",
  });
  if (!answer.ok) {
    // Signed out, or the chart is kept back: the page itself says which.
    if ([401, 404].includes(answer.status)) location.reload();
    return;
  }
  const state = await answer.json();
  for (const step of state.steps) {
    const line = box.querySelector(`[data-step="${step.name}"]`);
    line.dataset.state = step.state;
    line.querySelector(".step-text").textContent = step.text;
    line.querySelector(".step-time").textContent = step.time;
  }
  document.getElementById("slow").hidden = !state.slow;
  if (state.over && !over) {
    over = true;
    source?.close();
    location.replace(state.next);
  }
}

function poll() {
  if (over) return;
  const wait = POLL[Math.min(asked, POLL.length - 1)];
  asked += 1;
  setTimeout(() => {
    const next = document.visibilityState === "visible" ? refresh() : Promise.resolve();
    next.catch(() => {}).finally(poll);
  }, wait);
}

function listen() {
  return new Promise((done) => {
    source = new EventSource(`${box.dataset.task}/events`);
    source.addEventListener("step", () => refresh().catch(() => {}));
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED && !over) {
        done();
        poll();
      }
    });
    addEventListener("pagehide", () => { source.close(); done(); });
  });
}

// Over HTTP/2 and later, streams share one connection.
const [opened] = performance.getEntriesByType("navigation");
const isShared = ["h2", "h3"].includes(opened?.nextHopProtocol);

if (!("EventSource" in window)) {
  poll();
} else if (isShared) {
  listen();
} else if (navigator.locks) {
  // Browsers that block the storage of other sites deny locks to a framed app.
  navigator.locks.request("medsage-events", { ifAvailable: true }, (lock) => {
    if (lock) return listen();
    poll();
    return undefined;
  }).catch(poll);
} else {
  poll();
}
