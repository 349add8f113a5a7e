"""
Reads headers: what is public in them, and the comment that each of it has.

A comment stands right above what it is about, or behind it on its line; what follows
without a blank line between shares the comment above. A line of dashes with a title
begins a section, and a comment by itself introduces the section that it stands in.
Fields called canopy_* are canopy's own, and no part of the interface.
"""
import dataclasses
import re

from clang import cindex

import prose

KINDS = {
    "FUNCTION_DECL": "function", "FUNCTION_TEMPLATE": "function", "CXX_METHOD": "function",
    "CONSTRUCTOR": "function", "DESTRUCTOR": "function", "CONVERSION_FUNCTION": "function",
    "VAR_DECL": "variable", "FIELD_DECL": "variable",
    "TYPEDEF_DECL": "type", "TYPE_ALIAS_DECL": "type", "TYPE_ALIAS_TEMPLATE_DECL": "type",
    "STRUCT_DECL": "type", "UNION_DECL": "type", "ENUM_DECL": "type", "CLASS_DECL": "type",
    "CLASS_TEMPLATE": "type", "ENUM_CONSTANT_DECL": "constant", "MACRO_DEFINITION": "macro",
}
SCOPES = ("NAMESPACE", "LINKAGE_SPEC", "UNEXPOSED_DECL")


class Unreadable(Exception):
    """A header that does not compile."""


@dataclasses.dataclass
class Name:
    """Something public, and what it consists of."""
    name: str
    kind: str
    declaration: str
    line: int
    comment: str = ""
    members: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Entry:
    """Names that share a comment."""
    names: list
    comment: str
    header: str


@dataclasses.dataclass
class Section:
    title: str
    introduction: str = ""
    entries: list = dataclasses.field(default_factory=list)


