"""Makes sequences from a seed: what clients do, what they should not do, and what nobody does.

A sequence is put together from phrases. Each phrase is a method whose name says what it does, and a
row of PHRASES with its weight and with the least pool mode in which a client may do it. Names of
statements and portals come from small sets, so that they collide: already there, not there, closed
too early are as frequent as what works.
"""

import random

import compare

NAMES = ["", "s1", "s2", "a statement's longer name"]
PORTALS = ["", "p1", "s1"]  # one of them named like a statement

# Text, types of its parameters, values. Deterministic: no clock, no order left open.
STATEMENTS = [
    ("SELECT 1", [], []),
    ("SELECT $1::int + 1 AS sum", [], ["41"]),
    ("SELECT $1::int + 1 AS sum", [23], ["41"]),
    ("SELECT $1", [25], ["text"]),
    ("SELECT $1, $2::text", [23], ["1", None]),
    ("SELECT i, t FROM small ORDER BY i", [], []),
    ("SELECT i FROM small WHERE i > $1 ORDER BY i", [], ["3"]),
    ("SELECT 10 / $1::int", [], ["0"]),
    ("SELECT * FROM fails_at($1) ORDER BY 1", [], ["4"]),
    ("SELECT notices($1)", [], ["2"]),
    ("SELECT repeat($1, $2::int)", [25], ["xy", "9000"]),
    ("INSERT INTO w VALUES ($1, $2, $3)", [], ["1", "one", "1.5"]),
    ("INSERT INTO w VALUES ($1, 'v', 2000)", [], ["2"]),
    ("INSERT INTO late VALUES ($1), ($1)", [], ["7"]),
    ("UPDATE w SET n = coalesce(n, 0) + 1 WHERE id = $1 RETURNING id, n", [], ["1"]),
    ("DELETE FROM w", [], []),
    ("SELECT count(*), sum(n) FROM w", [], []),
    ("SELECT nextval('numbers')", [], []),
    ("SHOW application_name", [], []),
    ("", [], []),
    ("-- nothing but a comment", [], []),
    ("SELECT 1; SELECT 2", [], []),
    ("SELEC 1", [], []),
    ("SELECT nothing FROM nowhere", [], []),
    ("SELECT $1::int", [], ["not a number"]),
    ("VALUES (1, 'a'), (2, 'b'), (3, NULL)", [], []),
]
IN_TRANSACTIONS = [("BEGIN", [], []), ("COMMIT", [], []), ("ROLLBACK", [], []),
                   ("SAVEPOINT a", [], []), ("ROLLBACK TO a", [], [])]

QUERIES = [
    "SELECT 1", "SELECT 1; SELECT 2; SELECT 3", "SELECT 1; SELECT 1/0; SELECT 3",
    "SELECT i, t FROM small ORDER BY i", "SELECT NULL, '', 'a', 1.5, true, ARRAY[1, 2]",
    "SELECT i, t FROM big ORDER BY i LIMIT 300", "", ";", "  ", ";;;", "-- nothing", "SELEC",
    "SELECT 'unfinished", "SELECT * FROM fails_at(5)", "SELECT notices(3)", "SELECT notices(40)",
    "DO $$ BEGIN RAISE WARNING 'careful'; END $$", "SELECT repeat('z', 20000)",
    "INSERT INTO w SELECT i, 'q', i FROM generate_series(10, 14) i",
    "INSERT INTO w VALUES (1, 'q', 1) ON CONFLICT (id) DO UPDATE SET n = w.n + 1 RETURNING *",
    "UPDATE w SET v = v || '!' WHERE id < 12", "DELETE FROM w WHERE id = 10",
    "INSERT INTO late VALUES (1), (1)", "SELECT count(*), min(id), max(v), sum(n) FROM w",
    "SELECT 1 AS a, 2 AS b WHERE false", "VALUES (1), (2)", "SHOW TimeZone", "SHOW DateStyle",
    "SHOW application_name", "SELECT '2020-02-03'::date, '1 day 2 hours'::interval",
    "EXPLAIN (COSTS OFF) SELECT 1", "SELECT nextval('numbers')",
    "SELECT 1/0", "SELECT pg_notify('nobody', 'listens')", "ROLLBACK", "COMMIT",
    "CREATE TABLE small (i int)", "SELECT current_user, session_user, current_database()",
]
BLOCKS = ["BEGIN", "BEGIN; SELECT 1", "COMMIT", "ROLLBACK", "SAVEPOINT a", "ROLLBACK TO a",
          "RELEASE a", "BEGIN; SELECT 1/0", "BEGIN READ ONLY", "COMMIT; BEGIN", "END; SELECT 1",
          "BEGIN; INSERT INTO late VALUES (5), (5); COMMIT", "COMMIT AND CHAIN",
          "SET LOCAL TimeZone = 'Asia/Tokyo'", "DECLARE c CURSOR FOR SELECT i FROM big ORDER BY i",
          "FETCH 3 FROM c", "MOVE 5 IN c", "CLOSE c", "LOCK TABLE w",
          "SELECT set_config('DateStyle', 'German', true)",
          "CREATE TEMP TABLE gone ON COMMIT DROP AS SELECT 1 AS a", "SELECT * FROM gone"]
