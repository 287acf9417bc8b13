// The page of a new upload, and that of its job. The first becomes the second without being left: a file that was
// chosen is lost with its page.
(() => {
  "use strict";
  const PIECE = 64 * 1024 ** 2;
  // The transfer process may have to be started again meanwhile.
  const RETRY_MS = [0, 500, 1000, 2000, 4000, 8000, ...Array(120).fill(15000)];
  const ENDINGS = { qcow2: "qcow2", iso: "iso", vmdk: "vmdk", vdi: "vdi", vhd: "vpc", vpc: "vpc" };
  const one = (selector, below = document) => below.querySelector(selector);
  let file = null;
  let upload = null;
  let isSending = false;
  let filledName = "";

  const say = (text) => {
    one("#announce").textContent = text;
  };
  const bytes = (number) => {
    let unit = 0;
    let value = number;
    while (value >= 1024 && unit < 5) {
      value /= 1024;
      unit += 1;
    }
    const figure = unit ? value.toFixed(1).replace(".0", "") : value;
    return `${figure}\u00a0${["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"][unit]}`;
  };
  const duration = (seconds) => {
    const parts = [["h", 3600], ["min", 60], ["s", 1]];
    let rest = Math.max(1, Math.round(seconds));
    const words = [];
    for (const [unit, length] of parts) {
      const number = Math.floor(rest / length);
      rest %= length;
      if (number) words.push(`${number}\u00a0${unit}`);
    }
    return words.slice(0, 2).join(" ");
  };

  // ---- Choosing a file
  const wrong = (text) => {
    const error = one("#file_error");
    const input = one("#file");
    error.textContent = text;
    error.hidden = !text;
    input.classList.toggle("is-invalid", Boolean(text));
    input.toggleAttribute("aria-invalid", Boolean(text));
    if (text) input.setAttribute("aria-invalid", "true");
  };
  const volumeName = (name) => name.replace(/[^A-Za-z0-9._+@-]+/g, "_").replace(/^[^A-Za-z0-9]+/, "").slice(0, 128);
  const fill = (form, chosen) => {
    const { name, format, size, file_name: fileName } = form.elements;
    if (!name.value || name.value === filledName) name.value = filledName = volumeName(chosen.name);
    const guess = ENDINGS[chosen.name.split(".").pop().toLowerCase()] ?? "raw";
    if ([...format.options].some((option) => option.value === guess)) format.value = guess;
    size.value = chosen.size;
    size.readOnly = true;
    fileName.value = chosen.name;
    one("#file_helptext").textContent = `${chosen.name}, ${bytes(chosen.size)}.`;
  };
  const keepChosen = () => {
    const input = one("#file");
    if (!input || !file) return;
    const holder = new DataTransfer();
    holder.items.add(file);
    input.files = holder.files;
  };
  const choose = (chosen) => {
    const panel = one("#sending");
    const form = one("#operation-form");
    if (!chosen) return;
    if (panel) {
      const expected = Number(panel.dataset.size);
      if (chosen.name !== panel.dataset.name) wrong(`This is ${chosen.name}. Choose ${panel.dataset.name}.`);
      else if (chosen.size !== expected) {
        wrong(`This has ${bytes(chosen.size)} (${chosen.size} bytes), and the file that began has ${expected}. It is another one.`);
      } else {
        wrong("");
        file = chosen;
        begin(panel);
      }
      return;
    }
    file = chosen;
    wrong("");
    if (form) fill(form, chosen);
  };
  document.addEventListener("change", (event) => event.target.id === "file" && choose(event.target.files[0]));
  document.addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    one(".sm-drop")?.classList.add("over");
  });
  for (const end of ["dragleave", "drop"]) {
    document.addEventListener(end, () => one(".sm-drop")?.classList.remove("over"));
  }
  document.addEventListener("drop", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    if (!one("#file") || isSending) return;
    if (event.dataTransfer.files.length !== 1) {
      wrong("Drop one file at a time.");
      return;
    }
    one("#file").files = event.dataTransfer.files;
    choose(event.dataTransfer.files[0]);
  });

  // ---- The form: sent without leaving the page
  const become = (page, url) => {
    const main = one("#main", page);
    if (!main || !one("#job-live, #operation-form", main)) {
      location.assign(url);
      return;
    }
    if (one("#job-live", main)) history.replaceState(null, "", url);
    document.title = page.title;
    one("#main").replaceWith(main);
    htmx.process(main);
    keepChosen();
    if (file && one("#operation-form", main)) one("#operation-form", main).elements.size.readOnly = true;
    (one("[autofocus]", main) ?? main).focus();
    look();
  };
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (form.id !== "operation-form") return;
    event.preventDefault();
    if (!file) {
      wrong("Choose the file first.");
      one("#file").focus();
      return;
    }
    const button = one("#ask", form);
    button.disabled = true;
    try {
      const response = await fetch(location.href, { method: "POST", body: new FormData(form) });
      become(new DOMParser().parseFromString(await response.text(), "text/html"), response.url);
    } catch {
      wrong("The server does not answer. Nothing was started; try again.");
      button.disabled = false;
      button.focus();
    }
  });

  // ---- Sending. The server compares each piece with its SHA-256, where the browser lets a page compute one.
  let checksum = "";
  const piecesOf = (chosen) => ({
    size: chosen.size,
    close: () => {},
    slice: async (start, end) => {
      const value = chosen.slice(start, end);
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await value.arrayBuffer()));
      checksum = btoa(String.fromCharCode(...digest));
      return { value, done: end >= chosen.size };
    },
  });
  const withChecksums = () => ({
    fileReader: { openFile: (chosen) => Promise.resolve(piecesOf(chosen)) },
    onBeforeRequest: (request) => {
      if (request.getMethod() === "PATCH") request.setHeader("Upload-Checksum", `sha256 ${checksum}`);
    },
  });
  const seen = [];
  const show = (panel, sent, total) => {
    const now = performance.now();
    seen.push([now, sent]);
    while (seen.length > 2 && now - seen[0][0] > 10000) seen.shift();
    const [began, before] = seen[0];
    const rate = now - began > 500 ? ((sent - before) * 1000) / (now - began) : 0;
    // How much came the server says, above. What left the browser is more, and not there yet.
    const speed = rate > 0 ? `, ${bytes(rate)}/s, about ${duration((total - sent) / rate)} left` : "";
    one("[data-said]", panel).textContent = `Sending${speed}.`;
    why(panel, "Leave this page open until all is sent.");
  };
  const why = (panel, text) => {
    one("[data-why]", panel).textContent = text;
  };
  const turn = (panel, sending) => {
    isSending = sending;
    one("[data-going]", panel).hidden = !upload;
    one("[data-choose]", panel).hidden = Boolean(upload);
    const [pause, goOn] = [one("[data-pause]", panel), one("[data-go-on]", panel)];
    const had = [pause, goOn].includes(document.activeElement);
    pause.hidden = !sending;
    goOn.hidden = sending;
    if (had) (sending ? pause : goOn).focus();
    if (!sending) seen.length = 0;
  };
  const stopped = (panel, said, reason) => {
    turn(panel, false);
    one("[data-said]", panel).textContent = said;
    why(panel, reason);
    say(`${said} ${reason}`);
  };
  const isWorthAgain = (error) => {
    const status = error.originalResponse?.getStatus() ?? 0;
    return status === 0 || status >= 500 || [408, 409, 423, 429, 460].includes(status);
  };
  const begin = (panel) => {
    upload = new tus.Upload(file, {
      uploadUrl: panel.dataset.url,
      chunkSize: PIECE,
      retryDelays: RETRY_MS,
      storeFingerprintForResuming: false,
      ...(isSecureContext ? withChecksums() : {}),
      onProgress: (sent, total) => show(panel, sent, total),
      onShouldRetry: (error) => {
        if (!isWorthAgain(error)) return false;
        one("[data-said]", panel).textContent = "The connection broke; trying again.";
        seen.length = 0;
        return true;
      },
      onError: (error) => {
        const said = error.originalResponse?.getBody()?.trim();
        stopped(panel, "It broke off.", said || "The transfer service does not answer. Go on when it does.");
      },
      onSuccess: () => {
        stopped(panel, "All is sent.", "It is looked into now; you can leave this page.");
        one("[data-go-on]", panel).hidden = true;
      },
    });
    turn(panel, true);
    one("[data-said]", panel).textContent = "Starting.";
    upload.start();
  };
  const look = () => {
    const panel = one("#sending");
    if (panel && file && !upload) begin(panel);
    if (panel || !upload || !one("#job-live")) return;
    // The job went on, or ended.
    upload.abort();
    upload = null;
    file = null;
    isSending = false;
  };
  document.addEventListener("click", (event) => {
    const panel = event.target.closest("#sending");
    if (!panel || !upload) return;
    if (event.target.closest("[data-pause]")) {
      upload.abort();
      stopped(panel, "Paused.", "What was sent is kept. Closing the page loses nothing but the rest.");
    } else if (event.target.closest("[data-go-on]")) {
      turn(panel, true);
      upload.start();
    }
  });
  addEventListener("beforeunload", (event) => isSending && event.preventDefault());
  document.addEventListener("htmx:after:swap", look);
  document.addEventListener("DOMContentLoaded", look);
})();
