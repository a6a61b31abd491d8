(wanted) => {
  const state = window[Symbol.for("throng")];
  const elements = state && state.elements;
  const parts = [...wanted.fill.map(([at]) => at), ...wanted.tick, wanted.click].filter((at) => at !== null);
  if (!elements || parts.some((at) => !elements[at] || !elements[at].isConnected)) return false;
  const impossible = [];
  const told = (element) => {
    element.dispatchEvent(new Event("input", { bubbles: true }));
    element.dispatchEvent(new Event("change", { bubbles: true }));
  };
  const fill = (element, text) => {
    if (element.type === "hidden") {
      element.value = text;
    } else if (element.type === "checkbox" || element.type === "radio") {
      const inputs = [...(element.form || document).querySelectorAll("input")];
      const same = inputs.filter((one) => one.type === element.type && one.name === element.name);
      // A box by itself is ticked, whatever it stands for.
      const one = same.find((one) => one.value === text) || (same.length === 1 && element.type === "checkbox" ? element : null);
      if (!one) impossible.push(element.name);
      else if (!one.checked) one.click();
    } else if (element.localName === "select") {
      const option = [...element.options].find((option) => option.value === text);
      if (!option) impossible.push(element.name);
      else if (!option.selected) (option.selected = true), told(element);
    } else {
      type(element, text);
    }
  };
  const type = (element, text) => {
    element.focus();
    if (element.select) element.select();
    // As if it were typed, so that the page's scripts take notice.
    document.execCommand("insertText", false, text);
    if (element.value !== text) {
      const prototype = Object.getPrototypeOf(element);
      const setter = Object.getOwnPropertyDescriptor(prototype, "value")?.set;
      if (setter) setter.call(element, text);
      else element.value = text;
      element.dispatchEvent(new InputEvent("input", { bubbles: true, inputType: "insertText", data: text }));
    }
    element.dispatchEvent(new Event("change", { bubbles: true }));
  };
  for (const [at, text] of wanted.fill) fill(elements[at], text);
  if (impossible.length) return { impossible };
  for (const at of wanted.tick) if (!elements[at].checked) elements[at].click();
  const typed = wanted.fill.map(([at]) => elements[at]);
  const form = typed.length ? typed[typed.length - 1].form : null;
  if (form && !form.noValidate) {
    const wrong = [...form.elements].filter((element) => element.willValidate && !element.validity.valid);
    // A name where a mail address is asked for is the provider's to judge.
    const others = wrong.filter((element) => !typed.includes(element));
    if (others.length) return others.map((element) => element.name || element.id || element.localName);
    if (wrong.length) form.noValidate = true;
  }
  state.acted = wanted.number;
  // After this script has returned: what it starts may take the page away.
  setTimeout(() => {
    if (wanted.click !== null) {
      const button = elements[wanted.click];
      // A page may let nobody press it before it has seen what was typed.
      const press = (tries) => {
        if (button.disabled && tries > 0) setTimeout(() => press(tries - 1), 50);
        else button.click();
      };
      press(40);
      return;
    }
    const last = wanted.fill.length ? elements[wanted.fill[wanted.fill.length - 1][0]] : null;
    if (!last) return;
    const how = { key: "Enter", code: "Enter", keyCode: 13, which: 13, bubbles: true, cancelable: true };
    const goes = last.dispatchEvent(new KeyboardEvent("keydown", how));
    last.dispatchEvent(new KeyboardEvent("keypress", how));
    last.dispatchEvent(new KeyboardEvent("keyup", how));
    if (goes && last.form) last.form.requestSubmit();
  }, 0);
  return true;
}
