"""A chapter of the guide as a manual page."""

import re
import textwrap

import guide
import manual


def inline(text):
    """Running text: code and what is stressed in bold, of links what they are called."""
    out, end = "", 0
    for part in guide.INLINE.finditer(text):
        out += manual.escape(text[end:part.start()])
        end = part.end()
        if part["label"]:
            out += inline(part["label"])
        else:
            said = part["code"] or part["strong"] or part["em"]
            out += f"\\fB{manual.escape(said, bool(part['code']))}\\fP"
    return out + manual.escape(text[end:])


def fill(text):
    filled = textwrap.fill(inline(text), manual.WIDTH, break_long_words=False,
                           break_on_hyphens=False)
    return re.sub(r"^([.'])", r"\\&\1", filled, flags=re.MULTILINE)


def table(rows):
    """A list: each row's first cell, and below it the others, those in between by title."""
    head, _, *body = map(guide.cells, rows)
    out = ""
    for row in body:
        said = [f"{title} {cell};" for title, cell in zip(head[1:-1], row[1:-1]) if cell]
        out += f".TP\n{inline(row[0])}\n{fill(' '.join([*said, row[-1]])) or '.br'}\n"
    return out


def block(lines):
    if lines[0].startswith("```"):
        return f".PP\n.RS 4\n{manual.verbatim(chr(10).join(lines[1:-1]))}.RE\n"
    if lines[0].startswith("### "):
        return f".SH {manual.escape(lines[0][4:])}\n"
    if lines[0].startswith("|"):
        return table(lines)
    if lines[0].startswith("- "):
        items = re.split(r"^- ", "\n".join(lines), flags=re.MULTILINE)[1:]
        return "".join(f".IP \\(bu 2\n{fill(item)}\n" for item in items)
    return f".PP\n{fill(' '.join(lines))}\n"


def blocks_of(text, title):
    """Those of the chapter, without its title."""
    chapter = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text,
                        re.MULTILINE | re.DOTALL)
    return guide.blocks(chapter[1].splitlines()) if chapter else []


def page(text, title, name, brief, manual_of):
    """Of the chapter `title` in the guide, as page `name` of section 7; None: there is none."""
    body = "".join(map(block, blocks_of(text, title)))
    # What begins a section begins a paragraph.
    body = re.sub(r"^(\.SH .*\n)\.PP\n", r"\1", f".SH DESCRIPTION\n{body}", flags=re.MULTILINE)
    return (manual.heading(name, 7, manual_of) +
            f".SH NAME\n{manual.escape(name, True)} \\- {brief}\n{body}"
            ".SH SEE ALSO\n.BR nginx (8),\n.BR canopy (7)\n") if body.count("\n") > 1 else None
