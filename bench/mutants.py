"""Mistakes to be planted: each changes one piece of source, and each must be noticed.

`old` stands exactly once in the module's source; a mutant that no longer fits its source fails
the proof as one that survives does.
"""

from dataclasses import dataclass

EVALUATE = "fhir_server.search.evaluate"
SQLITE = "fhir_server.storage.sqlite.compile"
SQLITE_ORDER = "fhir_server.storage.sqlite.order"
MONGO = "fhir_server.storage.mongo.compile"
MONGO_CHAINS = "fhir_server.storage.mongo.chains"
MONGO_ORDER = "fhir_server.storage.mongo.order"
TERMS = "fhir_server.search.terms"
EXTRACT = "fhir_server.search.extract"
PLAN = "fhir_server.search.plan"
KINDS = "fhir_server.search.kinds"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One planted mistake, named by what is then wrong."""

    name: str
    module: str
    old: str
    new: str

    @property
    def store(self) -> str | None:
        """The store whose adapter has it, or that shows what is wrong with the evaluator; None:
        the evaluator and the oracle are enough."""
        if self.module == EVALUATE:
            return "sqlite"
        found = self.module.removeprefix("fhir_server.storage.").partition(".")[0]
        return {"mongo": "mongodb", "sqlite": "sqlite"}.get(found)


MUTANTS: tuple[Mutant, ...] = (
    # The evaluator.
    Mutant("evaluator: a range has its upper bound in it", EVALUATE,
           "term[1] < high", "term[1] <= high"),
    Mutant("evaluator: the lower bound is shut out", EVALUATE, "low <= term[1]", "low < term[1]"),
    Mutant("evaluator: Not is dropped", EVALUATE, "return not evaluate(", "return evaluate("),
    Mutant("evaluator: one test of a tuple is enough", EVALUATE,
           "all(_has(element, test) for test in tests)",
           "any(_has(element, test) for test in tests)"),
    Mutant("evaluator: a tuple that lacks nothing will do", EVALUATE,
           "return not _has(element, test.test)", "return True"),
    Mutant("evaluator: a chain's own test is dropped", EVALUATE,
           "target is not None and evaluate(expression.test, target, follow)",
           "target is not None"),
    Mutant("evaluator: a tuple of any parameter will do", EVALUATE,
           "if element.param == param\n", "if element.param\n"),
    # The embedded store's compiler.
    Mutant("SQLite: a range has its upper bound in it", SQLITE, '("<", high)', '("<=", high)'),
    Mutant("SQLite: the lower bound is shut out", SQLITE, '(">=", low)', '(">", low)'),
    Mutant("SQLite: NOT is dropped", SQLITE, 'f"NOT ({inner.text})"', 'f"({inner.text})"'),
    Mutant("SQLite: one test of a tuple is enough", SQLITE,
           'together = join(" AND ", each, "1")', 'together = join(" OR ", each, "1")'),
    Mutant("SQLite: what a tuple must lack it must have", SQLITE, '("NOT ", one.test)',
           '("", one.test)'),
    Mutant("SQLite: nothing counts as everything", SQLITE, 'return Sql("0")', 'return Sql("1")'),
    Mutant("SQLite: deleted targets of chains are found", SQLITE,
           'f" AND {target}.is_deleted = 0 AND {inner.text})"', 'f" AND {inner.text})"'),
    Mutant("SQLite: links to any type are followed", SQLITE,
           '" AND link.value >= ? AND link.value < ?"',
           '" AND (link.value >= ? OR link.value < ?)"'),
    Mutant("SQLite: a reverse chain forgets the type", SQLITE,
           "link.value = {alias}.type || '/' || {alias}.id", "link.value LIKE '%/' || {alias}.id"),
    Mutant("SQLite: the source of a union is its intersection", "fhir_server.storage.sqlite.sql",
           '" UNION ".join', '" INTERSECT ".join'),
    Mutant("SQLite: words are found as patterns", SQLITE,
           'f"instr({column}, ?) > 0", (part,)', 'f"{column} LIKE ?", (f"%{part}%",)'),
    Mutant("SQLite: missing values sort first", SQLITE_ORDER, "NULLS LAST", "NULLS FIRST"),
    Mutant("SQLite: the page after starts with the match before", SQLITE_ORDER,
           '"r.id > ?"', '"r.id >= ?"'),
    Mutant("SQLite: pages of a descending sort ascend", SQLITE_ORDER,
           '"<" if key.is_descending else ">"', '">"'),
    Mutant("SQLite: matches without a sort value fall out of later pages", SQLITE_ORDER,
           "? OR {column} IS NULL)", "?)"),
    # MongoDB's compiler.
    Mutant("MongoDB: a range has its upper bound in it", MONGO, '"$lt": upper', '"$lte": upper'),
    Mutant("MongoDB: an open range runs on into other parameters", MONGO,
           "next_after(prefix) if high is None", '"\\U0010ffff" if high is None'),
    Mutant("MongoDB: Not is dropped", MONGO, '{"$nor": [to_filter(test, links)]}',
           "to_filter(test, links)"),
    Mutant("MongoDB: one test of a tuple is enough", MONGO, 'element["$and"]', 'element["$or"]'),
    Mutant("MongoDB: what a tuple must lack it must have", MONGO,
           '{"$nor": [_term_test(test.test)]}', "_term_test(test.test)"),
    Mutant("MongoDB: the first alternative alone is asked", MONGO,
           'return _joined("$or", others, NEVER)', 'return _joined("$or", others[:1], NEVER)'),
    Mutant("MongoDB: nothing counts as everything", MONGO,
           'return _joined("$or", others, NEVER)', 'return _joined("$or", others, {})'),
    Mutant("MongoDB: dots of a text are patterns", MONGO, "return _SPECIAL.sub(",
           'return re.sub(r"[$]", '),
    Mutant("MongoDB: a chain's own test is dropped", MONGO_CHAINS,
           "where = await condition(reader, chain.type, chain.test)\n    cursor",
           'where: Document = {"type": chain.type}\n    cursor'),
    Mutant("MongoDB: a reverse chain's own test is dropped", MONGO_CHAINS,
           "where = await condition(reader, chain.type, chain.test)\n    own",
           'where: Document = {"type": chain.type}\n    own'),
    Mutant("MongoDB: the corners of a circle's cells are near", MONGO_CHAINS,
           "if is_within(each, latitude, longitude, metres)]", "if each]"),
    Mutant("MongoDB: pages of a descending sort ascend", MONGO_ORDER,
           '{name: {"$lt" if key.is_descending else "$gt": value}}', '{name: {"$gt": value}}'),
    Mutant("MongoDB: missing values of several keys sort first", MONGO_ORDER,
           "None if key.is_descending else _AFTER_ALL_STRINGS", "None"),
    Mutant("MongoDB: ties of a sort key are lost between pages", MONGO_ORDER,
           '[{name: {beyond: value}}, {name: value, **beyond_id}]', "[{name: {beyond: value}}]"),
    # Encodings and what is asked of them: only the oracle can tell.
    Mutant("encodings: accents count", TERMS, "if not unicodedata.combining(each)", "if each"),
    Mutant("encodings: case counts", TERMS, 'return " ".join(text.lower().split())',
           'return " ".join(text.split())'),
    Mutant("encodings: negative numbers are in the wrong order", TERMS,
           "{digits.translate(_NINES)}~", "{digits}~"),
    Mutant("encodings: small numbers are in the wrong order", TERMS,
           "digits.translate(_NINES)\n    return chr", "digits\n    return chr"),
    Mutant("encodings: the string after a prefix is a longer one", TERMS,
           "return prefix[:index] + chr(point)", "return prefix + chr(point)"),
    Mutant("tokens: code and system change places", TERMS,
           "whole = SEPARATOR.join(parts)", "whole = SEPARATOR.join(parts[::-1])"),
    Mutant("tokens: any system will do", f"{KINDS}.token",
           "return HasTerm(asked.key, terms.joined(code, system))",
           "return starts_with(asked.key, terms.bounded(code))"),
    Mutant("tokens: :not is forgotten", PLAN, "return Not(found) if is_negated else found",
           "return found"),
    Mutant("dates: gt has the named period in it", f"{KINDS}.date",
           'case "gt":\n            return high(above(end), None)',
           'case "gt":\n            return high(above(begin), None)'),
    Mutant("dates: sa has the end of the period in it", f"{KINDS}.date",
           'case "sa":\n            return low(end, None)',
           'case "sa":\n            return low(begin, None)'),
    Mutant("dates: le means lt", f"{KINDS}.date",
           "return any_of([low(None, begin), high(None, above(end))])",
           "return low(None, begin)"),
    Mutant("dates: two values of one resource meet in the middle", f"{KINDS}.date",
           "return both(asked.key, low, high) if asked.is_repeating else all_of([low, high])",
           "return all_of([low, high])"),
    Mutant("numbers: eq forgets the written precision", f"{KINDS}.ordered",
           "value - half, value + half,", "value, value + half,"),
    Mutant("numbers: gt has the number in it", f"{KINDS}.ordered",
           "return [(above(exact), None)]", "return [(exact, None)]"),
    Mutant("numbers: ap is one percent", f"{KINDS}.ordered", "abs(value) / 10", "abs(value) / 100"),
    Mutant("quantities: `<5` has the 5 in it", f"{KINDS}.quantity",
           'comparator == "<="', 'comparator == "<"'),
    Mutant("quantities: units are not converted", f"{KINDS}.quantity",
           "converted = None if amount is None else canonical.convert(Decimal(amount))",
           "converted = amount"),
    Mutant("composites: parts of different elements meet", "fhir_server.search.composite",
           "return all_of([*components, decided])", "return all_of(components)"),
    Mutant("references: an id alone is of the first type alone", f"{KINDS}.reference",
           "for type_ in asked.targets]\n        tests",
           "for type_ in asked.targets[:1]]\n        tests"),
    Mutant("uris: :below needs more than the uri", f"{KINDS}.uri",
           "return starts_with(asked.key, _searchable(asked, value))",
           'return starts_with(asked.key, _searchable(asked, value) + "/")'),
    Mutant("sorting: descending goes by the lowest value", EXTRACT,
           "if value > highest.setdefault(parameter, value):",
           "if value < highest.setdefault(parameter, value):"),
    Mutant(":missing is turned round", PLAN,
           'return Not(present) if value == "true" else present',
           'return present if value == "true" else Not(present)'),
)  # fmt: skip
