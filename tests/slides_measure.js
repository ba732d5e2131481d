// Looks at every slide of a deck with all its clicks done, and writes what is wrong as JSON into the page.
function measureDeck() {
  const faults = [];
  const WIDTH = 1280, HEIGHT = 720, SLACK = 1;
  const box = (element, page, scale) => {
    const a = element.getBoundingClientRect(), b = page.getBoundingClientRect();
    return {
      left: (a.left - b.left) / scale, top: (a.top - b.top) / scale,
      right: (a.right - b.left) / scale, bottom: (a.bottom - b.top) / scale,
    };
  };
  const meet = (a, b) =>
    a.left < b.right - SLACK && b.left < a.right - SLACK && a.top < b.bottom - SLACK && b.top < a.bottom - SLACK;
  const sections = [...document.querySelectorAll(".slides > section")];
  sections.forEach((section, index) => {
    Reveal.slide(index, 0, 99);
    const scale = Reveal.getScale(), page = section.querySelector(".page");
    const say = (what) => faults.push(`${section.dataset.cell}: ${what}`);
    if (page.scrollHeight > HEIGHT + SLACK) say(`${page.scrollHeight} pixels high`);
    if (page.scrollWidth > WIDTH + SLACK) say(`${page.scrollWidth} pixels wide`);
    for (const element of page.querySelectorAll("h1, h2, p, li, pre, table, img, svg")) {
      const place = box(element, page, scale);
      if (place.left < -SLACK || place.top < -SLACK || place.right > WIDTH + SLACK || place.bottom > HEIGHT + SLACK)
        say(`a ${element.tagName} lies outside`);
      if (element.tagName === "PRE" && element.scrollWidth > element.clientWidth + SLACK) say("a line of code is cut off");
      if (element.tagName === "IMG" && !(element.naturalWidth > 0)) say("an image is broken");
      if (element.tagName === "IMG" && !element.alt) say("an image has no alternative text");
      if (element.tagName === "IMG" && place.bottom - place.top < 120) say("an image is less than 120 pixels high");
    }
    const parts = [page.querySelector("h1, h2"), ...page.querySelectorAll(".part")];
    const places = parts.map((part) => box(part, page, scale));
    if (places.some((place) => place.bottom > HEIGHT - 20)) say("a part reaches down to the slide's number");
    for (let i = 0; i < parts.length; i++)
      for (let j = 0; j < i; j++) if (meet(places[i], places[j])) say(`parts ${j} and ${i} overlap`);
    const inside = section.cloneNode(true);
    inside.querySelectorAll("pre, code, mjx-container").forEach((element) => element.remove());
    if (/\$|\\[a-z]+/.test(inside.textContent)) say(`a raw formula: ${inside.textContent.match(/.{0,20}(\$|\\[a-z]+).{0,20}/)[0]}`);
    if (section.querySelector("mjx-merror, [data-mjx-error]")) say("a formula with an error");
    if (!/Minutes \d/.test(section.querySelector("aside.notes")?.textContent ?? "")) say("no notes with minutes");
    const asks = section.querySelector(".question"), answer = section.querySelector(".answer");
    if (answer && (!asks || asks.classList.contains("fragment") || !answer.classList.contains("fragment")))
      say("an answer without a prompt before it");
    for (const part of asks ? section.querySelectorAll(".output, .figure, .code") : [])
      if (!part.classList.contains("fragment")) say("an output is shown with its prompt");
  });
  for (const { name } of performance.getEntriesByType("resource"))
    if (!/^(file|data):/.test(name)) faults.push(`asks for ${name}`);
  const clicks = sections.map((section) => {
    const indices = [...section.querySelectorAll(".fragment")].map((part) => part.dataset.fragmentIndex);
    return new Set(indices).size;
  });
  const result = { slides: sections.length, clicks: clicks.reduce((a, b) => a + b, 0), faults };
  const place = document.createElement("script");
  place.type = "application/json";
  place.id = "measured";
  place.textContent = JSON.stringify(result).replaceAll("<", "\\u003c");
  document.body.append(place);
}
(function wait() {
  if (window.Reveal?.isReady()) measureDeck();
  else setTimeout(wait, 50);
})();
