// Makes the columns of a table sortable; without it the tables are read as they are.
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
      const was = head.getAttribute("aria-sort");
      // the largest number first, and the first letter
      const up = was === "none" ? !isNumber : was === "descending";
      for (const other of table.tHead.rows[0].cells) {
        other.setAttribute("aria-sort", "none");
      }
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const compare = (a, b) => {
        if (!isNumber) {
          const text = (row) => row.cells[column].textContent;
          return text(a).localeCompare(text(b)) * (up ? 1 : -1);
        }
        const [x, y] = [value(a), value(b)];
        if (!x || !y) return (x ? 0 : 1) - (y ? 0 : 1); // the unknown last
        return (Number(x) - Number(y)) * (up ? 1 : -1);
      };
      body.append(...rows.sort(compare));
    });
  });
}