REPORTED = [("application_name", ["a", "''", "'two words'", "DEFAULT"]),
            ("DateStyle", ["'SQL, DMY'", "ISO", "DEFAULT", "nonsense"]),
            ("TimeZone", ["'Europe/Berlin'", "'UTC'", "DEFAULT", "'No/Where'"]),
            ("IntervalStyle", ["iso_8601", "postgres"]),
            ("client_encoding", ["LATIN1", "UTF8"]),
            ("standard_conforming_strings", ["off", "on"])]
SESSION = ["PREPARE s1 AS SELECT 'by SQL'", "EXECUTE s1", "DEALLOCATE s1", "LISTEN here",
           "NOTIFY here, 'news'", "UNLISTEN *", "SET work_mem = '5MB'", "SHOW work_mem",
           "RESET ALL", "SELECT pg_advisory_lock(1)", "SELECT pg_advisory_unlock_all()",
           "CREATE TEMP TABLE kept (a int)", "INSERT INTO kept VALUES (1)", "SELECT * FROM kept",
           "SELECT name, statement, from_sql FROM pg_prepared_statements ORDER BY 1",
           "SELECT lastval()", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
           "DECLARE h CURSOR WITH HOLD FOR SELECT i FROM small ORDER BY i", "FETCH 2 FROM h",
           "SET ROLE app", "SELECT set_config('custom.one', 'kept', false)",
           # Once it was set it stays known, as an empty text, even after DISCARD ALL.
           "SELECT coalesce(nullif(current_setting('custom.one', true), ''), 'none')"]
# What stays on a server connection, so that the client of a pool keeps it; and what ends that.
PINNING = ["SELECT pg_advisory_lock(1)", "SELECT pg_advisory_unlock(1)",
           "SELECT pg_advisory_unlock_all()", "CREATE TEMP TABLE kept (a int)", "DISCARD TEMP",
           "INSERT INTO kept VALUES (1)", "SELECT * FROM kept", "DROP TABLE kept", "CLOSE h",
           "DECLARE h CURSOR WITH HOLD FOR SELECT i FROM small ORDER BY i", "FETCH 2 FROM h",
           "SELECT pg_advisory_lock(2); SELECT 1/0", "BEGIN; CREATE TEMP TABLE kept (a int)"]
# Nobody notifies here: when news come is nobody's promise.
CHANNELS = ["LISTEN here", "LISTEN there", "UNLISTEN here", "UNLISTEN *", "LISTEN here; SELECT 1/0",
            "SELECT pg_listening_channels() ORDER BY 1", "BEGIN; LISTEN there",
            "LISTEN here; UNLISTEN there", "NOTIFY nobody, 'news'"]
