#include "client/tx_text.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/bug.h"
#include "holdfast.h"

const char *tx_text_begin(char out[TX_TEXT_SIZE], int32_t isolation, bool is_read_only,
                          bool is_deferrable)
{
    static const char *const levels[] = {
        [HF_ISOLATION_DEFAULT] = "",
        [HF_READ_COMMITTED] = " ISOLATION LEVEL READ COMMITTED",
        [HF_REPEATABLE_READ] = " ISOLATION LEVEL REPEATABLE READ",
        [HF_SERIALIZABLE] = " ISOLATION LEVEL SERIALIZABLE",
    };
    hf_assert(isolation >= HF_ISOLATION_DEFAULT && isolation <= HF_SERIALIZABLE);
    /* READ WRITE is not said: where default_transaction_read_only is on, that was meant. */
    snprintf(out, TX_TEXT_SIZE, "BEGIN%s%s%s", levels[isolation], is_read_only ? " READ ONLY" : "",
             is_deferrable ? " DEFERRABLE" : "");
    return out;
}

const char *tx_text_savepoint(char out[TX_TEXT_SIZE], const char *verb, uint32_t level)
{
    snprintf(out, TX_TEXT_SIZE, "%s hf_%u", verb, level);
    return out;
}

bool tx_text_is_single(const char *sql)
{
    const char *semicolon = strchr(sql, ';');
    return semicolon == NULL || semicolon[1 + strspn(semicolon + 1, " \t\r\n\f")] == '\0';
}

bool tx_text_is_change(const char *sql)
{
    static const char *const words[] = {"insert", "update", "delete", "merge"};
    sql += strspn(sql, " \t\r\n\f");
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t size = strlen(words[i]);
        if (strncasecmp(sql, words[i], size) == 0 && strchr(" \t\r\n\f", sql[size]) != NULL)
            return true;
    }
    return false;
}
