// The theme's buttons that unfold a part of the navigation have no name: take the one of the link beside them.
document.addEventListener("DOMContentLoaded", () => {
  for (const button of document.querySelectorAll("nav li > details > summary")) {
    const link = button.closest("li").querySelector("a");
    button.setAttribute("aria-label", `Pages under ${link.textContent}`);
  }
});
