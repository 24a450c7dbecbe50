// Gives each cell the heading of its column, for screens on which a row is a card.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("article table.docutils")) {
    const headings = [...table.querySelectorAll("thead th")].map((one) => one.textContent.trim());
    for (const row of table.querySelectorAll("tbody tr")) {
      [...row.children].forEach((cell, number) => {
        if (number > 0 && headings[number]) cell.dataset.heading = headings[number];
      });
    }
    table.classList.add("cards");
  }
});
