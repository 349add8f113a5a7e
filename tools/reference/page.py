"""The reference as an HTML page that needs nothing else."""
import html
import pathlib

import prose

STYLE = pathlib.Path(__file__).with_name("page.css")


def escape(text):
    return html.escape(text, quote=False)


def anchor(title):
    return title.replace(" ", "-").replace("/", "-")


def html_page(title, main, contents):
    return (f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width">\n'
            f"<title>{title}</title>\n"
            f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n"
            f"<nav>\n{contents}</nav>\n<main>\n{main}</main>\n</body>\n</html>\n")


class Page:
    def __init__(self, headers, version, guide=None):
        self.headers = headers
        self.version = version
        self.guide = guide  # the file that it is in
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
        out = f'<p><a href="{self.guide}"><b>Guide</b></a></p>\n' if self.guide else ""
        for header in self.headers:
            out += f'<a href="#{anchor(header.include)}"><b>{header.include}</b></a>\n'
            for section in header.sections:
                out += f"<div>{escape(section.title)}</div>\n<ul>\n" + "".join(
                    f'<li><a href="#{name.name}">{escape(name.name)}</a></li>\n'
                    for entry in section.entries for name in entry.names) + "</ul>\n"
        return out

    def text(self):
        main = f"<h1>canopy {self.version}</h1>\n"
        if self.guide:
            main += (f'<p>What each call does. <a href="{self.guide}">The guide</a> says '
                     "which to take.</p>\n")
        for header in self.headers:
            main += f'<h2 id="{anchor(header.include)}">{header.include}</h2>\n'
            main += self.body(header.opening)
            for section in header.sections:
                main += f"<h2>{escape(section.title)}</h2>\n"
                if section.introduction:
                    main += f'<div class="introduction">{self.body(section.introduction)}</div>\n'
                main += "".join(self.entry(entry) for entry in section.entries)
        return html_page(f"canopy {self.version}: reference", main, self.contents())
