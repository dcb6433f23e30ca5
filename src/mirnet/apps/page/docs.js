// The description of the REST service: swagger-ui over this server's own openapi.json, in the theme of the page.
"use strict";

/** swagger-ui is dark below html.dark-mode; the person's choice is theme.js', "auto" is the system's. */
function followTheme() {
  const { theme } = document.documentElement.dataset;
  const dark = theme === "auto" ? system.matches : theme === "dark";
  document.documentElement.classList.toggle("dark-mode", dark);
}

/** The token that the page keeps for this tab is taken over, under whatever name the description has for it. */
function authorize() {
  const token = sessionStorage.getItem("mirnet-token");
  const schemes = viewer.specSelectors.specJson().getIn(["components", "securitySchemes"]);
  if (token && schemes) for (const name of schemes.keys()) viewer.preauthorizeApiKey(name, token);
}

/** The operations push down what an address such as /docs#too-large points at. */
function showPlace() {
  document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

const system = matchMedia("(prefers-color-scheme: dark)");
system.addEventListener("change", followTheme);
followTheme();

document.querySelector("#address").textContent = new URL(".", location.href).href;

const viewer = SwaggerUIBundle({
  url: "openapi.json",
  domNode: document.querySelector("#operations"),
  onComplete() {
    authorize();
    showPlace();
  },
  validatorUrl: null, // another host's
  defaultModelsExpandDepth: -1,
  tryItOutEnabled: true,
});