# What a server does not report, and yet belongs to the session. No name means something else under
# any of these: a Parse of a text that a connection knows already is answered without the server,
# and what is wrong with it then is told by its Bind.
UNREPORTED = ["SET work_mem = '5MB'", "SET SESSION work_mem TO '6MB'", "SET LOCAL work_mem = '7MB'",
              "SHOW work_mem", "RESET work_mem", "SET work_mem TO DEFAULT", "SET work_mem = 'many'",
              "SET search_path = pg_catalog, public", "SHOW search_path", "RESET search_path",
              "SELECT current_schemas(false)", "SET ROLE pg_monitor", "SET ROLE NONE",
              "SELECT current_user", "SELECT set_config('work_mem', '8MB', false)",
              "SELECT set_config('custom.two', 'told', false)",
              "SELECT coalesce(nullif(current_setting('custom.two', true), ''), 'none')",
              "SET custom.two = 'said'", "SET extra_float_digits = 0; SELECT 0.1::float8 / 3",
              "SELECT 0.1::float8 / 3", "SET work_mem = '9MB'; SELECT 1/0",
              "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SHOW transaction_read_only",
              "SET default_transaction_read_only = off"]
# PREPARE and its kin, of the names that Parse gives too: {0} is one of them, {1} a text, {2} its
# values.
SQL_PREPARED = [
    "PREPARE {0} AS {1}", "PREPARE {0} AS {1}", "PREPARE {0} (int, text) AS {1}",
    "prepare {0}(int4) as {1};", "EXECUTE {0}", "EXECUTE {0}{2}", "EXECUTE {0}{2}",
    "EXECUTE {0} {2};", "/* why */ EXECUTE {0}(nothing)", "EXECUTE {0}(1, 2, 3)",
    "DEALLOCATE {0}", "DEALLOCATE PREPARE {0};", "DEALLOCATE {0}",
    "EXPLAIN (COSTS OFF) EXECUTE {0}{2}"]
SQL_PREPARED_STRINGS = [
    "PREPARE {0} AS {1}; EXECUTE {0}{2}", "DEALLOCATE {0}; PREPARE {0} AS {1}; EXECUTE {0}{2}",
    "EXECUTE {0}{2}; EXECUTE {0}{2}", "DEALLOCATE {0}; EXECUTE {0}{2}", "SELECT 1; EXECUTE {0}(no)",
    "PREPARE {0} (int) AS {1}; SELECT 1", "DEALLOCATE {0}; SELECT 1/0",
    "DEALLOCATE ALL; EXECUTE {0}",
    "PREPARE {0} (text) AS {1}; DEALLOCATE {0}; PREPARE {0} AS SELECT 5; EXECUTE {0}"]
SQL_NAMES = ["s1", "S1", "s2", '"s2"', '"a statement\'s longer name"', "other"]
COPY_OUT = ["COPY small TO STDOUT", "COPY big TO STDOUT", "COPY (SELECT 1 WHERE false) TO STDOUT",
            "COPY small TO STDOUT (FORMAT binary)", "COPY (SELECT * FROM fails_at(6)) TO STDOUT",
            "COPY nowhere TO STDOUT", "COPY (SELECT notices(3)) TO STDOUT CSV HEADER",
            "SELECT 1; COPY small TO STDOUT; SELECT 2"]
COPY_IN = ["COPY w FROM STDIN", "COPY w FROM STDIN CSV", "COPY w (id) FROM STDIN",
           "COPY nowhere FROM STDIN", "COPY w FROM STDIN (FORMAT binary)",
           "SELECT 1; COPY w FROM STDIN; SELECT 2", "COPY late FROM STDIN"]
COPY_LINES = ["1\tone\t1\n", "2\ttwo\t2\n", "3\t\\N\t\\N\n", "1\tagain\t1\n",
              "not a number\tx\t1\n", "4\n", "5,csv,5\n", "6\tbig\t5000\n", "\\.\n",
              "7\thal", "f\t7\n", "8\n8\n"]


