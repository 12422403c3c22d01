#!/usr/bin/python3
"""A binding for Python, made from include/holdfast.h alone with ctypes.

    binding.py LIBRARY CONNINFO

What a binding needs: opaque pointers, four structs laid out as the header says, and functions. No
macro and no typedef of the header is used.
"""

import ctypes
import sys
from ctypes import POINTER, Structure, byref, c_bool, c_char, c_char_p, c_double, c_int, c_int32
from ctypes import c_int64, c_size_t, c_uint32, c_uint64, c_void_p

HF_SUCCESS = 0


class Error(Structure):
    _fields_ = [("code", c_int), ("sqlstate", c_char * 6), ("may_repeat", c_bool),
                ("attempts", c_uint32), ("endpoint", c_char * 64), ("message", c_char * 512),
                ("detail", c_char * 512), ("hint", c_char * 256), ("constraint", c_char * 64),
                ("position", c_int32), ("callback", c_int32), ("reserved", c_uint64 * 4)]


class Param(Structure):
    _fields_ = [("type", c_uint32), ("format", c_int32), ("length", c_int32), ("value", c_void_p),
                ("small", c_char * 32)]


class Params(Structure):
    _fields_ = [("list", POINTER(Param)), ("count", c_size_t)]


WORK = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, POINTER(Error))


class Failure(Exception):
    def __init__(self, err):
        super().__init__(err.message.decode())
        self.err = err


def check(code, err):
    if code != HF_SUCCESS:
        raise Failure(err)


class Library:
    """Says what each function takes and gives; ctypes would take int for all of it."""

    FUNCTIONS = {
        "hf_open": (c_int, POINTER(c_void_p), c_char_p, POINTER(Error)),
        "hf_close": (None, c_void_p),
        "hf_query": (c_int, c_void_p, c_char_p, POINTER(Params), c_void_p, POINTER(c_void_p),
                     POINTER(Error)),
        "hf_tx": (c_int, c_void_p, c_void_p, WORK, c_void_p, POINTER(Error)),
        "hf_tx_query": (c_int, c_void_p, c_char_p, POINTER(Params), c_void_p, POINTER(c_void_p),
                        POINTER(Error)),
        "hf_null": (Param,), "hf_text": (Param, c_char_p), "hf_int": (Param, c_int64),
        "hf_double": (Param, c_double), "hf_bool": (Param, c_bool),
        "hf_rows_next": (c_int, c_void_p, POINTER(Error)), "hf_rows_free": (None, c_void_p),
        "hf_rows_columns": (c_int, c_void_p), "hf_rows_is_null": (c_bool, c_void_p, c_int),
        "hf_rows_text": (c_char_p, c_void_p, c_int),
    }

    def __init__(self, path):
        library = ctypes.CDLL(path)
        for name, (gives, *takes) in self.FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = gives, takes
            setattr(self, name, function)

    def param(self, value):
        for kind, make in ((bool, self.hf_bool), (int, self.hf_int), (float, self.hf_double)):
            if isinstance(value, kind):
                return make(value)
        return self.hf_null() if value is None else self.hf_text(value.encode())

    def run(self, function, target, sql, values):
        """hf_query() or hf_tx_query(): a list of tuples of text."""
        values = [value.encode() if isinstance(value, str) else value for value in values]
        params = (Param * len(values))(*(
            self.hf_text(value) if isinstance(value, bytes) else self.param(value)
            for value in values))  # `values` keeps the text alive while it is needed
        rows, err = c_void_p(), Error()
        check(function(target, sql.encode(), byref(Params(params, len(params))), None, byref(rows),
                       byref(err)), err)
        try:
            found = []
            while self.hf_rows_next(rows, byref(err)) > 0:
                found.append(tuple(
                    None if self.hf_rows_is_null(rows, i) else self.hf_rows_text(rows, i).decode()
                    for i in range(self.hf_rows_columns(rows))))
            return found
        finally:
            self.hf_rows_free(rows)


class Database:
    def __init__(self, library, conninfo):
        self.library, self.db, err = library, c_void_p(), Error()
        check(library.hf_open(byref(self.db), conninfo.encode(), byref(err)), err)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.library.hf_close(self.db)

    def query(self, sql, *values):
        return self.library.run(self.library.hf_query, self.db, sql, values)

    def transaction(self, work):
        """work(query) may be called several times; an exception rolls back and goes on."""
        raised = []

        def call(tx, _arg, err):
            raised.clear()
            try:
                work(lambda sql, *values: self.library.run(self.library.hf_tx_query, tx, sql,
                                                           values))
                return 0
            except Failure as failure:
                raised.append(failure)
                err[0] = failure.err  # so that 40001 runs the whole again
                return failure.err.code
            except BaseException as exception:  # it must not pass through C
                raised.append(exception)
                return 1

        err = Error()
        code = self.library.hf_tx(self.db, None, WORK(call), None, byref(err))
        if raised and code != HF_SUCCESS:
            raise raised[0]
        check(code, err)


def main():
    with Database(Library(sys.argv[1]), sys.argv[2]) as db:
        print(db.query("SELECT $1::int + 1, $2::text, NULL, $3::bool", 41, "x", True))
        db.query("DROP TABLE IF EXISTS bound")
        db.query("CREATE TABLE bound (n int)")
        db.transaction(lambda query: query("INSERT INTO bound VALUES ($1)", 1))

        def fail(query):
            query("INSERT INTO bound VALUES (2)")
            raise KeyError("changed my mind")

        try:
            db.transaction(fail)
        except KeyError as why:
            print(why)
        print(db.query("SELECT count(*) FROM bound"))


if __name__ == "__main__":
    main()
