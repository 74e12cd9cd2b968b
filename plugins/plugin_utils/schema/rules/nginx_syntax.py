"""The grammar of nginx's configuration, as far as it decides where a directive and a block end.

After `ngx_conf_read_token` of nginx's src/core/ngx_conf_file.c, in which it has not changed from 1.22 to 1.26. What
directives there are, nginx itself says, on the host.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_BLANK = " \t\r\n"


class Broken(Exception):
    """A text that nginx could not read. *line* counts from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line, self.reason = line, reason


@dataclass(frozen=True)
class Directive:
    """A line of words, and what ends it: `;`, or `{` where a block begins. A `}` stands alone."""

    words: tuple[str, ...]
    end: str
    line: int


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    @property
    def line(self) -> int:
        return self.text.count("\n", 0, self.at) + 1

    @property
    def letter(self) -> str:
        return self.text[self.at : self.at + 1]

    def skip(self) -> None:
        """Blanks and comments."""
        while self.letter and (self.letter in _BLANK or self.letter == "#"):
            if self.letter == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            else:
                self.at += 1

    def word(self) -> str:
        return self._quoted() if self.letter in "\"'" else self._plain()

    def _quoted(self) -> str:
        quote, began, line = self.letter, self.at, self.line
        self.at += 1
        while self.letter != quote:
            if not self.letter:
                raise Broken(line, f"the {quote} here is not closed")
            self.at += 2 if self.letter == "\\" else 1
        self.at += 1
        if self.letter == ")":  # as of `if ($uri = "/")`
            return self.text[began : self.at]
        if self.letter and self.letter not in _BLANK + ";{":
            raise Broken(self.line, f"after the closing {quote} a blank, a ; or a {{ must follow")
        return self.text[began : self.at]

    def _plain(self) -> str:
        began, variable = self.at, False
        while self.letter:
            if self.letter == "\\":
                self.at += 2
                variable = False
                continue
            if self.letter in _BLANK + ";" or (self.letter == "{" and not variable):
                break
            variable = self.letter == "$"
            self.at += 1
        return self.text[began : self.at]


def directives(text: str) -> Iterator[Directive]:
    """What *text* is made of, in order. Raises `Broken`."""
    reader = _Reader(text)
    words: list[str] = []
    began = 0
    while True:
        reader.skip()
        letter = reader.letter
        if not letter:
            if words:
                raise Broken(began, f"the directive {words[0]} does not end with a ;")
            return
        if letter in ";{":
            if not words:
                raise Broken(reader.line, f"a {letter} without a directive before it")
            yield Directive(tuple(words), letter, began)
            words = []
            reader.at += 1
        elif letter == "}" and not words:
            yield Directive((), "}", reader.line)
            reader.at += 1
        elif letter == "}":
            raise Broken(began, f"the directive {words[0]} does not end with a ; before the }}")
        else:
            began = began if words else reader.line
            words.append(reader.word())


def problem(text: str) -> Broken | None:
    """Why nginx could not read *text* as whole directives of one block, or nothing."""
    open_blocks: list[Directive] = []
    try:
        for directive in directives(text):
            if directive.end == "{":
                open_blocks.append(directive)
            elif directive.end == "}":
                if not open_blocks:
                    return Broken(directive.line, "this } has no opening {")
                open_blocks.pop()
            if directive.words and directive.words[0].endswith("_by_lua_block"):
                name = directive.words[0]
                return Broken(directive.line, f"{name} contains another language: use {name[:-5]}file")
    except Broken as error:
        return error
    if open_blocks:
        last = open_blocks[-1]
        return Broken(last.line, f"the block of {last.words[0]} is not closed by a }}")
    return None