class Maker:
    """One sequence in the making."""

    def __init__(self, rng, functions, mode):
        self.rng = rng
        self.mode = mode
        self.functions = functions
        self.known = {}  # name -> values that fit what was prepared under it, as far as we can tell

    def one(self, choices):
        return self.rng.choice(choices)

    def chance(self, share):
        return self.rng.random() < share

    # Phrases return a chunk, or a list of chunks to be sent one after another.

    def simple(self):
        return [["Q", self.one(QUERIES)]]

    def block(self):
        return [["Q", self.one(BLOCKS)]]

    def setting(self):
        name, values = self.one(REPORTED)
        return [["Q", f"SET {self.one(['', 'SESSION ', 'LOCAL '])}{name} = {self.one(values)}"]]

    def reset_setting(self):
        return [["Q", self.one(["RESET application_name", "RESET TimeZone", "RESET ALL",
                                "SELECT sets('by function')"])]]

    def discard(self):
        return [["Q", self.one(["DISCARD ALL", "DEALLOCATE ALL", "DISCARD PLANS"])]]

    def session(self):
        return [["Q", self.one(SESSION)]]

    def _said(self, text):
        """As a query, or prepared, where it is one statement."""
        if ";" in text or self.chance(0.6):
            return [["Q", text]]
        name = self.one(["", "s1", "s2"])
        self.known[name] = []
        return [["C", "S", name], ["P", name, text, []], ["B", "", name, [], [], []], ["E", "", 0],
                ["S"]]

    def _alone(self, texts):
        """Those that a mode allows: no transaction blocks in statement mode."""
        return [text for text in texts if self.mode != "statement" or "BEGIN" not in text]

    def pinning(self):
        return self._said(self.one(self._alone(PINNING)))

    def channels(self):
        return self._said(self.one(self._alone(CHANNELS)))

    def unreported(self):
        return self._said(self.one(UNREPORTED))

    def _sql_prepared(self, texts):
        text, _, values = self.one(STATEMENTS)
        listed = ", ".join("NULL" if v is None else f"'{v}'" for v in values)
        return self.one(texts).format(self.one(SQL_NAMES), text, f"({listed})" if values else "")

    def sql_prepared(self):
        """Names that SQL gives to statements, one by one and in strings."""
        return [[["Q", self._sql_prepared(self.one([SQL_PREPARED] * 3 + [SQL_PREPARED_STRINGS]))]]
                for _ in range(self.rng.randint(1, 5))]

    def sql_prepared_extended(self):
        """The same by the extended protocol. No such text stays the unnamed statement: bound again
        later it would execute what its names meant to the proxy when it was parsed, which
        docs/internals/state.md tells."""
        found = []
        for _ in range(self.rng.randint(1, 4)):
            found += [["P", "", self._sql_prepared(SQL_PREPARED), []], ["B", "", "", [], [], []]]
            found += [["D", "P", ""]] if self.chance(0.6) else []
            found += [["E", "", 0]]
            found += [["S"]] if self.chance(0.7) else []
        return [*found, ["S"], ["P", "", "SELECT 'over'", []], ["S"]]

    def pipeline(self):
        """Several simple queries at once."""
        return [item for _ in range(self.rng.randint(2, 6)) for item in self.simple()]

    def copy_out(self):
        if self.chance(0.7):
            return [["Q", self.one(COPY_OUT)]]
        return [["P", "", self.one(COPY_OUT[:-1]), []], ["B", "", "", [], [], []],
                ["E", "", self.one([0, 0, 1])], ["S"]]

    def copy_ending(self, may_break):
        """How COPY FROM STDIN ends. With a Sync in its middle not by what does not belong there: it
        cannot be told then which answers are still to come. In a pool only that of an Execute: else
        nobody but the server can know whether a failed COPY still swallowed it, and a pooler may
        then give up the session."""
        ends = [["c"], ["c"], ["c"], ["f", "the client's own reason"]]
        breaks = [["P", "", "SELECT 1", []], ["B", "", "s1", [], [], []], ["D", "S", "s2"],
                  ["E", "", 0], ["Q", "SELECT 1"]]
        others = [["S"], ["H"]]
        if self.mode != "session":
            others = []
        if may_break and self.chance(0.5):
            others = breaks
        ending = self.one(ends + others)
        late = [["d", self.one(COPY_LINES)] for _ in range(self.rng.randint(0, 2))]
        is_late = self.chance(0.15) and (self.mode == "session" or may_break)
        return [ending, *(late if is_late else []),
                *([["c"]] if ending[0] not in "cf" or self.chance(0.1) else [])]

    def copy_in(self):
        data = [["d", self.one(COPY_LINES)] for _ in range(self.rng.randint(0, 6))]
        if self.chance(0.08):
            data.append(["d", {"fill": "9\tlong\t1\n", "size": self.rng.randint(1, 30000)}])
        may_break = True
        if self.chance(0.2):
            where = self.rng.randint(0, len(data)) if self.mode == "session" else 0
            data.insert(where, [self.one(["S", "H"])])
            may_break = data[where][0] == "H"
        text = self.one(COPY_IN)
        if self.chance(0.6):
            first, last = [["Q", text]], []
            may_break = may_break and self.mode == "session"
        else:
            first = [["P", "", text, []], ["B", "", "", [], [], []], ["E", "", 0]]
            if self.chance(0.3):
                first.append(["S"])
                may_break = may_break and self.mode == "session"
            last = [["S"]]
        everything = [*data, *self.copy_ending(may_break), *last]
        if self.chance(0.5):
            return [*first, *everything]
        return [first, everything]

    def function(self):
        name, oid = self.one(sorted(self.functions.items()))
        values = {"int4abs": ["-5"], "notices": ["2"], "textcat": ["a", "b"],
                  "int4div": ["1", "0"]}[name]
        if self.chance(0.15):
            values = values[1:]
        if self.chance(0.1):
            oid = 999999
        return [["F", oid, values]]

    def stray(self):
        """Copy messages where there is no copy: servers let them pass."""
        return [["d", "late\n"], self.one([["c"], ["f", "late"], ["d", "more\n"]]), ["S"]]

    def _parse(self, statements):
        text, types, values = self.one(statements)
        name = self.one(NAMES)
        self.known[name] = values
        return ["P", name, text, types]

    def _bind(self):
        name = self.one(NAMES)
        values = list(self.known.get(name, []))
        if self.chance(0.06):
            values.append("too many")
        if values and self.chance(0.02):
            values[0] = {"fill": "big", "size": self.rng.choice([3000, 40000, 400000])}
        formats = self.one([[], [], [0], [0, 0, 0]]) if self.chance(0.2) else []
        return ["B", self.one(PORTALS), name, values, formats, self.one([[], [], [], [0], [1]])]

    def _piece(self, statements):
        which = self.rng.random()
        if which < 0.22:
            return [self._parse(statements)]
        if which < 0.42:
            return [self._bind()]
        if which < 0.62:
            return [["E", self.one(PORTALS), self.one([0, 0, 0, 1, 2, 5])]]
        if which < 0.76:
            kind = self.one("SP")
            return [["D", kind, self.one(NAMES if kind == "S" else PORTALS)]]
        if which < 0.84:
            kind = self.one("SP")
            return [["C", kind, self.one(NAMES if kind == "S" else PORTALS)]]
        if which < 0.90:
            return [["H"]]
        if which < 0.98:
            return [["S"]]
        return [["Q", self.one(QUERIES)]]

    def _well_formed(self, statements):
        text, types, values = self.one(statements)
        name = self.one(NAMES)
        self.known[name] = values
        found = [["C", "S", name]] if name and self.chance(0.7) else []
        found += [["P", name, text, types]]
        if self.chance(0.3):
            found += [["D", "S", name]]
        found += [["B", "", name, values, [], []]]
        if self.chance(0.6):
            found += [["D", "P", ""]]
        return [*found, ["E", "", 0]]

    def well_formed(self, statements=None):
        found = []
        for _ in range(self.rng.randint(1, 4)):
            found += self._well_formed(statements or STATEMENTS)
            if self.chance(0.4):
                found += [["S"]]
        return [*found, ["S"]]

    def wild(self, statements=None):
        """Anything in any order."""
        found = [piece for _ in range(self.rng.randint(1, 10))
                 for piece in self._piece(statements or STATEMENTS)]
        return [*found, ["S"]] if self.chance(0.9) else [*found, ["H"]]

    def well_formed_block(self):
        return self.well_formed(STATEMENTS + IN_TRANSACTIONS * 2)

    def wild_block(self):
        return self.wild(STATEMENTS + IN_TRANSACTIONS * 2)

    def again(self):
        """What was prepared, run once more."""
        name = self.one(NAMES)
        return [["B", "", name, list(self.known.get(name, [])), [], []], ["E", "", 0], ["S"]]

    def suspended(self):
        """A portal that is read piece by piece."""
        portal = self.one(PORTALS)
        chunks = [[["P", "", "SELECT i FROM small ORDER BY i", []], ["B", portal, "", [], [], []],
                   ["E", portal, 3], ["H"]]]
        for _ in range(self.rng.randint(1, 3)):
            chunks.append([["E", portal, self.one([2, 4, 0])], [self.one("HHHS")]])
        return [*chunks, [["S"]]]


