// Gives each cell the heading of its column, for screens on which a row is a card.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("article table.docutils")) {
    const headings = [...table.querySelectorAll("thead th")].map((one) => one.textContent.trim());
    if (headings.every((one) => one === "")) table.tHead?.remove();
    for (const row of table.querySelectorAll("tbody tr")) {
      [...row.children].forEach((cell, number) => {
        if (number > 0 && headings[number]) cell.dataset.heading = headings[number];
      });
    }
    if (table.scrollWidth > table.parentElement.clientWidth) {
      table.classList.add("wide");
      table.querySelectorAll("td code .pre").forEach(allowBreaks);
    }
    table.classList.add("cards");
  }
  // A picture without a link opens in its full size.
  for (const picture of document.querySelectorAll("article img")) {
    if (picture.closest("a")) continue;
    const link = document.createElement("a");
    link.href = picture.src;
    picture.replaceWith(link);
    link.append(picture);
  }
});

// Lets a name or a query break after "_" and brackets. A copy has no trace of that.
function allowBreaks(code) {
  const parts = code.textContent.split(/(?<=[_({])/);
  code.replaceChildren(...parts.flatMap((one) => [one, document.createElement("wbr")]));
}
