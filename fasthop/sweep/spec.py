"""The spec of a sweep: one TOML file or mapping, checked as a whole before anything is computed or created."""

from __future__ import annotations

import difflib
import functools
import io
import itertools
import json
import math
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from fasthop.experiments.experiment import REQUIRED, Experiment, Field
from fasthop.files import read_file
from fasthop.sweep.errors import SpecError
from fasthop.sweep.stop import Stop

#: What the engine knows experiments by: their names.
Registry = Mapping[str, Experiment]

#: The one column that is no parameter of a task: raising it later extends the sweep. Its section takes `stop` instead.
REALISATIONS = "realisations"
STOP = "stop"

#: More is a slip of the pen. What a million cost is in `bench/bench_store.py`.
MOST_TASKS = 10**6
MOST_VALUES = 10**5  # of a field
MOST_REALISATIONS = 10**8

#: What a spec may have: characters, levels of tables and lists in each other, and problems that are told.
MOST_TEXT = 8 * 10**6
MOST_LEVELS = 20
MOST_PROBLEMS = 50

#: A key of so many parts that reading it takes long: its levels are more than any spec has.
_DEEP_KEY = re.compile(r"""(?<![\w"'.-])(?:[\w"'-]++[ \t]*+\.[ \t]*+){32}""", re.ASCII)

_RANGE = ("from", "to", "by")