SESSION_MODE, TRANSACTION_MODE, ANY_MODE = ({"session"}, {"session", "transaction"},
                                            set(compare.MODES))
PHRASES = [
    (10, ANY_MODE, Maker.simple),
    (3, ANY_MODE, Maker.pipeline),
    (8, TRANSACTION_MODE, Maker.block),
    (4, ANY_MODE, Maker.setting),
    (1, ANY_MODE, Maker.reset_setting),
    (1, ANY_MODE, Maker.discard),
    (4, SESSION_MODE, Maker.session),
    (3, ANY_MODE, Maker.pinning),
    (2, ANY_MODE, Maker.channels),
    (4, ANY_MODE, Maker.sql_prepared),
    (3, ANY_MODE, Maker.sql_prepared_extended),
    (3, ANY_MODE, Maker.copy_out),
    (5, ANY_MODE, Maker.copy_in),
    (2, ANY_MODE, Maker.function),
    (1, ANY_MODE, Maker.stray),
    (7, ANY_MODE, Maker.well_formed),
    (7, ANY_MODE, Maker.wild),
    (4, TRANSACTION_MODE, Maker.well_formed_block),
    (4, TRANSACTION_MODE, Maker.wild_block),
    (5, ANY_MODE, Maker.again),
    (3, ANY_MODE, Maker.suspended),
]
# Of sequences about settings that are not reported. In transaction mode the proxy asks after such a
# statement what became of the session.
SETTING_PHRASES = [
    (6, ANY_MODE, Maker.unreported),
    (2, ANY_MODE, Maker.setting),
    (1, ANY_MODE, Maker.reset_setting),
    (1, ANY_MODE, Maker.discard),
    (3, TRANSACTION_MODE, Maker.block),
    (3, ANY_MODE, Maker.simple),
    (1, ANY_MODE, Maker.pipeline),
    (2, ANY_MODE, Maker.pinning),
    (1, ANY_MODE, Maker.copy_out),
    (3, TRANSACTION_MODE, Maker.well_formed_block),
    (3, ANY_MODE, Maker.again),
    (2, TRANSACTION_MODE, Maker.wild_block),
]
DELIVERIES = {"steps": 5, "burst": 3, "all": 1, "cut": 2}  # see exchange.run()


