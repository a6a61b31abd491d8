(secrets) => {
  const looksRandom = /[A-Za-z0-9_+=~-]{24,}/g;
  const clean = (text) => {
    let out = text;
    for (const secret of secrets) if (secret) out = out.split(secret).join("[secret]");
    return out.replace(looksRandom, (run) => (/[0-9A-Z]/.test(run) ? "…" : run));
  };
  const walk = (root) => {
    const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const node = texts.currentNode;
      const cleaned = clean(node.data);
      if (cleaned !== node.data) node.data = cleaned;
    }
    for (const element of root.querySelectorAll("*")) {
      if (element.shadowRoot) walk(element.shadowRoot);
      const tag = element.localName;
      if (tag === "iframe" || tag === "frame" || tag === "object" || tag === "embed") {
        element.style.setProperty("visibility", "hidden", "important");
      } else if (tag === "input" || tag === "textarea") {
        const cleaned = element.type === "password" ? "" : clean(element.value);
        if (cleaned !== element.value) element.value = cleaned;
        for (const name of ["placeholder", "title"]) {
          if (element.hasAttribute(name)) element.setAttribute(name, clean(element.getAttribute(name)));
        }
      }
    }
  };
  walk(document);
  document.title = clean(document.title);
  return true;
}
