// Theme, CSRF header, manners of polling, menus, the "/" key. Every page works without this file.
(() => {
  "use strict";
  const root = document.documentElement;
  const one = (selector) => document.querySelector(selector);
  const all = (selector) => document.querySelectorAll(selector);

  // Runs in the head, before the first paint.
  root.dataset.js = "on";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const followSystem = () => {
    if (root.dataset.theme === "system") root.dataset.bsTheme = dark.matches ? "dark" : "light";
  };
  followSystem();
  dark.addEventListener("change", followSystem);

  const say = (text) => {
    const region = one("#announce");
    if (region && text) region.textContent = text;
  };

  // ---- Polling: not while the tab is hidden, less often while the server is silent, and visibly so.
  const LONGEST_PAUSE = 60;
  let failures = 0;
  let nextTry = 0;
  let lastAnswer = new Date();

  const isPoll = (ctx) => ctx?.sourceEvent?.type === "every";
  const isUnsafe = (ctx) => !["GET", "HEAD"].includes(ctx?.request?.method);
  const pollNow = () => {
    nextTry = 0;
    for (const element of all("[hx-trigger^='every']")) htmx.trigger(element, "every", {}, false);
  };
  const clock = (date) => date.toLocaleTimeString(root.lang, { hourCycle: "h23" });
  const showLost = () => {
    const banner = one("#lost");
    if (!banner) return;
    const seconds = Math.max(0, Math.ceil((nextTry - Date.now()) / 1000));
    banner.querySelector("[data-since]").textContent = clock(lastAnswer);
    banner.querySelector("[data-again]").textContent = seconds ? `Trying again in ${seconds} s.` : "Trying again now.";
    banner.hidden = false;
  };
  const failed = () => {
    failures += 1;
    nextTry = Date.now() + 1000 * Math.min(LONGEST_PAUSE, 2 ** failures);
    if (failures > 1) showLost();
    if (failures === 2) say("The server does not answer. This page stopped updating.");
  };
  const answered = () => {
    if (failures > 1) say("The server answers again.");
    failures = 0;
    nextTry = 0;
    lastAnswer = new Date();
    const banner = one("#lost");
    if (banner) banner.hidden = true;
    const asOf = one("#as-of");
    if (asOf) asOf.textContent = clock(lastAnswer);
  };
  setInterval(() => failures > 1 && showLost(), 1000);

  document.addEventListener("htmx:config:request", (event) => {
    const { ctx } = event.detail;
    if (isUnsafe(ctx)) ctx.request.headers["X-CSRFToken"] = one("meta[name='csrf-token']").content;
    if (isPoll(ctx) && (document.hidden || Date.now() < nextTry)) event.preventDefault();
  });
  document.addEventListener("htmx:before:response", (event) => {
    const { ctx } = event.detail;
    if (!isPoll(ctx)) return;
    // Signed out, or what the page shows is gone: the whole page says so better than a fragment.
    if (ctx.response.raw.redirected || [401, 403, 404].includes(ctx.response.status)) {
      event.preventDefault();
      location.reload();
    }
  });
  document.addEventListener("htmx:after:request", (event) => {
    const { ctx } = event.detail;
    if (ctx.response.status < 500) answered();
    else if (isPoll(ctx)) failed();
    else say("The server could not do this. Nothing was started.");
  });
  document.addEventListener("htmx:error", (event) => {
    const { ctx } = event.detail;
    if (ctx && !ctx.response) failed();
  });
  document.addEventListener("htmx:finally:request", (event) => {
    if (isUnsafe(event.detail.ctx)) pollNow();
  });
  document.addEventListener("visibilitychange", () => !document.hidden && window.htmx && pollNow());

  // ---- What ended is said once: elements with data-say and an id, when they appear.
  const said = new Set();
  const sayNew = (aloud) => {
    for (const element of all("[data-say][id]")) {
      if (said.has(element.id)) continue;
      said.add(element.id);
      if (aloud) say(element.dataset.say);
    }
  };
  document.addEventListener("htmx:after:swap", () => {
    sayNew(true);
    showChosen();
    showFields();
  });

  // ---- Choosing rows: the box in the head of a table stands for all boxes below it.
  const boxesOf = (element) => [...element.closest("form").querySelectorAll("tbody .sm-sel input")];
  const showChosen = () => {
    for (const head of all("input[data-choose-all]")) {
      const boxes = boxesOf(head);
      const ticked = boxes.filter((box) => box.checked).length;
      head.checked = ticked > 0 && ticked === boxes.length;
      head.indeterminate = ticked > 0 && ticked < boxes.length;
    }
  };
  const chooseAll = (element, on) => {
    for (const box of boxesOf(element)) box.checked = on;
    showChosen();
  };
  document.addEventListener("change", (event) => {
    if (event.target.matches("input[data-choose-all]")) chooseAll(event.target, event.target.checked);
    else if (event.target.closest(".sm-sel")) showChosen();
  });
  document.addEventListener("reset", () => setTimeout(showChosen));

  // ---- Menus, copy, keys
  const closeMenus = (except) => {
    for (const menu of all("details.sm-menu[open]")) if (!menu.contains(except)) menu.open = false;
  };
  document.addEventListener("click", (event) => {
    closeMenus(event.target);
    const retry = event.target.closest("[data-retry]");
    if (retry) pollNow();
    if (event.target.closest("[data-print]")) print();
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      const copying = navigator.clipboard?.writeText(one(copy.dataset.copy).textContent) ?? Promise.reject();
      copying.then(() => say("Copied."), () => say("The browser did not let this page copy."));
    }
    const every = event.target.closest("button[data-choose-all]");
    if (every) chooseAll(every, true);
    const toggle = event.target.closest("[data-slash]");
    if (toggle) {
      localStorage.setItem("slash", slashIsOn() ? "off" : "on");
      showSlash();
    }
  });
  const slashIsOn = () => localStorage.getItem("slash") !== "off";
  const showSlash = () => {
    for (const toggle of all("[data-slash]")) {
      toggle.setAttribute("aria-pressed", String(slashIsOn()));
      toggle.querySelector("[data-slash-state]").textContent = slashIsOn() ? "on" : "off";
    }
    for (const hint of all(".sm-topbar kbd")) hint.hidden = !slashIsOn();
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      const menu = document.activeElement.closest("details.sm-menu[open]");
      if (menu) menu.querySelector("summary").focus();
      closeMenus(null);
    }
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey || !slashIsOn()) return;
    const search = one(".sm-topbar input[type='search'], .sm-ask input[type='search']");
    if (!search) return;
    event.preventDefault();
    search.focus();
    search.select();
  });
  document.addEventListener("DOMContentLoaded", () => {
    sayNew(false);
    showChosen();
    showSlash();
  });

  // ---- Fields that mean something only while another one has a certain value; what is typed outdoes what is picked.
  const showFields = () => {
    for (const field of all("[data-when]")) {
      const others = [...(field.form?.elements ?? [])].filter((one) => one.name === field.dataset.when);
      const other = others.find((one) => one.type !== "radio" || one.checked);
      const wanted = field.dataset.is.split(" ");
      const hasError = field.getAttribute("aria-invalid") === "true";
      const box = field.closest("div");
      if (other && box) box.hidden = !wanted.includes(other.value) && !hasError;
    }
  };
  document.addEventListener("change", showFields);
  document.addEventListener("DOMContentLoaded", showFields);

  // ---- What was wrong with a field is not said of what is typed next.
  document.addEventListener("input", (event) => {
    const field = event.target.closest("[data-in-step] [aria-invalid]");
    if (!field) return;
    field.removeAttribute("aria-invalid");
    field.classList.remove("is-invalid");
    one(`#${field.id}_error`)?.remove();
  });
  document.addEventListener("input", (event) => {
    const typed = one("[data-typed]");
    if (typed?.dataset.typed.split(" ").includes(event.target.name)) typed.checked = true;
  });
})();
