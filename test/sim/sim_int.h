/* What the files of the simulator share with each other. */
#ifndef HF_SIM_INT_H
#define HF_SIM_INT_H

#include "sim.h"

#define NO_SERVER UINT32_MAX

/* sim_run.c */
void sim_break(struct sim *sim, enum sim_rule rule, const char *format, ...) HF_PRINTF(3, 4);
void sim_note(struct sim *sim, uint32_t who, uint32_t what, uint32_t value);
double sim_seconds(const struct sim *sim);

/* sim_world.c */
void world_init(struct sim *sim);
uint32_t world_primary(const struct sim *sim);
bool world_answers(const struct sim *sim, uint32_t server);
void world_attempt_begin(struct sim_client *client, uint32_t server);
void world_attempt_step(struct sim_client *client);
void world_attempt_stop(struct sim_client *client);
void world_crash(struct sim *sim, uint32_t at);
void world_wake(struct sim_client *client, int64_t delay_ns);
void world_resume(struct sim *sim, uint32_t at);
void world_start(struct sim *sim, uint32_t at);
void world_promote(struct sim *sim);

/* sim_wal.c */
void wal_init(struct sim *sim);
bool wal_timer(struct sim *sim, struct timer *timer);
int32_t wal_begin(struct sim *sim, uint32_t server, int32_t write, int32_t client);
bool wal_probe(struct sim *sim, int32_t tx, struct commit_probe *probe);
void wal_commit(struct sim *sim, int32_t tx);
void wal_abort(struct sim *sim, int32_t tx);
void wal_detach(struct sim *sim, int32_t tx, bool has_commit);
void wal_end_backend(struct sim *sim, uint32_t server, uint64_t xid);
void wal_stop(struct sim *sim, uint32_t server, bool is_clean);
void wal_start(struct sim *sim, uint32_t server);
void wal_resume(struct sim *sim, uint32_t server);
void wal_promote(struct sim *sim, uint32_t old, uint32_t chosen);
void wal_send(struct sim *sim);
bool wal_is_kept(const struct sim *sim, const struct sim_tx *tx);
uint32_t wal_applied(const struct sim *sim, int32_t write);
enum commit_status wal_status(const struct sim *sim, uint32_t server, uint64_t xid);

/* sim_search.c */
void search_begin(struct sim_client *client, int64_t deadline_ns);
void search_view(struct sim_client *client);
bool search_timer(struct sim *sim, struct timer *timer);

/* sim_view.c */
void view_init(struct sim *sim);
void view_sample(struct sim *sim);
void view_publish(struct sim *sim);
void view_told(struct sim *sim, uint32_t endpoint, enum outcome_endpoint evidence);

/* sim_client.c */
void client_init(struct sim_client *client, struct sim *sim, uint32_t index);
bool client_timer(struct sim_client *client, const struct timer *timer);
void client_feed(struct sim_client *client, enum guard_event_kind kind);
void client_progress(struct sim_client *client);
void client_attempt_ended(struct sim_client *client);
void client_resolved(struct sim_client *client, enum guard_resolution resolution);

/* sim_fault.c */
void fault_init(struct sim *sim);
void fault_strike(struct sim *sim);
void fault_pin(struct sim *sim);
void fault_election(struct sim *sim);
void fault_heal(struct sim *sim);

/* sim_check.c */
void check_before_feed(struct sim_client *client, const struct guard_event *event);
void check_after_feed(struct sim_client *client, const struct guard_event *event);
void check_run(struct sim_client *client, const struct guard_action *action);
void check_answer(struct sim_client *client, const struct guard_action *action);
void check_commit(struct sim *sim, const struct sim_tx *tx);
void check_lost(struct sim *sim, const struct sim_tx *tx);
void check_found(struct sim_client *client, enum guard_resolution resolution);
void check_finished(struct sim_client *client);
void check_tick(struct sim_client *client);
void check_step(struct sim *sim);
void check_healed(struct sim *sim);
bool check_is_well(struct sim *sim);

#endif
