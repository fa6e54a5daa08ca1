"use strict";
// The page works without this: it saves a click, and copies. What is shown is always made by the
// server, by the same functions that its tests run against the real clients.
(() => {
  const said = document.getElementById("said");

  async function copy(text) {
    if (navigator.clipboard && window.isSecureContext) {
      try {
        await navigator.clipboard.writeText(text);
        return true;
      } catch { /* not allowed here: the older way may be */ }
    }
    // Browsers hide the clipboard from plain HTTP, which many mirrors speak.
    const area = document.createElement("textarea");
    area.value = text;
    area.readOnly = true;
    area.className = "said";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }

  for (const button of document.querySelectorAll("button[data-copies]")) {
    button.hidden = false;
    const label = button.textContent;
    let back = 0;
    button.addEventListener("click", async () => {
      const done = await copy(document.getElementById(button.dataset.copies).textContent);
      button.focus();
      button.textContent = done ? "Copied" : "Press Ctrl+C";
      said.textContent = done ? "Copied to the clipboard." : "It could not be copied; select it.";
      clearTimeout(back);
      back = setTimeout(() => { button.textContent = label; said.textContent = ""; }, 2000);
    });
  }

  const form = document.querySelector("form");
  const shown = document.getElementById("commands");
  const problem = document.getElementById("problem");
  let pending = 0;
  let latest = 0;

  async function update() {
    const number = ++latest;
    const query = new URLSearchParams(new FormData(form));
    let text, good;
    try {
      const answer = await fetch(`/_/commands?${query}`);
      text = await answer.text();
      good = answer.ok;
    } catch {
      text = "The server does not answer.";
      good = false;
    }
    if (number !== latest) return; // an older answer came late
    problem.textContent = good ? "" : text.trim();
    shown.textContent = good ? text.trimEnd() : "";
    if (good) history.replaceState(null, "", `/?${query}`);
  }

  form.querySelector("button").hidden = true;
  form.addEventListener("submit", (event) => { event.preventDefault(); update(); });
  form.addEventListener("change", () => { clearTimeout(pending); update(); });
  form.addEventListener("input", () => { clearTimeout(pending); pending = setTimeout(update, 150); });
})();
