/* cc quickstart.c $(pkg-config --cflags --libs holdfast) && ./a.out postgresql://db1,db2/shop */
#include <holdfast.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    struct hf_error err;
    struct hf_db *db;
    struct hf_rows *rows;

    if (hf_open(&db, argc > 1 ? argv[1] : "", &err) != HF_SUCCESS) {
        fprintf(stderr, "%s\n%s\n", err.message, err.hint);
        return 1;
    }
    if (hf_query(db, "SELECT n, n * n FROM generate_series(1, $1) AS n", HF_PARAMS(hf_int(3)), NULL,
                 &rows, &err) == HF_SUCCESS) {
        while (hf_rows_next(rows, NULL) > 0)
            printf("%s squared is %s\n", hf_rows_text(rows, 0), hf_rows_text(rows, 1));
        hf_rows_free(rows);
    } else {
        fprintf(stderr, "%s\n%s\n", err.message, err.hint);
    }
    hf_close(db);
    return 0;
}
