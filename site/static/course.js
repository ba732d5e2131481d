// The theme's buttons that unfold a part of the navigation have no name: take the one of the link beside them.
document.addEventListener("DOMContentLoaded", () => {
  for (const button of document.querySelectorAll("nav li > details > summary")) {
    const link = button.closest("li").querySelector("a");
    button.setAttribute("aria-label", `Pages under ${link.textContent}`);
  }
});

// A formula that is wider than a narrow window scrolls: let the keyboard scroll it, too.
window.addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  for (const formula of document.querySelectorAll("mjx-container")) {
    if (formula.scrollWidth > formula.clientWidth) formula.tabIndex = 0;
  }
});
