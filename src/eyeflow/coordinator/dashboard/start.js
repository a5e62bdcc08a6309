// Runs before the page is drawn, in every browser: the words of this file are those of 2009. It chooses the colours
// that the reader chose before, and says so when the browser is too old for the dashboard.
(function () {
  "use strict";
  var root = document.documentElement;
  try {
    var theme = window.localStorage.getItem("eyeflow-theme");
    if (theme === "light" || theme === "dark") root.setAttribute("data-theme", theme);
  } catch (error) {
    // Storage is turned off: the system's colours stay.
  }
  var isNew =
    "noModule" in document.createElement("script") &&
    typeof window.WebSocket === "function" &&
    typeof window.fetch === "function" &&
    typeof Object.hasOwn === "function" &&
    typeof window.Intl === "object" &&
    typeof Array.prototype.at === "function";
  if (isNew) return;
  root.setAttribute("data-too-old", "");
  function say() {
    var place = document.getElementById("too-old");
    place.textContent =
      "This browser is too old for the dashboard. Use a Firefox, Chrome, Edge or Safari of 2022 or later, or the " +
      "command eyeflow status. | Ce navigateur est trop ancien pour le tableau de bord. Utilisez Firefox, Chrome, " +
      "Edge ou Safari de 2022 ou plus récent, ou la commande eyeflow status.";
    place.removeAttribute("hidden");
  }
  if (document.addEventListener) document.addEventListener("DOMContentLoaded", say);
  else window.attachEvent("onload", say);
})();
