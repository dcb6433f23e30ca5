// Which theme the page has: the system's, or the one chosen with the switch. Loaded before anything is painted, so that
// no light page flashes in a dark room. A choice is kept in this browser; where that is forbidden it lasts for the visit.
"use strict";

const THEMES = ["auto", "light", "dark"];

function storedTheme() {
  try {
    const theme = localStorage.getItem("mirnet-theme");
    return THEMES.includes(theme) ? theme : "auto";
  } catch {
    return "auto";
  }
}

/** Shows a theme, and keeps it. */
function chooseTheme(theme) {
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("mirnet-theme", theme);
  } catch {
    // a browser that keeps nothing: the choice lasts for this visit
  }
}

/** The theme after the one that is shown. */
function nextTheme() {
  return THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
}

document.documentElement.dataset.theme = storedTheme();
