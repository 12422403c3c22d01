/*
 * Transactions, and what is nested in them.
 *
 *     transactions CONNINFO
 *
 * An order is placed: it takes from the stock, and where the customer has a voucher, uses that up.
 * That the voucher is spent already must not cost us the order, so it is a transaction within the
 * transaction: a savepoint. That the stock is empty must cost us the order: it is rolled back.
 */
#include <holdfast.h>
#include <stdio.h>

struct order {
    int item;
    int customer;
};

static int use_voucher(struct hf_tx *tx, void *arg, struct hf_error *err)
{
    const struct order *order = arg;

    /* The second time this breaks the primary key, and with it the savepoint, and nothing else. */
    return hf_tx_exec(tx, "INSERT INTO used_voucher VALUES ($1)",
                      HF_PARAMS(hf_int(order->customer)), NULL, NULL, err);
}

/* May be called more than once: after a serialisation failure, or when the server is lost before
 * the commit. So it does nothing that a rollback does not undo. */
static int place_order(struct hf_tx *tx, void *arg, struct hf_error *err)
{
    const struct order *order = arg;
    uint64_t taken;
    int failed;

    failed = hf_tx_exec(tx, "UPDATE stock SET pieces = pieces - 1 WHERE item = $1 AND pieces > 0",
                        HF_PARAMS(hf_int(order->item)), NULL, &taken, err);
    if (failed)
        return failed;
    if (taken == 0)
        return 1; /* anything but 0 rolls back; hf_tx() hands it on in err->callback */
    failed = hf_tx_nested(tx, NULL, use_voucher, arg, NULL);
    printf("  voucher of customer %d: %s\n", order->customer, failed ? "spent before" : "used");
    return hf_tx_exec(tx, "INSERT INTO placed VALUES ($1, $2)",
                      HF_PARAMS(hf_int(order->item), hf_int(order->customer)), NULL, NULL, err);
}

static void buy(struct hf_db *db, int item, int customer)
{
    struct order order = {item, customer};
    struct hf_error err;
    char text[512];

    if (hf_tx(db, NULL, place_order, &order, &err) == HF_SUCCESS)
        printf("customer %d: ordered\n", customer);
    else if (err.code == HF_E_CALLBACK)
        printf("customer %d: sold out\n", customer);
    else
        printf("customer %d: %s\n", customer, hf_error_text(&err, text, sizeof(text)));
}

int main(int argc, char **argv)
{
    struct hf_error err;
    struct hf_db *db;

    if (hf_open(&db, argc > 1 ? argv[1] : "", &err) != HF_SUCCESS ||
        hf_exec(db,
                "DROP TABLE IF EXISTS stock, used_voucher, placed;"
                "CREATE TABLE stock (item int PRIMARY KEY, pieces int NOT NULL);"
                "CREATE TABLE used_voucher (customer int PRIMARY KEY);"
                "CREATE TABLE placed (item int, customer int);"
                "INSERT INTO stock VALUES (1, 2)",
                NULL, NULL, NULL, &err) != HF_SUCCESS) {
        fprintf(stderr, "%s\n", err.message);
        hf_close(db);
        return 1;
    }
    buy(db, 1, 100); /* ordered, with the voucher */
    buy(db, 1, 100); /* ordered, without */
    buy(db, 1, 200); /* sold out */
    hf_close(db);
    return 0;
}
