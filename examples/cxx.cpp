/*
 * From C++: the header as it is, a few lines of RAII around it, and exceptions that roll back.
 *
 *     cxx CONNINFO
 *
 * An exception that leaves the work passes through hf_tx(), which rolls back on its way, and goes
 * on to whoever catches it.
 */
#include <cstdio>
#include <holdfast.h>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>

namespace {

struct Failure : std::runtime_error {
    explicit Failure(const hf_error &err) : std::runtime_error(err.message), code(err.code) {}
    int code;
};

using Rows = std::unique_ptr<hf_rows, decltype(&hf_rows_free)>;

class Database {
public:
    explicit Database(const char *where)
    {
        hf_error err;
        if (hf_open(&db, where, &err) != HF_SUCCESS)
            throw Failure(err);
    }
    Database(const Database &) = delete;
    Database &operator=(const Database &) = delete;
    ~Database() { hf_close(db); }

    Rows query(const char *sql, std::initializer_list<hf_param> list = {})
    {
        const hf_params params = {list.begin(), list.size()};
        hf_rows *rows = nullptr;
        hf_error err;
        if (hf_query(db, sql, &params, nullptr, &rows, &err) != HF_SUCCESS)
            throw Failure(err);
        return Rows(rows, hf_rows_free);
    }

    /* Runs work(tx) in a transaction. */
    template <typename Work> void transaction(Work work)
    {
        hf_error err;
        /* hf_tx is a function and a struct: as a type it needs the word struct. */
        auto call = [](struct hf_tx *tx, void *arg, hf_error *) -> int {
            (*static_cast<Work *>(arg))(tx);
            return 0;
        };
        if (hf_tx(db, nullptr, call, &work, &err) != HF_SUCCESS)
            throw Failure(err);
    }

private:
    hf_db *db = nullptr;
};

void exec(struct hf_tx *tx, const char *sql)
{
    hf_error err;
    if (hf_tx_exec(tx, sql, nullptr, nullptr, nullptr, &err) != HF_SUCCESS)
        throw Failure(err);
}

std::string count(Database &db)
{
    Rows rows = db.query("SELECT count(*) FROM thing WHERE id < $1", {hf_int(100)});
    hf_rows_next(rows.get(), nullptr);
    return hf_rows_text(rows.get(), 0);
}

} // namespace

int main(int argc, char **argv)
{
    try {
        Database db(argc > 1 ? argv[1] : "");

        db.query("DROP TABLE IF EXISTS thing");
        db.query("CREATE TABLE thing (id int PRIMARY KEY)");
        db.transaction([](struct hf_tx *tx) { exec(tx, "INSERT INTO thing VALUES (1)"); });
        std::printf("after a commit: %s\n", count(db).c_str());
        try {
            db.transaction([](struct hf_tx *tx) {
                exec(tx, "INSERT INTO thing VALUES (2)");
                throw std::logic_error("changed my mind");
            });
        } catch (const std::logic_error &why) {
            std::printf("%s\n", why.what());
        }
        std::printf("after an exception: %s\n", count(db).c_str());
    } catch (const Failure &why) {
        std::fprintf(stderr, "%s: %s\n", hf_code_name(why.code), why.what());
        return 1;
    }
    return 0;
}