@dataclass(frozen=True)
class Spec:
    """A checked spec.

    Attributes
    ----------
    experiment : Experiment
    seed : int
        0 to 2**64 − 1.
    values : mapping of str to tuple
        By column, in the order of the experiment's fields, what every field takes in turn.
    source : str
        The file's text, as it was written.
    stop : Stop, optional
        The rule that ends a task, where the number of realisations is not fixed.
    """

    experiment: Experiment
    seed: int
    values: Mapping[str, tuple[Any, ...]]
    source: str
    stop: Stop | None = None

    @property
    def realisations(self) -> int:
        """Realisations of every task, at most."""
        return int(self.values[REALISATIONS][0])

    @functools.cached_property
    def columns(self) -> list[str]:
        """Those that name a task: all but the number of realisations."""
        return [column for column in self.values if column != REALISATIONS]

    @functools.cached_property
    def tasks(self) -> int:
        """How many there are."""
        return math.prod(len(self.values[column]) for column in self.columns)

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Parameters of every task; the first field changes slowest."""
        for values in itertools.product(*(self.values[column] for column in self.columns)):
            yield dict(zip(self.columns, values, strict=True))

    def each_value(self) -> Iterator[dict[str, Any]]:
        """Parameters of some tasks that together have every value of every field."""
        for place in range(max(len(self.values[column]) for column in self.columns)):
            yield {column: self.values[column][place % len(self.values[column])] for column in self.columns}

    def combination(self, rank: int) -> dict[str, Any]:
        """Parameters of one task."""
        task = dict(self._first)
        for column, values in self._varied:
            rank, place = divmod(rank, len(values))
            task[column] = values[place]
        return task

    @functools.cached_property
    def _first(self) -> dict[str, Any]:
        return {column: self.values[column][0] for column in self.columns}

    @functools.cached_property
    def _varied(self) -> list[tuple[str, tuple[Any, ...]]]:
        """What varies, the fastest first."""
        return [(column, self.values[column]) for column in reversed(self.columns) if len(self.values[column]) > 1]

    def to_mapping(self) -> dict[str, Any]:
        """Spell the spec out, ranges and defaults included, so that `spec_from_mapping` gives it back."""
        mapping: dict[str, Any] = {"experiment": self.experiment.name, "seed": self.seed}
        for field in self.experiment.fields:
            values = self.values[field.column]
            if field.column == REALISATIONS and self.stop is not None:
                mapping.setdefault(field.section, {})[STOP] = self.stop.to_mapping()
            elif values != (None,):
                mapping.setdefault(field.section, {})[field.key] = list(values) if field.swept else values[0]
        return mapping


#: What a sweep can be given as.
Source = str | Path | Mapping[str, Any] | Spec


def load_spec(source: Source, registry: Registry | None = None) -> Spec:
    """Read and check a spec.

    Parameters
    ----------
    source : path, mapping or Spec
        A TOML file, what such a file would hold, or what this function has returned.
    registry : mapping of str to Experiment, optional
        The experiments to choose from; those of fasthop by default.

    Raises
    ------
    SpecError
        With everything that is wrong.
    """
    if isinstance(source, Spec):
        return source
    if isinstance(source, Mapping):
        return spec_from_mapping(source, registry)
    return spec_from_text(text_of(source, 4 * MOST_TEXT), registry)


def text_of(source: str | Path, most: int) -> str:
    """Return what a text file of a user holds; errors as in `load_spec`."""
    try:
        return io.TextIOWrapper(io.BytesIO(read_file(source, most)), encoding="utf-8-sig").read()
    except UnicodeDecodeError:
        raise SpecError([f"{source} is not UTF-8 text."]) from None
    except OSError as error:
        raise SpecError([f"{source} cannot be read: {error.strerror}."]) from None


def spec_from_text(text: str, registry: Registry | None = None) -> Spec:
    """Check the text of a TOML file; parameters and errors as in `load_spec`."""
    if len(text) > MOST_TEXT:
        raise SpecError([f"The spec must have at most {MOST_TEXT} characters: give large arrays as files."])
    return spec_from_mapping(parse_toml(text, "The spec"), registry, text)


def parse_toml(text: str, what: str) -> dict[str, Any]:
    """Return what a TOML file holds; `what` it is begins the sentence where it is none."""
    if _DEEP_KEY.search(text):
        raise SpecError([f"{what} is not TOML that can be read: one of its keys has too many parts."])
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError([f"{what} is not TOML: {error}."]) from None
    except ValueError:
        raise SpecError([f"{what} is not TOML: it has a number of too many digits."]) from None
    except RecursionError:
        raise SpecError([f"{what} is not TOML that can be read: its brackets are nested too deep."]) from None


def spec_from_mapping(mapping: Mapping[str, Any], registry: Registry | None = None, source: str = "") -> Spec:
    """Check what a TOML file would hold; parameters and errors as in `load_spec`."""
    return _checked(mapping, registry, source, Spec.combinations)


def begun_spec(mapping: Mapping[str, Any], registry: Registry | None = None, source: str = "") -> Spec:
    """Check what a sweep that was begun has of its spec; parameters and errors as in `load_spec`.

    All combinations were checked when it began. What may have changed since, such as a file that is gone, is seen by
    each value alone: a million combinations would take longer than what they are looked at for.
    """
    return _checked(mapping, registry, source, Spec.each_value)


def _checked(
    mapping: Mapping[str, Any],
    registry: Registry | None,
    source: str,
    tasks: Callable[[Spec], Iterable[dict[str, Any]]],
) -> Spec:
    given = _plain(mapping)
    problems: list[str] = []
    seed = _seed(given.get("seed", 0), problems)
    experiment = _experiment(given, experiments(registry), problems)
    if experiment is None:
        raise SpecError(problems)
    stop = _stop(given, experiment, problems)
    _refuse_unknown(given, experiment.fields, problems)
    values = {field.column: _values(field, given, problems) for field in experiment.fields}
    spec = Spec(experiment, seed, values, source, stop)
    if not problems:
        problems += _too_many(spec)
    if not problems:
        problems += _few(dict.fromkeys(_problems_together(spec, tasks(spec))))
    if problems:
        raise SpecError(_few(problems))
    return spec


def _problems_together(spec: Spec, tasks: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Say what is wrong with values taken together, of as many combinations as give enough problems to tell."""
    found: set[str] = set()
    for task in tasks:
        try:
            sentences = [f"{path} {sentence}" for path, sentence in spec.experiment.problems(task)]
        except (ArithmeticError, MemoryError) as error:
            sentences = [f"{_largest(spec, task)}: {str(error) or type(error).__name__}."]
        yield from sentences
        found.update(sentences)
        if len(found) > MOST_PROBLEMS:
            return


def _largest(spec: Spec, task: Mapping[str, Any]) -> str:
    """Name the largest number of a task, which is what a computation can fail at."""
    sizes = {_path(field): task[field.column] for field in spec.experiment.fields if field.column != REALISATIONS}
    sizes = {path: value for path, value in sizes.items() if type(value) in (int, float)}
    path = max(sizes, key=lambda path: abs(sizes[path]), default="experiment")
    return f"{path} cannot be {_shown(sizes.get(path))}"


def _few(problems: Iterable[str]) -> list[str]:
    """Return as many problems as one reads."""
    kept = list(itertools.islice(problems, MOST_PROBLEMS + 1))
    return [*kept[:MOST_PROBLEMS], "There are more problems than these."] if len(kept) > MOST_PROBLEMS else kept


def experiments(registry: Registry | None) -> Registry:
    """Return the experiments to choose from: those given, or fasthop's own."""
    if registry is not None:
        return registry
    from fasthop.experiments import EXPERIMENTS  # here, because it loads numba

    return EXPERIMENTS


