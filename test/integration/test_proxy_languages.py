"""Drivers of other languages, from Debian's packages, through the proxy in both modes.

DBD::Pg (Perl), lib/pq (Go), the JDBC driver (Java) and SQLAlchemy, an ORM, over psycopg2. What each
is asked to do stands in its own language in drivers/: prepared statements, batches, COPY, a cancel,
TLS, large values, transactions with savepoints, settings, LISTEN. A driver that is not installed is
a failure: tools/setup.sh installs them.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import orm
from proxy_rig import PASSWORD

DRIVERS = Path(__file__).resolve().parent / "drivers"
JDBC = "/usr/share/java/postgresql.jar"


@pytest.fixture(scope="module", autouse=True)
def tables(postgres):
    postgres.sql("DROP TABLE IF EXISTS driver", "CREATE TABLE driver (id int, v text)",
                 "ALTER TABLE driver OWNER TO app", "GRANT CREATE ON SCHEMA public TO app",
                 database="app")


def need(*programs):
    for program in programs:
        if shutil.which(program) is None:
            pytest.fail(f"{program} is not installed: tools/setup.sh")


def run(target, done_max, *command):
    host, port = target.address
    done = subprocess.run(
        [*map(str, command), str(target.ca)], text=True, capture_output=True,
        timeout=120, check=False,
        env={**os.environ, "PGHOST": host, "PGPORT": str(port), "PGUSER": "app",
             "PGDATABASE": "app", "PGPASSWORD": PASSWORD, "PGSSLMODE": "disable"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok ") == done_max, done.stdout


def test_perl(pooled):
    need("perl")
    run(pooled, 9, "perl", DRIVERS / "dbi.pl")


@pytest.fixture(scope="module")
def go_program(tmp_path_factory):
    """Debian's Go libraries lie in a GOPATH, without modules."""
    need("go")
    folder = tmp_path_factory.mktemp("go")
    environment = {**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode",
                   "GOCACHE": str(folder / "cache"), "GOFLAGS": "", "CGO_ENABLED": "0"}
    done = subprocess.run(["go", "build", "-o", folder / "pq", DRIVERS / "pq.go"], text=True,
                          capture_output=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "pq"


def test_go(pooled, go_program):
    run(pooled, 7, go_program)


@pytest.fixture(scope="module")
def java_classes(tmp_path_factory):
    need("javac", "java")
    folder = tmp_path_factory.mktemp("java")
    done = subprocess.run(["javac", "-cp", JDBC, "-d", folder, DRIVERS / "Jdbc.java"], text=True,
                          capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_java(pooled, java_classes):
    host, port = pooled.address
    done = subprocess.run(["java", "-XX:TieredStopAtLevel=1", "-cp", f"{java_classes}:{JDBC}",
                           "Jdbc", str(pooled.ca), host, str(port), PASSWORD],
                          text=True, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok ") == 9, done.stdout


# --------------------------------------------------------------------------------- SQLAlchemy, ORM

Base = orm.declarative_base()


class Author(Base):
    __tablename__ = "orm_author"
    id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)
    name = sqlalchemy.Column(sqlalchemy.String, unique=True)
    books = orm.relationship("Book", back_populates="author", order_by="Book.id")


class Book(Base):
    __tablename__ = "orm_book"
    id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)
    title = sqlalchemy.Column(sqlalchemy.Text)
    author_id = sqlalchemy.Column(sqlalchemy.ForeignKey("orm_author.id"))
    author = orm.relationship("Author", back_populates="books")


@pytest.fixture
def engine(pooled):
    engine = sqlalchemy.create_engine(pooled.url().replace("postgresql", "postgresql+psycopg2"),
                                      pool_size=3, connect_args={"sslmode": "require"})
    Base.metadata.create_all(engine)
    yield engine
    Base.metadata.drop_all(engine)
    engine.dispose()


def test_an_orm(engine):
    sessions = orm.sessionmaker(engine)
    with sessions.begin() as session:
        session.add_all([Author(name=f"a{i}", books=[Book(title=f"a{i} b{k}") for k in range(5)])
                         for i in range(40)])
    with sessions() as session:
        found = session.query(Author).options(orm.selectinload(Author.books)).order_by(Author.id)
        assert [[book.title for book in author.books] for author in found] == [
            [f"a{i} b{k}" for k in range(5)] for i in range(40)]
    with sessions.begin() as session:
        with pytest.raises(sqlalchemy.exc.IntegrityError), session.begin_nested():
            session.add(Author(name="a1"))
            session.flush()
        session.add(Author(name="after", books=[Book(title="l" * 1_000_000)]))
    with sessions() as session:
        after = session.query(Author).filter_by(name="after").one()
        assert len(after.books[0].title) == 1_000_000
        session.delete(after.books[0])
        session.rollback()
        assert session.query(Book).count() == 201
    with engine.connect() as connection:
        streamed = connection.execution_options(stream_results=True, max_row_buffer=50)
        ids = [row[0] for row in streamed.execute(sqlalchemy.text(
            "SELECT id FROM orm_book ORDER BY id"))]
        assert ids == sorted(ids) and len(ids) == 201
