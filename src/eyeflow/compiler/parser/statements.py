"""Blocks and statements. A mistake costs its statement, not the block."""

from __future__ import annotations

from eyeflow.base.diagnostic import Fix, Span
from eyeflow.compiler import ast
from eyeflow.compiler.parser.cursor import Stop
from eyeflow.compiler.parser.foreign_words import FOREIGN_WORDS
from eyeflow.compiler.parser.recovery import RecoveringParser
from eyeflow.compiler.tokens import RESERVED, Token, TokenKind


class StatementParser(RecoveringParser):
    """Parses blocks and statements."""

    # --- blocks ---

    def block(self, owner: Token) -> ast.Block:
        """Parse `{ statements }`; `owner` is the word that needs it (`if`, `else`, `for`)."""
        opening = self.open_block(owner)
        if opening is None:
            return self._block_by_indentation(owner)
        with self.nested(opening):
            statements = self.statements()
        self.close_block(opening)
        return ast.Block(statements, self.span_from(opening.span))

    def _block_by_indentation(self, owner: Token) -> ast.Block:
        """Read a block whose `{` is missing: the lines indented deeper than its owner, and its `}` if there is one."""
        start, margin = self.token.span, self.column(owner)
        with self.nested(owner):
            statements = self.statements(deeper_than=margin)
        if self.on("}") and self.token.line_start and self.column(self.token) == margin and margin > 0:
            self.take()
        return ast.Block(statements, self.span_from(start) if statements else Span(start.start, start.start))

    def statements(self, deeper_than: int = -1) -> tuple[ast.Statement, ...]:
        """Parse statements up to `}`, the next item or the end; each mistake is reported and skipped."""
        found: list[ast.Statement] = []
        while not (self.on("}") or self.on_kind(TokenKind.END) or self.at_item()):
            if deeper_than >= 0 and self.token.line_start and self.column(self.token) <= deeper_than:
                break
            before = self.at
            try:
                found.append(self.statement())
                self.end_of_statement()
            except Stop:
                self.skip_broken(before)
        return tuple(found)

    # --- statements ---

    def statement(self) -> ast.Statement:
        """Parse one statement."""
        token = self.token
        self.marks.heads.add(token.span.start)
        self.statement_at = self.at
        self.stop_if_reported()
        if token.kind is TokenKind.NAME:
            match token.text:
                case "let" | "var":
                    return self._let()
                case "if":
                    return self._if()
                case "for":
                    return self._for()
                case "match":
                    return self._match()
                case "emit":
                    return self._emit()
                case "else":
                    raise self.lone_else()
        self._refuse_foreign_word()
        return self._place_or_call()

    def _refuse_foreign_word(self) -> None:
        """Explain a word of another language, when what follows shows that it is not an ordinary name."""
        token, following = self.token, self.peek()
        if token.kind is not TokenKind.NAME or token.text not in FOREIGN_WORDS:
            return
        if following.text in ("=", ".", "[") and not following.line_start:
            return
        if following.text == "(" and token.text not in ("while", "switch", "print", "function", "func", "fn"):
            return
        word = FOREIGN_WORDS[token.text]
        raise self.fail(
            "EF0133", f"there is no `{token.text}`", token.span, label=word.label, help=word.help, note=word.note
        )

    def _let(self) -> ast.Let:
        word = self.take()
        name = self.name("a name")
        kind = self.type_name() if self.accept(":") else None
        self.expect("=", f"after the name that `{word.text}` gives", f"write `{word.text} {name.text} = value`")
        value = self.expression()
        return ast.Let(name, kind, value, word.text == "var", self.span_from(word.span))

    def type_name(self) -> ast.TypeName:
        """Parse `float`, `text(32)`, `list(Reading, 8)`."""
        name = self.name("a type")
        if not (self.on("(") and self._same_row()):
            return ast.TypeName(name, name.span)
        opening = self.take()
        with self.bracket(opening):
            element = self.type_name() if self.on_kind(TokenKind.NAME) else None
            if element is not None:
                self.expect(
                    ",", "between the type of the elements and their number", "write for example `list(float, 10)`"
                )
            size = self.whole_number("a number")
            if element is not None:
                self.accept(",")
            self.close(")", opening)
        return ast.TypeName(name, self.span_from(name.span), size, element)

    def _if(self) -> ast.If:
        """Parse an `if` with its `else if` chain; the chain is read in a loop and nested from its end."""
        heads: list[tuple[Token, ast.Expr, ast.Block]] = []
        last: ast.Block | None = None
        levels = self.nesting
        word = self.take()
        try:
            while True:
                condition = self._head_condition(word)
                heads.append((word, condition, self.block(word)))
                following = self._else()
                if following is None:
                    break
                if following.text != "if":
                    last = self.block(following)
                    break
                word = following
                self._deepen(word)
        finally:
            self.nesting = levels
        return self._chained(heads, last)

    def _deepen(self, word: Token) -> None:
        """Count an `else if` as one level: the tree of the chain is that deep."""
        with self.nested(word):
            pass
        self.nesting += 1

    def _chained(self, heads: list[tuple[Token, ast.Expr, ast.Block]], last: ast.Block | None) -> ast.If:
        otherwise: ast.Block | ast.If | None = last
        end = self.previous.span
        result: ast.If | None = None
        for word, condition, then in reversed(heads):
            result = ast.If(condition, then, otherwise, word.span.to(end))
            otherwise = result
        assert result is not None, "an if has at least one condition"
        return result

    def _head_condition(self, word: Token) -> ast.Expr:
        """Parse the condition before a block; when it is broken, go on at the block if that is on the same line."""
        start = self.token.span
        try:
            condition = self.condition()
            self._refuse_then(word)
            return condition
        except Stop:
            at = self.at
            while not (self.on("{", "}") or self.on_kind(TokenKind.END) or (self.token.line_start and self.at > at)):
                self.take()
            if not self.on("{") or self.token.line_start:
                raise
            return ast.ErrorExpr(start)

    def _refuse_then(self, word: Token) -> None:
        if not self.on("then"):
            return
        token = self.token
        self.report(
            "EF0150",
            "an `if` statement has no `then`",
            token.span,
            label="expected `{`",
            help="write `if condition { ... }`; `then` belongs to `if c then a else b` inside an expression",
        )
        if self.peek().text == "{":
            self.take()

    def _else(self) -> Token | None:
        """Take `else`, or `else if`; return the word whose block follows, or None when the `if` is over."""
        token = self.token
        if (
            token.text in ("elif", "elseif", "elsif")
            and token.kind is TokenKind.NAME
            and self.peek().text not in ("=", ".", "[")
        ):
            self.report(
                "EF0131",
                f"`{token.text}` is written `else if` here",
                token.span,
                label="expected `else if`",
                help="write `else if`",
                fix=Fix(token.span, "else if", "write `else if`"),
            )
            self.take()
            return Token(TokenKind.NAME, "if", token.span)
        if not self.accept("else"):
            return None
        return self.accept("if") or token

    def _for(self) -> ast.ForEach | ast.ForRange:
        word = self.take()
        if self.on("in"):
            self.fail_expected("a name for the element or the count", "")
        variable = self.name("a name for the element or the count")
        self.expect("in", "after the name", "write `for x in list {` or `for i in 0..10 {`")
        low = self.expression()
        high: ast.Expr | None = None
        bound: int | None = None
        if self.accept(".."):
            high = self.expression()
            if self.accept("max"):
                bound = self.whole_number("the most trips")
        body = self.block(word)
        span = self.span_from(word.span)
        if high is None:
            return ast.ForEach(variable, low, body, span)
        return ast.ForRange(variable, low, high, bound, body, span)

    def _match(self) -> ast.Match:
        word = self.take()
        subject = self.expression()
        opening = self.open_block(word)
        if opening is None:
            raise Stop
        arms: list[ast.MatchArm] = []
        with self.nested(opening):
            while not (self.on("}") or self.on_kind(TokenKind.END) or self.at_item()):
                before = self.at
                try:
                    arms.append(self._arm())
                    self._refuse_comma()
                except Stop:
                    self.skip_broken(before)
        self.close_block(opening)
        return ast.Match(subject, tuple(arms), self.span_from(word.span))

    def _refuse_comma(self) -> None:
        if self.on(","):
            self.report(
                "EF0120",
                "no comma stands between arms",
                self.token.span,
                label="not needed",
                help="remove it",
                fix=Fix(self.token.span, "", "remove the comma"),
            )
            self.take()

    def _arm(self) -> ast.MatchArm:
        first = self.token
        self.marks.heads.add(first.span.start)
        members: list[ast.Name] = []
        if not self.accept("else"):
            members.append(self._member())
            while self.on(",", "|", "or"):
                self._refuse_bar(self.take())
                members.append(self._member())
        self.expect("=>", "after the members of an arm", "write `HEAT, COOL => { ... }`")
        body = self.block(self.previous)
        return ast.MatchArm(tuple(members), body, self.span_from(first.span))

    def _refuse_bar(self, token: Token) -> None:
        if token.text == ",":
            return
        self.report(
            "EF0120",
            "the members of an arm are separated by commas",
            token.span,
            label="expected `,`",
            help="write `,`",
            fix=Fix(token.span, ",", "write `,`"),
        )

    def _member(self) -> ast.Name:
        name = self.name("a member of the enum, or `else`")
        if self.on("."):
            point = self.take()
            member = self.name("a member of the enum")
            self.report(
                "EF0120",
                "an arm names members without their enum",
                name.span.to(point.span),
                label="not needed",
                help=f"write `{member.text} => ...`",
                fix=Fix(name.span.to(point.span), "", "remove it"),
            )
            return member
        return name

    def _emit(self) -> ast.Emit:
        word = self.take()
        event = self.name("the name of the event")
        if not self.on("("):
            self.fail_expected("`(`", "after the name of the event", f"write `emit {event.text}()`")
        return ast.Emit(event, self.arguments(), self.span_from(word.span))

    def _place_or_call(self) -> ast.Assign | ast.ExprStatement:
        start = self.token
        self.operators = 0
        target = self._start_of_statement()
        self.stop_if_reported()
        if self.on("="):
            return self._assign(target)
        if self.on(":") and isinstance(target, ast.NameExpr) and self.peek().kind is TokenKind.NAME:
            raise self.fail(
                "EF0142",
                f"a new name is made with `let` or `var`: `let {target.name}: ...`",
                start.span,
                label="a word is missing before this name",
                help=f"write `let {target.name}: type = value`",
                fix=Fix(Span(start.span.start, start.span.start), "let ", "write `let`"),
            )
        if isinstance(target, ast.CallExpr) and not self._goes_on():
            return ast.ExprStatement(target, target.span)
        raise self._does_nothing(target)

    def _start_of_statement(self) -> ast.Expr:
        token = self.token
        reserved = token.kind is TokenKind.NAME and token.text in RESERVED - {"true", "false", "not"}
        if reserved or (token.kind is TokenKind.OPERATOR and token.text not in ("(", "[", "-")):
            raise self.fail(
                "EF0120", f"expected a statement, found `{token.text}`", token.span, label="starts no statement"
            )
        return self.postfix()

    def _goes_on(self) -> bool:
        token = self.token
        return (
            not token.line_start
            and token.kind is TokenKind.OPERATOR
            and token.text not in ("}", ")", "]", "{", ",", ":")
        )

    def _assign(self, target: ast.Expr) -> ast.Assign:
        if not isinstance(target, ast.NameExpr | ast.FieldExpr | ast.IndexExpr):
            raise self.fail(
                "EF0142",
                "nothing can be assigned to this",
                target.span,
                label="not a place",
                help="a state, a variable, a field of one or an element of one stands before `=`",
            )
        self.take()
        return ast.Assign(target, self.expression(), self.span_from(target.span))

    def _does_nothing(self, target: ast.Expr) -> Stop:
        following = self.token
        if isinstance(target, ast.NameExpr) and not following.line_start and following.kind is TokenKind.NAME:
            return self.fail(
                "EF0133" if target.name in FOREIGN_WORDS else "EF0141",
                f"`{target.name}` starts no statement",
                target.span,
                label="not a word of the language",
                help="a statement starts with let, var, if, for, match, emit, a place with `=`, or is a call",
            )
        return self.fail(
            "EF0141",
            "this statement does nothing",
            target.span,
            label="a value that nobody uses",
            help="name it with `let`, assign it with `=`, or remove it",
        )
