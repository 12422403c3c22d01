/*
 * Reads holdfast.yml into the structs of proxy/proxy_config.h, by their option rows.
 *
 *     proxy:
 *       listen: [127.0.0.1, 192.0.2.7]
 *     databases:
 *       app:  {hosts: "db1:5432, db2:5432", pool_mode: transaction}
 *       "*":  {hosts: db1, user: app, password: "${APP_PASSWORD}"}
 *     roles:
 *       reports: {pool_size: 3, password_file: /run/secrets/reports}
 *
 * A value is text for its row. Beyond that:
 *   - ${NAME} in a value is the environment variable; one that is not set is a fault. $${ is ${.
 *   - A secret's key with _file behind it names a file whose content, without a line end, it is.
 *   - A list may be written as text with commas or as a list of YAML.
 *   - A path in a key that ends in _file or _dir is relative to the folder of its file.
 *
 * Unknown keys are refused, with the nearest one that exists; so is everything that comes twice.
 * What the rows allow but together makes no sense is refused by proxy_config_finish(), and blamed
 * on the place of the setting.
 *
 * The result is immutable. It is freed by proxy_config_free().
 */
#ifndef HF_CONFIG_CONFIG_H
#define HF_CONFIG_CONFIG_H

#include "base/err.h"
#include "base/sv.h"
#include "config/faults.h"
#include "os/mem.h"
#include "proxy/proxy_config.h"

/* Fails with the code of the first fault; `faults` has them all. */
enum hf_rc config_read_file(struct proxy_config **config, const char *path, struct mem *mem,
                            struct config_faults *faults) HF_MUST_USE;

/* The same for a text; `folder` is where relative paths begin, NULL for the current folder. */
enum hf_rc config_read_text(struct proxy_config **config, struct sv text, const char *folder,
                            struct mem *mem, struct config_faults *faults) HF_MUST_USE;

/* The first fault as one error: its message begins with file, line, column and key, and tells how
 * many others there are. Returns its code. */
enum hf_rc config_fault_as_err(const struct config_faults *faults, const char *file,
                               struct hf_err *err);

#endif
