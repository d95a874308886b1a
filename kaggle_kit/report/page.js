// Makes the columns of tables sortable; the tables are readable without it.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const value = (row) => row.cells[column].dataset.value;
      const rows = [...body.rows];
      const isNumber = rows.some((row) => value(row) !== undefined);
      const order = head.getAttribute("aria-sort");
      // first click: numbers descending, text ascending
      const ascending = order === "none" ? !isNumber : order === "descending";
      for (const other of table.tHead.rows[0].cells) {
        other.setAttribute("aria-sort", "none");
      }
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const compare = (a, b) => {
        if (!isNumber) {
          const text = (row) => row.cells[column].textContent;
          return text(a).localeCompare(text(b)) * (ascending ? 1 : -1);
        }
        const [x, y] = [value(a), value(b)];
        if (!x || !y) return (x ? 0 : 1) - (y ? 0 : 1); // unknown values last
        return (Number(x) - Number(y)) * (ascending ? 1 : -1);
      };
      body.append(...rows.sort(compare));
    });
  });
}
