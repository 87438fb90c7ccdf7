// Runs before the first paint, so that a chosen colour scheme does not flash. Not a module.
"use strict";
(() => {
  const names = ["auto", "dark", "light"];
  let chosen = "auto";
  try {
    const kept = localStorage.getItem("jaxfacs-theme");
    if (names.includes(kept)) chosen = kept;
  } catch { /* storage may be switched off */ }

  function apply() {
    if (chosen === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
  }
  apply();

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const word = document.getElementById("theme-word");
    const words = { auto: "Auto", dark: "Dark", light: "Light" };
    const spoken = { auto: "as the system", dark: "dark", light: "light" };
    function show() {
      word.textContent = words[chosen];
      button.setAttribute("aria-label", `Colours: ${spoken[chosen]}`);
      button.title = `Colours: ${spoken[chosen]}`;
    }
    show();
    button.addEventListener("click", () => {
      chosen = names[(names.indexOf(chosen) + 1) % names.length];
      try { localStorage.setItem("jaxfacs-theme", chosen); } catch { /* as above */ }
      apply();
      show();
      document.dispatchEvent(new Event("themechange"));
    });
  });
})();
