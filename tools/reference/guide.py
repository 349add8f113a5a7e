"""The guide as an HTML page beside the reference, which its names lead to."""

import re

import page

INLINE = re.compile(r"`(?P<code>[^`]+)`|\*\*(?P<strong>.+?)\*\*|\*(?P<em>[^*]+)\*"
                    r"|\[(?P<label>(?:`[^`]*`|[^]])+)\]\((?P<target>[^)]+)\)")
EXAMPLES = "../../tools/examples/"


def title_anchor(title):
    """As they are linked in the Markdown."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def cells(row):
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


def blocks(lines):
    """Runs of lines without a blank one, but for those within code."""
    block, fenced = [], False
    for line in [*lines, ""]:
        fenced ^= line.startswith("```")
        if line or fenced:
            block.append(line)
        elif block:
            yield block
            block = []


class Guide:
    def __init__(self, text, reference, reference_file):
        self.lines = text.splitlines()
        self.names = reference.names
        self.headers = {header.include for header in reference.headers}
        self.file = reference_file
        self.version = reference.version
        self.titles = []

    def target(self, link):
        """Where it leads from the page as it is installed; None: nowhere."""
        if link.startswith("#"):
            return link
        if link.startswith(EXAMPLES):
            return f"../examples/{link.removeprefix(EXAMPLES)}"
        header = f"canopy/{link}"
        return f"{self.file}#{page.anchor(header)}" if header in self.headers else None

    def code(self, text):
        shown = f"<code>{page.escape(text)}</code>"
        return f'<a href="{self.file}#{text}">{shown}</a>' if text in self.names else shown

    def inline(self, text):
        out, end = "", 0
        for part in INLINE.finditer(text):
            out, end = out + page.escape(text[end:part.start()]), part.end()
            if part["code"]:
                out += self.code(part["code"])
            elif part["label"]:
                label, target = self.inline(part["label"]), self.target(part["target"])
                out += f'<a href="{target}">{label}</a>' if target else label
            else:
                kind = "strong" if part["strong"] else "em"
                out += f"<{kind}>{self.inline(part[kind])}</{kind}>"
        return out + page.escape(text[end:])

    def table(self, rows):
        head, _, *body = map(cells, rows)
        out = "".join(f"<th>{self.inline(cell)}</th>" for cell in head)
        for row in body:
            out += "</tr>\n<tr>" + "".join(f"<td>{self.inline(cell)}</td>" for cell in row)
        return f"<table>\n<tr>{out}</tr>\n</table>\n"

    def title(self, line):
        marks, title = line.split(" ", 1)
        if marks == "##":
            self.titles.append(title)
        level = len(marks)
        return f'<h{level} id="{title_anchor(title)}">{self.inline(title)}</h{level}>\n'

    def block(self, lines):
        """One of those between which there are blank lines."""
        if lines[0].startswith("```"):
            return f"<pre>{page.escape(chr(10).join(lines[1:-1]))}</pre>\n"
        if lines[0].startswith("#"):
            return self.title(lines[0])
        if lines[0].startswith("|"):
            return self.table(lines)
        if lines[0].startswith("- "):
            items = re.split(r"^- ", "\n".join(lines), flags=re.MULTILINE)[1:]
            return f"<ul>{''.join(f'<li>{self.inline(item)}</li>' for item in items)}</ul>\n"
        return f"<p>{self.inline(' '.join(lines))}</p>\n"

    def text(self):
        main = "".join(map(self.block, blocks(self.lines)))
        contents = "".join(f'<li><a href="#{title_anchor(title)}">{page.escape(title)}</a></li>\n'
                           for title in self.titles)
        return page.html_page(f"canopy {self.version}: guide", main,
                              f'<a href="{self.file}"><b>Reference</b></a>\n<ul>\n{contents}</ul>\n')
