// A download begins by itself, once, when its job is seen for the first time in this tab.
(() => {
  "use strict";
  const look = () => {
    const link = document.querySelector("#fetch");
    const key = link && `fetched ${new URL(link.href).pathname}`;
    if (!link || sessionStorage.getItem(key)) return;
    sessionStorage.setItem(key, "yes");
    link.click();
  };
  document.addEventListener("htmx:after:swap", look);
  document.addEventListener("DOMContentLoaded", look);
})();