class _RefusedError(ValueError):
    """One problem: where it is, and the rest of the sentence."""

    def __init__(self, path: str, sentence: str) -> None:
        super().__init__(f"{path} {sentence}")


def _plain(value: Any, level: int = 0) -> Any:
    """Return what NumPy and Python callers pass as what TOML would give."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if level > MOST_LEVELS:
        raise SpecError([f"The spec must have at most {MOST_LEVELS} levels of tables and lists in each other."])
    if isinstance(value, Mapping):
        return {str(key): _plain(entry, level + 1) for key, entry in value.items()}
    if isinstance(value, (list, tuple, range)):
        if isinstance(value, range) and len(value) > MOST_VALUES:
            raise SpecError([f"The spec must have at most {MOST_VALUES} values of a field; got {value}."])
        return [_plain(entry, level + 1) for entry in value]
    return value


def _shown(value: Any) -> str:
    """Return the value as a TOML file would spell it, cut where it is long."""
    if isinstance(value, int) and value.bit_length() > 128:  # Python refuses to print the longest
        return f"a whole number of {value.bit_length()} bits"
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except ValueError:  # such a number inside a list
        text = f"this {type(value).__name__}"
    return _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _meant(word: str, words: Sequence[str]) -> str:
    close = difflib.get_close_matches(_cut(word), words, 1)
    return f"; did you mean {close[0]}?" if close else "."


def _seed(value: Any, problems: list[str]) -> int:
    if type(value) is int and 0 <= value < 2**64:
        return value
    problems.append(f"seed must be a whole number from 0 to 2**64 - 1; got {_shown(value)}.")
    return 0


def _experiment(given: Mapping[str, Any], registry: Registry, problems: list[str]) -> Experiment | None:
    allowed = "one of " + ", ".join(map(_shown, registry))
    name = given.get("experiment")
    if name is None:
        problems.append(f"experiment is missing; it must be {allowed}.")
    elif not isinstance(name, str) or name not in registry:
        problems.append(f"experiment must be {allowed}; got {_shown(name)}{_meant(_shown(name), list(registry))}")
    else:
        return registry[name]
    return None


def _path(field: Field) -> str:
    return f"{field.section}.{field.key}"


def _refuse_unknown(given: Mapping[str, Any], fields: Sequence[Field], problems: list[str]) -> None:
    sections = list(dict.fromkeys(field.section for field in fields))
    paths = ["experiment", "seed", *map(_path, fields)]
    meant = [*paths, *(f"{field.section}.{STOP}" for field in fields if field.column == REALISATIONS)]

    def no_such_key(path: str) -> str:
        key = path.rpartition(".")[2]
        elsewhere = [known for known in paths if known.rpartition(".")[2] == key]  # right key, wrong section
        return f"{_cut(path)} is no key of this experiment{_meant(elsewhere[0] if elsewhere else path, meant)}"

    for name, section in given.items():
        if name in ("experiment", "seed") or len(problems) > MOST_PROBLEMS:
            continue
        if name in sections and not isinstance(section, dict):
            problems.append(f"{name} must be a section, [{name}]; got {_shown(section)}.")
        elif name in sections:
            problems += _few(no_such_key(f"{name}.{key}") for key in section if f"{name}.{key}" not in paths)
        elif isinstance(section, dict):
            problems.append(f"{_cut(name)} is no section of this experiment{_meant(name, sections)}")
        else:
            problems.append(no_such_key(name))


_STOP_FIELDS = {
    "half_width": Field("", "half_width", "half_width", float, None, False, least=1e-6, most=0.5),
    "failures": Field("", "failures", "failures", int, None, False, least=1),
    "min": Field("", "min", "min", int, None, False, least=2),
    "max": Field("", "max", "max", int, None, False, least=2),
}


def _stop(given: dict[str, Any], experiment: Experiment, problems: list[str]) -> Stop | None:
    """Take the rule out of the section of the number of realisations, and put its largest number there instead."""
    field = next(field for field in experiment.fields if field.column == REALISATIONS)
    section, path = given.get(field.section), f"{field.section}.{STOP}"
    if not isinstance(section, dict) or section.get(STOP) is None:
        return None
    table = section[STOP]
    given[field.section] = section = {key: value for key, value in section.items() if key != STOP}
    if experiment.counts is None:
        problems.append(f"{path} is no key of {experiment.name}, whose trials are independent: give {_path(field)}.")
    if section.get(field.key) is not None:
        problems.append(f"{path} and {_path(field)} exclude each other; got both.")
    if not isinstance(table, dict):
        due = "a table { half_width = …, failures = …, min = …, max = … }, of half_width and failures at least one"
        problems.append(f"{path} must be {due}; got {_shown(table)}.")
        table = {}
    else:
        paths = [f"{path}.{key}" for key in _STOP_FIELDS]
        problems += [
            f"{path}.{_cut(key)} is no key of a rule{_meant(f'{path}.{key}', paths)}"
            for key in sorted(table.keys() - _STOP_FIELDS)[:MOST_PROBLEMS]
        ]
        if table.get("half_width") is None and table.get("failures") is None:
            problems.append(f"{path} must have half_width or failures, or both.")
        problems += [
            f"{path}.{key} is missing; it must be {_allowed(_STOP_FIELDS[key])}."
            for key in ("min", "max")
            if table.get(key) is None
        ]
    values: dict[str, Any] = {}
    for key, part in _STOP_FIELDS.items():
        if table.get(key) is not None:
            try:
                (values[key],) = _parse_number(part, f"{path}.{key}", table[key])
            except _RefusedError as problem:
                problems.append(str(problem))
    least, most = values.get("min", 2), values.get("max", 2)
    if "min" in values and "max" in values and most < least:
        problems.append(f"{path}.max must be at least {least}, the min; got {most}.")
    section[field.key] = most
    return Stop(least, most, values.get("half_width"), values.get("failures"))


def _too_many(spec: Spec) -> list[str]:
    tasks = spec.tasks
    swept = [_path(field) for field in spec.experiment.fields if len(spec.values[field.column]) > 1]
    if tasks > MOST_TASKS:
        return [f"{' × '.join(swept)} must multiply into at most {MOST_TASKS} tasks; got {tasks}."]
    if tasks * spec.realisations > MOST_REALISATIONS:
        path = next(_path(field) for field in spec.experiment.fields if field.column == REALISATIONS)
        total = f"{spec.realisations} for each of {tasks} tasks"
        return [f"{path} must come to at most {MOST_REALISATIONS} in all tasks together; got {total}."]
    return []


# --- one field ------------------------------------------------------------------------------------------------------


def _values(field: Field, given: Mapping[str, Any], problems: list[str]) -> tuple[Any, ...]:
    """Return what a field takes in turn; nothing where that is a problem."""
    section = given.get(field.section, {})
    raw = section.get(field.key) if isinstance(section, dict) else None
    raw = field.default if raw is None else raw
    path = _path(field)
    if raw is REQUIRED:
        problems.append(f"{path} is missing; it must be {_allowed(field)}.")
        return ()
    if raw is None:
        return (None,)
    try:
        items = [raw] if field.kind is list else _spread(field, path, raw)
    except _RefusedError as problem:
        problems.append(str(problem))
        return ()
    values: list[Any] = []
    wrong = len(problems)
    for item in items:
        try:
            values += [_completed(field, path, value) for value in _PARSERS[field.kind](field, path, item)]
            if len(values) > MOST_VALUES:
                raise _RefusedError(path, f"must have at most {MOST_VALUES} values; got more.")
        except _RefusedError as problem:
            problems.append(str(problem))
        if len(problems) > wrong + MOST_PROBLEMS or len(values) > MOST_VALUES:
            return ()
    times = Counter(map(_spelled, values))
    twice = [(value, count) for value, count in times.items() if count > 1]
    told = twice[: MOST_PROBLEMS + 1]
    problems += [f"{path} must have every value once; got {_cut(value)} {count} times." for value, count in told]
    return tuple(values)


_spelled = json.JSONEncoder(sort_keys=True).encode


def _completed(field: Field, path: str, value: Any) -> Any:
    if field.complete is None:
        return value
    try:
        return field.complete(value)
    except (TypeError, ValueError) as error:
        raise _RefusedError(path, f"cannot be {_shown(value)}: {error}") from None


def _spread(field: Field, path: str, raw: Any, kind: type | None = None) -> list[Any]:
    """Return the entries of a list or a range, or the one value."""
    kind = kind or field.kind
    is_range = isinstance(raw, dict) and kind in (int, float)
    if not is_range and not isinstance(raw, list):
        return [raw]
    if not field.swept:
        raise _RefusedError(path, f"must be one value; got a {'range' if is_range else 'list'}.")
    if is_range:
        return _range(path, raw, kind)
    if not raw:
        raise _RefusedError(path, "must have at least one value; got an empty list.")
    return list(raw)


def _range(path: str, table: dict[str, Any], kind: type) -> list[int | float]:
    if set(table) != set(_RANGE):
        raise _RefusedError(path, f"must be a range as {{ from = …, to = …, by = … }}; got {_shown(table)}.")
    first, last, step = (_number(f"{path}.{key}", table[key], kind) for key in _RANGE)
    if step <= 0:
        raise _RefusedError(f"{path}.by", f"must be above 0; got {_shown(step)}.")
    if last < first:
        raise _RefusedError(f"{path}.to", f"must be at least {_shown(first)}, the start; got {_shown(last)}.")
    steps = (last - first) / step
    if steps >= MOST_VALUES:
        raise _RefusedError(path, f"must have at most {MOST_VALUES} values; got {_shown(table)}.")
    values = [first + i * step for i in range(int(steps + 1e-9) + 1)]
    # Rounded, 0.02, 0.04, 0.06 are the numbers that one would have written.
    return values if kind is int else [float(f"{value:.12g}") for value in values]


def _number(path: str, value: Any, kind: type, least: float | None = None, most: float | None = None) -> Any:
    """Return a finite int or float; what TOML has as 1 may stand for 1.0, but not the other way."""
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        number = kind(value)
    elif isinstance(value, float) and math.isfinite(value) and kind is float:
        number = value + 0.0  # -0.0 is 0.0
    else:
        hint = f"; write {int(value)}" if isinstance(value, float) and value.is_integer() and kind is int else ""
        raise _RefusedError(path, f"must be {_numbers(kind, least, most)}; got {_shown(value)}{hint}.")
    if (least is not None and number < least) or (most is not None and number > most):
        raise _RefusedError(path, f"must be {_numbers(kind, least, most)}; got {_shown(value)}.")
    return number


def _numbers(kind: type, least: float | None, most: float | None) -> str:
    name = "a whole number" if kind is int else "a finite number"
    if least is None:
        return name if most is None else f"{name} of at most {most:g}"
    return f"{name} of at least {least:g}" if most is None else f"{name} from {least:g} to {most:g}"


def _allowed(field: Field) -> str:
    """Say what one value of the field is."""
    words = "one of " + ", ".join(map(_shown, field.choices)) if field.choices else "text"
    if field.kind is bool:
        return "true or false"
    if field.kind is str:
        return words
    if field.kind is dict:
        return f"{words}, or a table {{ name = …, … }}"
    if field.kind is list:
        return f"a list of numbers, or of such lists; each is {_numbers(float, field.least, field.most)}"
    return _numbers(field.kind, field.least, field.most)


def _refuse(field: Field, path: str, value: Any) -> NoReturn:
    meant = _meant(value, field.choices) if isinstance(value, str) else "."
    raise _RefusedError(path, f"must be {_allowed(field)}; got {_shown(value)}{meant}")


def _parse_number(field: Field, path: str, value: Any) -> list[Any]:
    return [_number(path, value, field.kind, field.least, field.most)]


def _parse_bool(field: Field, path: str, value: Any) -> list[Any]:
    return [value] if isinstance(value, bool) else _refuse(field, path, value)


def _parse_str(field: Field, path: str, value: Any) -> list[Any]:
    fits = isinstance(value, str) and (not field.choices or value in field.choices)
    return [value] if fits else _refuse(field, path, value)


def _parse_table(field: Field, path: str, value: Any) -> list[Any]:
    """Multiply out the parameters of a named thing: flat tables, `name` first and every other entry a float."""
    table = value if isinstance(value, dict) else {"name": value}
    if "name" not in table:
        raise _RefusedError(f"{path}.name", f"is missing; {path} must be {_allowed(field)}.")
    parameters = [("name", _parse_str(field, path, table["name"]))]
    for key in sorted(table.keys() - {"name"}):
        place = f"{path}.{_cut(key)}"
        parameters.append((key, [_number(place, item, float) for item in _spread(field, place, table[key], float)]))
        if math.prod(len(choices) for _, choices in parameters) > MOST_VALUES:
            raise _RefusedError(path, f"must multiply into at most {MOST_VALUES} values; got more.")
    names, values = zip(*parameters, strict=True)
    return [dict(zip(names, choice, strict=True)) for choice in itertools.product(*values)]


def _parse_list(field: Field, path: str, value: Any) -> list[Any]:
    def parse(value: Any) -> Any:
        if isinstance(value, list):
            return [parse(entry) for entry in value]
        return _number(path, value, float, field.least, field.most)

    return [parse(value)] if isinstance(value, list) else _refuse(field, path, value)


_PARSERS: Mapping[type, Callable[[Field, str, Any], list[Any]]] = {
    bool: _parse_bool,
    dict: _parse_table,
    float: _parse_number,
    int: _parse_number,
    list: _parse_list,
    str: _parse_str,
}
