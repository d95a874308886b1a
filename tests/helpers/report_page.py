"""What a report shows: its tables, boxes, figures and texts."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """The tables, boxes, figures and texts of a page.

    Attributes:
        tables: the rows of each, by its caption; a cell is its text and its data-value.
        boxes: the value and the small print of each number, by its name.
        figures: source, text alternative and caption of each.
        text: the text of the page, a line for each element.
    """

    def __init__(self, page):
        super().__init__()
        self.tables, self.boxes, self.figures, self.text = {}, {}, [], ""
        self._open, self._box, self._rows = [], "", []
        self.feed(page.split("<main>")[1].split("</main>")[0])

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag != "img":
            self._open.append(tag)
        if tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append(["", attributes.get("data-value")])
        elif tag == "img":
            self.figures.append([attributes["src"], attributes["alt"], ""])
        elif tag == "dt":
            self._box = ""
        elif tag == "dd":
            self.boxes[self._box] = ["", ""]

    def handle_endtag(self, tag):
        self._open.pop()
        self.text += "\n"

    def handle_data(self, data):
        self.text += data
        within = self._open
        if "caption" in within:
            self.tables[data] = self._rows
        elif "td" in within or "th" in within:
            self._rows[-1][-1][0] += data
        elif "dt" in within:
            self._box += data
        elif "dd" in within:
            self.boxes[self._box]["small" in within] += data
        elif "figcaption" in within and self.figures:
            self.figures[-1][2] += data

    def rows(self, caption):
        """The rows of a table without its head, by their first cell."""
        (found,) = [rows for name, rows in self.tables.items() if name == caption]
        return {first[0]: rest for first, *rest in found[1:]}
