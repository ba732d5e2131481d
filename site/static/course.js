// The theme's buttons that unfold a part of the navigation have no name: take the one of the link beside them.
document.addEventListener("DOMContentLoaded", () => {
  for (const button of document.querySelectorAll("nav li > details > summary")) {
    const link = button.closest("li").querySelector(":scope > a");
    if (link) button.setAttribute("aria-label", `Pages under ${link.textContent}`);
  }
  // On a page that belongs to no part of the navigation, the front page among them, the course is unfolded.
  if (!document.querySelector(".bd-links li.current")) {
    document.querySelector(".bd-links details")?.setAttribute("open", "");
  }
  // The theme gives folded parts another name than the one they show.
  for (const summary of document.querySelectorAll("article details > summary")) {
    summary.removeAttribute("aria-label");
  }
  keepTheFocus();
  quoteTheTextOnly();
  // The theme focuses the first search field of the page, which is hidden. From this one, results are a few Tabs away.
  document.querySelector(".bd-search-container input[type=search]")?.focus();
});

// The excerpts below search results would begin with menus, title and Colab's instructions: quote what comes after.
function quoteTheTextOnly() {
  const furniture = "script, style, button, summary, h1, .headerlink, .tag_setup, a:has(> img)";
  const quote = Search.htmlToText;
  Search.htmlToText = (html, anchor) => {
    const article = new DOMParser().parseFromString(html, "text/html").querySelector("article");
    const colab = [...article.querySelectorAll("p")].filter((node) => node.textContent.startsWith("To use Colab"));
    for (const node of [...article.querySelectorAll(furniture), ...colab]) node.remove();
    return quote(`<main role="main">${article.innerHTML}</main>`, anchor);
  };
}

// The theme drops the keyboard's focus when a menu opens, a colour is chosen, code is copied or a side bar closes.
function keepTheFocus() {
  document.addEventListener("click", ({ target }) => {
    const choice = target.closest(".theme-change-button")?.closest(".dropdown").querySelector(".theme-switch-button");
    const kept = choice ?? target.closest(".theme-switch-button, .copybtn");
    if (kept) setTimeout(() => kept.focus({ preventScroll: true }));
  }, true);
  for (const side of ["primary", "secondary"]) {
    document.querySelector(`#pst-${side}-sidebar-modal`)
      ?.addEventListener("close", () => document.querySelector(`.${side}-toggle`).focus());
  }
  // A click inside an opened answer is not one on its heading.
  for (const answer of document.querySelectorAll(".toggle-details__container")) {
    answer.addEventListener("click", (event) => event.stopPropagation());
  }
}

// A formula or figure that is wider than a narrow window scrolls: let the keyboard scroll it, too.
window.addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  for (const formula of document.querySelectorAll("mjx-container")) {
    if (formula.scrollWidth > formula.clientWidth) formula.tabIndex = 0;
  }
  for (const figure of document.querySelectorAll(".cell_output:has(> img)")) {
    if (figure.scrollWidth > figure.clientWidth) figure.tabIndex = 0;
  }
});
