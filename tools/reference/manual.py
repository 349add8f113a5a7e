"""Manual pages: one for each entry, links for its other names, and an overview."""
import gzip
import re
import textwrap

import prose

WIDTH = 72


def escape(text, is_code=False):
    text = text.replace("\\", "\\e")
    text = text.replace("-", "\\-") if is_code else re.sub(r"(?<!\w)-(?=[E0-9])", r"\\-", text)
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def fill(text):
    """Running text: names and code in bold."""
    spans = "".join(escape(part) if kind == "text" else f"\\fB{escape(part, True)}\\fP"
                    for kind, part in prose.spans_of(text))
    return textwrap.fill(spans, WIDTH, break_long_words=False, break_on_hyphens=False)


def verbatim(text):
    return f".nf\n{escape(text, True)}\n.fi\n"


def body(text):
    """What follows a .SH, so without a .PP before its first paragraph."""
    out = ""
    for kind, block in prose.blocks_of(text):
        if kind == "code":
            out += (".PP\n" if out else "") + ".RS 4\n" + verbatim(block) + ".RE\n"
        elif kind == "item":
            out += f".IP \\(bu 2\n{fill(block)}\n"
        else:
            out += (".PP\n" if out else "") + fill(block) + "\n"
    return out


def synopsis(names):
    out = ""
    for name in names:
        lines = name.declaration.splitlines()
        if len(lines) == 1:
            # Broken after commas alone.
            lines = textwrap.wrap(re.sub("(?<!,) ", "\0", lines[0]), WIDTH,
                                  subsequent_indent="    ", break_long_words=False)
            lines = [line.replace("\0", " ") for line in lines]
        out += "\n".join(f"\\fB{escape(line, True)}\\fP" for line in lines) + "\n"
    return out


def heading(page, section, manual):
    return (f'.TH "{page}" {section} "{manual.date}" "canopy {manual.version}" '
            '"canopy manual"\n.nh\n.ad l\n')


def references(pages):
    return ",\n".join(f".BR {escape(page, True)} ({number})" for page, number in pages)


class Manual:
    def __init__(self, headers, version, date):
        self.headers = headers
        self.version = version
        self.date = date
        self.pages = {name.name: entry.names[0].name for header in headers
                      for section in header.sections for entry in section.entries
                      for name in entry.names}

    def see_also(self, entry, section):
        """What the text names, and the rest of its section."""
        text = f"{entry.comment} {section.introduction}"
        pages = [self.pages.get(name) for name in re.findall(prose.NAME, text)]
        pages += [other.names[0].name for other in section.entries]
        own = {None, entry.names[0].name}
        return references([(page, "3") for page in dict.fromkeys(pages) if page not in own] +
                          [("canopy", "7")])

    def page(self, entry, section):
        names = ", ".join(escape(name.name, True) for name in entry.names)
        out = heading(entry.names[0].name, 3, self)
        out += f".SH NAME\n{names} \\- {escape(prose.brief_of(entry.comment))}\n"
        out += f'.SH SYNOPSIS\n.nf\n\\fB#include <{entry.header}>\\fP\n\n'
        out += synopsis(entry.names)
        out += '\n\\fBcc\\fP ... \\fB$(pkg\\-config \\-\\-cflags \\-\\-libs canopy)\\fP\n.fi\n'
        out += ".SH DESCRIPTION\n" + body(entry.comment)
        for comment, declarations in prose.members_of(entry):
            for number, declaration in enumerate(declarations):
                out += f"{'.TQ' if number else '.TP'}\n.B {escape(declaration, True)}\n"
            out += f"{fill(comment)}\n"
        if section.introduction:
            out += f".SS In common: {section.title}\n" + body(section.introduction)
        return out + ".SH SEE ALSO\n" + self.see_also(entry, section) + "\n"

    def overview(self):
        out = heading("canopy", 7, self)
        out += ".SH NAME\ncanopy \\- contexts for C: cancellation, deadlines, causes and values\n"
        for header in self.headers:
            out += f".SH {escape(header.include, True)}\n" + body(header.opening)
            for section in header.sections:
                out += f".SS {section.title}\n"
                out += body(section.introduction) if section.introduction else ""
                for entry in section.entries:
                    page = escape(entry.names[0].name, True)
                    out += f".TP\n.BR {page} (3)\n{escape(prose.brief_of(entry.comment))}\n"
        return out

    def write(self, directory):
        """Into man3 and man7 below `directory`, compressed, the same each time."""
        pages = {"man7/canopy.7": self.overview()}
        for header in self.headers:
            for section in header.sections:
                for entry in section.entries:
                    pages[f"man3/{entry.names[0].name}.3"] = self.page(entry, section)
        for path, text in pages.items():
            target = directory / f"{path}.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(gzip.compress(text.encode(), mtime=0))
        for name, page in self.pages.items():
            if name != page:
                link = directory / f"man3/{name}.3.gz"
                link.unlink(missing_ok=True)
                link.symlink_to(f"{page}.3.gz")
