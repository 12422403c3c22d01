// The PostgreSQL JDBC driver through the proxy: `java Jdbc.java CA_FILE HOST PORT PASSWORD`.
// Prints a line for each thing that was done; the exit status is 1 after the first that was not.

import java.io.StringReader;
import java.io.StringWriter;
import java.sql.*;
import java.util.*;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

public class Jdbc {
    static String ca, address, password;
    static final String LARGE = "l".repeat(3_000_000);

    interface Work {
        void run() throws Exception;
    }

    static Connection connect(String... more) throws SQLException {
        Properties settings = new Properties();
        settings.put("user", "app");
        settings.put("password", password);
        settings.put("sslmode", "disable");
        for (int i = 0; i < more.length; i += 2)
            settings.put(more[i], more[i + 1]);
        return DriverManager.getConnection("jdbc:postgresql://" + address + "/app", settings);
    }

    static void check(Object found, Object expected) {
        if (!expected.equals(found))
            throw new AssertionError(cut(found) + " and not " + cut(expected));
    }

    static String cut(Object value) {
        String text = String.valueOf(value);
        return text.substring(0, Math.min(80, text.length()));
    }

    static void refused(String state, Work work) throws Exception {
        try {
            work.run();
        } catch (SQLException refusal) {
            check(refusal.getSQLState(), state);
            return;
        }
        throw new AssertionError("this should have been refused with " + state);
    }

    static String value(Connection db, String sql) throws SQLException {
        try (Statement statement = db.createStatement();
             ResultSet rows = statement.executeQuery(sql)) {
            rows.next();
            return rows.getString(1);
        }
    }

    static void statements() throws Exception {
        List<Connection> all = new ArrayList<>();
        List<PreparedStatement> adds = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            all.add(connect("prepareThreshold", "2"));
            adds.add(all.get(i).prepareStatement("SELECT ?::int + ?::int"));
        }
        for (int round = 0; round < 12; round++) {
            for (PreparedStatement add : adds) {
                add.setInt(1, round);
                add.setInt(2, 100);
                try (ResultSet rows = add.executeQuery()) {
                    rows.next();
                    check(rows.getInt(1), round + 100);
                }
            }
        }
        for (Connection db : all)
            db.close();
    }

    static void batch() throws Exception {
        try (Connection db = connect("reWriteBatchedInserts", "true")) {
            db.setAutoCommit(false);
            PreparedStatement insert = db.prepareStatement("INSERT INTO driver VALUES (?, ?)");
            for (int i = 1; i <= 500; i++) {
                insert.setInt(1, i);
                insert.setString(2, "v" + i);
                insert.addBatch();
            }
            insert.executeBatch();
            check(value(db, "SELECT sum(id) FROM driver"), "125250");
            db.rollback();
        }
    }

    static void transaction() throws Exception {
        try (Connection db = connect()) {
            db.setAutoCommit(false);
            value(db, "INSERT INTO driver VALUES (1, 'kept') RETURNING id");
            Savepoint here = db.setSavepoint("here");
            refused("22012", () -> value(db, "SELECT 1 / 0"));
            db.rollback(here);
            check(value(db, "SELECT count(*) FROM driver"), "1");
            db.createStatement().execute("SET LOCAL work_mem = '7MB'");
            check(value(db, "SHOW work_mem"), "7MB");
            db.rollback();
            check(value(db, "SHOW work_mem"), "4MB");
            db.rollback();
        }
    }

    static void pieces() throws Exception {
        try (Connection db = connect()) {
            db.setAutoCommit(false);
            Statement statement = db.createStatement();
            statement.setFetchSize(70);
            int seen = 0;
            try (ResultSet rows = statement.executeQuery("SELECT generate_series(1, 500)")) {
                while (rows.next())
                    check(rows.getInt(1), ++seen);
            }
            check(seen, 500);
            db.commit();
        }
    }

    static void copies() throws Exception {
        try (Connection db = connect()) {
            db.setAutoCommit(false);
            CopyManager copy = db.unwrap(PGConnection.class).getCopyAPI();
            StringBuilder lines = new StringBuilder();
            for (int i = 1; i <= 3000; i++)
                lines.append(i).append("\tvalue ").append(i).append('\n');
            check(copy.copyIn("COPY driver FROM STDIN", new StringReader(lines.toString())), 3000L);
            StringWriter back = new StringWriter();
            copy.copyOut("COPY (SELECT * FROM driver ORDER BY id) TO STDOUT", back);
            check(back.toString(), lines.toString());
            db.rollback();
        }
    }

    static void cancels() throws Exception {
        try (Connection db = connect(); Statement statement = db.createStatement()) {
            Timer timer = new Timer(true);
            timer.schedule(new TimerTask() {
                public void run() {
                    try {
                        statement.cancel();
                    } catch (SQLException lost) {
                        throw new AssertionError(lost);
                    }
                }
            }, 300);
            refused("57014", () -> statement.executeQuery("SELECT pg_sleep(30)"));
            check(value(db, "SELECT 3"), "3");
        }
    }

    static void largeOverTls() throws Exception {
        address = address.replace("127.0.0.1", "localhost");
        try (Connection db = connect("sslmode", "verify-full", "sslrootcert", ca);
             PreparedStatement echo = db.prepareStatement("SELECT ?::text")) {
            echo.setString(1, LARGE);
            try (ResultSet rows = echo.executeQuery()) {
                rows.next();
                check(rows.getString(1), LARGE);
            }
        }
    }

    static void settings() throws Exception {
        try (Connection one = connect(); Connection two = connect()) {
            one.createStatement().execute("SET work_mem = '7MB'");
            two.createStatement().execute("SET work_mem = '8MB'");
            for (int round = 0; round < 3; round++) {
                check(value(one, "SHOW work_mem"), "7MB");
                check(value(two, "SHOW work_mem"), "8MB");
            }
        }
    }

    static void listens() throws Exception {
        try (Connection hears = connect(); Connection tells = connect()) {
            hears.createStatement().execute("LISTEN news");
            tells.createStatement().execute("NOTIFY news, 'it works'");
            check(hears.unwrap(PGConnection.class).getNotifications(20000)[0].getParameter(),
                  "it works");
        }
    }

    static void run(String name, Work work) {
        try {
            work.run();
            System.out.println("ok " + name);
        } catch (Throwable why) {
            System.out.println("not ok " + name + ": " + why);
            System.exit(1);
        }
    }

    public static void main(String[] args) {
        ca = args[0];
        address = args[1] + ":" + args[2];
        password = args[3];
        run("statements that the server prepares", Jdbc::statements);
        run("a batch", Jdbc::batch);
        run("a transaction with a savepoint and a setting", Jdbc::transaction);
        run("a result in pieces", Jdbc::pieces);
        run("COPY in both directions", Jdbc::copies);
        run("a cancel", Jdbc::cancels);
        run("a large value in each direction, over TLS", Jdbc::largeOverTls);
        run("settings of a session, of two that alternate", Jdbc::settings);
        run("a message to who listens", Jdbc::listens);
    }
}
