// Labels by keyboard: 1 relevant, 0 not relevant, j or s next, k previous. Without the script, the buttons send their forms.
"use strict";
{
  const articles = [...document.querySelectorAll(".article")];
  const said = document.getElementById("said");
  let current = -1;

  const go = (number) => {
    if (!articles.length) return;
    current = Math.min(Math.max(number, 0), articles.length - 1);
    articles[current].focus();
    articles[current].scrollIntoView({ block: "nearest" });
  };

  const send = async (article, label) => {
    const form = article.querySelector("form");
    const body = new FormData(form);
    body.set("label", label);
    const title = article.querySelector("h2").textContent;
    try {
      const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "application/json" } });
      const stored = answer.ok ? await answer.json() : null;
      if (!stored) throw new Error(`the server answered ${answer.status}`);
      for (const button of form.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.value === label));
      said.textContent = `${title}: ${label === "1" ? "relevant" : "not relevant"}`;
    } catch (error) {
      said.textContent = `${title}: not stored: ${error.message}`;
    }
  };

  document.addEventListener("submit", async (event) => {
    const article = event.target.closest(".article");
    if (!article || !event.submitter) return;
    event.preventDefault();
    await send(article, event.submitter.value);
  });

  document.addEventListener("keydown", async (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input, textarea, select")) return;
    if (event.key === "j" || event.key === "s") go(current + 1);
    else if (event.key === "k") go(current - 1);
    else if ((event.key === "1" || event.key === "0") && current >= 0) {
      // The next key may come before the answer, and it belongs to the next article.
      const labelled = articles[current];
      go(current + 1);
      await send(labelled, event.key);
    }
  });

  for (const [number, article] of articles.entries()) article.addEventListener("focusin", () => (current = number));
  go(0);
}
