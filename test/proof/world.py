"""The tables and functions that sequences speak of, the same before each run."""

import pgwire
from demo_process import wait_until

SETUP = [
    "CREATE TABLE small (i int PRIMARY KEY, t text)",
    "INSERT INTO small SELECT i, 'row ' || i FROM generate_series(1, 10) i",
    "CREATE TABLE big (i int PRIMARY KEY, t text)",
    "INSERT INTO big SELECT i, repeat(chr(97 + i % 26), 100) FROM generate_series(1, 2000) i",
    "CREATE TABLE w (id int PRIMARY KEY, v text, n numeric CHECK (n < 1000))",
    "CREATE TABLE late (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)",
    "CREATE SEQUENCE numbers",
    """CREATE FUNCTION notices(n int) RETURNS int LANGUAGE plpgsql AS $$
       BEGIN FOR i IN 1..n LOOP RAISE NOTICE 'notice %', i; END LOOP; RETURN n; END $$""",
    """CREATE FUNCTION fails_at(n int) RETURNS SETOF int LANGUAGE plpgsql AS $$
       BEGIN FOR i IN 1..10 LOOP
         IF i = n THEN RAISE EXCEPTION 'failed at %', i USING ERRCODE = 'HF001',
           DETAIL = 'as it was asked to', HINT = 'ask for less', TABLE = 'small'; END IF;
         RETURN NEXT i; END LOOP; END $$""",
    """CREATE FUNCTION sets(value text) RETURNS text LANGUAGE sql AS
       $$ SELECT set_config('application_name', value, false) $$""",
]
RESET = ["SET lock_timeout = '5s'", "TRUNCATE w, late",
         "SELECT setval('numbers', 1, false)"]
LOOKUP = ("SELECT proname, oid FROM pg_proc WHERE (proname = 'int4abs') OR (proname = 'notices') "
          "OR (proname = 'textcat') OR (proname = 'int4div')")


class ServerCrashed(Exception):
    """PostgreSQL had to restart."""


class World:
    """A database for sequences."""

    def __init__(self, server, database="app"):
        self.server = server
        self.database = database
        server.sql("DROP SCHEMA public CASCADE", "CREATE SCHEMA public",
                   "GRANT ALL ON SCHEMA public TO app, pg_monitor", "GRANT pg_monitor TO app",
                   "SET ROLE app", *SETUP,
                   "GRANT ALL ON ALL TABLES IN SCHEMA public TO pg_monitor",
                   "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO pg_monitor",
                   database=database)
        self.functions = {name: int(oid) for name, oid in server.sql(LOOKUP, database=database)}
        self.tables = frozenset(
            int(oid) for oid, in server.sql("SELECT oid FROM pg_class", database=database))
        self.admin = None

    def reset(self):
        """As it was at first. Waits for whoever still holds a lock, for a while: a transaction that
        outlives its client that long is a failure in itself. Raises ServerCrashed, and then it is
        up again."""
        if self.admin is None:
            self.admin = self.server.admin(self.database)
        try:
            for statement in RESET:
                self.admin.rows(statement)
        except (pgwire.Closed, ConnectionError) as error:
            self.close()
            wait_until(self._is_up, 30, "PostgreSQL is up again")
            raise ServerCrashed from error

    def _is_up(self):
        try:
            self.server.admin(self.database).close()
        except (pgwire.ServerError, pgwire.Closed, ConnectionError):
            return False
        return True

    def close(self):
        if self.admin is not None:
            self.admin.close()
            self.admin = None