class Header:
    """One header: `include` is how it is included, `opening` what it says of itself."""

    def __init__(self, path, include):
        self.include = include
        self.lines = path.read_text(encoding="utf-8").splitlines()
        language = ["-xc++", "-std=c++20"] if path.suffix == ".hpp" else ["-xc", "-std=c11"]
        unit = cindex.Index.create().parse(
            str(path), language + ["-D_GNU_SOURCE", f"-I{path.parent.parent}"],
            options=cindex.TranslationUnit.PARSE_DETAILED_PROCESSING_RECORD)
        errors = [str(note) for note in unit.diagnostics if note.severity >= note.Error]
        if errors:
            raise Unreadable("\n".join(errors))
        self.source = path.read_bytes()
        self.comments = self._comments(unit)
        self.taken = set()
        names = sorted(self._public(unit.cursor, str(path)), key=lambda pair: pair[0].line)
        first = self.comments[0] if self.comments else (1, 0, 0, "")
        self.taken.add(first[0])
        self.opening = re.sub(r"^\S+ - (.)", lambda match: match[1].upper(), first[3])
        self.sections = self._sections(self._entries(names))

    @staticmethod
    def _comments(unit):
        """(first line, last line, column, text) of each; lines of // that touch are one."""
        comments = []
        for token in unit.get_tokens(extent=unit.cursor.extent):
            if token.kind.name != "COMMENT":
                continue
            begin, last, text = token.extent.start, token.extent.end.line, token.spelling
            first = begin.line
            if comments and text[:2] == comments[-1][3][:2] == "//" and \
                    comments[-1][1:3] == (first - 1, begin.column):
                first, _, _, before = comments.pop()
                text = f"{before}\n{text}"
            comments.append((first, last, begin.column, text))
        return [(*place, prose.text_of(text)) for *place, text in comments]

    def _stands_behind(self, line, column):
        """Whether something precedes it on its line."""
        return bool(self.lines[line - 1][:column - 1].strip())

    def _public(self, parent, path, scope=""):
        """The names declared in a scope, each with the last line of its declaration."""
        cursors = [cursor for cursor in parent.get_children()
                   if cursor.location.file and cursor.location.file.name == path]
        aliases = {cursor.spelling for cursor in cursors if cursor.kind.name == "TYPEDEF_DECL"}
        for cursor in cursors:
            kind = cursor.kind.name
            if kind in SCOPES and cursor.spelling not in ("detail", "internal"):
                inner = f"{scope}{cursor.spelling}::" if kind == "NAMESPACE" else scope
                yield from self._public(cursor, path, inner)
            is_tag = kind in ("STRUCT_DECL", "UNION_DECL", "ENUM_DECL")
            if kind not in KINDS or (is_tag and cursor.spelling in aliases) or \
                    self._is_guard(cursor) or self._is_repeated(cursor) or \
                    cursor.spelling.startswith("<deduction guide"):  # nobody names one
                continue
            yield self._name(cursor, scope), cursor.extent.end.line

    def _is_guard(self, cursor):
        before = self.lines[cursor.extent.start.line - 2]
        return cursor.kind.name == "MACRO_DEFINITION" and before == f"#ifndef {cursor.spelling}"

    @staticmethod
    def _is_repeated(cursor):
        """A definition outside of its class, or of what is declared before."""
        return cursor.canonical != cursor and cursor.kind.name != "TYPEDEF_DECL"

    def _name(self, cursor, scope=""):
        kind = KINDS[cursor.kind.name]
        name = Name(scope + cursor.spelling, kind, "", cursor.extent.start.line)
        record = cursor
        if cursor.kind.name == "TYPEDEF_DECL":
            record = cursor.underlying_typedef_type.get_declaration()
            if record.spelling != cursor.spelling:
                record = cursor
        public = [member for member in record.get_children()
                  if member.kind.name in KINDS and not member.spelling.startswith("canopy_")
                  and member.access_specifier.name not in ("PRIVATE", "PROTECTED")]
        if kind == "type":
            previous = None
            for member in public:
                inner = self._name(member)
                last = member.extent.end.line
                inner.comment, previous = self._comment(inner.line, last, previous)
                if not inner.declaration.endswith(("= default;", "= delete;")):
                    name.members.append(inner)
        name.declaration = self._declaration(cursor, kind, name)
        return name

    def _declaration(self, cursor, kind, name):
        """As it stands in the header, without comments, attributes and bodies."""
        begin, end = cursor.extent.start.offset, cursor.extent.end.offset
        text = self.source[begin:end].decode()
        text = re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)
        if kind == "macro":
            head = re.match(rf"{cursor.spelling}(\(.*?\))?", text)[0]
            is_short = len(text) < 60 and "\n" not in text and "__attribute__" not in text
            return "#define " + (text if is_short else head)
        if kind == "type" and "{" in text:
            head = text[:text.index("{")].strip()
            separator = "," if cursor.type.get_canonical().kind.name == "ENUM" else ";"
            if name.members:
                head += " {\n" + "".join(f"    {member.declaration.rstrip(';')}{separator}\n"
                                         for member in name.members) + "}"
            return head + (f" {cursor.spelling};" if head.startswith("typedef") else ";")
        if kind in ("function", "variable"):
            text = re.sub(r"\bCANOPY_[A-Z_]+\b(\([^()]*\))?", "", text)
            text = re.sub(r"\s*\{.*", "", text, flags=re.DOTALL)
        text = re.sub(r"([*&]) (?=\w)", r"\1", " ".join(text.split()))
        return text + ("" if kind == "constant" else ";")

    def _comment(self, first, last, previous):
        """
        The comment of what stands on these lines, and what the next one has to know:
        (last line, comment), or None when the comment is not to be shared.
        """
        for begin, end, column, text in self.comments:
            if begin == last and self._stands_behind(begin, column):
                self.taken.add(begin)
                return text, None
        top = self._above_conditions(first)
        for begin, end, column, text in self.comments:
            if end == top - 1 and not self._stands_behind(begin, column):
                self.taken.add(begin)
                return text, (last, text)
        if previous and previous[0] == first - 1:
            return previous[1], (last, previous[1])
        return "", None

    def _above_conditions(self, line):
        """The first line of the #if that `line` stands behind, or else `line`."""
        depth = 0
        while line > 1:
            match = re.match(r"#\s*(if|el|end)", self.lines[line - 2])
            directive = match[1] if match else ""
            if depth == 0 and directive not in ("if", "el"):
                break
            depth += {"el": depth == 0, "end": 1, "if": -(depth > 0)}.get(directive, 0)
            line -= 1
        return line

    def _entries(self, names):
        entries = []
        previous = None
        for name, last in names:
            name.comment, shared = self._comment(name.line, last, previous)
            if previous and shared and shared[1] is previous[1]:
                entries[-1].names.append(name)
            else:
                entries.append(Entry([name], name.comment, self.include))
            previous = shared
        return entries

    def _sections(self, entries):
        """Titles, introductions and entries in the order in which they stand there."""
        sections = [Section("general")]
        loose = [comment for comment in self.comments
                 if comment[2] == 1 and comment[0] not in self.taken]
        for line, thing in sorted([(entry.names[0].line, entry) for entry in entries] +
                                  [(comment[0], comment[3]) for comment in loose],
                                  key=lambda pair: pair[0]):
            title = isinstance(thing, str) and re.fullmatch(r"-{5,} (.*)", thing)
            if title:
                sections.append(Section(title[1]))
            elif isinstance(thing, str):
                sections[-1].introduction += ("\n\n" if sections[-1].introduction else "") + thing
            else:
                sections[-1].entries.append(thing)
        return [section for section in sections if section.entries]