def goes_back(message):
    """A setting returns to what the session began with, which in a pool is what the connection
    began with: the values of the client's own StartupMessage are not known there. Only DISCARD ALL,
    which never stands in a block, is seen to."""
    text = message[1] if message[0] == "Q" else message[2] if message[0] == "P" else ""
    return text.startswith("RESET ") or text.endswith("= DEFAULT")


def generate(seed, mode, functions):
    """The sequence of a seed that is legal in a mode."""
    rng = random.Random(f"{mode} {seed}")
    maker = Maker(rng, functions, mode)
    allowed = [(weight, phrase) for weight, modes, phrase in PHRASES if mode in modes]
    if rng.random() < 0.3:
        allowed = [(weight, phrase) for weight, modes, phrase in SETTING_PHRASES if mode in modes]
    chunks = []
    for _ in range(rng.randint(1, 8)):
        phrase, = rng.choices([p for _, p in allowed], [w for w, _ in allowed])
        found = phrase(maker)
        chunks += found if isinstance(found[0][0], list) else [found]
    parameters = {}
    if rng.random() < 0.2:
        parameters = rng.choice([{"application_name": "named"}, {"DateStyle": "SQL, DMY"},
                                 {"TimeZone": "Asia/Tokyo", "client_encoding": "LATIN1"},
                                 {"options": "-c IntervalStyle=iso_8601"}])
    if mode != "session" and any(goes_back(message) for chunk in chunks for message in chunk):
        parameters = {}
    delivery = rng.choices(list(DELIVERIES), DELIVERIES.values())[0]
    return {"mode": mode, "seed": seed, "delivery": delivery, "parameters": parameters,
            "chunks": chunks}
