// Renews the states of unfinished runs. When the run of a page ends, its content is fetched anew; the page itself stays.
"use strict";
{
  const PAUSE = 5000;
  const unfinished = () => [...document.querySelectorAll("[data-run]")];

  const show = (run, id) => {
    for (const badge of document.querySelectorAll(`[data-run="${CSS.escape(id)}"]`)) {
      if (badge.textContent !== run.words) badge.textContent = run.words;
      badge.className = `state ${run.look}`;
      if (run.final) badge.removeAttribute("data-run");
    }
    for (const [row, told] of Object.entries(run.algorithms)) {
      const line = document.querySelector(`[data-algorithm="${CSS.escape(row)}"]`);
      if (!line) continue;
      const bar = line.querySelector("progress");
      if (told.percent === null) bar.removeAttribute("value");
      else bar.value = told.percent;
      line.querySelector(".message").textContent = [told.stage || "waits", told.message].filter(Boolean).join(": ");
    }
  };

  const append = (log, text) => {
    if (typeof text !== "string" || log.textContent === text) return;
    // A reader who has scrolled up stays at the same lines.
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 20;
    log.textContent = text;
    if (atEnd) log.scrollTop = log.scrollHeight;
  };

  const renew = async () => {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("content-main");
    if (fresh) document.getElementById("content-main").replaceWith(fresh);
  };

  const poll = async () => {
    const ids = [...new Set(unfinished().map((badge) => badge.dataset.run))].slice(0, 100);
    if (ids.length && !document.hidden) {
      try {
        const address = "/progress/";
        const log = document.querySelector("[data-log]");
        const asked = [...ids.map((id) => ["run", id]), ...(log ? [["log", log.dataset.log]] : [])];
        const answer = await fetch(`${address}?${new URLSearchParams(asked)}`);
        if (answer.ok) {
          const { runs } = await answer.json();
          let ended = false;
          for (const [id, run] of Object.entries(runs)) {
            show(run, id);
            if (log && id === log.dataset.log) append(log, run.log);
            ended = ended || run.final;
          }
          if (ended && document.querySelector("[data-renew]")) await renew();
        }
      } catch {
        // The server is away. The next poll asks again.
      }
    }
    setTimeout(poll, PAUSE);
  };
  poll();
}
