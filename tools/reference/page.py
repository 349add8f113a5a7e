"""The reference as one HTML page that needs nothing else."""
import html
import pathlib

import prose

STYLE = pathlib.Path(__file__).with_name("page.css")


def escape(text):
    return html.escape(text, quote=False)


def anchor(title):
    return title.replace(" ", "-").replace("/", "-")


class Page:
    def __init__(self, headers, version):
        self.headers = headers
        self.version = version
        self.names = {name.name for header in headers for section in header.sections
                      for entry in section.entries for name in entry.names}

    def spans(self, text):
        for kind, part in prose.spans_of(text):
            shown = escape(part)
            if kind == "name" and part in self.names:
                yield f'<a href="#{part}"><code>{shown}</code></a>'
            else:
                yield shown if kind == "text" else f"<code>{shown}</code>"

    def line(self, text):
        return "".join(self.spans(text))

    def body(self, text):
        out = ""
        for kind, block in prose.blocks_of(text):
            if kind == "code":
                out += f"<pre>{escape(block)}</pre>\n"
            elif kind == "item":
                out += f"<ul><li>{self.line(block)}</li></ul>\n"
            else:
                out += f"<p>{self.line(block)}</p>\n"
        return out.replace("</ul>\n<ul>", "\n")

    def entry(self, entry):
        titles = ", ".join(f'<a id="{name.name}" href="#{name.name}">{escape(name.name)}</a>'
                           for name in entry.names)
        declarations = "\n".join(escape(name.declaration) for name in entry.names)
        out = f"<h3>{titles}</h3>\n<pre>{declarations}</pre>\n" + self.body(entry.comment)
        members = ""
        for comment, declarations in prose.members_of(entry):
            members += "".join(f"<dt><code>{escape(declaration)}</code></dt>\n"
                               for declaration in declarations)
            members += f"<dd>{self.line(comment)}</dd>\n"
        return out + (f"<dl>\n{members}</dl>\n" if members else "")

    def contents(self):
        out = ""
        for header in self.headers:
            out += f'<a href="#{anchor(header.include)}"><b>{header.include}</b></a>\n'
            for section in header.sections:
                out += f"<div>{escape(section.title)}</div>\n<ul>\n" + "".join(
                    f'<li><a href="#{name.name}">{escape(name.name)}</a></li>\n'
                    for entry in section.entries for name in entry.names) + "</ul>\n"
        return out

    def text(self):
        main = ""
        for header in self.headers:
            main += f'<h2 id="{anchor(header.include)}">{header.include}</h2>\n'
            main += self.body(header.opening)
            for section in header.sections:
                main += f"<h2>{escape(section.title)}</h2>\n"
                if section.introduction:
                    main += f'<div class="introduction">{self.body(section.introduction)}</div>\n'
                main += "".join(self.entry(entry) for entry in section.entries)
        return (f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
                f'<meta name="viewport" content="width=device-width">\n'
                f"<title>canopy {self.version}: reference</title>\n"
                f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n"
                f"<header><h1>canopy {self.version}</h1></header>\n"
                f"<nav>\n{self.contents()}</nav>\n<main>\n{main}</main>\n</body>\n</html>\n")
