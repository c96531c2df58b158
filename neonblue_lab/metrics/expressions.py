"""The little language of metric definitions: a number to be taken from an event, and a condition that an event must meet.

`value`, `properties.price`, `properties.cart.items` and `properties['utm-source']` are read from the event; `+ - * /` and
brackets make numbers of them; `== != < <= > >=`, `in [...]`, `is null`, `is not null`, `and`, `or` and `not` make conditions.
It is written in a subset of Python's syntax and parsed by Python, but never run: it becomes SQL.
"""

import ast
from dataclasses import dataclass
from typing import Literal

Reading = Literal["number", "text", "truth"]


@dataclass(frozen=True)
class Constant:
    """A number, a text, or true or false."""

    value: float | str | bool


@dataclass(frozen=True)
class Field:
    """Something read from an event.

    Attributes:
        path: keys into `properties`; none for the event's `value`.
        reads: what it is read as. A property of another type is as if it were not there; a number written as text is one.
    """

    path: tuple[str, ...]
    reads: Reading


@dataclass(frozen=True)
class Operation:
    """An operator of SQL on its operands; `in` has the options behind the first one."""

    operator: Literal["+", "-", "*", "/", "==", "!=", "<", "<=", ">", ">=", "in", "present", "and", "or", "not"]
    operands: tuple["Node", ...]


Node = Constant | Field | Operation

_ARITHMETIC: dict[type[ast.operator], Literal["+", "-", "*", "/"]] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
}
_COMPARISONS: dict[type[ast.cmpop], Literal["==", "!=", "<", "<=", ">", ">="]] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_WORDS = {"true": True, "false": False, "null": None}


def parse_number(text: str) -> Node:
    """The expression of a number, such as `properties.price * properties.quantity`.

    Raises:
        ValueError: it is not one; the message says what is wrong where.
    """
    return _number(_body(text))


def parse_condition(text: str) -> Node:
    """The expression of a condition, such as `properties.device == 'ios' and value > 10`.

    Raises:
        ValueError: it is not one; the message says what is wrong where.
    """
    return _condition(_body(text))


def _body(text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"`{text}` is not an expression: {error}") from None


def _number(node: ast.expr) -> Node:
    match node:
        case ast.BinOp(left, operator, right) if type(operator) in _ARITHMETIC:
            return Operation(_ARITHMETIC[type(operator)], (_number(left), _number(right)))
        case ast.UnaryOp(ast.USub(), operand):
            return Operation("-", (Constant(0.0), _number(operand)))
        case ast.Constant(int() | float() as number) if not isinstance(number, bool):
            if abs(number) > 1e300:
                raise ValueError(f"`{ast.unparse(node)}` is too large a number")
            return Constant(float(number))
    return _field(node, "number")


def _condition(node: ast.expr) -> Node:
    match node:
        case ast.BoolOp(operator, values):
            return Operation("and" if isinstance(operator, ast.And) else "or", tuple(map(_condition, values)))
        case ast.UnaryOp(ast.Not(), operand):
            return Operation("not", (_condition(operand),))
        case ast.Compare(left, operators, rights):
            sides = [left, *rights]
            parts = tuple(_comparison(*part) for part in zip(sides, operators, rights, strict=False))
            return parts[0] if len(parts) == 1 else Operation("and", parts)
    raise ValueError(f"`{ast.unparse(node)}` is no condition: compare it with something")


def _comparison(left: ast.expr, operator: ast.cmpop, right: ast.expr) -> Node:
    if isinstance(operator, ast.Is | ast.IsNot):
        if _constant(right) != (None,):
            raise ValueError(f"`{ast.unparse(right)}` cannot follow `is`: only null can")
        present = Operation("present", (_field(left, "text"),))
        return present if isinstance(operator, ast.IsNot) else Operation("not", (present,))
    if isinstance(operator, ast.In | ast.NotIn):
        if not isinstance(right, ast.List | ast.Tuple) or not right.elts:
            raise ValueError(f"`{ast.unparse(right)}` must be a list in brackets, such as ['ios', 'android']")
        kinds = {_reading(option) for option in right.elts}
        if len(kinds) > 1:
            raise ValueError(f"`{ast.unparse(right)}` mixes texts and numbers")
        [reads] = kinds
        found = Operation("in", tuple(_operand(side, reads) for side in (left, *right.elts)))
        return found if isinstance(operator, ast.In) else Operation("not", (found,))
    reads = "text" if "text" in (either := {_reading(left), _reading(right)}) else min(either, key=_PREFERENCE.index)
    if reads == "truth" and not isinstance(operator, ast.Eq | ast.NotEq):
        raise ValueError("true and false are equal to something or not, neither smaller nor larger")
    return Operation(_COMPARISONS[type(operator)], (_operand(left, reads), _operand(right, reads)))


_PREFERENCE: tuple[Reading, ...] = ("truth", "number", "text")


def _reading(node: ast.expr) -> Reading:
    """What a side of a comparison is by itself: a property is a number unless it is compared with something else."""
    match _constant(node):
        case (str(),):
            return "text"
        case (bool(),):
            return "truth"
    return "number"


def _operand(node: ast.expr, reads: Reading) -> Node:
    if reads == "number":
        return _number(node)
    match _constant(node):
        case (str() | bool() as value,) if isinstance(value, bool) == (reads == "truth"):
            return Constant(value)
        case None:
            return _field(node, reads)
    raise ValueError(f"`{ast.unparse(node)}` is compared with something of another type")


def _constant(node: ast.expr) -> tuple[object] | None:
    """What a literal states, in a tuple of one; None for anything else."""
    match node:
        case ast.Constant(value):
            return (value,)
        case ast.Name(word) if word in _WORDS:
            return (_WORDS[word],)
    return None


def _field(node: ast.expr, reads: Reading) -> Field:
    keys: list[str] = []
    inner = node
    while True:
        match inner:
            case ast.Attribute(inner, key):
                keys.append(key)
            case ast.Subscript(inner, ast.Constant(str() as key)):
                if not key or any(character in key for character in "\"'\\`"):
                    raise ValueError(
                        f"`{key}` cannot be looked up: a property's name has no quotes and no backslash here"
                    )
                keys.append(key)
            case ast.Name("properties") if keys:
                return Field(tuple(reversed(keys)), reads)
            case ast.Name("value") if not keys:
                if reads != "number":
                    raise ValueError("`value` is a number, and is compared with something of another type")
                return Field((), reads)
            case _:
                raise ValueError(
                    f"`{ast.unparse(node)}` is no part of an event: there is `value`, and `properties.<name>`"
                )
