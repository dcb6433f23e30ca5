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

/** The operations push down what an address such as /docs#too-large points at; not all browsers hold it in sight. */
function showPlace() {
  document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

/** Options can be parameters or fields of the form. swagger-ui would fill both in, so the form keeps its files alone. */
function withPlainForms(spec) {
  for (const path of Object.values(spec.paths ?? {})) {
    for (const { requestBody } of Object.values(path)) {
      const form = requestBody?.content?.["multipart/form-data"]?.schema;
      if (!form?.properties) continue;
      const files = Object.entries(form.properties).filter(([, field]) => field.format === "binary");
      form.properties = Object.fromEntries(files);
    }
  }
  return spec;
}

/** A photo that nobody chose is left out, which swagger-ui would send empty. */
function leaveOutEmpty(request) {
  if (request.body instanceof FormData) {
    for (const [name, value] of [...request.body]) if (value === "") request.body.delete(name);
  }
  return request;
}

/** What swagger-ui leaves without a name gets its row's, so that it can be read aloud; what scrolls can be reached by keys. */
function nameControls() {
  for (const control of document.querySelectorAll("#operations :is(select, input):not([aria-label], [id])")) {
    const row = control.closest("[data-param-name], [data-property-name]");
    if (row) control.setAttribute("aria-label", row.dataset.paramName ?? row.dataset.propertyName);
  }
  for (const example of document.querySelectorAll("#operations pre:not([tabindex])")) example.tabIndex = 0;
}

const system = matchMedia("(prefers-color-scheme: dark)");
system.addEventListener("change", followTheme);
followTheme();

document.querySelector("#address").textContent = new URL(".", location.href).href;

const viewer = SwaggerUIBundle({
  url: "openapi.json",
  domNode: document.querySelector("#operations"),
  plugins: [{ statePlugins: { spec: { wrapActions: { updateJsonSpec: (next) => (spec) => next(withPlainForms(spec)) } } } }],
  requestInterceptor: leaveOutEmpty,
  onComplete() {
    authorize();
    showPlace();
  },
  validatorUrl: null, // another host's
  defaultModelsExpandDepth: -1,
  tryItOutEnabled: true,
});

new MutationObserver(nameControls).observe(document.body, { childList: true, subtree: true });
