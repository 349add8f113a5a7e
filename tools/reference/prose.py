"""What a comment says: paragraphs, items and code, and the names in them."""
import itertools
import re

NAME = r"\b(?:canopy(?:_[a-z0-9_]+|::[a-z0-9_:]*[a-z0-9_])|CANOPY_[A-Z0-9_]+)\b"


def text_of(comment):
    """Without what makes it a comment, and without the indentation that all of it has."""
    body = re.sub(r"^/\*+<?|\*+/$", "", comment)
    lines = [re.sub(r"^\s*(?:\*|//+<?) ?", "", line) for line in body.splitlines()]
    return "\n".join(line.rstrip() for line in lines).strip()


def blocks_of(text):
    """
    Pairs of a kind and its text: "code" for what is indented by four or more, "item" for
    what follows a dash, "paragraph" for the rest.
    """
    blocks = []
    for part in re.split(r"\n\s*\n", text):
        lines = part.splitlines()
        if all(line.startswith("    ") for line in lines):
            blocks.append(("code", "\n".join(line[4:] for line in lines)))
            continue
        for line in lines:
            item = re.match(r"\s*- (.*)", line)
            if item:
                blocks.append(("item", item[1]))
            elif line is lines[0]:
                blocks.append(("paragraph", line.strip()))
            else:
                kind, before = blocks.pop()
                blocks.append((kind, f"{before} {line.strip()}"))
    return blocks


def spans_of(text):
    """Pairs of a kind and its text: "code" (in backquotes), "name" (one of ours), "text"."""
    for number, part in enumerate(text.split("`")):
        for piece in re.split(f"({NAME})", part):
            if piece:
                is_name = re.fullmatch(NAME, piece)
                yield "name" if is_name else "code" if number % 2 else "text", piece


def members_of(entry):
    """Pairs of a comment and what it is about: the parts of all that an entry declares."""
    members = [member for name in entry.names for member in name.members]
    for comment, group in itertools.groupby(members, lambda member: member.comment):
        yield comment, [member.declaration.rstrip(";") for member in group]


def brief_of(text):
    """The first sentence, as a title has it."""
    first = blocks_of(text)[0][1].replace("`", "")
    first = re.sub(rf"^{NAME}\(.*?\): ", "", first)
    sentence = re.match(r"(.*?)(?:\.(?: |$)|$)", first)[1]
    if len(sentence) > 90:
        sentence = re.match(r"(.*?)(?:[:;](?: |$)|$)", sentence)[1]
    if sentence[1:2].islower() or sentence.startswith("A "):
        sentence = sentence[0].lower() + sentence[1:]
    return sentence
