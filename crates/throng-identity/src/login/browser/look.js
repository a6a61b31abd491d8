(selectors, challenges, names) => {
  const key = Symbol.for("throng");
  const state = (window[key] ??= {});
  const squeeze = (text, most) => (text || "").replace(/\s+/g, " ").trim().slice(0, most);
  // What a person sees: with an extent, on the page, and neither transparent nor switched off, itself and what is around it.
  const shown = (element) => {
    const box = element.getBoundingClientRect();
    if (box.width < 2 || box.height < 2) return false;
    if (box.right + window.scrollX <= 0 || box.bottom + window.scrollY <= 0) return false;
    if (element.checkVisibility) {
      return element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true, opacityProperty: true, visibilityProperty: true });
    }
    return getComputedStyle(element).visibility === "visible";
  };
  const everything = [];
  const gather = (root) => {
    for (const element of root.querySelectorAll("*")) {
      everything.push(element);
      if (element.shadowRoot) gather(element.shadowRoot);
    }
  };
  gather(document);

  const forms = [];
  const elements = [];
  const fields = [];
  const label = (element) => {
    const labels = [...(element.labels || [])].map((one) => one.textContent);
    return squeeze([...labels, element.getAttribute("aria-label"), element.placeholder].filter(Boolean).join(" "), 120);
  };
  const add = (element, kind) => {
    let form = -1;
    const owner = element.form || element.closest("form");
    if (owner) {
      form = forms.indexOf(owner);
      if (form < 0) form = forms.push(owner) - 1;
    }
    const button = kind === "button";
    fields.push({
      form,
      kind,
      type: (element.type || "").toString().toLowerCase(),
      name: element.name || "",
      id: element.id || "",
      autocomplete: (element.getAttribute("autocomplete") || "").toLowerCase(),
      label: button ? squeeze(element.innerText || element.value || element.getAttribute("aria-label") || element.title, 120) : label(element),
      value: button ? element.value || "" : "",
      required: !!element.required,
      on: !!element.checked,
      filled: !button && !!element.value,
      submits: button && !!owner && (element.type === "submit" || element.type === "image"),
    });
    return elements.push(element) - 1;
  };
  const errors = [];
  const captchas = [];
  const word = /error|alert|danger|invalid|warning|negative/i;
  // Alerts say good things, too: "You are logged in, one moment please".
  const good = /success|positive/i;
  const marks = (element) => {
    const names = (of) => `${of.id} ${of.getAttribute("class") || ""}`;
    if (good.test(names(element))) return false;
    if (word.test(names(element))) return true;
    const parent = element.parentElement;
    return element.getAttribute("role") === "alert" && !(parent && good.test(names(parent)));
  };
  for (const element of everything) {
    const tag = element.localName;
    const role = element.getAttribute("role");
    const type = (element.type || "").toString().toLowerCase();
    if (tag === "iframe") {
      if (shown(element) && element.src) captchas.push({ address: element.src });
    } else if (tag === "img") {
      // Pictures may be left out, and then they have no extent.
      if (getComputedStyle(element).display !== "none") {
        captchas.push({ names: ["name", "id", "alt", "src", "class"].map((name) => element.getAttribute(name)).filter(Boolean) });
      }
    } else if ((tag === "div" || tag === "span") && element.dataset.size !== "invisible" && /captcha|turnstile/.test(element.className)) {
      captchas.push({ classes: [...element.classList] });
    }
    // What the scenario fills is filled whether a person sees it or not.
    const given = !!element.name && names.includes(element.name);
    if (tag === "input" && type === "hidden") {
      if (given && !element.disabled) add(element, "hidden");
    } else if (tag === "input" && ["checkbox", "radio"].includes(type)) {
      // Those are often drawn by something else, and are hidden themselves.
      if (!element.disabled) add(element, type);
    } else if (tag === "button" || role === "button" || (tag === "input" && ["submit", "button", "image"].includes(type))) {
      // Some may only be pressed once something was typed.
      if (type !== "reset" && shown(element)) add(element, "button");
    } else if (tag === "select") {
      if (!element.disabled && (given || shown(element))) add(element, "select");
    } else if (tag === "textarea" || (tag === "input" && !["hidden", "reset", "file", "range", "color"].includes(type))) {
      if (!element.disabled && (given || (!element.readOnly && shown(element)))) {
        add(element, type === "password" ? "password" : "text");
        captchas.push({ names: [element.name, element.id, element.placeholder].filter(Boolean) });
      }
    } else if (
      errors.length < 5 && !["html", "body", "form", "script", "style", "link"].includes(tag) &&
      marks(element) && shown(element)
    ) {
      const text = squeeze(element.innerText, 200);
      if (text && !errors.includes(text)) errors.push(text);
    }
  }
  const named = {};
  let bad = null;
  for (const [name, selector] of Object.entries(selectors)) {
    if (!selector) continue;
    let found = null;
    try {
      found = [...document.querySelectorAll(selector)].find((element) => !element.disabled && shown(element));
    } catch (error) {
      bad ??= name;
    }
    if (!found) continue;
    const at = elements.indexOf(found);
    named[name] = at >= 0 ? at : add(found, "button");
  }
  state.elements = elements;
  const html = () => document.documentElement.outerHTML.toLowerCase();
  const entry = performance.getEntriesByType("navigation")[0];
  return {
    bad,
    url: location.href,
    title: squeeze(document.title, 200),
    ready: document.readyState,
    acted: state.acted || 0,
    began: performance.timeOrigin,
    age: performance.now(),
    status: entry && entry.responseStatus ? entry.responseStatus : null,
    took: entry && entry.responseStart > 0 ? entry.responseStart - entry.startTime : null,
    errors,
    text: squeeze(document.body ? document.body.innerText : "", 600),
    scripts: document.scripts.length > 0,
    challenge: fields.length === 0 && challenges.some((mark) => html().includes(mark)),
    captchas,
    forms: forms.map((form) => ({ method: form.getAttribute("method") || "", action: form.action && form.action.baseVal === undefined ? String(form.getAttribute("action") || "") : "" })),
    fields,
    named,
  };
}
