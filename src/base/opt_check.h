/*
 * Are these option rows sound? For a test of every module that declares some:
 *
 *     if (opt_check(&table, sizeof(struct breaker_config), &err) != HF_OK)
 *         fail_msg("%s", err.message);
 *
 * The program itself never calls it: rows are constants, and what holds in the test holds.
 */
#ifndef HF_BASE_OPT_CHECK_H
#define HF_BASE_OPT_CHECK_H

#include <stddef.h>

#include "base/err.h"
#include "base/opt.h"

/* Fails on the first row that breaks a rule, naming both: the key is snake_case and unique; the
 * field has the size of its type, lies inside the config of `config_size` bytes and shares no byte
 * with another row's; the range is in order, fits the field and belongs to the type; names and unit
 * are there exactly where the type wants them; the default is accepted; the version is a version;
 * the sentence begins with a capital and ends with a full stop. */
enum hf_rc opt_check(const struct opt_table *table, size_t config_size,
                     struct hf_err *err) HF_MUST_USE;

#endif
