/*
 * What sections listeners and peers become: places to listen that have rules of their own, and
 * other instances. A part of proxy_config_finish(), with what the two share.
 *
 * Places to listen are in one list, proxy.listeners: those of proxy.listen and unix_socket_dir
 * first, then those of the section, each of which leaves its name in proxy.places beside it. A
 * reload keeps that list, as sockets stay; so a place finds its rules by name in whatever
 * configuration is in force. A name that has gone by then lets nobody in, as the rules that it had
 * are not known any more.
 */
#ifndef HF_PROXY_PROXY_PLACES_H
#define HF_PROXY_PROXY_PLACES_H

#include "proxy/proxy_config.h"

enum hf_rc proxy_places_finish(struct proxy_config *config, struct proxy_fault *fault,
                               struct hf_err *err) HF_MUST_USE;

/* Says where; `err`, whose code it returns, is filled in. */
enum hf_rc proxy_fault_set(struct proxy_fault *fault, const char *section, const char *entry,
                           const char *key, const struct hf_err *err);

/* The name of an entry, if it can be one. */
enum hf_rc proxy_name_set(char out[PROXY_NAME_SIZE], struct sv name,
                          struct hf_err *err) HF_MUST_USE;

/* NAME, NAME:PORT, [IPV6], [IPV6]:PORT, IPV6, /FOLDER, /FOLDER:PORT. */
enum hf_rc proxy_host_parse(struct sv text, uint16_t port, struct proxy_host *out,
                            struct hf_err *err) HF_MUST_USE;

#endif
